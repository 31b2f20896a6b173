//! Does every script print what is written in it? `UPDATE=1` writes what it prints now.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

use tikv_operator_sim::operator::Brain;
use tikv_operator_sim::queue::each;
use tikv_operator_sim::script::{self, Played};

/// A script as it is written, with what came of it. Both tests look at it; it is run once.
type Whole = OnceLock<(String, Played)>;

static WHOLE: LazyLock<BTreeMap<PathBuf, Whole>> =
    LazyLock::new(|| files().into_iter().map(|file| (file, Whole::new())).collect());

fn whole(file: &Path) -> &'static (String, Played) {
    WHOLE[file].get_or_init(|| {
        let text = fs::read_to_string(file).unwrap();
        let played = script::run(&text);
        (text, played)
    })
}

/// The scripts, or those whose name contains `ONLY`.
fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "txt"));
    assert!(files.len() >= 10, "scripts are missing");
    files.retain(|file| file.to_string_lossy().contains(&only));
    files
}

fn replay(name: &str) -> String {
    format!("ONLY={name} cargo test -p tikv-operator-sim --test scripts")
}

#[test]
fn scripts_print_what_they_say() {
    let failed = each(&files(), |file| prints_what_it_says(file));
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn prints_what_it_says(file: &Path) -> Vec<String> {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let (text, played) = whole(file);
    assert!(text.contains("> "), "{name} does nothing");
    let mut failed: Vec<String> = Vec::new();
    for finding in &played.findings {
        failed.push(format!("{name}: {finding} ({})", replay(&name)));
    }
    if played.printed != *text {
        if std::env::var_os("UPDATE").is_some() {
            fs::write(file, &played.printed).unwrap();
        } else {
            let lines = difference(text, &played.printed);
            failed.push(format!("{name} prints something else now:\n{lines}"));
        }
    }
    failed
}

/// How many of a script's writes are followed by an end of the operator; `CRASHES=all` for every
/// one of them.
const CRASHES: usize = 3;

#[test]
fn scripts_end_the_same_with_a_crash_after_a_write() {
    let failed = each(&files(), |file| crash_after_writes(file));
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{} bad ends:\n{}", failed.len(), failed.join("\n"));
}

/// What went wrong in a script when the operator ended after one of its writes.
fn crash_after_writes(file: &Path) -> Vec<String> {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let (text, whole) = whole(file);
    // Scripts about crashes and chance have their own.
    let apart = ["crash-after", "> faults", "second-operator"];
    if apart.iter().any(|word| text.contains(word)) {
        return Vec::new();
    }
    let mut failed = Vec::new();
    for write in points(whole.writes, name.len()) {
        let crashed = script::run_with(text, Brain::default(), Some(write));
        let mut say = |what: String| {
            failed.push(format!("{name}, crash after write {write}: {what} ({})", replay(&name)));
        };
        crashed.findings.iter().for_each(|finding| say(finding.clone()));
        if crashed.unsettled > whole.unsettled {
            say("does not settle".to_owned());
        }
        // An edit at a fixed time may meet another moment, and a restart of the operator starts its
        // delays anew: such scripts say so.
        if crashed.left != whole.left && !text.contains("what is left may differ") {
            say(format!("other objects: {:?} for {:?}", crashed.left, whole.left));
        }
    }
    failed
}

/// Some writes of a run, spread over it, others for every script.
fn points(writes: usize, shift: usize) -> Vec<usize> {
    let all = std::env::var("CRASHES").unwrap_or_default() == "all";
    let step = if all { 1 } else { (writes / CRASHES).max(1) };
    (1..=writes).skip(if all { 0 } else { shift % step }).step_by(step).collect()
}

/// The lines that differ, with what is written before what is printed.
fn difference(written: &str, printed: &str) -> String {
    let mut out = String::new();
    let (mut a, mut b) = (written.lines().peekable(), printed.lines().peekable());
    while a.peek().is_some() || b.peek().is_some() {
        let (left, right) = (a.next(), b.next());
        if left != right {
            for (sign, line) in [('-', left), ('+', right)] {
                out.extend(line.map(|line| format!("{sign} {line}\n")));
            }
        }
    }
    out
}
