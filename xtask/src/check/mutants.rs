//! Which changes of what decides would no test notice?
//!
//! cargo-mutants (compiled once into the cache of built programs) changes the rules and the planner in
//! one place at a time: a comparison, an operator, a whole body. First the tests of `core` judge each
//! change, which takes seconds; what they do not notice is judged by the simulator, which takes a
//! minute or two. What neither notices has to be explained in `docs/mutants.md`.
//!
//! It takes hours, so it is done in parts, and a part that was broken off goes on where it was. Parts
//! are made of whole files here: the tool's own division begins with what is left to be done, so its
//! parts are others after every run.

use std::collections::BTreeSet;
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
/// Where survivors are explained.
const PAGE: &str = "docs/mutants.md";
/// Most seconds that tests may take; a change that makes them run on and on is noticed by that.
const PATIENCE: &str = "900";
/// The tool found changes that no test notices, or with which a test never ended.
const FOUND: [i32; 2] = [2, 3];

/// Changes rules and planner in one place at a time and says which changes no test notices.
#[derive(Debug, Args)]
pub(crate) struct MutantsArgs {
    /// Only part k of n of the files, counted from 0.
    #[arg(long, default_value = "0/1", value_name = "K/N")]
    shard: Part,
    /// Only files whose path has this in it.
    #[arg(long, default_value = "")]
    file: String,
    /// Forget what earlier runs of this part found: the sources have changed.
    #[arg(long)]
    afresh: bool,
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
        let directory = Cache::open()?.directory(&format!("cargo-mutants-{VERSION}"));
        let program = installed(&directory, "cargo-mutants", VERSION)?;
        let results = products::root().join("target/mutants").join(self.name());
        if self.afresh && results.exists() {
            fs::remove_dir_all(&results).context("results of earlier runs")?;
        }
        let (first, second) = (results.join("core"), results.join("sim"));
        let whole = first.join("whole");
        if !whole.exists() {
            judge(&program, &files, &first, "tikv-operator-core")?;
            fs::write(&whole, "").context("results")?;
        }
        hand_over(&first, &second)?;
        judge(&program, &files, &second, "tikv-operator-sim")?;
        let survivors = names(&lines(&second, "missed.txt"));
        let page = fs::read_to_string(products::root().join(PAGE)).context(PAGE)?;
        compare(&files, &survivors, &explained(&page))
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

    /// The directory of its results.
    fn name(&self) -> String {
        let file = self.file.replace(['/', '.'], "-");
        format!("{}-of-{}{file}", self.shard.index, self.shard.of)
    }
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

/// Has the tests of a package judge every change that was not noticed before.
fn judge(program: &Path, files: &[PathBuf], results: &Path, tests: &str) -> Result<()> {
    fs::create_dir_all(results).context("results")?;
    let mut command = Command::new(program);
    command
        .current_dir(products::root())
        // What is changed is built in a copy, and must not be taken for what is not.
        .env_remove("CARGO_TARGET_DIR")
        .args(["mutants", "--iterate", "--package", "tikv-operator-core"])
        .args(["--test-package", tests, "--timeout", PATIENCE, "--caught", "--output"])
        .arg(results)
        // It is compiled anew for every change, and tests of one moment need no optimisation.
        .args(["--cargo-arg", "--config=profile.dev.package.tikv-operator-core.opt-level=1"]);
    for file in files {
        command.arg("--file").arg(file);
    }
    let status = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if FOUND.contains(&code) => Ok(()),
        _ => bail!("cargo-mutants ended with {status}; the next run goes on from here"),
    }
}

/// The second judge begins with what the first has left.
fn hand_over(first: &Path, second: &Path) -> Result<()> {
    let noticed = ["caught.txt", "timeout.txt", "unviable.txt", "previously_caught.txt"];
    let known = |of: &Path| noticed.iter().flat_map(|name| lines(of, name)).collect::<Vec<_>>();
    let mut all: BTreeSet<String> = known(first).into_iter().collect();
    all.extend(known(second));
    let directory = second.join("mutants.out");
    fs::create_dir_all(&directory).context("results")?;
    let text: String = all.into_iter().map(|line| line + "\n").collect();
    fs::write(directory.join("previously_caught.txt"), text).context("results")
}

fn lines(results: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(results.join("mutants.out").join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Changes without the line and the column, which other changes of the file move:
/// `crates/core/src/plan/evict.rs: replace < with <= in evict`.
fn names(lines: &[String]) -> BTreeSet<String> {
    let name = |line: &String| {
        let (place, what) = line.split_once(": ").unwrap_or((line, ""));
        let file = place.split(':').next().unwrap_or(place);
        format!("{file}: {what}")
    };
    lines.iter().map(name).collect()
}

/// The changes that the page explains: items of its lists that begin with one in back-quotes.
fn explained(page: &str) -> BTreeSet<String> {
    let items = page.lines().filter_map(|line| line.strip_prefix("- `"));
    items.filter_map(|item| item.split_once('`')).map(|(name, _)| name.to_owned()).collect()
}

fn compare(
    files: &[PathBuf],
    survivors: &BTreeSet<String>,
    explained: &BTreeSet<String>,
) -> Result<()> {
    let is_here = |name: &&String| {
        files.iter().any(|file| name.starts_with(&format!("{}: ", file.display())))
    };
    let new: Vec<&String> = survivors.difference(explained).collect();
    let gone: Vec<&String> = explained.difference(survivors).filter(is_here).collect();
    for name in &new {
        println!("no test notices: {name}");
    }
    for name in &gone {
        println!("explained in {PAGE}, and noticed by now: {name}");
    }
    let ok = new.is_empty() && gone.is_empty();
    println!(
        "{} changes are noticed by no test, {} of them unexplained",
        survivors.len(),
        new.len()
    );
    println!("test result: mutants. {} passed; {} failed; 0 ignored", u8::from(ok), u8::from(!ok));
    if ok { Ok(()) } else { bail!("{PAGE} is not what was found") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(shard: &str, file: &str) -> MutantsArgs {
        MutantsArgs { shard: shard.parse().unwrap(), file: file.to_owned(), afresh: false }
    }

    #[test]
    fn every_file_is_in_one_part_and_tests_are_in_none() {
        let whole = args("0/1", "").files().unwrap();
        assert!(whole.contains(&PathBuf::from("crates/core/src/plan/evict.rs")));
        assert!(!whole.iter().any(|file| file.to_string_lossy().contains("tests")));
        let mut parts: Vec<PathBuf> =
            (0..3).flat_map(|k| args(&format!("{k}/3"), "").files().unwrap()).collect();
        parts.sort();
        assert_eq!(parts, whole);
        assert_eq!(args("0/1", "plan/guard.rs").files().unwrap().len(), 1);
        assert!("3/3".parse::<Part>().is_err() && "1".parse::<Part>().is_err());
    }

    #[test]
    fn a_survivor_is_known_wherever_its_line_is() {
        let line = "crates/core/src/plan/a.rs:12:5: replace < with <= in f".to_owned();
        let page =
            "# Mutants\n- `crates/core/src/plan/a.rs: replace < with <= in f`: never equal\n";
        let (survivors, known) = (names(&[line]), explained(page));
        assert_eq!(survivors, known);
        let files = [PathBuf::from("crates/core/src/plan/a.rs")];
        assert!(compare(&files, &survivors, &known).is_ok());
        assert!(compare(&files, &survivors, &BTreeSet::new()).is_err(), "unexplained");
        assert!(compare(&files, &BTreeSet::new(), &known).is_err(), "noticed by now");
        let others = [PathBuf::from("crates/core/src/plan/b.rs")];
        assert!(compare(&others, &BTreeSet::new(), &known).is_ok(), "of another part");
    }

    #[test]
    fn the_second_judge_gets_what_the_first_has_left() {
        let root = std::env::temp_dir().join(format!("mutants-test-{}", std::process::id()));
        let (first, second) = (root.join("core"), root.join("sim"));
        fs::create_dir_all(first.join("mutants.out")).unwrap();
        fs::write(first.join("mutants.out/caught.txt"), "a\n").unwrap();
        fs::write(first.join("mutants.out/missed.txt"), "b\n").unwrap();
        hand_over(&first, &second).unwrap();
        fs::write(second.join("mutants.out/caught.txt"), "c\n").unwrap();
        hand_over(&first, &second).unwrap();
        assert_eq!(lines(&second, "previously_caught.txt"), ["a", "c"]);
        fs::remove_dir_all(&root).unwrap();
    }
}
