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

    /// It was not sent: this replica may not write now.
    pub fn is_fenced(&self) -> bool {
        matches!(self.cause, Cause::Fenced(_))
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

    /// The refusal is not about the object that was tried: a quota is used up, or a webhook cannot be
    /// asked without doing something.
    pub fn says_nothing_of_the_object(&self) -> bool {
        match &self.cause {
            Cause::Status(status) => ["exceeded quota", "does not support dry run"]
                .iter()
                .any(|words| status.message.contains(words)),
            Cause::Fenced(_) | Cause::Slow(_) | Cause::Transport(_) => false,
        }
    }

    /// An admission webhook that must be asked does not answer. The API server itself does: that is
    /// a fault of this cluster's set-up that somebody must mend, of this kind of object only.
    fn webhook_is_away(&self) -> bool {
        match &self.cause {
            Cause::Status(status) => status.message.contains("failed calling webhook"),
            Cause::Fenced(_) | Cause::Slow(_) | Cause::Transport(_) => false,
        }
    }

    /// What follows from the failure of a step.
    pub fn failure_kind(&self) -> FailureKind {
        match self.code() {
            Some(403) if self.namespace_is_going() => FailureKind::Unavailable,
            Some(500) if self.webhook_is_away() => FailureKind::Refused,
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
        self.failure_kind().into()
    }
}

#[cfg(test)]
mod tests {
    use tikv_operator_core::world::Kind;

    use super::*;

    fn error(code: u16, message: &str) -> ApiError {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        ApiError {
            verb: ApiVerb::Create,
            resource: Resource::Part(Kind::Service),
            name: "c-pd".to_owned(),
            cause: Cause::Status(Box::new(status)),
        }
    }

    #[test]
    fn a_webhook_that_is_away_refuses_and_a_server_that_is_ill_does_not() {
        let away =
            "Internal error occurred: failed calling webhook \"x.example.org\": no endpoints";
        assert_eq!(error(500, away).failure_kind(), FailureKind::Refused);
        for code in [500, 503, 429] {
            assert_eq!(error(code, "etcd is away").failure_kind(), FailureKind::Unavailable);
        }
        let denied = "admission webhook \"x.example.org\" denied the request: no";
        for (code, message) in [(400, denied), (403, denied), (422, "spec: Invalid value")] {
            assert_eq!(error(code, message).failure_kind(), FailureKind::Refused);
        }
    }

    #[test]
    fn a_used_up_quota_says_nothing_of_the_object() {
        let quota = "pods \"c-tikv-2\" is forbidden: exceeded quota: q, requested: pods=1";
        assert!(error(403, quota).says_nothing_of_the_object());
        let dry = "admission webhook \"x.example.org\" does not support dry run";
        assert!(error(400, dry).says_nothing_of_the_object());
        let missing = "pods \"c-tikv-2\" is forbidden: failed quota: q: must specify limits.cpu";
        assert!(!error(403, missing).says_nothing_of_the_object());
    }
}
