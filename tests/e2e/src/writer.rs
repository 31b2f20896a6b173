//! What does a user notice while something happens to the cluster?
//!
//! A client in a pod of its own writes and reads all the time, through the cluster's Service. At the
//! end it reads back all that was acknowledged and judges the histories of its registers.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::hardened;
use crate::cluster::{Cluster, text};
use crate::kube::{Kube, status_code, until};
use crate::manifest;
use crate::promise;

/// Attempts a second.
const RATE: u32 = 25;
/// A writer that nobody stops ends by itself after this time, unless it is told another.
pub(crate) const AT_MOST: Duration = Duration::from_mins(30);
/// Longest time to connect, or to read everything back.
const LIMIT: Duration = Duration::from_mins(5);
/// Port on which it is told to end.
const CONTROL: u16 = 8080;
/// Promise for each 10 s window of a voluntary operation.
const SUCCESS: f64 = 0.99;
/// Promise for a voluntary operation: longest time in which nothing succeeds.
const GAP: Duration = Duration::from_secs(2);
/// Below this share of a window, and above that gap, it is not the machine: where two regions of five
/// stand still for a whole window, three fifths are left; a controller that takes two stores away
/// leaves a quarter.
const FAULT: f64 = 0.5;
/// See [`FAULT`].
const OUTAGE: Duration = Duration::from_secs(10);

/// A client that writes now.
pub(crate) struct Writer {
    kube: Kube,
    path: String,
}

/// What it found.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    attempts: u64,
    acknowledged_puts: u64,
    failed: u64,
    lost: u64,
    lost_keys: Vec<String>,
    unreadable: u64,
    #[serde(default)]
    unreadable_keys: Vec<String>,
    /// Keys that were written and read again and again.
    registers: u64,
    /// Those whose history no order of its attempts explains.
    violations: Vec<String>,
    longest_gap_ms: u64,
    p50_ms: Option<u64>,
    p99_ms: Option<u64>,
    windows: Vec<Window>,
    #[serde(default)]
    failures: Vec<Value>,
}

/// Ten seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Window {
    pub(crate) from_s: u64,
    attempts: u64,
    ok: u64,
    #[serde(default)]
    pub(crate) p99_ms: Option<u64>,
}

/// Data that was acknowledged is not there, or not as it can be. Nothing excuses it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Lost(pub(crate) String);

impl Writer {
    /// Starts one, on any node but these, and waits until it writes. It ends by itself after `most`.
    pub(crate) fn start(
        (kube, image): (&Kube, &str),
        cluster: &Cluster,
        (avoid, most): (&[String], Duration),
    ) -> Result<Self> {
        let name = format!("writer-{}", cluster.name);
        let path = format!("{}/{name}", cluster.core("pods"));
        let args = [
            "continuous".to_owned(),
            format!("--pd={}", cluster.pd_address()),
            format!("--prefix=run-{}", cluster.name),
            format!("--seconds={}", most.as_secs()),
            format!("--rate={RATE}"),
            "--books=/books/attempts".to_owned(),
            format!("--control={CONTROL}"),
        ];
        kube.create(&cluster.core("pods"), &pod(image, &name, &args, avoid))?;
        let writer = Self { kube: kube.clone(), path };
        until("the client to write", LIMIT, || {
            Ok(match writer.ask("/") {
                Ok(()) => Ok(()),
                Err(e) if status_code(&e).is_some() => Err(format!("{e:#}")),
                Err(e) => return Err(e),
            })
        })?;
        Ok(writer)
    }

    /// Ends the writing, lets everything be read back, and returns what was found.
    pub(crate) fn stop(self) -> Result<Report> {
        until("the client to hear that it is to end", LIMIT, || self.ask("/stop").map(Ok))?;
        let phase = until("the client to read everything back", LIMIT, || {
            let pod = self.kube.get(&self.path)?;
            Ok(match text(&pod, "/status/phase") {
                Some(done @ ("Succeeded" | "Failed")) => Ok(done.to_owned()),
                other => Err(format!("phase {other:?}")),
            })
        })?;
        let log = self.kube.text(&format!("{}/log", self.path))?;
        let json = log.lines().find(|line| line.starts_with('{'));
        let Some(json) = json else { bail!("the client ended as {phase} without a report: {log}") };
        serde_json::from_str(json).with_context(|| format!("the client's report: {json}"))
    }

    fn ask(&self, path: &str) -> Result<()> {
        self.kube.text(&format!("{}:{CONTROL}/proxy{path}", self.path)).map(drop)
    }
}

impl Report {
    /// No acknowledged write is lost, every read is explained, and the client wrote and read at all.
    pub(crate) fn nothing_lost(&self) -> Result<()> {
        ensure!(self.acknowledged_puts > 0, "not one write was acknowledged");
        let lost = format!("{} acknowledged writes are lost: {:?}", self.lost, self.lost_keys);
        ensure!(self.lost == 0, Lost(lost));
        let impossible = format!("not linearizable: {:?}", self.violations);
        ensure!(self.violations.is_empty(), Lost(impossible));
        ensure!(
            self.unreadable == 0,
            "{} acknowledged keys cannot be read: {:?}",
            self.unreadable,
            self.unreadable_keys
        );
        ensure!(self.registers > 0, "not one register was read");
        Ok(())
    }

    /// One answer of a hundred took at least this long.
    pub(crate) fn waited(&self, time: Duration) -> bool {
        self.p99_ms.is_some_and(|ms| Duration::from_millis(ms) >= time)
    }

    /// As [`Report::nothing_lost`], and nobody noticed anything: the promise for what is done on
    /// purpose. What misses it is said, and is an error if `strict`: a machine that is busy with
    /// other things makes every server slow. What only a fault explains always is one.
    pub(crate) fn unnoticed(&self, strict: bool) -> Result<()> {
        self.nothing_lost()?;
        let gap = Duration::from_millis(self.longest_gap_ms);
        let Some(worst) = self.worst() else { bail!("the client attempted nothing") };
        let kept = worst.share() >= SUCCESS && gap <= GAP;
        let explained = worst.share() >= FAULT && gap <= OUTAGE;
        let words = format!(
            "in the 10 s from {} s on {} of {} attempts succeeded, and nothing did for {gap:?}; promised \
             are {:.0} % and {GAP:?}; failures: {}",
            worst.from_s,
            worst.ok,
            worst.attempts,
            SUCCESS * 100.0,
            json!(self.failures.iter().take(5).collect::<Vec<_>>()),
        );
        promise::judge(strict, (kept, explained), &words)
    }

    /// Every ten seconds of it.
    pub(crate) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The window in which the least succeeded. The last one is short: alone, one failure
    /// in it would weigh more than in the others.
    fn worst(&self) -> Option<Window> {
        let mut windows = self.windows.clone();
        if windows.len() > 1
            && let Some(last) = windows.pop()
            && let Some(before) = windows.last_mut()
        {
            before.attempts += last.attempts;
            before.ok += last.ok;
        }
        windows.into_iter().min_by(|a, b| a.share().total_cmp(&b.share()))
    }
}

impl Window {
    /// Attempts that succeeded, of all.
    pub(crate) fn share(self) -> f64 {
        let small = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        if self.attempts == 0 { 0.0 } else { small(self.ok) / small(self.attempts) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = Window { from_s: 0, attempts: 0, ok: 0, p99_ms: None };
        let worst = self.worst().unwrap_or(none);
        write!(
            f,
            "client: {} attempts, {} failed, {} of {} acknowledged writes lost, worst 10 s \
             {:.1} % (from {} s on), longest gap {} ms, p50 {} ms, p99 {} ms, {} registers, {} not \
             linearizable",
            self.attempts,
            self.failed,
            self.lost,
            self.acknowledged_puts,
            worst.share() * 100.0,
            worst.from_s,
            self.longest_gap_ms,
            self.p50_ms.unwrap_or_default(),
            self.p99_ms.unwrap_or_default(),
            self.registers,
            self.violations.len(),
        )
    }
}

fn pod(image: &str, name: &str, args: &[String], avoid: &[String]) -> Value {
    let books = json!({ "emptyDir": {} });
    let mut pod = hardened(image, name, args, Some((books, "/books")));
    if !avoid.is_empty() {
        let rule = json!({ "key": "kubernetes.io/hostname", "operator": "NotIn", "values": avoid });
        let terms = json!([{ "matchExpressions": [rule] }]);
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let path = format!("/spec/affinity/nodeAffinity/{required}/nodeSelectorTerms");
        manifest::set(&mut pod, &path, terms);
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(windows: &[(u64, u64)], gap: u64) -> Report {
        let row = |(i, (attempts, ok)): (usize, &(u64, u64))| Window {
            from_s: i as u64 * 10,
            attempts: *attempts,
            ok: *ok,
            p99_ms: None,
        };
        Report {
            attempts: windows.iter().map(|w| w.0).sum(),
            acknowledged_puts: 1,
            failed: 0,
            lost: 0,
            lost_keys: Vec::new(),
            unreadable: 0,
            unreadable_keys: Vec::new(),
            registers: 1,
            violations: Vec::new(),
            longest_gap_ms: gap,
            p50_ms: None,
            p99_ms: None,
            windows: windows.iter().enumerate().map(row).collect(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn one_bad_window_or_a_long_gap_is_noticed() {
        let passes =
            |windows: &[(u64, u64)], gap, strict| report(windows, gap).unnoticed(strict).is_ok();
        assert!(passes(&[(250, 250), (250, 248), (3, 3)], 1_900, true));
        assert!(!passes(&[(250, 250), (250, 247), (250, 250), (3, 3)], 0, true));
        assert!(passes(&[(250, 250), (250, 247), (250, 250), (3, 3)], 0, false));
        assert!(passes(&[(250, 250), (250, 125), (250, 250), (3, 3)], 0, false));
        assert!(!passes(&[(250, 250), (250, 124), (250, 250), (3, 3)], 0, false));
        assert!(passes(&[(250, 250), (3, 2)], 0, true), "the last window is short");
        assert!(!passes(&[(250, 250)], 2_001, true));
        assert!(passes(&[(250, 250)], 2_001, false));
        assert!(!passes(&[(250, 250)], 10_001, false));
        assert!(!passes(&[], 0, false));
    }

    #[test]
    fn lost_or_unreadable_keys_and_impossible_histories_fail_everything() {
        let mut lost = report(&[(250, 250)], 0);
        lost.lost = 1;
        let is_lost = |result: Result<()>| result.is_err_and(|e| e.is::<Lost>());
        assert!(is_lost(lost.nothing_lost()) && is_lost(lost.unnoticed(false)));
        let mut unreadable = report(&[(250, 250)], 0);
        unreadable.unreadable = 1;
        assert!(unreadable.nothing_lost().is_err());
        let mut idle = report(&[(250, 250)], 0);
        idle.acknowledged_puts = 0;
        assert!(idle.nothing_lost().is_err());
        let mut stale = report(&[(250, 250)], 0);
        stale.violations = vec!["k: an old value".to_owned()];
        assert!(is_lost(stale.nothing_lost()) && is_lost(stale.unnoticed(false)));
        let mut unread = report(&[(250, 250)], 0);
        unread.registers = 0;
        assert!(unread.nothing_lost().is_err());
    }
}
