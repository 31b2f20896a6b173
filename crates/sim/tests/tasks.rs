//! Do tasks and gates keep their promises in a whole cluster, wherever the operator ends?

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tikv_operator_sim::harness::Harness;
use tikv_operator_sim::kube::{Key, Verb, at, set, text};
use tikv_operator_sim::operator::Faults;
use tikv_operator_sim::tasks::{Begun, JobEnds, TaskLoop, end_jobs};
use tikv_operator_sim::universe::NAMESPACE;

/// A cluster, its operator and the loop over tasks.
struct Play {
    harness: Harness,
    tasks: TaskLoop,
    ends: fn(&str) -> JobEnds,
    /// Pods were restarted for the new image before the gate's Job had completed.
    jumped: bool,
    /// Writes of the operator before the spec asked for the new version.
    writes_before: usize,
}

impl Play {
    /// A settled cluster of three and three.
    fn new(ends: fn(&str) -> JobEnds) -> Self {
        let mut harness = Harness::new(1);
        harness.create("c", &json!({})).unwrap();
        harness.settle(600).expect("settles");
        Self { harness, tasks: TaskLoop::default(), ends, jumped: false, writes_before: 0 }
    }

    fn task(&mut self, name: &str, spec: &Value) {
        let mut body = json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": tikv_operator_api::cases::task_spec(),
        });
        for (key, value) in spec.as_object().unwrap() {
            body["spec"][key] = value.clone();
        }
        self.harness.universe.kube.create(body).unwrap();
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.harness.run(1);
            let now = self.harness.universe.now;
            self.tasks.tick(&mut self.harness.universe.kube, now);
            end_jobs(&mut self.harness.universe.kube, &self.ends, now);
            self.watch();
        }
    }

    /// Has anything run another image while no Job of the gate has completed?
    fn watch(&mut self) {
        let kube = &self.harness.universe.kube;
        let of_gate = |job: &&tikv_operator_sim::kube::Object| {
            at(job, "/metadata/labels").get("tikv.org/task") == Some(&json!("gate"))
        };
        let complete = kube
            .list("Job")
            .filter(of_gate)
            .any(|job| text(job, "/status/conditions/0/type") == "Complete");
        self.jumped |= !complete && self.upgraded() > 0;
    }

    /// Pods with the new image.
    fn upgraded(&self) -> usize {
        let pods = self.harness.universe.kube.list("Pod");
        pods.filter(|pod| pod.body().to_string().contains(":v8.5.8")).count()
    }

    fn upgrade(&mut self) {
        self.harness.edit("c", &["version"], json!("v8.5.8"));
    }

    fn cluster(&self, pointer: &str) -> Value {
        at(self.harness.universe.kube.get("TikvCluster", "c").unwrap(), pointer).clone()
    }

    fn waits(&self) -> String {
        self.cluster("/status/waits").to_string()
    }

    /// Keys by what they are about, of each task.
    fn keys(&self) -> BTreeMap<(String, String), BTreeSet<String>> {
        let mut keys: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for Begun { task, about, key, .. } in &self.tasks.begun {
            keys.entry((task.clone(), about.clone())).or_default().insert(key.clone());
        }
        keys
    }
}

fn well(_: &str) -> JobEnds {
    JobEnds::Well(5)
}

fn badly(_: &str) -> JobEnds {
    JobEnds::Badly(5)
}

fn never(_: &str) -> JobEnds {
    JobEnds::Never
}

fn gate() -> Value {
    json!({"events": ["UpgradeStarting"], "gate": "before", "timeout": "2m", "backoffLimit": 0})
}

/// An upgrade with a gate and a task for each of its steps.
fn play(crash: Option<u64>, crash_operator: Option<usize>) -> Play {
    let mut play = Play::new(well);
    play.task("gate", &gate());
    play.task(
        "hook",
        &json!({
            "events": ["UpgradeStarting", "StoreUpgraded", "UpgradeFinished", "ScaleFinished"],
            "run": {"http": {"url": "http://a"}}, "concurrencyPolicy": "Allow",
            "successfulRunsHistoryLimit": 2,
        }),
    );
    play.run(3);
    play.tasks.crash_after = crash.map(|after| play.tasks.steps + after);
    play.writes_before = play.harness.operators[0].written;
    if let Some(after) = crash_operator {
        let crash_after = Some(play.writes_before + after);
        play.harness.set_faults(Faults { crash_after, ..Faults::default() });
    }
    play.upgrade();
    play.run(600);
    play
}

fn audit(play: &Play, when: &str) {
    assert!(!play.jumped, "{when}: a member was restarted before the gate opened");
    assert_eq!(play.upgraded(), 6, "{when}: {}", play.waits());
    assert!(
        play.harness.auditor.findings.is_empty(),
        "{when}: {:?}",
        play.harness.auditor.findings
    );
    let keys = play.keys();
    for ((task, about), keys) in &keys {
        assert_eq!(keys.len(), 1, "{when}: {task}: {about}: {keys:?}");
    }
    let told = |task: &str, event: &str| {
        keys.keys().filter(|(of, about)| of == task && about.starts_with(event)).count()
    };
    assert_eq!(told("gate", "UpgradeStarting"), 1, "{when}");
    assert_eq!(told("hook", "UpgradeStarting"), 1, "{when}");
    assert_eq!(told("hook", "StoreUpgraded"), 3, "{when}: {keys:?}");
    assert_eq!(told("hook", "UpgradeFinished"), 1, "{when}: {keys:?}");
    assert_eq!(told("hook", "ScaleFinished"), 0, "{when}");
}

#[test]
fn an_upgrade_waits_for_its_gate_and_every_step_is_told_once() {
    let play = play(None, None);
    audit(&play, "without a crash");
    let begun = play.tasks.begun.len();
    assert_eq!(begun, 6, "each once: {:?}", play.tasks.begun);
}

#[test]
fn f78_a_crash_of_the_loop_over_tasks_after_any_step_changes_nothing() {
    let whole = play(None, None);
    let steps = whole.tasks.steps;
    assert!(steps > 10, "{steps}");
    for after in 1..=steps {
        let play = play(Some(after), None);
        audit(&play, &format!("a crash after step {after}"));
    }
}

#[test]
fn a_crash_of_the_operator_after_any_write_changes_nothing() {
    let whole = play(None, None);
    let writes = whole.harness.operators[0].written - whole.writes_before;
    // Six pods go and come, and each store's leaders leave before it.
    assert!(writes > 12, "{writes}");
    for after in 1..=writes {
        let play = play(None, Some(after));
        audit(&play, &format!("a crash after write {after}"));
    }
}

#[test]
fn f78_a_gate_that_fails_or_hangs_holds_the_upgrade_and_says_so() {
    for (ends, words) in
        [(badly as fn(&str) -> JobEnds, "it did not work"), (never, "within 120 s")]
    {
        let mut play = Play::new(ends);
        play.task("gate", &gate());
        play.run(3);
        play.upgrade();
        play.run(60);
        assert_eq!(play.upgraded(), 0);
        play.run(140);
        assert_eq!(play.upgraded(), 0, "held");
        let waits = play.waits();
        assert!(waits.contains("gate-failed") && waits.contains(words), "{waits}");
        let degraded = play.cluster("/status/conditions").to_string();
        assert!(degraded.contains("GateFailed"), "{degraded}");
        // By hand, once.
        let id = play.cluster("/status/upgrade/id");
        let key = Key::new("TikvCluster", "c");
        play.harness.universe.kube.edit(&key, |cluster| {
            set(cluster, &["metadata", "annotations", "tikv.org/skip-gate"], id.clone());
        });
        play.run(600);
        assert_eq!(play.upgraded(), 6, "{}", play.waits());
    }
}

#[test]
fn f78_a_gate_is_released_with_its_task() {
    let mut play = Play::new(never);
    play.task("gate", &gate());
    play.run(3);
    play.upgrade();
    play.run(30);
    assert_eq!(play.upgraded(), 0);
    play.harness.universe.kube.vanish(&Key::new("TikvTask", "gate"));
    play.run(600);
    assert_eq!(play.upgraded(), 6, "{}", play.waits());
}

#[test]
fn a_lost_store_is_told_of_as_down_and_as_replaced() {
    let mut play = Play::new(well);
    play.task("verify", &json!({"events": ["StoreDown", "StoreReplaced"]}));
    play.run(3);
    play.harness.universe.nodes.power("node-c", false);
    play.run(120);
    // Somebody vouches that the machine is off, so what was on it is given up for good.
    play.harness.universe.kube.edit(&Key::new("Node", "node-c"), |node| {
        let taint = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
        set(node, &["spec", "taints"], taint);
    });
    play.run(9000);
    let told: Vec<&str> = play.tasks.begun.iter().map(|begun| begun.about.as_str()).collect();
    for event in ["StoreDown", "StoreReplaced"] {
        let count = told.iter().filter(|about| about.starts_with(event)).count();
        assert_eq!(count, 1, "{event}: {told:?}");
    }
}

/// As in [`play`], where half of what the loop over tasks asks for is not done or not answered, and its process
/// ends now and then.
fn play_with_losses(seed: u64) -> Play {
    let mut play = Play::new(well);
    let faults = Faults {
        stale: 40,
        conflict: 20,
        lost_answer: 30,
        unavailable: 20,
        crash: 5,
        ..Faults::default()
    };
    play.tasks.set_faults(faults, seed);
    play.task("gate", &json!({"events": ["UpgradeStarting"], "gate": "before", "timeout": "30m", "backoffLimit": 20}));
    let hook = json!({
        "events": ["UpgradeStarting", "StoreUpgraded", "UpgradeFinished", "ScaleFinished"],
        "run": {"http": {"url": "http://a"}}, "concurrencyPolicy": "Allow", "timeout": "30m",
        "backoffLimit": 20, "successfulRunsHistoryLimit": 2,
    });
    play.task("hook", &hook);
    play.run(60);
    play.upgrade();
    play.run(3000);
    play
}

#[test]
fn f78_lost_answers_make_no_second_job_and_lose_no_call() {
    let mut again = 0;
    for seed in 0..8 {
        let play = play_with_losses(seed);
        audit(&play, &format!("with lost answers of seed {seed}"));
        let jobs = play.tasks.begun.iter().filter(|begun| begun.by == Verb::Create).count();
        assert_eq!(jobs, 1, "{:?}", play.tasks.begun);
        again += play.tasks.begun.len() - 6;
    }
    assert!(again > 4, "no call was made again");
}

/// A Job that somebody deletes is not made again without end.
#[test]
fn a_job_that_is_deleted_by_hand_fails_its_run() {
    let mut play = Play::new(never);
    play.task("once", &json!({"events": null, "immediately": true, "backoffLimit": 1}));
    for _ in 0..20 {
        play.run(10);
        let jobs: Vec<Key> =
            play.harness.universe.kube.list("Job").map(|job| Key::of(job)).collect();
        for job in jobs {
            play.harness.universe.kube.vanish(&job);
        }
    }
    let keys = play.keys();
    assert_eq!((play.tasks.begun.len(), keys.len()), (2, 1), "{:?}", play.tasks.begun);
    let task = play.harness.universe.kube.get("TikvTask", "once").unwrap();
    assert_eq!(text(task, "/status/runs/0/outcome"), "Failed");
}

/// New stores run the image of before, and the new one when the gate is gone.
#[test]
fn a_scale_out_beside_a_gated_upgrade_runs_the_image_of_before() {
    let mut play = Play::new(never);
    play.task("gate", &json!({"events": ["UpgradeStarting"], "gate": "before", "timeout": "10m"}));
    play.run(3);
    play.upgrade();
    play.harness.edit("c", &["tikv", "replicas"], json!(4));
    play.run(300);
    let made = play.harness.universe.kube.get("Pod", "c-tikv-3").is_some();
    assert!(made && play.upgraded() == 0, "{}", play.waits());
    play.harness.universe.kube.vanish(&Key::new("TikvTask", "gate"));
    play.run(2000);
    assert_eq!(play.upgraded(), 7, "{}", play.waits());
}
