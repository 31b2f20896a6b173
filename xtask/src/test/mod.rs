//! `cargo xtask test`: does everything hold?
//!
//! Every suite with its own log: first, one by one, those that keep all cores busy, then those on the
//! lab, which mostly wait, beside the others. A table of minutes and one plain line at the end.

mod findings;
mod job;
mod score;
mod suites;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::lab::Lab;
use score::Score;
use suites::{Lane, SUITES, Suite};

/// Runs every test of the project.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Also what is too long for every run.
    #[arg(long)]
    all: bool,
    /// Only this suite (repeatable).
    #[arg(long, value_name = "SUITE")]
    only: Vec<String>,
    /// List the suites.
    #[arg(long)]
    list: bool,
}

/// How one suite ended.
struct Ended {
    suite: &'static Suite,
    took: Duration,
    score: Score,
    error: Option<String>,
    /// Lines of cases that were run once more.
    again: Vec<String>,
}

impl TestArgs {
    /// Runs the command; an error if anything failed.
    pub(crate) fn run(&self) -> Result<()> {
        if self.list {
            for suite in SUITES {
                println!("{:<12} {}", suite.name, suite.what);
            }
            return Ok(());
        }
        let chosen = self.chosen()?;
        let logs = logs()?;
        let begin = Instant::now();
        let had_lab = Lab::open().is_ok();
        let lane = |lane| run_lane(&chosen, lane, self.all, &logs);
        let mut ended = lane(Lane::Alone);
        std::thread::scope(|scope| {
            let beside = scope.spawn(|| lane(Lane::Beside));
            let lab = lane(Lane::Lab);
            ended.extend(beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            ended.extend(lab);
        });
        if !had_lab && chosen.iter().any(|s| s.lane == Lane::Lab) {
            tidy(&ended, &logs);
        }
        conclude(&ended, begin.elapsed(), &logs)
    }

    fn chosen(&self) -> Result<Vec<&'static Suite>> {
        if let Some(name) = self.only.iter().find(|n| !SUITES.iter().any(|s| s.name == **n)) {
            let names: Vec<_> = SUITES.iter().map(|s| s.name).collect();
            bail!("there is no suite \"{name}\"; the suites are {}", names.join(", "));
        }
        let named = |s: &Suite| self.only.iter().any(|n| n == s.name);
        let due = |s: &Suite| self.only.is_empty() && (self.all || !s.long);
        let wanted = |s: &&Suite| named(s) || due(s);
        Ok(SUITES.iter().filter(wanted).collect())
    }
}

/// Where the logs of a run go: below the target directory, one file per suite.
fn logs() -> Result<PathBuf> {
    let dir = crate::products::target_dir()?.join("test-logs");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Runs the chosen suites of one lane, in order.
fn run_lane(chosen: &[&'static Suite], lane: Lane, all: bool, logs: &Path) -> Vec<Ended> {
    chosen.iter().filter(|suite| suite.lane == lane).map(|suite| run(suite, all, logs)).collect()
}

fn run(suite: &'static Suite, all: bool, logs: &Path) -> Ended {
    println!("== {}: {}", suite.name, suite.what);
    let start = Instant::now();
    let log = logs.join(format!("{}.log", suite.name));
    let result = (suite.jobs)(all).and_then(|jobs| job::run_all(jobs, &log, suite.live));
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let (score, error) = score::judge(suite, &text, result);
    let took = start.elapsed();
    if let Some(error) = &error {
        println!("{}", findings::findings(&text));
        println!("FAILED {}: {error}", suite.name);
        println!("  whole log: {}", log.display());
        println!("  again:     cargo xtask test --only {}", suite.name);
    }
    let again = text.lines().filter(|line| line.starts_with("AGAIN ")).map(str::to_owned).collect();
    Ended { suite, took, score, error, again }
}

/// Takes down the lab that this run started, unless there is something to look at in it.
fn tidy(ended: &[Ended], logs: &Path) {
    if ended.iter().any(|end| end.suite.lane == Lane::Lab && end.error.is_some()) {
        println!("the lab is left up for a look; `cargo xtask lab down` takes it down");
        return;
    }
    let job = job::Job::cargo(&["xtask", "lab", "down"]);
    if let Err(e) = job::run_all(vec![job], &logs.join("lab-down.log"), false) {
        println!("the lab could not be taken down: {e:#}");
    }
}

fn conclude(ended: &[Ended], took: Duration, logs: &Path) -> Result<()> {
    println!("\n{:<12} {:>7} {:>7} {:>7}  ", "suite", "minutes", "passed", "failed");
    let mut total = Score::default();
    for end in ended {
        total = total.and(end.score);
        let verdict = end.error.as_deref().map_or("", |_| "  FAILED");
        println!(
            "{:<12} {:>7.1} {:>7} {:>7}{verdict}",
            end.suite.name,
            minutes(end.took),
            end.score.passed,
            end.score.failed,
        );
    }
    println!("{:<12} {:>7.1}", "all", minutes(took));
    if total.not_run > 0 {
        println!("{} could not be run here; the log of their suite says why", total.not_run);
    }
    for line in ended.iter().flat_map(|end| &end.again) {
        println!("{line}");
    }
    if total.missed > 0 {
        println!(
            "{} promises of speed were missed beside other suites; `cargo xtask e2e --all` is held to them",
            total.missed
        );
    }
    println!("logs: {}", logs.display());
    println!("{} passed, {} failed", total.passed, total.failed);
    let failed: Vec<_> = ended.iter().filter(|e| e.error.is_some()).map(|e| e.suite.name).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}
