//! What becomes of a case during which the machine itself stood still?
//!
//! Everything here runs on one machine: the nodes, their servers, the operator, who measures. One
//! that does not run, or not write, for seconds makes every PD lose its leader and every deadline
//! pass, which nothing in the product can be blamed for. A case that failed then is run once more,
//! and says so. Not with `--all`, where promises count; and what was lost stays lost.

use std::path::PathBuf;
use std::process;
use std::time::Duration;

use anyhow::Result;

use crate::pressure::Pressure;
use crate::scene::Scene;
use crate::suite::Verdict;
use crate::witness::Witness;
use crate::writer::Lost;

/// Members of PD elect another leader when they have not heard theirs for so long (`election-interval`).
const EXCUSES: Duration = Duration::from_secs(3);
/// Worth a word: what a busy machine delays is late by tenths of a second.
const LATE: Duration = Duration::from_secs(1);

/// Runs a case, and once more if it failed while the machine stood still.
pub(crate) fn repeated(
    scene: &Scene,
    name: &str,
    run: impl Fn() -> Result<Verdict>,
) -> Result<Verdict> {
    let strict = scene.all || scene.controlled;
    let incarnations = || scene.bystander().and_then(|cluster| cluster.incarnations().ok());
    let pods = incarnations();
    let bystander = scene.bystander().filter(|_| !strict);
    let bystander = bystander.map(|cluster| Witness::bystander(&scene.kube, cluster));
    let disk = Witness::disk(&file(name))?;
    let before = Pressure::read();
    let result = run();
    let pressure = Pressure::read().since(&before);
    let mut found: Vec<_> = disk.end()?.into_iter().collect();
    if let Some(said) = bystander.map(Witness::end).transpose()?.flatten() {
        // Where the case asked for it or somebody made its pods anew it is no bystander.
        let still = incarnations();
        found.extend((still.is_some() && still == pods).then_some(said));
    }
    if result.is_err() {
        println!("      {pressure}");
    }
    judge(name, &found, result, strict, || {
        scene.leave_case();
        run()
    })
}

/// Says what stood still, and lets the case run `again` if that may be why it failed.
fn judge(
    name: &str,
    found: &[(Duration, String)],
    result: Result<Verdict>,
    strict: bool,
    again: impl FnOnce() -> Result<Verdict>,
) -> Result<Verdict> {
    let late = found.iter().filter(|(long, _)| *long >= LATE);
    let words = late.map(|(_, words)| words.as_str()).collect::<Vec<_>>().join(", ");
    if words.is_empty() {
        return result;
    }
    let excused = found.iter().any(|(long, _)| *long >= EXCUSES);
    match result {
        Err(error) if excused && !strict && !error.is::<Lost>() => {
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
fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("e2e-witness-{name}-{}", process::id()))
}

#[cfg(test)]
mod tests {
    use anyhow::{Error, anyhow};

    use super::*;

    #[test]
    fn a_case_that_failed_meanwhile_runs_again_but_not_where_promises_count_or_data_is_lost() {
        let [found, short] = [EXCUSES, LATE].map(|long| [(long, "it stood still".to_owned())]);
        let slow = || Err(anyhow!("the operator took 83 s"));
        let lost = || Err(Error::new(Lost("1 write".to_owned())).context("the report"));
        let held = || Ok(Verdict::Held(String::new()));
        assert!(judge("", &found, slow(), false, held).is_ok());
        assert!(judge("", &found, slow(), false, slow).is_err());
        assert!(judge("", &[], slow(), false, held).is_err());
        assert!(judge("", &short, slow(), false, held).is_err());
        assert!(judge("", &found, slow(), true, held).is_err());
        assert!(judge("", &found, lost(), false, held).is_err());
        assert!(judge("", &found, held(), false, slow).is_ok(), "what held is not repeated");
    }
}
