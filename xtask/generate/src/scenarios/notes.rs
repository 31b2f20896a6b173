//! What does the name of a test not say about a scenario?

/// How a scenario is shown, or why it is not.
pub(crate) enum Note {
    /// A test whose name bears no number: file and name.
    #[expect(dead_code, reason = "none yet")]
    Test(&'static str, &'static str),
    /// It is checked in every run, in words.
    Checked(&'static str),
    /// It cannot happen here.
    NotApplicable(&'static str),
    /// Not shown, or not whole.
    Open(&'static str),
}

/// Notes by scenario.
pub(crate) const NOTES: &[(&str, Note)] = &[];
