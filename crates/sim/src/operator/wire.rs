//! What can go wrong between the operator and the API server, and what got through?

use std::sync::Arc;

use crate::dice::Dice;
use crate::kube::{Key, Kube, Object, Refusal, Verb};
use crate::universe::Universe;

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
    /// PD answers the operator and leaves out some of what it was asked, in a look.
    pub pd_half: u64,
    /// So many seconds pass from one look to the next at least: calls take their time. No fault, and it
    /// does not stop with the others.
    pub pace: u64,
    /// The process ends right after this write, counted over its whole life.
    pub crash_after: Option<usize>,
    /// The process ends after any write, by chance.
    pub crash: u64,
}

impl Faults {
    /// The API server and PD answer again. A planned crash stays planned.
    pub fn stop(&mut self) {
        *self = Self { crash_after: self.crash_after, pace: self.pace, ..Self::default() };
    }
}

/// A write that reached the API server, PD or a store and was granted.
#[derive(Clone, Debug)]
pub struct Write {
    /// What kind.
    pub verb: Verb,
    /// Of which object. A call to PD or to a store ([`Verb::Call`]) has the step's name as kind and
    /// what it is about as name: `OfflineStore 4`.
    pub key: Key,
    /// The uid that was given as precondition.
    pub uid: Option<String>,
    /// The object before.
    pub before: Option<Arc<Object>>,
    /// The object after.
    pub after: Option<Arc<Object>>,
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

/// The connections during one pass.
pub(super) struct Wire<'a> {
    /// The servers.
    pub(super) universe: &'a mut Universe,
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
    /// Makes a call to the API server, as far as faults let it.
    pub(super) fn call(
        &mut self,
        call: Call<'_>,
        act: impl FnOnce(&mut Kube) -> Result<(), Refusal>,
    ) -> Answer {
        if self.dice.chance(self.faults.unavailable) {
            return Answer::None;
        }
        if self.dice.chance(self.faults.conflict) {
            return Answer::Refused(Refusal::conflict("the object has been modified"));
        }
        let before = self.universe.kube.shared(&call.key);
        if let Err(refusal) = act(&mut self.universe.kube) {
            return Answer::Refused(refusal);
        }
        let write = Write {
            verb: call.verb,
            after: self.universe.kube.shared(&call.key),
            key: call.key,
            uid: call.uid.filter(|uid| !uid.is_empty()).map(str::to_owned),
            before,
        };
        self.granted(write)
    }

    /// Makes a call to PD or to a store, as far as faults let it. `what` names the step.
    pub(super) fn ask(
        &mut self,
        what: Key,
        act: impl FnOnce(&mut Universe) -> Result<(), Refusal>,
    ) -> Answer {
        if self.dice.chance(self.faults.unavailable) {
            return Answer::None;
        }
        if let Err(refusal) = act(self.universe) {
            return Answer::Refused(refusal);
        }
        let (before, after, uid) = (None, None, None);
        self.granted(Write { verb: Verb::Call, key: what, uid, before, after })
    }

    /// Notes what was granted; its answer may be lost, and the process may end right after it.
    fn granted(&mut self, write: Write) -> Answer {
        *self.written += 1;
        self.writes.push(write);
        let planned = self.faults.crash_after == Some(*self.written);
        if planned || self.dice.chance(self.faults.crash) {
            *self.crashed = true;
            return Answer::None;
        }
        if self.dice.chance(self.faults.lost_answer) { Answer::None } else { Answer::Done }
    }
}
