//! Does everything come to rest, and is nothing lost, whatever happens? Random histories by seed.
//!
//! `SEEDS=10000` runs more, `SEED=17` runs one and prints what happened in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

use std::ops::Range;

use tikv_operator_sim::history;
use tikv_operator_sim::queue::each;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_history_ends_well() {
    let first = number("SEED");
    let seeds = first.map_or(0..number("SEEDS").unwrap_or(1000), |seed| seed..seed + 1);
    let failed = failures(seeds.clone(), first.is_some());
    let shown: Vec<String> = failed.iter().take(8).cloned().collect();
    assert!(
        failed.is_empty(),
        "{} of {} seeds:\n{}",
        failed.len(),
        seeds.count(),
        shown.join("\n")
    );
}

/// The seeds that end badly.
fn failures(seeds: Range<u64>, talk: bool) -> Vec<String> {
    let run = |seed: &u64| {
        let verdict = history::run(*seed, |_| {});
        if talk {
            eprintln!("{}", verdict.events.join("\n"));
        }
        (!verdict.findings.is_empty()).then(|| {
            format!(
                "seed {seed} (SEED={seed} cargo test -p tikv-operator-sim --test histories):\n  {}\n  after:\n    {}",
                verdict.findings.join("\n  "),
                verdict.events.join("\n    "),
            )
        })
    };
    let seeds: Vec<u64> = seeds.collect();
    each(&seeds, run).into_iter().flatten().collect()
}

#[test]
fn a_seed_fixes_a_history() {
    assert_eq!(history::run(5, |_| {}), history::run(5, |_| {}));
}
