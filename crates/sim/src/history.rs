//! What may happen to clusters in the course of time? Random, by seed.
//!
//! A history is a list of events with the pauses between them: user actions, faults of Kubernetes
//! and machines, restarts of the operator. After it faults stop, and everything must come to rest.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::harness::Harness;
use crate::kube::{Key, name_of, set};
use crate::operator::Faults;

/// Longest time until everything is at rest after faults have stopped, in simulated seconds: the
/// longest back-off of a container and then some.
const REST: u64 = 1800;

/// What a run found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What must never happen and did.
    pub findings: Vec<String>,
    /// What was done, for the report of a failing seed.
    pub events: Vec<String>,
}

/// Runs the history of a seed. `prepare` may replace parts of the operator.
pub fn run(seed: u64, prepare: impl Fn(&mut Harness)) -> Verdict {
    let mut history = History::new(seed);
    prepare(&mut history.harness);
    history.play();
    history.verdict
}

struct History {
    harness: Harness,
    dice: Dice,
    verdict: Verdict,
    /// The clusters that exist, with whether their volumes go with them.
    clusters: Vec<(String, bool)>,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            harness: Harness::new(seed),
            dice: Dice::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d)),
            verdict: Verdict::default(),
            clusters: Vec::new(),
        }
    }

    fn play(&mut self) {
        let faults = self.faults();
        self.harness.set_faults(faults);
        self.create("c");
        for _ in 0..self.dice.between(2, 9) {
            let pause = self.dice.between(1, 90);
            self.harness.run(pause);
            self.event();
        }
        let mut calm = self.harness.faults;
        calm.stop();
        self.harness.set_faults(calm);
        if self.harness.settle(REST).is_none() {
            let left = self.state();
            self.verdict
                .findings
                .push(format!("I9 not at rest {REST} s after faults stopped: {left}"));
        } else if let Err(problem) = self.harness.stay_quiet(180) {
            self.verdict.findings.push(format!("I5 {problem}"));
        }
        let found = self.harness.auditor.findings.iter().map(ToString::to_string);
        self.verdict.findings.extend(found);
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

    fn event(&mut self) {
        match self.dice.below(14) {
            0 | 1 => self.edit(),
            2 => self.restart_operator(),
            3 => self.delete_or_create(),
            4 | 5 => self.remove("Pod"),
            6 => self.remove("Service"),
            7 => self.remove("ConfigMap"),
            8 => self.remove("PodDisruptionBudget"),
            9 => self.delay_pod(),
            10 => self.kill_process(),
            11 => self.lose_status(),
            12 => self.power(),
            _ => self.create("c-pd"),
        }
    }

    fn note(&mut self, what: &str) {
        let second = self.harness.universe.now / 1000;
        self.verdict.events.push(format!("{second} s: {what}"));
    }

    fn create(&mut self, name: &str) {
        if self.harness.universe.kube.get("TikvCluster", name).is_some() {
            return;
        }
        let odd = |dice: &mut Dice| json!({"replicas": 1 + 2 * dice.below(2)});
        let mut spec = json!({"pd": odd(&mut self.dice), "tikv": odd(&mut self.dice)});
        let goes = self.dice.chance(30);
        if let (true, Some(spec)) = (goes, spec.as_object_mut()) {
            spec.insert("pvReclaimPolicy".to_owned(), json!("Delete"));
        }
        // A cluster that comes back over its volumes has at least the members that it had.
        if let Some(members) = self.members_on_volumes(name) {
            spec = members;
        }
        self.note(&format!("create {name} {spec}"));
        let _ = self.harness.create(name, &spec);
        self.clusters.retain(|(known, _)| known != name);
        self.clusters.push((name.to_owned(), goes));
    }

    fn members_on_volumes(&self, cluster: &str) -> Option<Value> {
        let count = |component: &str| {
            let prefix = format!("{component}-{cluster}-{component}-");
            let claims = self.harness.universe.kube.list("PersistentVolumeClaim");
            claims.filter(|claim| name_of(claim).starts_with(&prefix)).count()
        };
        let (pd, tikv) = (count("pd"), count("tikv"));
        (pd + tikv > 0)
            .then(|| json!({"pd": {"replicas": pd.max(1)}, "tikv": {"replicas": tikv.max(1)}}))
    }

    fn edit(&mut self) {
        let Some((name, _)) = self.dice.pick(&self.clusters).cloned() else { return };
        let component = if self.dice.chance(30) { "pd" } else { "tikv" };
        let Some(resource) = self.harness.universe.kube.get("TikvCluster", &name) else { return };
        let now = resource.pointer(&format!("/spec/{component}/replicas")).and_then(Value::as_u64);
        // Members are only added: taking them away is not there yet.
        let more = now.unwrap_or(3) + if component == "pd" { 2 } else { 1 };
        if more <= 5 {
            self.note(&format!("edit {name} {component}.replicas={more}"));
            self.harness.edit(&name, &[component, "replicas"], json!(more));
        }
    }

    fn restart_operator(&mut self) {
        let pause = self.dice.below(60_000);
        self.note(&format!("operator down for {} s", pause / 1000));
        let now = self.harness.universe.now;
        for operator in &mut self.harness.operators {
            operator.restart(now, pause);
        }
    }

    fn delete_or_create(&mut self) {
        let Some((name, _)) = self.dice.pick(&self.clusters).cloned() else { return };
        if self.harness.universe.kube.get("TikvCluster", &name).is_some() {
            self.note(&format!("delete {name}"));
            self.harness.delete(&name);
        } else {
            self.create(&name);
        }
    }

    fn remove(&mut self, kind: &str) {
        let names: Vec<String> =
            self.harness.universe.kube.list(kind).map(|o| name_of(o).to_owned()).collect();
        let Some(name) = self.dice.pick(&names).cloned() else { return };
        self.note(&format!("someone removes {kind} {name}"));
        let _ = self.harness.universe.kube.delete(&Key::new(kind, &name), None);
    }

    fn kill_process(&mut self) {
        let names: Vec<String> =
            self.harness.universe.kube.list("Pod").map(|o| name_of(o).to_owned()).collect();
        let Some(name) = self.dice.pick(&names).cloned() else { return };
        self.note(&format!("the process of {name} ends"));
        self.harness.universe.kill_process(&name);
    }

    /// The status is lost entirely; all that matters is somewhere else too.
    fn lose_status(&mut self) {
        let Some((name, _)) = self.dice.pick(&self.clusters).cloned() else { return };
        self.note(&format!("the status of {name} is lost"));
        self.harness.universe.kube.edit(&Key::new("TikvCluster", &name), |resource| {
            set(resource, &["status"], json!({}));
        });
    }

    /// A machine loses power for a while.
    fn power(&mut self) {
        let node = ["node-a", "node-b", "node-c"];
        let Some(node) = self.dice.pick(&node).copied() else { return };
        let pause = self.dice.between(5, 200);
        self.note(&format!("{node} has no power for {pause} s"));
        self.harness.universe.nodes.power(node, false);
        self.harness.run(pause);
        self.harness.universe.nodes.power(node, true);
    }

    fn delay_pod(&mut self) {
        let component = if self.dice.chance(60) { "pd" } else { "tikv" };
        let name = format!("c-{component}-{}", self.dice.below(3));
        let until = self.harness.universe.now + self.dice.between(1, 400) * 1000;
        self.note(&format!("{name} cannot start until {} s", until / 1000));
        self.harness.universe.nodes.late.insert(name, until);
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
