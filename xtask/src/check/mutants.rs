//! Which changes of what decides would no test notice?
//!
//! cargo-mutants (compiled once into the cache of built programs) says which changes of the rules and the
//! planner there are: a comparison, an operator, a whole body. It compiles everything anew for each,
//! which would take days here, so the judging is done by a program of ours (package
//! `tikv-operator-mutants`), in which all of them are compiled at once. What neither the tests of `core`
//! nor the simulator notice has to be explained in `docs/mutants.md`.
//!
//! What was judged stays judged while the source is the same, so what was broken off goes on where it
//! was, and parts can be done one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::{decides, installed};
use crate::products;
use crate::tools::cache::Cache;

const VERSION: &str = "27.1.0";
/// What is changed.
const CHANGED: [&str; 2] = ["crates/core/src/plan", "crates/core/src/rules"];
const PROGRAM: &str = "tikv-operator-mutants";

/// Changes rules and planner in one place at a time and says which changes no test notices.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct MutantsArgs {
    /// Only part k of n of the files, counted from 0.
    #[arg(long, default_value = "0/1", value_name = "K/N")]
    shard: Part,
    /// Only files whose path has this in it.
    #[arg(long, default_value = "")]
    file: String,
    /// Forget what earlier runs found: there are fewer tests than there were.
    #[arg(long)]
    afresh: bool,
    /// Judge what nothing noticed once more: there are more tests than there were.
    #[arg(long)]
    again: bool,
    /// Only by the tests of core.
    #[arg(long)]
    core_only: bool,
    /// Changes that are judged at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Random histories that the simulator plays with each change that nothing else notices.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Judge nothing, and say what is known.
    #[arg(long)]
    report: bool,
    /// Write the figures into the page.
    #[arg(long)]
    write: bool,
}

/// Part k of n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    index: usize,
    of: usize,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (index, of) = text.split_once('/').ok_or("want k/n")?;
        let number = |text: &str| text.parse().map_err(|_| format!("not a number: {text}"));
        let (index, of) = (number(index)?, number(of)?);
        if index < of { Ok(Self { index, of }) } else { Err("k is less than n".to_owned()) }
    }
}

impl MutantsArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let files = self.files()?;
        if files.is_empty() {
            bail!("no file of rules or planner has {:?} in its path", self.file);
        }
        let directory = products::target_dir()?.join("mutants");
        fs::create_dir_all(&directory).context("results")?;
        if self.afresh {
            drop(fs::remove_file(directory.join("verdicts.tsv")));
        }
        let list = directory.join("list.json");
        fs::write(&list, changes(&files)?).context("the list of changes")?;
        let mut judge = Command::new(products::build(&[PROGRAM])?.join(PROGRAM));
        judge.arg("--list").arg(&list).arg("--directory").arg(&directory);
        judge.args(["--jobs", &self.jobs.to_string(), "--seeds", &self.seeds.to_string()]);
        judge.args(self.again.then_some("--again"));
        judge.args(self.core_only.then_some("--core-only"));
        judge.args(self.report.then_some("--report"));
        if self.write {
            judge.args(["--write", &self.heading()?]);
        }
        let status = judge.status().with_context(|| format!("cannot start {PROGRAM}"))?;
        if !status.success() {
            bail!("not all is noticed or explained, or it was broken off; what was judged is kept");
        }
        Ok(())
    }

    /// What the figures are of.
    fn heading(&self) -> Result<String> {
        let output = Command::new("git")
            .args(["log", "-1", "--format=%h of %cs"])
            .current_dir(products::root())
            .output()
            .context("cannot start git")?;
        let commit = String::from_utf8(output.stdout).context("a commit")?;
        let tests = if self.core_only {
            "tests of `core` only".to_owned()
        } else {
            format!("{} random histories", self.seeds)
        };
        Ok(format!("Commit {}, cargo-mutants {VERSION}, {tests}.", commit.trim()))
    }

    /// The files of this part, in order.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for directory in CHANGED {
            sources(&products::root().join(directory), &mut all)?;
        }
        all.sort();
        let part =
            all.into_iter().enumerate().filter(|(n, _)| n % self.shard.of == self.shard.index);
        let files = part.map(|(_, file)| file);
        Ok(files.filter(|file| file.to_string_lossy().contains(&self.file)).collect())
    }
}

/// The list of changes of these files, as JSON.
fn changes(files: &[PathBuf]) -> Result<Vec<u8>> {
    let directory = Cache::open()?.directory(&format!("cargo-mutants-{VERSION}"));
    let program = installed(&directory, "cargo-mutants", VERSION)?;
    let mut command = Command::new(&program);
    command.current_dir(products::root());
    command.args(["mutants", "--list", "--json", "--package", "tikv-operator-core"]);
    for file in files {
        command.arg("--file").arg(file);
    }
    let output = command.stderr(std::process::Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("cargo-mutants ended with {}", output.status);
    }
    Ok(output.stdout)
}

/// Sources below a directory that decide, from the root on.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let name = path.strip_prefix(products::root()).unwrap_or(&path);
        if path.is_dir() {
            sources(&path, found)?;
        } else if decides(name) && name.extension().is_some_and(|e| e == "rs") {
            found.push(name.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(shard: &str, file: &str) -> Vec<PathBuf> {
        let args = MutantsArgs {
            shard: shard.parse().unwrap(),
            file: file.to_owned(),
            afresh: false,
            again: false,
            core_only: false,
            jobs: 1,
            seeds: 1,
            report: false,
            write: false,
        };
        args.files().unwrap()
    }

    #[test]
    fn every_file_is_in_one_part_and_tests_are_in_none() {
        let whole = files("0/1", "");
        assert!(whole.contains(&PathBuf::from("crates/core/src/plan/evict.rs")));
        assert!(!whole.iter().any(|file| file.to_string_lossy().contains("tests")));
        let mut parts: Vec<PathBuf> = (0..3).flat_map(|k| files(&format!("{k}/3"), "")).collect();
        parts.sort();
        assert_eq!(parts, whole);
        assert_eq!(files("0/1", "plan/guard.rs").len(), 1);
        assert!("3/3".parse::<Part>().is_err() && "1".parse::<Part>().is_err());
    }
}
