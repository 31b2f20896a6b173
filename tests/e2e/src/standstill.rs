//! What becomes of a case during which the machine itself stood still?
//!
//! Everything here runs on one machine: the nodes, their servers, the operator, who measures. One
//! that does not run for many seconds makes every PD lose its leader and every deadline pass, which
//! nothing in the product can be blamed for. A case that failed then is run once more, and says so.
//! Not with `--all`, where promises count; and what was lost stays lost.

use std::process;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use pulse::{Pulse, Standstill};

use crate::scene::Scene;
use crate::suite::Verdict;
use crate::writer::Lost;

/// A standstill of this length costs PD its leader: its lease is 3 s.
const LEASE: Duration = Duration::from_secs(3);

/// Runs a case, and once more if it failed while the machine stood still.
pub(crate) fn repeated(
    scene: &Scene,
    name: &str,
    run: impl Fn() -> Result<Verdict>,
) -> Result<Verdict> {
    let pulse = Pulse::begin(&file(name), Instant::now()).map_err(|e| anyhow!(e))?;
    let result = run();
    let found = pulse.end().map_err(|e| anyhow!(e))?;
    std::fs::remove_file(file(name))?;
    let strict = scene.all || scene.controlled;
    judge(name, &found, result, strict, || {
        scene.leave_case();
        run()
    })
}

/// Says what stood still, and lets the case run `again` if that may be why it failed.
fn judge(
    name: &str,
    found: &[Standstill],
    result: Result<Verdict>,
    strict: bool,
    again: impl FnOnce() -> Result<Verdict>,
) -> Result<Verdict> {
    let Some(still) = longest(found) else { return result };
    let (at, all, disk) = (seconds(still.from_ms), seconds(still.ms), seconds(still.disk_ms));
    let words = format!(
        "{at:.0} s after its begin the machine stood still for {all:.1} s, {disk:.1} s of it in \
         writing a byte"
    );
    match result {
        Err(error) if !strict && !error.is::<Lost>() => {
            println!("AGAIN {name:<16} {words}; it ended with: {error:#}");
            again()
        }
        result => {
            println!("      {words}");
            result
        }
    }
}

/// Each process has a file of its own: cases run beside each other.
fn file(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("e2e-pulse-{name}-{}", process::id()))
}

fn longest(found: &[Standstill]) -> Option<&Standstill> {
    let long = |still: &&Standstill| Duration::from_millis(still.ms) >= LEASE;
    found.iter().filter(long).max_by_key(|still| still.ms)
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use anyhow::Error;

    use super::*;

    #[test]
    fn only_what_costs_pd_its_leader_is_a_reason_and_the_longest_is_told() {
        let still = |ms| Standstill { from_ms: 0, ms, disk_ms: 0 };
        assert_eq!(longest(&[still(2_999)]), None);
        assert_eq!(longest(&[still(3_000), still(19_000), still(4_000)]), Some(&still(19_000)));
    }

    #[test]
    fn a_case_that_failed_meanwhile_runs_again_but_not_where_promises_count_or_data_is_lost() {
        let found = [Standstill { from_ms: 0, ms: 19_000, disk_ms: 0 }];
        let slow = || Err(anyhow!("the operator took 83 s"));
        let lost = || Err(Error::new(Lost("1 write".to_owned())).context("the report"));
        let held = || Ok(Verdict::Held(String::new()));
        assert!(judge("", &found, slow(), false, held).is_ok());
        assert!(judge("", &found, slow(), false, slow).is_err());
        assert!(judge("", &[], slow(), false, held).is_err());
        assert!(judge("", &found, slow(), true, held).is_err());
        assert!(judge("", &found, lost(), false, held).is_err());
        assert!(judge("", &found, held(), false, slow).is_ok(), "what held is not repeated");
    }
}
