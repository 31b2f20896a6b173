//! What is one change, as cargo-mutants names it?

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// One change of a source: a piece of its text and what takes its place.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mutant {
    /// `crates/core/src/plan/evict.rs:12:5: replace < with <= in evict`.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) span: Span,
    pub(crate) replacement: String,
    pub(crate) genre: Genre,
    function: Option<Function>,
}

/// The function that it is in.
#[derive(Clone, Debug, Deserialize)]
struct Function {
    /// `-> bool`, or nothing.
    return_type: String,
}

/// Kinds of changes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Genre {
    /// The body of a function is one value.
    FnValue,
    /// Another operator between two operands.
    BinaryOperator,
    /// An operator before an operand is left out.
    UnaryOperator,
    /// An arm of a match is left out.
    MatchArm,
    /// The guard of an arm is `true` or `false`.
    MatchArmGuard,
    /// A field is as in the struct's base.
    StructField,
}

/// From the first character to the one behind the last.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// Line and column in characters, both counted from 1.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// The changes in a list of cargo-mutants (`--list --json`).
pub(crate) fn read(json: &str) -> Result<Vec<Mutant>> {
    let mut mutants: Vec<Mutant> = serde_json::from_str(json).context("a list of cargo-mutants")?;
    for mutant in &mut mutants {
        mutant.look_behind_alias();
    }
    Ok(mutants)
}

/// The name that guards give to their result: a synonym, behind which cargo-mutants does not look.
const ALIAS: &str = "-> Verdict";
const DEFAULT: &str = "Default::default()";
const ALLOWED: &str = "Ok(())";

impl Mutant {
    /// A guard whose body is a default does not compile; one that refuses nothing does.
    fn look_behind_alias(&mut self) {
        let returned = self.function.as_ref().map_or("", |function| &function.return_type);
        if returned == ALIAS && self.replacement == DEFAULT {
            ALLOWED.clone_into(&mut self.replacement);
            self.name = self.name.replace(DEFAULT, ALLOWED);
        }
    }

    /// Its name without line and column, which other changes of the file move:
    /// `crates/core/src/plan/evict.rs: replace < with <= in evict`.
    pub(crate) fn placeless(&self) -> String {
        let what = self.name.splitn(4, ':').nth(3).unwrap_or(&self.name);
        format!("{}: {}", self.file.display(), what.trim())
    }

    /// The file's text with this change alone.
    pub(crate) fn applied(&self, text: &str) -> Option<String> {
        let (start, end) = (offset(text, self.span.start)?, offset(text, self.span.end)?);
        Some(format!("{}{}{}", text.get(..start)?, self.replacement, text.get(end..)?))
    }

    /// Is the expression that is woven in of the same types as the one that it stands for? Then it is the
    /// change that the compiler refuses, and not its being woven.
    pub(crate) fn is_woven_as_it_is(&self) -> bool {
        let returned = self.function.as_ref().map_or("", |function| &function.return_type);
        match self.genre {
            Genre::FnValue => !returned.contains("impl "),
            Genre::BinaryOperator => true,
            Genre::UnaryOperator | Genre::MatchArm | Genre::MatchArmGuard | Genre::StructField => {
                false
            }
        }
    }
}

/// The byte at which a place is.
fn offset(text: &str, place: Place) -> Option<usize> {
    let mut begin = 0;
    for line in text.split_inclusive('\n').take(place.line - 1) {
        begin += line.len();
    }
    let line = text.get(begin..)?;
    let column = line.char_indices().nth(place.column - 1).map_or(line.len(), |(at, _)| at);
    Some(begin + column)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A change at a place, of which nothing else matters.
    pub(crate) fn at(start: Place, end: Place, genre: Genre, replacement: &str) -> Mutant {
        let (name, file) = (String::new(), PathBuf::new());
        let replacement = replacement.to_owned();
        Mutant { name, file, span: Span { start, end }, replacement, genre, function: None }
    }

    const LIST: &str = r#"[{"name": "a/b.rs:2:3: replace < with <= in a::f", "package": "p", "file": "a/b.rs",
        "function": null, "genre": "BinaryOperator", "replacement": "<=",
        "span": {"start": {"line": 2, "column": 3}, "end": {"line": 2, "column": 4}}}]"#;

    #[test]
    fn a_guard_is_tried_that_refuses_nothing() {
        let list = LIST
            .replace("null", r#"{"return_type": "-> Verdict"}"#)
            .replace("\"<=\"", "\"Default::default()\"")
            .replace("replace < with <= in a::f", "replace f -> Verdict with Default::default()");
        let mutant = &read(&list).unwrap()[0];
        assert_eq!(mutant.replacement, "Ok(())");
        assert_eq!(mutant.placeless(), "a/b.rs: replace f -> Verdict with Ok(())");
    }

    #[test]
    fn a_change_is_read_named_and_applied() {
        let list = read(LIST).unwrap();
        assert_eq!(list[0].placeless(), "a/b.rs: replace < with <= in a::f");
        assert_eq!(list[0].applied("é\nä < b\n").unwrap(), "é\nä <= b\n");
    }
}
