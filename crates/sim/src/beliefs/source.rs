//! What is a belief, and where may it come from?

/// Where a belief comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Recorded answers of a real server, by file name.
    Recording(&'static str),
    /// A script that the real server and the model answer alike, by file name.
    Script(&'static str),
    /// Seen on a real server, but not an answer that can be recorded: which one, and how.
    Seen(&'static str),
    /// Read in source: project, version, file, function.
    Read(&'static str),
    /// Documented by the project.
    Documented(&'static str),
    /// A stand-in for a delay that is different everywhere; chosen, and why.
    Chosen(&'static str),
}

/// Something that the model relies on.
#[derive(Clone, Copy, Debug)]
pub struct Belief<T> {
    /// The number or fact as the model uses it.
    pub value: T,
    /// The belief in words.
    pub says: &'static str,
    /// How it is known.
    pub source: Source,
}

/// A belief from its parts.
pub(super) const fn belief<T>(value: T, says: &'static str, source: Source) -> Belief<T> {
    Belief { value, says, source }
}
