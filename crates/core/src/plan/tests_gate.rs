//! When does a task hold an upgrade, and what opens it?

use jiff::SignedDuration;
use serde_json::json;
use tikv_operator_api::v1alpha1::{GateStatus, RunKey};

use crate::build;
use crate::cluster::Cluster;
use crate::fixture;
use crate::plan::{Plan, Severity, Step, plan};
use crate::report::report;
use crate::rules::{self, Rule};
use crate::world::{Component, Gate, Gates, Kind, Revision, Slot, World};

/// A settled cluster whose version changes now, and the tasks that gate it.
fn upgrade(gates: Vec<Gate>) -> (Cluster, World) {
    upgrade_to("v8.5.8", gates)
}

fn upgrade_to(version: &str, gates: Vec<Gate>) -> (Cluster, World) {
    let mut world = fixture::settled(&fixture::cluster(json!({})));
    let cluster = fixture::cluster(json!({ "version": version }));
    fixture::accept(&cluster, &mut world);
    world.gates = Gates::Known(gates);
    (cluster, world)
}

fn gate(before: bool) -> Gate {
    let created = fixture::now() - SignedDuration::from_hours(1);
    Gate { task: "backup".into(), before, created, suspended: false, answer: None, problem: None }
}

fn restarts(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step.name(), "delete-pod" | "lock-maintenance"))
}

fn wait(plan: &Plan, rule: &Rule) -> Option<String> {
    plan.waits.iter().find(|wait| wait.rule == rule).map(|wait| wait.detail.clone())
}

/// Reports, so that the next pass knows what this one announced.
fn pass(cluster: &Cluster, world: &mut World) -> Plan {
    let plan = plan(cluster, world);
    (world.resource.status, _) = report(cluster, world, &plan, &[]);
    plan
}

fn answer(world: &mut World, outcome: tikv_operator_api::v1alpha1::RunOutcome) {
    let id = world.resource.status.upgrade.as_ref().expect("announced").id.clone();
    let Gates::Known(gates) = &mut world.gates else { panic!("known") };
    let message = Some("the disk is full".to_owned());
    gates[0].answer =
        Some(GateStatus { id, run: Some(RunKey("key".into())), outcome, message, generation: 1 });
}

#[test]
fn without_tasks_an_upgrade_begins_at_once_and_is_reported() {
    let (cluster, mut world) = upgrade(Vec::new());
    assert!(restarts(&pass(&cluster, &mut world)));
    let upgrade = world.resource.status.upgrade.expect("an upgrade");
    assert_eq!((upgrade.remaining, upgrade.finished), (6, None));
    assert_eq!(upgrade.to, "pingcap/pd:v8.5.8, pingcap/tikv:v8.5.8");
    assert!(upgrade.from.contains("pingcap/tikv:v8.5.7"), "{}", upgrade.from);
}

#[test]
fn a_task_that_only_hears_of_it_lets_it_go_on_once_it_is_announced() {
    let (cluster, mut world) = upgrade(vec![gate(false)]);
    let first = pass(&cluster, &mut world);
    assert!(!restarts(&first) && wait(&first, &rules::GATE_BEFORE_UPGRADE).is_some());
    assert!(restarts(&pass(&cluster, &mut world)));
}

#[test]
fn a_gate_that_is_there_holds_however_slow_the_operators_clock_is() {
    use tikv_operator_api::v1alpha1::RunOutcome as R;
    let created = fixture::now() + SignedDuration::from_mins(30);
    let (cluster, mut world) = upgrade(vec![Gate { created, ..gate(true) }]);
    pass(&cluster, &mut world);
    let plan = pass(&cluster, &mut world);
    assert!(!restarts(&plan) && wait(&plan, &rules::GATE_BEFORE_UPGRADE).is_some());
    answer(&mut world, R::Succeeded);
    assert!(restarts(&pass(&cluster, &mut world)));
}

#[test]
fn a_suspended_gate_holds_nothing_until_it_is_resumed() {
    let created = fixture::now() + SignedDuration::from_mins(30);
    let suspended = Gate { created, suspended: true, ..gate(true) };
    let (cluster, mut world) = upgrade(vec![suspended.clone()]);
    assert!(restarts(&pass(&cluster, &mut world)));
    assert!(world.resource.status.upgrade.is_some());
    world.gates = Gates::Known(vec![Gate { suspended: false, ..suspended }]);
    let plan = pass(&cluster, &mut world);
    assert!(!restarts(&plan) && wait(&plan, &rules::GATE_BEFORE_UPGRADE).is_some());
}

#[test]
fn a_gate_holds_until_its_run_has_succeeded() {
    use tikv_operator_api::v1alpha1::RunOutcome as R;
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    let plan = pass(&cluster, &mut world);
    let id = world.resource.status.upgrade.clone().expect("announced").id;
    let detail = wait(&plan, &rules::GATE_BEFORE_UPGRADE).expect("held");
    assert!(detail.contains("backup") && detail.contains(&format!("skip-gate={id}")), "{detail}");
    for (outcome, open) in [
        (R::Pending, false),
        (R::Running, false),
        (R::Failed, false),
        (R::Replaced, false),
        (R::Skipped, true),
        (R::Succeeded, true),
    ] {
        answer(&mut world, outcome);
        let plan = pass(&cluster, &mut world.clone());
        assert_eq!(restarts(&plan), open, "{outcome:?}");
        let failed = plan.waits.iter().find(|wait| *wait.rule == rules::GATE_FAILED);
        let told = outcome == R::Failed || outcome == R::Replaced;
        assert_eq!(failed.map(|wait| wait.severity), told.then_some(Severity::Degraded));
        let words = failed.map_or("the disk is full", |wait| wait.detail.as_str());
        assert!(words.contains("the disk is full"), "{words}");
    }
}

#[test]
fn an_answer_to_an_earlier_announcement_opens_nothing() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    answer(&mut world, tikv_operator_api::v1alpha1::RunOutcome::Succeeded);
    assert!(restarts(&plan(&cluster, &world)));
    let next = fixture::cluster(json!({"version": "v8.5.9"}));
    fixture::accept(&next, &mut world);
    world.now += SignedDuration::from_secs(1);
    pass(&next, &mut world);
    assert!(!restarts(&pass(&next, &mut world)));
}

#[test]
fn what_opens_a_gate_by_hand_or_by_deletion() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    assert!(!restarts(&plan(&cluster, &world)));
    let mut deleted = world.clone();
    deleted.gates = Gates::Known(Vec::new());
    assert!(restarts(&plan(&cluster, &deleted)));
    let mut young = world.clone();
    let since = young.resource.status.upgrade.as_ref().expect("announced").since.0;
    let Gates::Known(gates) = &mut young.gates else { panic!("known") };
    gates[0].created = since + SignedDuration::from_secs(61);
    assert!(restarts(&plan(&cluster, &young)), "made when the upgrade went on already");
    world.resource.skip_gate = Some("another".into());
    assert!(!restarts(&plan(&cluster, &world)));
    world.resource.skip_gate = world.resource.status.upgrade.clone().map(|upgrade| upgrade.id);
    assert!(restarts(&plan(&cluster, &world)));
}

#[test]
fn a_gate_that_cannot_run_or_is_not_known_holds_and_says_so() {
    let mut broken = gate(true);
    broken.problem = Some("spec.when: cannot be read.".into());
    let (cluster, mut world) = upgrade(vec![broken]);
    pass(&cluster, &mut world);
    let plan = pass(&cluster, &mut world);
    assert!(!restarts(&plan));
    assert!(wait(&plan, &rules::GATE_FAILED).expect("said").contains("spec.when"));
    world.gates = Gates::Unknown("no answer".into());
    let plan = pass(&cluster, &mut world);
    assert!(!restarts(&plan));
    let detail = wait(&plan, &rules::GATE_BEFORE_UPGRADE).expect("said");
    assert!(detail.contains("no answer") && detail.contains("watch on tikvtasks"), "{detail}");
    let id = world.resource.status.upgrade.clone().expect("announced").id;
    let command = format!("--namespace ns tikvcluster c tikv.org/skip-gate={id}");
    assert!(detail.contains(&command), "{detail}");
    world.resource.skip_gate = Some(id);
    assert!(restarts(&pass(&cluster, &mut world)), "what is not known can be passed over by hand");
}

/// The one who creates the task has the API server's clock, the operator may be behind it.
#[test]
fn a_slow_clock_of_the_operator_opens_no_gate() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    let since = world.resource.status.upgrade.as_ref().expect("announced").since.0;
    let Gates::Known(gates) = &mut world.gates else { panic!("known") };
    gates[0].created = since + SignedDuration::from_secs(30);
    assert!(!restarts(&plan(&cluster, &world)));
}

/// The fix is not held by a gate, nor is a change of the configuration.
#[test]
fn what_does_not_run_and_what_is_no_upgrade_is_not_held() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    for ordinal in 0..3 {
        let slot = Slot::pd(ordinal);
        let pod = world.pods.get_mut(&slot).expect("a pod");
        pod.revision = Some(crate::build::revision(&cluster, slot.component));
        pod.image = Some(cluster.pd.common.image.clone());
    }
    pass(&cluster, &mut world);
    assert!(!restarts(&plan(&cluster, &world)));
    let pod = world.pods.get_mut(&Slot::tikv(2)).expect("a pod");
    (pod.ready, pod.containers_ready, pod.has_run) = (false, false, false);
    pod.trouble = Some("ImagePullBackOff".into());
    let fixed = plan(&cluster, &world);
    assert!(wait(&fixed, &rules::GATE_BEFORE_UPGRADE).is_none(), "{:?}", fixed.waits);
    let mut world = fixture::settled(&fixture::cluster(json!({})));
    let config = fixture::cluster(json!({"tikv": {"annotations": {"a": "b"}}}));
    fixture::accept(&config, &mut world);
    world.gates = Gates::Known(vec![gate(true)]);
    assert!(!plan(&config, &world).steps.is_empty());
    let (status, _) = report(&config, &world, &plan(&config, &world), &[]);
    assert_eq!(status.upgrade, None);
}

#[test]
fn an_upgrade_ends_when_all_run_the_image_and_are_healthy() {
    let (cluster, mut world) = upgrade(Vec::new());
    pass(&cluster, &mut world);
    for (slot, pod) in &mut world.pods {
        pod.revision = Some(crate::build::revision(&cluster, slot.component));
        pod.image = Some(match slot.component {
            crate::world::Component::Pd => cluster.pd.common.image.clone(),
            crate::world::Component::Tikv => cluster.tikv.common.image.clone(),
        });
    }
    let store = fixture::pd_of(&mut world).stores.values_mut().next().expect("a store");
    store.state = crate::world::StoreState::Down;
    pass(&cluster, &mut world);
    let upgrade = world.resource.status.upgrade.clone().expect("an upgrade");
    assert_eq!((upgrade.remaining, upgrade.finished), (0, None));
    let store = fixture::pd_of(&mut world).stores.values_mut().next().expect("a store");
    store.state = crate::world::StoreState::Up;
    pass(&cluster, &mut world);
    let upgrade = world.resource.status.upgrade.clone().expect("an upgrade");
    assert_eq!(upgrade.finished.map(|at| at.0), Some(world.now));
    pass(&cluster, &mut world);
    assert!(world.resource.status.upgrade.is_some(), "kept, so that nobody misses its end");
}

#[test]
fn while_it_is_paused_or_refused_nothing_is_announced() {
    let (mut cluster, mut world) = upgrade(vec![gate(true)]);
    cluster.paused = true;
    pass(&cluster, &mut world);
    assert_eq!(world.resource.status.upgrade, None, "the backup would be of another week");
    cluster.paused = false;
    pass(&cluster, &mut world);
    assert!(world.resource.status.upgrade.is_some());
    let mut world = fixture::settled(&fixture::cluster(json!({})));
    let older = fixture::cluster(json!({"version": "v8.1.0"}));
    fixture::accept(&older, &mut world);
    world.gates = Gates::Known(vec![gate(true)]);
    let plan = pass(&older, &mut world);
    assert!(!restarts(&plan) && wait(&plan, &rules::GATE_BEFORE_UPGRADE).is_none());
    assert_eq!(world.resource.status.upgrade, None, "{:?}", plan.waits);
}

#[test]
fn a_status_that_was_wiped_announces_the_same_again() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    answer(&mut world, tikv_operator_api::v1alpha1::RunOutcome::Succeeded);
    let first = world.resource.status.upgrade.take().expect("announced").id;
    world.now += SignedDuration::from_secs(2);
    pass(&cluster, &mut world);
    assert_eq!(world.resource.status.upgrade.as_ref().map(|it| &it.id), Some(&first));
    assert!(restarts(&pass(&cluster, &mut world)), "its answer holds, and so would an annotation");
}

/// An answer is to the announcement that it was given to. With its status the operator loses which edit
/// asked for the images; it asks once more where that may have been another one.
#[test]
fn an_answer_outlives_an_edit_and_is_asked_for_anew_where_the_status_is_gone_too() {
    use tikv_operator_api::v1alpha1::RunOutcome::Succeeded;
    let (mut cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    answer(&mut world, Succeeded);
    cluster.generation += 1;
    assert!(restarts(&pass(&cluster, &mut world)), "another field was edited");
    world.resource.status.upgrade = None;
    pass(&cluster, &mut world);
    assert!(
        !restarts(&pass(&cluster, &mut world)),
        "it is not known whether the answer is of before"
    );
    answer(&mut world, Succeeded);
    assert!(restarts(&pass(&cluster, &mut world)));
}

/// There and back and there again: an answer to the first upgrade is none to the second, though both are
/// to the same images.
#[test]
fn an_upgrade_to_an_image_that_ran_before_asks_anew() {
    let (mut cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    answer(&mut world, tikv_operator_api::v1alpha1::RunOutcome::Succeeded);
    assert!(restarts(&pass(&cluster, &mut world)));
    // All ran the new image, then the old one again; the answer is still in the task's status.
    world.resource.status.upgrade = None;
    cluster.generation += 2;
    pass(&cluster, &mut world);
    assert!(!restarts(&pass(&cluster, &mut world)));
}

/// A backup that fails because the new version is bad does not hold the way back.
#[test]
fn going_back_to_the_images_of_before_is_not_held() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    let pod = world.pods.get_mut(&Slot::pd(2)).expect("a pod");
    pod.revision = Some(crate::build::revision(&cluster, Component::Pd));
    pod.image = Some(cluster.pd.common.image.clone());
    let announced = world.resource.status.upgrade.clone();
    let back = fixture::cluster(json!({}));
    fixture::accept(&back, &mut world);
    let plan = pass(&back, &mut world);
    assert!(wait(&plan, &rules::GATE_BEFORE_UPGRADE).is_none(), "{:?}", plan.waits);
    assert!(restarts(&plan), "{:?}", plan.waits);
    let mut unknown = world.clone();
    unknown.gates = Gates::Unknown("no answer".into());
    assert!(restarts(&pass(&back, &mut unknown)), "also while tasks cannot be read");
    let kept = world.resource.status.upgrade.clone().expect("kept until it is done");
    assert_eq!(Some(kept.id), announced.map(|it| it.id));
    // To a third version is another upgrade.
    let third = fixture::cluster(json!({"version": "v8.5.9"}));
    fixture::accept(&third, &mut world);
    assert!(!restarts(&pass(&third, &mut world)));
}

/// A text of the pod that the plan makes in this slot.
fn text_of(plan: &Plan, slot: Slot, pointer: &str) -> Option<String> {
    let name = slot.pod_name("c");
    plan.steps.iter().find_map(|step| {
        let Step::Create(object) = step else { return None };
        let is_it = object.key.kind == Kind::Pod && object.key.name == name;
        let text = object.body.pointer(pointer).filter(|_| is_it)?;
        Some(text.as_str().expect("a text").to_owned())
    })
}

/// The image of the pod that the plan makes in this slot.
fn made(plan: &Plan, slot: Slot) -> Option<String> {
    text_of(plan, slot, "/spec/containers/0/image")
}

/// The pod that is made is judged by the version that it runs and not by the one that waits.
#[test]
fn a_gated_upgrade_to_another_minor_version_holds_up_no_repair() {
    let (cluster, mut world) = upgrade_to("v8.6.0", vec![gate(true)]);
    pass(&cluster, &mut world);
    for slot in [Slot::tikv(1), Slot::pd(1)] {
        let mut one_less = world.clone();
        one_less.pods.remove(&slot);
        let image = made(&pass(&cluster, &mut one_less), slot);
        assert!(image.as_deref().is_some_and(|image| image.ends_with(":v8.5.7")), "{image:?}");
    }
}

#[test]
fn a_tag_that_is_no_plain_version_is_kept_as_well() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    for pod in world.pods.values_mut() {
        pod.image = pod.image.as_ref().map(|image| format!("{image}-hotfix@sha256:12"));
    }
    pass(&cluster, &mut world);
    world.pods.remove(&Slot::tikv(1));
    let image = made(&pass(&cluster, &mut world), Slot::tikv(1));
    assert_eq!(image.as_deref(), Some("pingcap/tikv:v8.5.7-hotfix@sha256:12"));
}

#[test]
fn a_task_that_does_not_take_the_announcement_up_fails_the_gate() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    let says = |world: &World, rule: &Rule| {
        plan(&cluster, world).waits.iter().any(|wait| *wait.rule == *rule)
    };
    assert!(says(&world, &rules::GATE_BEFORE_UPGRADE) && !says(&world, &rules::GATE_FAILED));
    let upgrade = world.resource.status.upgrade.as_mut().expect("an announcement");
    upgrade.since.0 -= SignedDuration::from_mins(10);
    assert!(says(&world, &rules::GATE_FAILED) && !says(&world, &rules::GATE_BEFORE_UPGRADE));
}

#[test]
fn a_pod_that_is_made_while_the_gate_is_closed_runs_the_image_of_before() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    world.pods.remove(&Slot::tikv(1));
    let image = made(&pass(&cluster, &mut world), Slot::tikv(1));
    assert_eq!(image.as_deref(), Some("pingcap/tikv:v8.5.7"));
    // And is restarted when the gate opens.
    let revision = "/metadata/annotations/tikv.org~1revision";
    let revision = text_of(&plan(&cluster, &world), Slot::tikv(1), revision).map(Revision);
    assert!(!build::is_current(&cluster, Component::Tikv, &revision.expect("one")));
    // Nobody is left to ask: the announcement says what ran.
    let mut alone = world.clone();
    alone.pods.retain(|slot, _| slot.component == Component::Pd);
    let image = made(&plan(&cluster, &alone), Slot::tikv(0));
    assert_eq!(image.as_deref(), Some("pingcap/tikv:v8.5.7"));
    // What a newer version wrote an older one does not read.
    let marks = &mut world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks;
    let wrote = marks.written_by.replace("8.5.8".into());
    assert_eq!(
        made(&plan(&cluster, &world), Slot::tikv(1)).as_deref(),
        Some("pingcap/tikv:v8.5.8")
    );
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks.written_by = wrote;
    answer(&mut world, tikv_operator_api::v1alpha1::RunOutcome::Succeeded);
    assert_eq!(
        made(&plan(&cluster, &world), Slot::tikv(1)).as_deref(),
        Some("pingcap/tikv:v8.5.8")
    );
}

#[test]
fn a_scale_out_goes_on_with_the_image_of_before() {
    let (_, mut world) = upgrade(vec![gate(true)]);
    let cluster = fixture::cluster(json!({"version": "v8.5.8", "tikv": {"replicas": 4}}));
    fixture::accept(&cluster, &mut world);
    pass(&cluster, &mut world);
    let image = made(&pass(&cluster, &mut world), Slot::tikv(3));
    assert_eq!(image.as_deref(), Some("pingcap/tikv:v8.5.7"));
}

/// The version was edited while a store was about to be restarted for its configuration.
#[test]
fn a_restart_that_had_begun_does_not_bring_the_new_image() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    for ordinal in 0..3 {
        let pod = world.pods.get_mut(&Slot::pd(ordinal)).expect("a pod");
        pod.revision = Some(crate::build::revision(&cluster, Component::Pd));
        pod.image = Some(cluster.pd.common.image.clone());
    }
    let claim = Slot::tikv(2).claim_name("c");
    let volume = world.volumes.get_mut(&claim).expect("a volume");
    volume.marks.evicting = Some(crate::plan::restart::REASON.into());
    for _ in 0..3 {
        let plan = pass(&cluster, &mut world);
        assert!(!restarts(&plan), "{:?}", plan.steps);
        assert!(wait(&plan, &rules::GATE_BEFORE_UPGRADE).is_some(), "{:?}", plan.waits);
    }
}

/// A backup of eight hours is not eight hours of questions to PD.
#[test]
fn a_gate_is_waited_for_at_leisure() {
    let (cluster, mut world) = upgrade(vec![gate(true)]);
    pass(&cluster, &mut world);
    assert_eq!(pass(&cluster, &mut world).wake, std::time::Duration::from_secs(5));
}
