//! What does the API server say where it does not grant a request?

use std::fmt;

/// A request that was not granted, by the API server or by another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// Why, as a program reads it.
    pub reason: Reason,
    /// What the server says.
    pub message: String,
}

/// `reason` of the API server's answer; of one that is not valid, also the field that is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// 404.
    NotFound,
    /// 409: the name is taken.
    AlreadyExists,
    /// 409: another version or another incarnation was meant.
    Conflict,
    /// 422, with the field.
    Invalid(&'static str),
    /// 403.
    Forbidden,
    /// 429.
    TooManyRequests,
    /// PD and stores give a status and a sentence.
    None,
}

impl Refusal {
    pub(super) fn new(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    /// 409 where a uid or a version was meant that the object does not have.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, Reason::Conflict, message)
    }

    /// The object is another one of the same name: a patch that names a uid is not valid for it.
    pub fn is_of_another(&self) -> bool {
        self.reason == Reason::Invalid("metadata.uid")
    }

    pub(super) fn not_found(what: impl fmt::Display) -> Self {
        Self::new(404, Reason::NotFound, format!("{what} not found"))
    }

    pub(super) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(422, Reason::Invalid(field), message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, Reason::Forbidden, message)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Invalid(_) => "Invalid",
            Self::Forbidden => "Forbidden",
            Self::TooManyRequests => "TooManyRequests",
            Self::None => "",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
