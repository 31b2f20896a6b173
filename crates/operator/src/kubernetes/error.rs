//! What does a failed call to the API server mean?

use kube::core::Status;
use tikv_operator_core::report::{Failure, FailureKind};

use super::Resource;
use crate::{
    lease::Fenced,
    metrics::{ApiVerb, CallOutcome},
};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// This replica may not write now.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// No answer in time; what was sent may have happened.
    #[error("no answer within {0} s")]
    Slow(u64),
    /// The server said no.
    #[error("{}", .0.message)]
    Status(Box<Status>),
    /// No connection, or an answer that cannot be read.
    #[error("{0}")]
    Transport(String),
}

/// What the client says, in one line: of a refusal only the server's sentence.
pub fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error { status.message.clone() } else { error.to_string() }
}

/// A call that failed: what was tried, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{} {name}: {} failed: {cause}", resource.kind(), verb.as_str())]
pub struct ApiError {
    /// What was tried.
    pub verb: ApiVerb,
    /// On which kind.
    pub resource: Resource,
    /// On which object, or a selector.
    pub name: String,
    /// Why it failed.
    pub cause: Cause,
}

impl ApiError {
    /// The HTTP status, where there was an answer.
    pub fn code(&self) -> Option<u16> {
        match &self.cause {
            Cause::Status(status) => Some(status.code),
            Cause::Fenced(_) | Cause::Slow(_) | Cause::Transport(_) => None,
        }
    }

    /// 409 because an object of the name exists (and not because of a version).
    pub fn already_exists(&self) -> bool {
        self.reason() == Some("AlreadyExists")
    }

    /// The operator's role lacks the verb. A quota or an admission check that says 403 names other
    /// things than the verb.
    pub fn lacks_permission(&self) -> bool {
        match &self.cause {
            Cause::Status(status) => {
                status.code == 403
                    && status.message.contains(&format!("cannot {}", self.verb.as_str()))
            }
            Cause::Fenced(_) | Cause::Slow(_) | Cause::Transport(_) => false,
        }
    }

    fn reason(&self) -> Option<&str> {
        match &self.cause {
            Cause::Status(status) => Some(&status.reason),
            Cause::Fenced(_) | Cause::Slow(_) | Cause::Transport(_) => None,
        }
    }

    /// The object that was meant is another one now: its uid differs.
    fn other_uid(&self) -> bool {
        match &self.cause {
            Cause::Status(status) => status
                .details
                .iter()
                .flat_map(|details| &details.causes)
                .any(|cause| cause.field == "metadata.uid"),
            Cause::Fenced(_) | Cause::Slow(_) | Cause::Transport(_) => false,
        }
    }

    /// The namespace is being deleted: nothing can be created in it any more.
    pub fn namespace_is_going(&self) -> bool {
        match &self.cause {
            Cause::Status(status) => status
                .details
                .iter()
                .flat_map(|details| &details.causes)
                .any(|cause| cause.reason == "NamespaceTerminating"),
            Cause::Fenced(_) | Cause::Slow(_) | Cause::Transport(_) => false,
        }
    }

    /// What follows from the failure of a step.
    pub fn failure_kind(&self) -> FailureKind {
        match self.code() {
            Some(403) if self.namespace_is_going() => FailureKind::Unavailable,
            None | Some(401 | 429 | 500..) => FailureKind::Unavailable,
            Some(404 | 409 | 410) => FailureKind::Stale,
            Some(422) if self.other_uid() => FailureKind::Stale,
            Some(_) => FailureKind::Refused,
        }
    }

    /// The failure of a step, for the report.
    pub fn failure(&self) -> Failure {
        Failure { kind: self.failure_kind(), message: self.to_string() }
    }

    /// The class under which the call is counted.
    pub fn outcome(&self) -> CallOutcome {
        match self.failure_kind() {
            FailureKind::Stale | FailureKind::Refused | FailureKind::Foreign => {
                CallOutcome::Refused
            }
            FailureKind::Unavailable => CallOutcome::Failed,
        }
    }
}
