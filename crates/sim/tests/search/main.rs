//! Does anything go wrong in a small cluster, whatever happens and whenever it happens?
//!
//! Every situation beside this file that is not long is looked at in whole (`--nocapture` prints how
//! many moments that are). `LONG=1` looks at the long ones too, `ONLY=name` at one, `FAULTS`, `LUCK`
//! and `GRAIN` at others than are written there; `cargo xtask sim --exhaustive` does it in a release
//! build on all processors.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

#[allow(dead_code)] // The other half is caught by random histories.
#[path = "../teeth/planners.rs"]
mod planners;

use std::path::PathBuf;
use std::str::FromStr;

use tikv_operator_sim::history;
use tikv_operator_sim::operator::{Brain, Planner};
use tikv_operator_sim::queue::each;
use tikv_operator_sim::search::{Effort, Sight, Situation, search};

fn situations() -> Vec<Situation> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/search");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    let read = |file: &PathBuf| {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        Situation::read(&name, &std::fs::read_to_string(file).unwrap()).unwrap()
    };
    files.iter().map(read).collect()
}

fn number<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

fn effort() -> Effort {
    let usual = Effort::default();
    Effort {
        faults: number("FAULTS"),
        luck: number("LUCK").unwrap_or(usual.luck),
        sight: number("GRAIN").map(|grain| Sight { grain, ..Sight::default() }),
        most: number("MOST").unwrap_or(usual.most),
        ..usual
    }
}

#[test]
fn nothing_ends_badly_whatever_happens_and_whenever() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let long = std::env::var_os("LONG").is_some();
    let mut wanted = situations();
    wanted.retain(|s| s.name.contains(&only) && (long || !s.long));
    let bad = each(&wanted, |situation| {
        let searched = search(situation, effort());
        eprintln!("{}: {}", situation.name, searched.summary());
        let shown = [&searched.findings[..], &searched.script[..]].concat().join("\n");
        (!searched.is_clean())
            .then(|| format!("{}: {}\n{shown}", situation.name, searched.summary()))
    });
    let bad: Vec<String> = bad.into_iter().flatten().collect();
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

/// A resource that is deleted with its volumes.
const GOING: &str = "> create c pd=1 tikv=1 pvReclaimPolicy=Delete\n> settle\n> delete c\n";

/// Four stores at rest, and a machine that goes and comes back.
const AWAY: &str = "> create c pd=1 tikv=4\n> settle\n? power node-b off | power node-b on\n";

/// In the middle of what, what it does wrong, and what is found. The third needs a fault, the last one
/// never comes to rest.
const TEETH: &[(&str, Planner, &str)] = &[
    ("rolling_restart", planners::restarts_everything_at_once, "I2 no voluntary disruption"),
    ("store_leaves", planners::takes_pods_before_they_are_drained, "scenario 42"),
    ("away", planners::removes_silent_stores, "I1 the intent"),
    ("going", planners::never_lets_go_of_a_resource, "I9 not at rest"),
];

#[test]
fn a_broken_operator_is_found_and_the_way_there_can_be_played_again() {
    let mut all = situations();
    all.push(Situation::read("away", AWAY).unwrap());
    all.push(Situation::read("going", GOING).unwrap());
    let loose = each(TEETH, |(name, plan, finding)| {
        let brain = Brain { plan: *plan, ..Brain::default() };
        let situation = all.iter().find(|situation| situation.name == *name).unwrap();
        let searched = search(situation, Effort { brain, ..effort() });
        eprintln!("{name}: {}, {}", searched.summary(), searched.script.join("; "));
        let again = history::replay(&searched.script, |harness| harness.brain = brain);
        let found = searched.findings.first();
        let is_found = found.is_some_and(|found| found.contains(finding));
        (!is_found || again.first() != found).then(|| format!("{finding}: {searched:?}, {again:?}"))
    });
    let loose: Vec<String> = loose.into_iter().flatten().collect();
    assert!(loose.is_empty(), "{loose:#?}");
    let sound = search(all.last().unwrap(), effort());
    assert!(sound.is_clean(), "the sound one too: {sound:?}");
}

/// Texts in which something is misspelt, and what is said of it. One store of one is soon looked at.
const EMPTY: &[(&str, &str)] = &[
    ("> settel\n", "its opening fails: settel: no such command"),
    ("> settle 1\n", "its opening fails: settle 1: not settled"),
    ("> settle\n> wipe tikv-c-tikv-7\n", "wipe tikv-c-tikv-7: changes nothing"),
    ("> settle\n? kil c-pd-0\n", "fault never happened: kil c-pd-0 (no such command"),
    ("> settle\n? kill c-pd-7\n? kill c-pd-0\n", "happened: kill c-pd-7 (changes nothing)"),
    ("> settle\n? mute node-a | unmut node-a\n", "end of a fault never happened: unmut node-a"),
    ("> settle\ncrashes 2\n", "fault never happened: crash-after 1 (it never writes)"),
];

#[test]
fn a_situation_in_which_something_never_happens_is_not_complete() {
    let loose = each(EMPTY, |(text, words)| {
        let text = format!("> create c pd=1 tikv=1\n{text}");
        let situation = Situation::read("empty", &text).unwrap();
        let searched = search(&situation, effort());
        let summary = searched.summary();
        let is_said = !searched.is_clean() && summary.contains(words);
        (!is_said).then(|| format!("{words}: {summary}"))
    });
    let loose: Vec<String> = loose.into_iter().flatten().collect();
    assert!(loose.is_empty(), "{loose:#?}");
}
