//! Does everything come to rest, and is nothing lost, whatever happens? Random histories by seed.
//!
//! `SEEDS=10000` runs more, `SEED=17` runs one and prints what happened in it.

use tikv_operator_sim::history;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_history_ends_well() {
    let first = number("SEED");
    let seeds = first.map_or(0..number("SEEDS").unwrap_or(300), |seed| seed..seed + 1);
    let mut failed = Vec::new();
    for seed in seeds.clone() {
        let verdict = history::run(seed, |_| {});
        if first.is_some() {
            eprintln!("{}", verdict.events.join("\n"));
        }
        if !verdict.findings.is_empty() {
            failed.push(format!(
                "seed {seed} (SEED={seed} cargo test -p tikv-operator-sim --test histories):\n  {}\n  after:\n    {}",
                verdict.findings.join("\n  "),
                verdict.events.join("\n    "),
            ));
        }
    }
    let shown: Vec<String> = failed.iter().take(8).cloned().collect();
    assert!(failed.is_empty(), "{} of {} seeds:\n{}", failed.len(), seeds.count(), shown.join("\n"));
}

#[test]
fn a_seed_fixes_a_history() {
    assert_eq!(history::run(5, |_| {}), history::run(5, |_| {}));
}
