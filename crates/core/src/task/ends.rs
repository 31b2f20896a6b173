//! How did the run end that ended last?
//!
//! It is said when a run ends, and stays said until another one does: with small limits the run itself
//! leaves the history in the pass in which it ends.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tikv_operator_api::v1alpha1::{RunOutcome, RunStatus, TikvTaskStatus};

use super::world::TaskFacts;

/// Condition type.
pub(super) const FAILED: &str = "Failed";

/// What a condition says.
pub(super) struct Verdict {
    pub(super) is: bool,
    pub(super) reason: &'static str,
    pub(super) words: String,
}

impl Verdict {
    pub(super) fn no(reason: &'static str, words: String) -> Self {
        Self { is: false, reason, words }
    }

    /// The condition that says it, which is so since the one in `before` is so.
    pub(super) fn condition(
        self,
        type_: &str,
        before: &[Condition],
        generation: i64,
        now: Timestamp,
    ) -> Condition {
        let status = if self.is { "True" } else { "False" };
        let mut before = before.iter().filter(|c| c.type_ == type_ && c.status == status);
        let since = before.next().map_or(Time(now), |c| c.last_transition_time.clone());
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.words,
            last_transition_time: since,
            observed_generation: Some(generation),
        }
    }
}

/// Says how the last one ended of the runs that had not ended in `before`. Nothing where none did.
pub(super) fn note(before: &TaskFacts, status: &mut TikvTaskStatus, now: Timestamp) {
    let had_ended = |run: &RunStatus| {
        let mut runs = before.status.runs.iter();
        runs.any(|old| old.key == run.key && old.outcome.is_final())
    };
    let ended = status.runs.iter().filter(|run| run.outcome.is_final() && !had_ended(run));
    let Some(run) = ended.max_by_key(|run| run.finished.as_ref().map(|at| at.0)) else { return };
    status.last_outcome = Some(run.outcome.as_str().to_owned());
    let verdict = if run.outcome == RunOutcome::Failed {
        let words = run.message.as_deref().unwrap_or("no reason is known");
        Verdict { is: true, reason: "RunFailed", words: format!("run {}: {words}", run.key) }
    } else {
        none_failed()
    };
    let condition = verdict.condition(FAILED, &status.conditions, before.generation, now);
    status.conditions.retain(|c| c.type_ != FAILED);
    status.conditions.push(condition);
}

fn none_failed() -> Verdict {
    Verdict::no("AsExpected", "the last run did not fail".to_owned())
}

/// The condition as it was said last.
pub(super) fn said(conditions: &[Condition], generation: i64, now: Timestamp) -> Condition {
    let said = conditions.iter().find(|c| c.type_ == FAILED).cloned();
    let said = said.unwrap_or_else(|| none_failed().condition(FAILED, &[], generation, now));
    Condition { observed_generation: Some(generation), ..said }
}
