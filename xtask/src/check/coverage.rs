//! How many lines of what decides are reached by the tests of what decides?
//!
//! The tests of `core` and all of the simulator run with the compiler's counters in
//! (cargo-llvm-cov, compiled once into the cache of built programs). A file's tests are not lines of
//! what decides: what follows `#[cfg(test)]`, and whole files of tests, are not counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::installed;
use crate::products;
use crate::tools::cache::Cache;

const VERSION: &str = "0.9.1";
/// Whose lines are counted.
const DECIDES: &str = "crates/core/src";
/// Of 100 lines, so many have to be reached.
const REQUIRED: f64 = 95.0;
/// Lines that nothing reached are named up to this number.
const NAMED: usize = 60;

/// Measures, prints each file with lines that nothing reached, and compares with what is required.
pub(crate) fn run() -> Result<()> {
    let directory = Cache::open()?.directory(&format!("cargo-llvm-cov-{VERSION}"));
    let program = installed(&directory, "cargo-llvm-cov", VERSION)?;
    let report = products::target_dir()?.join("coverage.lcov");
    let status = Command::new(&program)
        .current_dir(products::root())
        // It installs the toolchain's own reader of counters without a question.
        .env("CARGO_LLVM_COV_SETUP", "yes")
        .args(["llvm-cov", "test", "--package", "tikv-operator-core"])
        .args(["--package", "tikv-operator-sim", "--lcov", "--output-path"])
        .arg(&report)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!("the tests did not pass, so nothing was measured");
    }
    let text = std::fs::read_to_string(&report)
        .with_context(|| format!("cannot read {}", report.display()))?;
    judge(&files(&text)?)
}

/// Lines of one file by number: was each reached?
type Lines = BTreeMap<usize, bool>;

/// The files that decide, with their lines.
fn files(lcov: &str) -> Result<BTreeMap<PathBuf, Lines>> {
    let root = products::root();
    let mut found: BTreeMap<PathBuf, Lines> = BTreeMap::new();
    let mut current: Option<(PathBuf, usize)> = None;
    for line in lcov.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let path = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(path));
            current = if decides(path) {
                let text = std::fs::read_to_string(root.join(path))
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Some((path.to_owned(), tests_begin(&text)))
            } else {
                None
            };
        }
        let (Some((path, end)), Some(data)) = (&current, line.strip_prefix("DA:")) else {
            continue;
        };
        let (number, count) = data.split_once(',').context("a line without a count")?;
        let (number, reached) = (number.parse::<usize>()?, count != "0");
        if number < *end {
            let lines = found.entry(path.clone()).or_default();
            *lines.entry(number).or_default() |= reached;
        }
    }
    Ok(found)
}

/// It decides, and is not a test of what does.
pub(super) fn decides(path: &Path) -> bool {
    let is_test = |part: &str| {
        let name = part.trim_end_matches(".rs");
        name == "tests"
            || name.starts_with("tests_")
            || name.ends_with("_tests")
            || name == "fixture"
    };
    path.starts_with(DECIDES) && !path.iter().any(|part| is_test(&part.to_string_lossy()))
}

/// The number of the line with which a file's own tests begin.
fn tests_begin(text: &str) -> usize {
    let begin = text.lines().position(|line| line == "#[cfg(test)]");
    begin
        .filter(|at| text.lines().nth(at + 1).is_some_and(|next| next.ends_with('{')))
        .map_or(usize::MAX, |at| at + 1)
}

fn judge(files: &BTreeMap<PathBuf, Lines>) -> Result<()> {
    let all = files.values().map(Lines::len).sum::<usize>();
    let reached = files.values().flat_map(Lines::values).filter(|reached| **reached).count();
    if all == 0 {
        bail!("no line of {DECIDES} was found in the report");
    }
    let missed = files.iter().flat_map(|(path, lines)| {
        let lines = lines.iter().filter(|(_, reached)| !**reached);
        lines.map(move |(number, _)| format!("{}:{number}", path.display()))
    });
    let missed: Vec<String> = missed.collect();
    for line in missed.iter().take(NAMED) {
        println!("not reached: {line}");
    }
    if missed.len() > NAMED {
        println!(
            "… and {} more: coverage.lcov in the target directory has them",
            missed.len() - NAMED
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "numbers of lines")]
    let share = reached as f64 * 100.0 / all as f64;
    println!(
        "{reached} of {all} lines of {DECIDES} are reached: {share:.1} % ({REQUIRED} % are required)"
    );
    let ok = share >= REQUIRED;
    println!("test result: coverage. {} passed; {} failed; 0 ignored", u8::from(ok), u8::from(!ok));
    if ok { Ok(()) } else { bail!("too few lines of {DECIDES} are reached") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_other_crates_are_not_counted() {
        let counted = |path| decides(Path::new(path));
        assert!(counted("crates/core/src/plan/evict.rs"));
        let not = [
            "crates/core/src/plan/tests/scale.rs",
            "crates/core/src/plan/tests_pd.rs",
            "crates/core/src/plan/upgrade_tests.rs",
            "crates/core/src/fixture.rs",
            "crates/sim/src/pd/mod.rs",
        ];
        for path in not {
            assert!(!counted(path), "{path}");
        }
        assert_eq!(tests_begin("a\n\n#[cfg(test)]\nmod tests {\n"), 3);
        assert_eq!(tests_begin("#[cfg(test)]\nmod tests;\nfn a() {}\n"), usize::MAX);
    }

    #[test]
    fn a_line_is_reached_if_any_program_reached_it() {
        let path = products::root().join("crates/core/src/plan/evict.rs");
        let report = format!("SF:{}\nDA:3,0\nDA:4,0\nDA:4,7\nend_of_record\n", path.display());
        let found = files(&report).expect("a report");
        let lines = &found[Path::new("crates/core/src/plan/evict.rs")];
        assert_eq!(lines, &[(3, false), (4, true)].into());
        assert!(judge(&found).is_err(), "50 %");
        assert!(judge(&BTreeMap::new()).is_err(), "nothing was measured");
    }
}
