//! Is every rule needed, and are the guards enough?
//!
//! Each rule is removed in turn. An operator without a guard takes every step that this guard alone
//! would have refused, and no planner is held back by a rule that is not there
//! ([`tikv_operator_sim::mutant`]). `mutations.tsv` names a script, or the seed of a random history, in
//! which the auditor then complains, and of what: all of them are replayed here. Every rule that holds
//! anything has its row; of those that only say something, some have one.
//!
//! `RULE=name,name` runs these; `cargo test -p tikv-operator-sim --test mutations -- --ignored
//! --nocapture` looks for places where other guards are missed, and is reckless with all of them
//! in place (`MUTANT_SEEDS=200` for longer).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use tikv_operator_core::rules::RULES;
use tikv_operator_sim::queue::each;
use tikv_operator_sim::{history, mutant, script};

/// Words that begin findings about rest and reports: a mutant never comes to rest, and need not.
const NO_HARM: [&str; 3] = ["no silent stall", "I13 ", "I9 "];

/// Findings about what guards alone must prevent. Whose leaders move first, and that nothing is
/// restarted without a cause, are matters of the planners.
const SAFETY: [&str; 6] = ["I1 ", "I2 ", "I3 ", "I4 ", "F19 ", "F38 "];

/// Rule, place and what the auditor finds there.
struct Row {
    rule: &'static str,
    place: String,
    finding: String,
}

fn here(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(file)
}

fn lines(file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(here(file)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Rules that hold steps or planners.
fn holding() -> BTreeSet<&'static str> {
    let holding = RULES.iter().filter(|rule| rule.guard.is_some() || rule.holds_planner);
    holding.map(|rule| rule.name).collect()
}

/// Rules whose name contains one of the words in `RULE`; all without.
fn is_asked(rule: &str) -> bool {
    let only = std::env::var("RULE").unwrap_or_default();
    only.split(',').any(|word| rule.contains(word))
}

fn table() -> Vec<Row> {
    let row = |line: Vec<String>| {
        let [rule, place, finding] = <[String; 3]>::try_from(line).expect("three columns");
        let rule = RULES.iter().map(|known| known.name).find(|name| *name == rule);
        Row { rule: rule.expect("a rule"), place, finding }
    };
    lines("mutations.tsv").into_iter().map(row).filter(|row| is_asked(row.rule)).collect()
}

/// What the auditor finds in this place without this rule, until it finds something with `words`.
fn without(rule: &'static str, place: &str, words: &str) -> Vec<String> {
    let brain = mutant::without(rule);
    if let Some(seed) = place.strip_prefix("seed ") {
        let verdict = history::run_briefly(seed.parse().unwrap(), |harness| {
            harness.brain = brain;
            harness.stops_at = Some(words.to_owned());
        });
        return verdict.findings;
    }
    let text = fs::read_to_string(here(&format!("scripts/{place}.txt"))).unwrap();
    script::find(&text, brain, words)
}

#[test]
fn every_rule_is_missed_where_the_table_says() {
    let rows = table();
    let failed: Vec<String> = each(&rows, |row| {
        let found = without(row.rule, &row.place, &row.finding);
        let taken = mutant::taken();
        let caught = found.iter().any(|words| words.contains(&row.finding));
        let (rule, place) = (row.rule, &row.place);
        (!caught).then(|| format!("{rule} in {place}: {found:?}; it took {taken:?}"))
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), rows.len(), failed.join("\n"));
}

#[test]
fn the_table_names_every_rule_that_holds_anything_once() {
    let rows: Vec<String> =
        lines("mutations.tsv").into_iter().map(|line| line[0].clone()).collect();
    let named: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
    let holding = holding();
    let open: Vec<&&str> = holding.difference(&named).collect();
    assert!(open.is_empty(), "without a row: {open:?}");
    assert_eq!(named.len(), rows.len(), "a rule is named twice");
    assert!(rows.len() >= 30, "{} rules are proved", rows.len());
}

fn scripts() -> Vec<(String, String)> {
    let files = fs::read_dir(here("scripts")).unwrap().map(|file| file.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    files.map(read).collect()
}

/// A long run, printed rule by rule: in which scripts and seeds a guard holds something alone, or a
/// plan names the rule, and what the auditor finds there without it.
#[test]
#[ignore = "minutes for every rule"]
fn search_for_places() {
    let scripts = scripts();
    let alone: BTreeMap<&'static str, Vec<String>> = each(&scripts, |(name, text)| {
        script::run_with(text, mutant::watched(), None);
        (name.clone(), mutant::alone())
    })
    .into_iter()
    .flat_map(|(name, rules)| rules.into_keys().map(move |rule| (rule, name.clone())))
    .fold(BTreeMap::new(), |mut all, (rule, name)| {
        all.entry(rule).or_insert_with(Vec::new).push(name);
        all
    });
    let names = RULES.iter().map(|rule| rule.name);
    let rules: Vec<&str> = names.filter(|rule| is_asked(rule)).collect();
    each(&rules, |rule| {
        let seeds = (0..seeds(4)).map(|seed| format!("seed {seed}"));
        let places = alone.get(rule).cloned().unwrap_or_default().into_iter().chain(seeds);
        let mut tried = 0;
        let found = places.into_iter().find_map(|place| {
            tried += 1;
            let mut found = without(rule, &place, "").into_iter();
            let only_says = !holding().contains(rule);
            let harm = |found: &String| !NO_HARM.iter().any(|word| found.contains(word));
            found
                .find(|found| harm(found) || (only_says && found.contains(NO_HARM[0])))
                .map(|found| format!("{place}\t{found}"))
        });
        eprintln!("{rule}\t{}", found.unwrap_or_else(|| format!("not missed in {tried} places")));
    });
}

fn seeds(default: u64) -> u64 {
    std::env::var("MUTANT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
#[ignore = "minutes"]
fn the_guards_are_enough() {
    let first = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = first.map_or((0..seeds(10)).collect(), |seed| vec![seed]);
    let found: Vec<String> = each(&seeds, |seed| {
        let brain = mutant::reckless();
        let verdict = history::run_briefly(*seed, |harness| harness.brain = brain);
        let harm = |found: &String| SAFETY.iter().any(|word| found.contains(word));
        let finding = verdict.findings.into_iter().find(harm);
        finding.map(|found| format!("seed {seed}: {found}; it took {:?}", mutant::taken()))
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
