//! What can go wrong between the operator and the API server, and what got through?

use std::sync::Arc;

use serde_json::Value;

use crate::dice::Dice;
use crate::kube::{Key, Kube, Refusal, Verb};

/// Faults, in percent of calls or passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A kind's watch lags behind in a pass.
    pub stale: u64,
    /// A write is answered 409 without being done.
    pub conflict: u64,
    /// A write is done, and its answer is lost.
    pub lost_answer: u64,
    /// A write is neither done nor answered.
    pub unavailable: u64,
    /// PD does not answer the operator in a look.
    pub pd_silent: u64,
    /// The process ends right after this write, counted over its whole life.
    pub crash_after: Option<usize>,
    /// The process ends after any write, by chance.
    pub crash: u64,
}

impl Faults {
    /// The API server and PD answer again. A planned crash stays planned.
    pub fn stop(&mut self) {
        *self = Self { crash_after: self.crash_after, ..Self::default() };
    }
}

/// A write that reached the API server and was granted.
#[derive(Clone, Debug)]
pub struct Write {
    /// What kind.
    pub verb: Verb,
    /// Of which object.
    pub key: Key,
    /// The uid that was given as precondition.
    pub uid: Option<String>,
    /// The object before.
    pub before: Option<Arc<Value>>,
    /// The object after.
    pub after: Option<Arc<Value>>,
}

/// How a call ended for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Granted.
    Done,
    /// Refused.
    Refused(Refusal),
    /// No answer.
    None,
}

/// One call to the API server.
pub(super) struct Call<'a> {
    pub(super) verb: Verb,
    pub(super) key: Key,
    pub(super) uid: Option<&'a str>,
}

/// The connection during one pass.
pub(super) struct Wire<'a> {
    /// The server.
    pub(super) kube: &'a mut Kube,
    /// Chance.
    pub(super) dice: &'a mut Dice,
    /// What goes wrong.
    pub(super) faults: Faults,
    /// Writes so far, over the life of the operator.
    pub(super) written: &'a mut usize,
    /// What was granted in this pass.
    pub(super) writes: &'a mut Vec<Write>,
    /// The process has ended.
    pub(super) crashed: &'a mut bool,
}

impl Wire<'_> {
    /// Makes a call, as far as faults let it.
    pub(super) fn call(
        &mut self,
        call: Call<'_>,
        act: impl FnOnce(&mut Kube) -> Result<(), Refusal>,
    ) -> Answer {
        if self.dice.chance(self.faults.unavailable) {
            return Answer::None;
        }
        if self.dice.chance(self.faults.conflict) {
            let message = "the object has been modified".to_owned();
            return Answer::Refused(Refusal { code: 409, message });
        }
        let before = self.kube.shared(&call.key);
        if let Err(refusal) = act(self.kube) {
            return Answer::Refused(refusal);
        }
        *self.written += 1;
        self.writes.push(Write {
            verb: call.verb,
            after: self.kube.shared(&call.key),
            key: call.key,
            uid: call.uid.filter(|uid| !uid.is_empty()).map(str::to_owned),
            before,
        });
        let planned = self.faults.crash_after == Some(*self.written);
        if planned || self.dice.chance(self.faults.crash) {
            *self.crashed = true;
            return Answer::None;
        }
        if self.dice.chance(self.faults.lost_answer) { Answer::None } else { Answer::Done }
    }
}
