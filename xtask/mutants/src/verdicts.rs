//! What became of each change, and how is a run that was broken off continued?
//!
//! Each verdict is a line that is written as soon as it is known. A line counts while the source that
//! was changed is what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::mutant::Mutant;

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The compiler refuses it.
    Unviable,
    /// These tests noticed it.
    Noticed(String),
    /// It cannot be woven into one program with the others, and is not judged yet.
    Alone,
    /// The tests of `core` noticed nothing; the simulator has not judged yet.
    Silent,
    /// Nothing noticed it.
    Survived,
}

/// The verdicts so far.
#[derive(Debug)]
pub(crate) struct Verdicts {
    file: File,
    known: BTreeMap<String, Verdict>,
    /// Those that cannot be woven in, whatever became of them later.
    apart: BTreeSet<String>,
    digests: BTreeMap<PathBuf, String>,
}

impl Verdicts {
    /// Reads those that count.
    pub(crate) fn open(path: &Path, digests: BTreeMap<PathBuf, String>) -> Result<Self> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| path.display().to_string())?;
        let (known, apart) = (BTreeMap::new(), BTreeSet::new());
        let mut verdicts = Self { file, known, apart, digests };
        for line in text.lines() {
            let [digest, word, by, name] = *line.split('\t').collect::<Vec<_>>() else {
                // The last line of a run that was broken off.
                continue;
            };
            if verdicts.digest(name) == Some(digest) {
                verdicts.keep(name, Verdict::read(word, by)?);
            }
        }
        Ok(verdicts)
    }

    fn digest(&self, name: &str) -> Option<&str> {
        let file = name.split(':').next()?;
        self.digests.get(Path::new(file)).map(String::as_str)
    }

    pub(crate) fn of(&self, mutant: &Mutant) -> Option<&Verdict> {
        self.known.get(&mutant.name)
    }

    /// Writes a verdict down.
    pub(crate) fn note(&mut self, mutant: &Mutant, verdict: Verdict) -> Result<()> {
        let digest = self.digest(&mutant.name).unwrap_or_default().to_owned();
        let (word, by) = verdict.words();
        writeln!(self.file, "{digest}\t{word}\t{by}\t{}", mutant.name).context("verdicts")?;
        self.keep(&mutant.name, verdict);
        Ok(())
    }

    fn keep(&mut self, name: &str, verdict: Verdict) {
        if matches!(verdict, Verdict::Unviable | Verdict::Alone) {
            self.apart.insert(name.to_owned());
        }
        self.known.insert(name.to_owned(), verdict);
    }

    /// Can it not be woven into one program with the others?
    pub(crate) fn is_apart(&self, mutant: &Mutant) -> bool {
        self.apart.contains(&mutant.name)
    }

    /// Forgets what nothing has noticed: there are other tests now.
    pub(crate) fn doubt(&mut self) {
        for (name, verdict) in &mut self.known {
            if *verdict == Verdict::Survived && self.apart.contains(name) {
                *verdict = Verdict::Alone;
            }
        }
        self.known.retain(|_, verdict| !matches!(verdict, Verdict::Silent | Verdict::Survived));
    }
}

impl Verdict {
    /// Somebody has still to judge it.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Alone | Self::Silent => true,
            Self::Unviable | Self::Noticed(_) | Self::Survived => false,
        }
    }

    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Unviable => ("unviable", ""),
            Self::Noticed(by) => ("noticed", by),
            Self::Alone => ("alone", ""),
            Self::Silent => ("silent", ""),
            Self::Survived => ("survived", ""),
        }
    }

    fn read(word: &str, by: &str) -> Result<Self> {
        match word {
            "unviable" => Ok(Self::Unviable),
            "noticed" => Ok(Self::Noticed(by.to_owned())),
            "alone" => Ok(Self::Alone),
            "silent" => Ok(Self::Silent),
            "survived" => Ok(Self::Survived),
            _ => bail!("not a verdict: {word}"),
        }
    }

    /// Nothing is left to be judged.
    pub(crate) fn is_last(&self) -> bool {
        !matches!(self, Self::Silent | Self::Alone)
    }
}

/// By which the text of a file is known again. Its own tests, which are at its end, may change.
pub(crate) fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.split("\n#[cfg(test)]\nmod tests {\n").next().unwrap_or(text));
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutant::tests::at;
    use crate::mutant::{Genre, Place};

    #[test]
    fn the_tests_of_a_file_may_change() {
        let with = |test: &str| format!("fn a() {{}}\n\n#[cfg(test)]\nmod tests {{\n{test}}}\n");
        assert_eq!(digest(&with("")), digest(&with("fn b() {}")));
        assert_ne!(digest("fn a() {}"), digest("fn b() {}"));
    }

    #[test]
    fn a_verdict_counts_while_the_source_is_what_it_was() {
        let path = std::env::temp_dir().join(format!("verdicts-{}", std::process::id()));
        let place = Place { line: 1, column: 1 };
        let mut mutant = at(place, place, Genre::FnValue, "1");
        mutant.name = "a.rs:1:1: replace f with 1".to_owned();
        let open = |digest: &str| {
            Verdicts::open(&path, [(PathBuf::from("a.rs"), digest.to_owned())].into()).unwrap()
        };
        let mut first = open("1");
        first.note(&mutant, Verdict::Silent).unwrap();
        first.note(&mutant, Verdict::Noticed("core/golden".to_owned())).unwrap();
        assert_eq!(open("1").of(&mutant), Some(&Verdict::Noticed("core/golden".to_owned())));
        assert_eq!(open("2").of(&mutant), None);
        first.note(&mutant, Verdict::Survived).unwrap();
        let mut again = open("1");
        again.doubt();
        assert_eq!(again.of(&mutant), None);
        std::fs::remove_file(&path).unwrap();
    }
}
