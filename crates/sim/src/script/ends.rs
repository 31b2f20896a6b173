//! How does a random history end? Faults stop, and everything must come to rest.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Play;
use crate::history::{BAD_VERSION, GOOD_VERSION, corrections};
use crate::kube::{Key, name_of, set};

/// How long nothing may be written after everything came to rest, in seconds.
const QUIET: u64 = 180;

impl Play {
    /// Faults stop, machines are up and open, and every spec is one that can be had.
    pub(super) fn make_good(&mut self) {
        let mut calm = self.harness.faults;
        calm.stop();
        self.harness.set_faults(calm);
        self.restore_all();
        let universe = &mut self.harness.universe;
        universe.kube.quota = None;
        universe.kube.webhooks.clear();
        universe.kube.denied.clear();
        universe.heal_all();
        for ensemble in &mut universe.pd.ensembles {
            ensemble.cluster.held.clear();
            // A user whose unlock failed while PD was away asks again.
            ensemble.maintenance.take_if(|(kind, ..)| kind == "backup");
        }
        for operator in &mut self.harness.operators {
            operator.clock_off = SignedDuration::ZERO;
            operator.deaf.clear();
        }
        let nodes: Vec<String> = self.harness.universe.nodes.machines.keys().cloned().collect();
        for node in nodes {
            self.harness.universe.cordon(&node, false);
            self.harness.universe.nodes.draining.remove(&node);
            self.harness.universe.nodes.mute(&node, false);
            if self.harness.universe.kube.get("Node", &node).is_some() {
                self.harness.universe.nodes.power(&node, true);
            }
        }
        self.open_gates();
        let clusters = self.harness.universe.kube.list("TikvCluster");
        let specs: Vec<(String, Value)> = clusters
            .map(|c| (name_of(c).to_owned(), c.pointer("/spec").cloned().unwrap_or_default()))
            .collect();
        for (name, spec) in specs {
            if spec.get("version") == Some(&json!(BAD_VERSION)) {
                self.harness.edit(&name, &["version"], json!(GOOD_VERSION));
            }
            if spec.get("paused") == Some(&json!(true)) {
                self.harness.edit(&name, &["paused"], json!(false));
            }
            for (field, good) in corrections(&spec) {
                self.harness.edit(&name, &field, good);
            }
        }
    }

    /// Every Job ends well from now on; whose run has failed is edited, so that it runs again.
    fn open_gates(&mut self) {
        let Some(tasks) = &mut self.harness.tasks else { return };
        tasks.all_well();
        let kube = &mut self.harness.universe.kube;
        let tasks: Vec<Key> = kube.list("TikvTask").map(|task| Key::of(task)).collect();
        for task in tasks {
            kube.edit_spec(&task, |task| set(task, &["spec", "timeout"], json!("5m")));
        }
    }

    /// Waits until everything is at rest, and a while longer in which nothing may be written.
    pub(super) fn rest(&mut self, limit: u64) {
        if self.harness.settle(limit).is_none() {
            let lost = self.harness.lost_by_a_join();
            if lost.is_empty() {
                let left = self.state();
                self.broken.push(format!("I9 not at rest {limit} s after faults stopped: {left}"));
            } else {
                self.rest_without_a_majority(&lost);
            }
        } else if let Err(problem) = self.harness.stay_quiet(QUIET) {
            self.broken.push(format!("I5 {problem}"));
        }
    }

    /// Where only a person can heal, nothing but the status may be written, and it must say so.
    fn rest_without_a_majority(&mut self, lost: &[String]) {
        let before = self.harness.writes.len();
        self.harness.run(QUIET);
        let mut writes = self.harness.writes.iter().skip(before);
        if let Some((verb, key)) = writes.find(|(_, key)| key.kind != "TikvCluster") {
            let what = format!("{} {key} while PD has lost its quorum for good", verb.as_str());
            self.broken.push(format!("I5 {what}"));
        }
        for cluster in lost {
            self.harness.auditor.judge_lost_by_a_join(&self.harness.universe, cluster);
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

    /// What must never happen and did.
    pub(crate) fn findings(&self) -> Vec<String> {
        let findings = self.harness.auditor.findings.iter().map(ToString::to_string);
        findings.chain(self.broken.iter().cloned()).collect()
    }
}
