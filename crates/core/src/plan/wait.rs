//! Why is nothing being done? A step that is not taken is data too.

use crate::rules::Rule;

/// How serious a wait is for the conditions of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Part of the spec is not applied and will not be by waiting: `SpecApplied` is false.
    Held,
    /// Things take their course: `Progressing`.
    Progress,
    /// Someone must act, or redundancy is gone: `Degraded`.
    Degraded,
}

/// A step that is not taken now, the rule that holds it, and a sentence for the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// What waits: a pod, a claim, a field, or the cluster's name.
    pub subject: String,
    /// The rule that says so.
    pub rule: &'static Rule,
    /// What is waited for, and who must act where someone must.
    pub detail: String,
    /// How it shows in the conditions.
    pub severity: Severity,
}
