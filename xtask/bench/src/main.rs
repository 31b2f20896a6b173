//! How fast does the planner decide? Called by `cargo xtask bench`, which shows the table.
//!
//! Measured is the processor time of this thread, not the time on the wall: other work on the
//! machine makes a measurement shorter of luck, not longer. The figure is the median of batches.

mod case;
mod clock;
/// The clusters and worlds of core's own tests.
#[path = "../../../crates/core/src/fixture.rs"]
#[allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "shared with core's tests"
)]
mod fixture;
mod settled;

use std::process::ExitCode;
use std::time::Duration;

use case::Case;
// The fixture names core's modules as core itself does.
use tikv_operator_core::{build, check, cluster, plan, world};

/// Batches per case.
const BATCHES: usize = 15;
/// A batch takes about this much processor time.
const BATCH: Duration = Duration::from_millis(80);

fn main() -> ExitCode {
    println!("{:<58} {:>14} {:>18} {:>7}", "case", "measured", "required", "ratio");
    let (mut missed, mut free) = (0, Vec::new());
    let only = std::env::args().nth(1).unwrap_or_default();
    for case in case::all().into_iter().filter(|case| case.name.contains(&only)) {
        let nanoseconds = measure(&case);
        let (measured, required, ratio) = case.required.words(nanoseconds);
        println!("{:<58} {measured:>14} {required:>18} {ratio:>7}", case.name);
        missed += u32::from(case.required.is_missed(nanoseconds));
        free.extend(case.required.why_not().map(|why| format!("{}: {why}", case.name)));
    }
    println!("processor time of one core; median of {BATCHES} batches");
    for words in free {
        println!("nothing is required of {words}");
    }
    if missed > 0 {
        println!("{missed} below what is required");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Nanoseconds of one run.
fn measure(case: &Case) -> f64 {
    let (once, ()) = clock::took(|| (case.run)());
    let runs = (BATCH.as_nanos() / once.as_nanos().max(1)).clamp(1, 100_000);
    let runs = u32::try_from(runs).unwrap_or(u32::MAX);
    let batch = || {
        let (took, ()) = clock::took(|| (0..runs).for_each(|_| (case.run)()));
        took.as_secs_f64() * 1e9 / f64::from(runs)
    };
    let mut batches: Vec<f64> = (0..BATCHES).map(|_| batch()).collect();
    batches.sort_by(f64::total_cmp);
    batches.get(BATCHES / 2).copied().unwrap_or(f64::NAN)
}
