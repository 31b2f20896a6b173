//! Would the API server take the pod that the spec asks for?

use super::Revision;

/// What came of a dry run: the pod was shown to the API server, which looked at all of it and made
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The pod that was shown is of this revision.
    pub revision: Revision,
    /// Why it was refused, in the server's words, which name the field; `None`: it was accepted.
    pub refused: Option<String>,
}
