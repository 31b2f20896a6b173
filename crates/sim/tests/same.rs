//! Do the short cuts of the model change anything?
//!
//! Seconds in which nothing is due are skipped, and PD's answers are not written and read as JSON in
//! every look. Both must make no difference but in time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

use tikv_operator_sim::harness::Harness;
use tikv_operator_sim::history;
use tikv_operator_sim::operator::pd_http;
use tikv_operator_sim::queue::each;
use tikv_operator_sim::universe::Universe;

/// Everything that can be told apart in the end of a history.
fn end(seed: u64, ticks_each_second: bool) -> (history::Verdict, Vec<String>) {
    let prepare = |harness: &mut Harness| harness.ticks_each_second = ticks_each_second;
    let (verdict, harness) = history::run_whole(seed, prepare);
    let Universe { now, dice, kube, nodes, pd, tikv, .. } = &harness.universe;
    let writes = harness.writes.iter().map(|(verb, key)| format!("{verb:?} {key}"));
    let parts = [
        format!("{now} {dice:?}"),
        format!("{kube:?}"),
        format!("{nodes:?}"),
        format!("{pd:?}"),
        format!("{tikv:?}"),
    ];
    (verdict, parts.into_iter().chain(writes).collect())
}

#[test]
fn a_second_that_is_skipped_would_have_changed_nothing() {
    let seeds: Vec<u64> = (0..40).collect();
    let differ = each(&seeds, |seed| {
        let (skipped, ticked) = (end(*seed, false), end(*seed, true));
        let parts = skipped.1.iter().zip(&ticked.1).filter(|(a, b)| a != b);
        let first = parts.map(|(a, b)| difference(a, b)).next();
        let first = first.or_else(|| (skipped != ticked).then(|| "the verdicts".to_owned()));
        first.map(|first| format!("seed {seed}: {first}"))
    });
    let differ: Vec<String> = differ.into_iter().flatten().collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Where two texts begin to differ.
fn difference(a: &str, b: &str) -> String {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let around =
        |text: &str| text.chars().skip(same.saturating_sub(150)).take(300).collect::<String>();
    format!("\n  skipped: {}\n  ticked:  {}", around(a), around(b))
}

/// What PD says by its answers and without them, of every process.
fn compare(universe: &mut Universe) {
    let processes: Vec<String> = universe.pd.processes.keys().cloned().collect();
    for process in processes {
        let (direct, read) = (universe.pd_facts(&process), pd_http::look(universe, &process));
        assert_eq!(direct, read, "at {} ms", universe.now);
    }
}

#[test]
fn what_pd_says_is_what_its_answers_say() {
    let seeds: Vec<u64> = (0..30).collect();
    each(&seeds, |seed| history::run(*seed, |harness| harness.watcher = Some(compare)));
}
