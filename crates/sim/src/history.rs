//! What may happen to clusters in the course of time? Random, by seed.
//!
//! A history is a list of events with the pauses between them: user actions, faults of Kubernetes
//! and machines, restarts of the operator. After it faults stop, and everything must come to rest.

mod events;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::harness::Harness;
use crate::kube::name_of;
use crate::operator::Faults;

/// Longest time until everything is at rest after faults have stopped, in simulated seconds: the
/// longest back-off of a container and then some.
const REST: u64 = 2400;
/// As [`REST`] where members have to be replaced: the delay before that, PD's 30 minutes and the
/// moves.
const LONG_REST: u64 = 9000;

/// A version that can be had.
const GOOD_VERSION: &str = "v8.5.9";

/// What a run found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What must never happen and did.
    pub findings: Vec<String>,
    /// What was done, for the report of a failing seed.
    pub events: Vec<String>,
}

/// As [`run`], until a finding and without the rest afterwards: for operators that never
/// come to rest.
pub fn run_briefly(seed: u64, prepare: impl Fn(&mut Harness)) -> Verdict {
    let mut history = History::new(seed);
    prepare(&mut history.harness);
    history.harness.stops_at.get_or_insert_default();
    history.play_events();
    history.harness.run(300);
    history.collect();
    history.verdict
}

/// Runs the history of a seed. `prepare` may replace parts of the operator.
pub fn run(seed: u64, prepare: impl Fn(&mut Harness)) -> Verdict {
    run_whole(seed, prepare).0
}

/// As [`run`], with everything as it is in the end.
pub fn run_whole(seed: u64, prepare: impl Fn(&mut Harness)) -> (Verdict, Harness) {
    let mut history = History::new(seed);
    prepare(&mut history.harness);
    history.play();
    (history.verdict, history.harness)
}

struct History {
    harness: Harness,
    dice: Dice,
    verdict: Verdict,
    /// The clusters that exist, with whether their volumes go with them.
    clusters: Vec<(String, bool)>,
    /// Clusters whose version no registry has.
    broken: BTreeSet<String>,
    /// A machine is gone with its disks.
    lost_for_ever: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            harness: Harness::new(seed),
            dice: Dice::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d)),
            verdict: Verdict::default(),
            clusters: Vec::new(),
            broken: BTreeSet::new(),
            lost_for_ever: false,
        }
    }

    fn play(&mut self) {
        self.play_events();
        self.make_good();
        let rest = if self.lost_for_ever { LONG_REST } else { REST };
        if self.harness.settle(rest).is_none() {
            let left = self.state();
            self.verdict
                .findings
                .push(format!("I9 not at rest {rest} s after faults stopped: {left}"));
        } else if let Err(problem) = self.harness.stay_quiet(180) {
            self.verdict.findings.push(format!("I5 {problem}"));
        }
        self.collect();
    }

    fn play_events(&mut self) {
        let faults = self.faults();
        self.harness.set_faults(faults);
        self.create("c");
        for _ in 0..self.dice.between(2, 9) {
            let pause = self.dice.between(1, 90);
            self.harness.run(pause);
            self.event();
        }
    }

    fn collect(&mut self) {
        let found = self.harness.auditor.findings.iter().map(ToString::to_string);
        self.verdict.findings.extend(found);
    }

    /// Faults stop, machines are up and open, and every spec is one that can be had.
    fn make_good(&mut self) {
        let mut calm = self.harness.faults;
        calm.stop();
        self.harness.set_faults(calm);
        let nodes: Vec<String> = self.harness.universe.nodes.machines.keys().cloned().collect();
        for node in nodes {
            self.harness.universe.cordon(&node, false);
            self.harness.universe.nodes.draining.remove(&node);
            if self.harness.universe.kube.get("Node", &node).is_some() {
                self.harness.universe.nodes.power(&node, true);
            }
        }
        for (name, _) in self.clusters.clone() {
            if self.broken.remove(&name) {
                self.note(&format!("edit {name} version={GOOD_VERSION}"));
                self.harness.edit(&name, &["version"], json!(GOOD_VERSION));
            }
            let paused = self.harness.universe.kube.get("TikvCluster", &name);
            if paused.is_some_and(|c| c.pointer("/spec/paused") == Some(&json!(true))) {
                self.harness.edit(&name, &["paused"], json!(false));
            }
        }
    }

    fn faults(&mut self) -> Faults {
        let dice = &mut self.dice;
        let mut sometimes = |most: u64| if dice.chance(50) { dice.below(most) } else { 0 };
        Faults {
            stale: sometimes(60),
            conflict: sometimes(30),
            lost_answer: sometimes(30),
            unavailable: sometimes(30),
            pd_silent: sometimes(30),
            crash_after: None,
            crash: sometimes(10),
        }
    }

    /// What keeps the clusters from rest, in one line.
    fn state(&self) -> String {
        let clusters = self.harness.universe.kube.list("TikvCluster");
        let words = clusters.map(|cluster| {
            let summary = cluster.pointer("/status/summary").and_then(Value::as_str);
            format!("{}: {}", name_of(cluster), summary.unwrap_or("no status"))
        });
        words.collect::<Vec<_>>().join("; ")
    }
}
