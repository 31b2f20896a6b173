//! Why did PD not do as asked? A status and the message that PD v8.5.7 sends with it.

use http::StatusCode;

use crate::version::{Feature, Version};

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status of the answer.
    pub status: StatusCode,
    /// PD's message.
    pub message: String,
    /// Whether the answer is the JSON object `{"code","msg","data"}` of bad input.
    pub as_object: bool,
}

/// etcd's message, passed on.
impl From<tonic::Status> for Refusal {
    fn from(status: tonic::Status) -> Self {
        Self::internal(status.message())
    }
}

impl Refusal {
    /// A refusal whose body is a JSON string.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), as_object: false }
    }

    /// 400 with a JSON string.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 500 with a JSON string.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 400 with the object `{"code":"input",…}`.
    pub fn input(message: impl Into<String>) -> Self {
        Self { as_object: true, ..Self::bad(message) }
    }

    /// The same as a release words it: before v4.0.8 without a code.
    #[must_use]
    pub fn of(mut self, version: Version) -> Self {
        self.message = worded(version, &self.message);
        self
    }

    /// No TiKV has ever registered.
    pub fn not_bootstrapped() -> Self {
        Self::internal(
            "[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first",
        )
    }

    /// 404: PD does not know the store.
    pub fn store_not_found(id: u64) -> Self {
        let message = format!("[PD:core:ErrStoreNotFound]store {id} not found");
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 410: the store is a tombstone.
    pub fn store_removed(id: u64) -> Self {
        let message = format!("[PD:core:ErrStoreRemoved]store {id} has been removed");
        Self::new(StatusCode::GONE, message)
    }

    /// 400: the store was removed by force and cannot come back.
    pub fn store_destroyed(id: u64) -> Self {
        Self::bad(format!("[PD:core:ErrStoreDestroyed]store {id} has been physically destroyed"))
    }
}

/// A message as a release words it.
pub fn worded(version: Version, message: &str) -> String {
    let coded = message.split_once("[PD:").filter(|_| !version.has(Feature::ERROR_CODES));
    let codeless = coded.and_then(|(before, code)| Some((before, code.split_once(']')?.1)));
    codeless.map_or_else(|| message.to_owned(), |(before, words)| format!("{before}{words}"))
}
