//! What went wrong, and what can be done about it?

use thiserror::Error;

/// Why there is no answer. Each message says what to do next.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// There is no kubeconfig, or not one that can be used.
    #[error(
        "no usable kubeconfig: {0}\nGive one with --kubeconfig or KUBECONFIG, or read a dump with --file."
    )]
    NoKubeconfig(String),
    /// The API server does not answer.
    #[error(
        "the Kubernetes cluster does not answer: {0}\nIs it the right one? See `kubectl cluster-info`, or choose with --context."
    )]
    NoAnswer(String),
    /// The CRD is not installed.
    #[error(
        "this Kubernetes cluster does not know TikvClusters: the operator is not installed.\nInstall it with `kubectl apply -f deploy/`, or choose another cluster with --context."
    )]
    NotInstalled,
    /// The user may not read.
    #[error("not allowed: {0}\nAsk for the right to get and list what is named.")]
    Forbidden(String),
    /// The API server refuses for another reason.
    #[error("the API server refuses: {0}")]
    Refused(String),
    /// No such cluster.
    #[error("there is no TikvCluster \"{name}\" in {place}{others}")]
    NotFound {
        /// The name that was asked for.
        name: String,
        /// Where was looked.
        place: String,
        /// What there is instead, as the rest of the sentence.
        others: String,
    },
    /// The dump cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        reason: String,
    },
    /// The manifest would be refused.
    #[error("{path} is not a cluster that can be built:{problems}")]
    Rejected {
        /// Its path.
        path: String,
        /// Each field with its sentence, one a line.
        problems: String,
    },
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::NoAnswer(innermost(&error)) };
        match status.code {
            404 => Self::NotInstalled,
            401 | 403 => Self::Forbidden(status.message.clone()),
            _ => Self::Refused(status.message.clone()),
        }
    }
}

/// The words at the bottom of a chain of errors: "connection refused", not "service error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
