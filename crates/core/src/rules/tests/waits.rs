//! One table per rule that a planner names itself. Of those that hold it back: a scene in which it
//! takes no step, the same without the rule, and the nearest scene in which it does. Of those that only
//! say something: a scene in which they are named, and the nearest in which not.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tikv_operator_api::v1alpha1::{GateStatus, RunOutcome};

use super::*;
use crate::plan::{Plan, plan, plan_without};
use crate::report::report;
use crate::world::{
    Applied, Component, ConfigItem, Gate, Gates, Leaving, NodeView, PodPhase, Refusal, Replication,
    StoreId, StoreProcess, StoreState, Symptom, VolumePhase,
};

type Seen = dyn Fn(&Step) -> bool;

fn is_named(rule: &Rule, plan: &Plan) -> bool {
    plan.waits.iter().any(|wait| wait.rule == rule)
}

fn takes(plan: &Plan, step: &Seen) -> bool {
    plan.steps.iter().any(step)
}

/// The rule is named and keeps the planner from such a step; without the rule it takes one.
#[track_caller]
fn holds_back(rule: &Rule, cluster: &Cluster, world: &World, step: &Seen) {
    assert!(rule.holds_planner, "{}", rule.name);
    let held = plan(cluster, world);
    assert!(is_named(rule, &held) && !takes(&held, step), "{}: {held:?}", rule.name);
    let free = plan_without(cluster, world, rule.name);
    assert!(takes(&free, step), "without {}: {free:?}", rule.name);
    assert!(!is_named(rule, &free), "without {}", rule.name);
}

/// The rule is not named, and such a step is taken.
#[track_caller]
fn lets_go(rule: &Rule, cluster: &Cluster, world: &World, step: &Seen) {
    let plan = plan(cluster, world);
    assert!(!is_named(rule, &plan) && takes(&plan, step), "{}: {plan:?}", rule.name);
}

/// The rule is named in this world, and not in a settled one.
#[track_caller]
fn says(rule: &Rule, cluster: &Cluster, change: impl FnOnce(&mut World)) {
    let mut world = fixture::settled(cluster);
    assert!(!is_named(rule, &plan(cluster, &world)), "{}", rule.name);
    change(&mut world);
    let plan = plan(cluster, &world);
    assert!(is_named(rule, &plan), "{}: {plan:?}", rule.name);
}

fn makes(kind: Kind, name: &'static str) -> impl Fn(&Step) -> bool {
    move |step| matches!(step, Step::Create(object) if object.key == ObjectKey::new(kind, name))
}

fn evicts_for_a_restart(step: &Step) -> bool {
    matches!(step, Step::MarkVolume { marks, .. } if marks.evicting.as_deref() == Some("restart"))
}

fn deletes_a_pod(step: &Step) -> bool {
    matches!(step, Step::DeletePod { .. })
}

fn changed_world() -> (Cluster, World) {
    let mut world = fixture::settled(&three());
    let cluster = fixture::cluster(json!({"tikv": {"annotations": {"restartedAt": "now"}}}));
    fixture::accept(&cluster, &mut world);
    (cluster, world)
}

fn volume_of<'a>(world: &'a mut World, name: &str) -> &'a mut crate::world::VolumeFacts {
    world.volumes.get_mut(name).expect("a volume")
}

fn pod_of(world: &mut World, slot: Slot) -> &mut crate::world::PodFacts {
    world.pods.get_mut(&slot).expect("a pod")
}

fn store_of(world: &mut World, id: u64) -> &mut crate::world::StoreFacts {
    fixture::pd_of(world).stores.get_mut(&StoreId(id)).expect("a store")
}

#[test]
fn paused() {
    let paused = fixture::cluster(json!({"paused": true}));
    let mut world = fixture::settled(&three());
    world.pods.remove(&Slot::tikv(1));
    holds_back(&PAUSED, &paused, &world, &makes(Kind::Pod, "c-tikv-1"));
    lets_go(&PAUSED, &three(), &world, &makes(Kind::Pod, "c-tikv-1"));
}

#[test]
fn deleting() {
    let mut world = fixture::settled(&three());
    world.pods.remove(&Slot::tikv(1));
    lets_go(&DELETING, &three(), &world, &makes(Kind::Pod, "c-tikv-1"));
    world.resource.deleting_since = Some(fixture::now());
    holds_back(&DELETING, &three(), &world, &makes(Kind::Pod, "c-tikv-1"));
}

#[test]
fn template_accepted() {
    let (cluster, mut world) = changed_world();
    lets_go(&TEMPLATE_ACCEPTED, &cluster, &world, &evicts_for_a_restart);
    let trial = world.trials.get_mut(&Component::Tikv).expect("a trial");
    trial.refused = Some("spec.containers[0].image: Required value".into());
    holds_back(&TEMPLATE_ACCEPTED, &cluster, &world, &evicts_for_a_restart);
}

#[test]
fn one_disruption_at_a_time() {
    let rule = &ONE_DISRUPTION_AT_A_TIME;
    let cluster = fixture::cluster(json!({"tikv": {"version": "v8.5.6"}}));
    let mut world = fixture::settled(&three());
    let never_ran = |world: &mut World, slot| {
        let pod = pod_of(world, slot);
        (pod.has_run, pod.phase, pod.containers_ready) = (false, PodPhase::Pending, false);
    };
    let second = |step: &Step| matches!(step, Step::DeletePod { name, .. } if name == "c-tikv-1");
    never_ran(&mut world, Slot::tikv(1));
    assert!(takes(&plan(&cluster, &world), &second), "alone it goes");
    never_ran(&mut world, Slot::tikv(0));
    holds_back(rule, &cluster, &world, &second);
}

#[test]
fn pod_going_away() {
    let mut world = fixture::settled(&three());
    pod_of(&mut world, Slot::tikv(1)).deleting_since = Some(fixture::now());
    holds_back(&POD_GOING_AWAY, &three(), &world, &makes(Kind::Pod, "c-tikv-1"));
    world.pods.remove(&Slot::tikv(1));
    lets_go(&POD_GOING_AWAY, &three(), &world, &makes(Kind::Pod, "c-tikv-1"));
}

#[test]
fn changed_back() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let key = ObjectKey::new(Kind::Service, "c-pd");
    let body = Arc::make_mut(&mut world.objects.get_mut(&key).expect("the Service").body);
    let hash = body["metadata"]["annotations"][build::APPLIED].as_str().expect("a hash").to_owned();
    body["spec"]["type"] = json!("NodePort");
    let applies = |step: &Step| matches!(step, Step::Apply { .. });
    lets_go(&CHANGED_BACK, &cluster, &world, &applies);
    let ago = SignedDuration::from_mins(4);
    world.applied.insert(key, Applied { hash, times: 3, ago });
    holds_back(&CHANGED_BACK, &cluster, &world, &applies);
}

#[test]
fn object_going_away() {
    let mut world = fixture::settled(&three());
    let key = ObjectKey::new(Kind::Service, "c-pd");
    world.objects.get_mut(&key).expect("the Service").deleting = true;
    holds_back(&OBJECT_GOING_AWAY, &three(), &world, &makes(Kind::Service, "c-pd"));
    world.objects.remove(&key);
    lets_go(&OBJECT_GOING_AWAY, &three(), &world, &makes(Kind::Service, "c-pd"));
}

#[test]
fn first_volumes_first() {
    let mut world = fixture::empty();
    let record = BootstrapRecord { token: "t".into(), members: vec![0, 1, 2] };
    let step = Step::RecordBootstrap(record);
    world.resource.status = crate::report::with_record(&world, &step).expect("a record");
    lets_go(&FIRST_VOLUMES_FIRST, &three(), &world, &makes(Kind::Pod, "c-pd-0"));
    let key = ObjectKey::new(Kind::PersistentVolumeClaim, "pd-c-pd-2");
    world.strangers.insert(key, "not ours".into());
    holds_back(&FIRST_VOLUMES_FIRST, &three(), &world, &makes(Kind::Pod, "c-pd-0"));
}

#[test]
fn volume_going_away() {
    let mut world = fixture::settled(&three());
    world.pods.remove(&Slot::tikv(1));
    lets_go(&VOLUME_GOING_AWAY, &three(), &world, &makes(Kind::Pod, "c-tikv-1"));
    volume_of(&mut world, "tikv-c-tikv-1").deleting = true;
    holds_back(&VOLUME_GOING_AWAY, &three(), &world, &makes(Kind::Pod, "c-tikv-1"));
}

#[test]
fn scaling_before_restarting() {
    let (cluster, world) = changed_world();
    lets_go(&SCALING_BEFORE_RESTARTING, &cluster, &world, &evicts_for_a_restart);
    let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"replicas": 4}})));
    fixture::accept(&cluster, &mut world);
    // It begins to leave in this very pass, and then it leaves.
    holds_back(&SCALING_BEFORE_RESTARTING, &cluster, &world, &evicts_for_a_restart);
    let leaving = Leaving { since: fixture::now(), reason: "scale-in".into() };
    volume_of(&mut world, "tikv-c-tikv-3").marks.leaving = Some(leaving);
    holds_back(&SCALING_BEFORE_RESTARTING, &cluster, &world, &evicts_for_a_restart);
}

#[test]
fn leaders_come_back() {
    let (cluster, mut world) = changed_world();
    pod_of(&mut world, Slot::tikv(2)).revision = Some(build::revision(&cluster, Component::Tikv));
    for (id, leaders) in [(1, 300), (2, 300), (3, 10)] {
        store_of(&mut world, id).leaders = leaders;
    }
    holds_back(&LEADERS_COME_BACK, &cluster, &world, &evicts_for_a_restart);
    store_of(&mut world, 3).leaders = 170;
    lets_go(&LEADERS_COME_BACK, &cluster, &world, &evicts_for_a_restart);
}

#[test]
fn leaders_move_first() {
    let (cluster, mut world) = changed_world();
    volume_of(&mut world, "tikv-c-tikv-2").marks.evicting = Some("restart".into());
    fixture::pd_of(&mut world).evicting.insert(StoreId(3));
    let leads = |leaders| StoreProcess { leaders: Some(leaders), ..StoreProcess::default() };
    world.processes.insert(StoreId(3), leads(2));
    holds_back(&LEADERS_MOVE_FIRST, &cluster, &world, &deletes_a_pod);
    world.processes.insert(StoreId(3), leads(0));
    lets_go(&LEADERS_MOVE_FIRST, &cluster, &world, &deletes_a_pod);
}

#[test]
fn never_registered_grace() {
    let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"replicas": 4}})));
    fixture::pd_of(&mut world).stores.remove(&StoreId(4));
    volume_of(&mut world, "tikv-c-tikv-3").marks.store = None;
    let minute = SignedDuration::from_mins(1);
    let pod = pod_of(&mut world, Slot::tikv(3));
    pod.containers_ready = false;
    let symptom = Symptom::PodNotReady(pod.uid.clone());
    let leaves =
        |step: &Step| matches!(step, Step::MarkVolume { marks, .. } if marks.leaving.is_some());
    holds_back(&NEVER_REGISTERED_GRACE, &three(), &world, &leaves);
    world.seen_for.insert(symptom, minute);
    lets_go(&NEVER_REGISTERED_GRACE, &three(), &world, &leaves);
}

/// All have 10 GiB and are to have 11.
fn to_grow() -> (Cluster, World) {
    let of = |size| fixture::cluster(json!({"tikv": {"requests": {"storage": size}}}));
    (of("11Gi"), fixture::settled(&of("10Gi")))
}

fn grows(name: &'static str) -> impl Fn(&Step) -> bool {
    move |step| matches!(step, Step::ResizeVolume { name: of, .. } if of == name)
}

#[test]
fn volume_grows() {
    let (cluster, mut world) = to_grow();
    holds_back(&VOLUME_GROWS, &cluster, &world, &grows("tikv-c-tikv-1"));
    for name in ["tikv-c-tikv-0", "tikv-c-tikv-2"] {
        let volume = volume_of(&mut world, name);
        (volume.requested, volume.capacity) = (11 << 30, 11 << 30);
    }
    lets_go(&VOLUME_GROWS, &cluster, &world, &grows("tikv-c-tikv-1"));
    volume_of(&mut world, "tikv-c-tikv-1").phase = VolumePhase::Pending;
    assert!(is_named(&VOLUME_GROWS, &plan(&cluster, &world)));
}

#[test]
fn class_cannot_grow() {
    let (cluster, mut world) = to_grow();
    lets_go(&CLASS_CANNOT_GROW, &cluster, &world, &grows("tikv-c-tikv-0"));
    let words = "class local does not allow expansion".to_owned();
    let refusal = crate::world::GrowthRefusal { words, ago: SignedDuration::from_secs(59) };
    world.growth_refused.insert("tikv-c-tikv-0".into(), refusal);
    holds_back(&CLASS_CANNOT_GROW, &cluster, &world, &grows("tikv-c-tikv-0"));
}

fn stopped() -> Cluster {
    fixture::cluster(json!({"suspendAction": {"suspendStatefulSet": true}}))
}

#[test]
fn suspend_waits() {
    let mut world = fixture::settled(&three());
    lets_go(&SUSPEND_WAITS, &stopped(), &world, &deletes_a_pod);
    volume_of(&mut world, "tikv-c-tikv-0").marks.evicting = Some("drain".into());
    holds_back(&SUSPEND_WAITS, &stopped(), &world, &deletes_a_pod);
}

#[test]
fn suspended() {
    let world = fixture::settled(&three());
    assert!(is_named(&SUSPENDED, &plan(&stopped(), &world)));
    assert!(!is_named(&SUSPENDED, &plan(&three(), &world)));
}

fn live(of: u32) -> Value {
    json!({"schedule": {"leader-schedule-limit": of}})
}

#[test]
fn config_refused() {
    let cluster = fixture::cluster(json!({"pd": {"config": live(8)}}));
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).config = Some(live(4).into());
    let sets = |step: &Step| matches!(step, Step::SetPdConfig { .. });
    lets_go(&CONFIG_REFUSED, &cluster, &world, &sets);
    let item = ConfigItem::Pd("schedule.leader-schedule-limit".into());
    world.config_refusals.insert(item, Refusal { value: json!(8), words: "no".into() });
    holds_back(&CONFIG_REFUSED, &cluster, &world, &sets);
}

fn threshold(of: u32) -> Value {
    json!({"raftstore": {"raft-log-gc-threshold": of}})
}

#[test]
fn config_needs_restart() {
    let cluster = fixture::cluster(json!({"tikv": {"config": threshold(60)}}));
    let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"config": threshold(50)}})));
    let config = Some(threshold(50).into());
    world.processes.insert(StoreId(1), StoreProcess { leaders: None, config });
    let sets = |step: &Step| matches!(step, Step::SetStoreConfig { .. });
    lets_go(&CONFIG_NEEDS_RESTART, &cluster, &world, &sets);
    let item = ConfigItem::Store(StoreId(1), "raftstore.raft-log-gc-threshold".into());
    world.config_refusals.insert(item, Refusal { value: json!(60), words: "no".into() });
    holds_back(&CONFIG_NEEDS_RESTART, &cluster, &world, &sets);
}

/// A settled cluster whose upgrade was announced to a task that is to run before it.
fn gated(outcome: Option<RunOutcome>) -> (Cluster, World) {
    let mut world = fixture::settled(&three());
    let cluster = fixture::cluster(json!({"version": "v8.5.8"}));
    fixture::accept(&cluster, &mut world);
    let created = fixture::now() - SignedDuration::from_hours(1);
    let task = "backup".to_owned();
    let gate = Gate { task, before: true, created, suspended: false, answer: None, problem: None };
    world.gates = Gates::Known(vec![gate.clone()]);
    let announced = plan(&cluster, &world);
    (world.resource.status, _) = report(&cluster, &world, &announced, &[]);
    let id = world.resource.status.upgrade.as_ref().expect("announced").id.clone();
    let answer = |outcome| GateStatus { id, run: None, outcome, message: None, generation: 1 };
    world.gates = Gates::Known(vec![Gate { answer: outcome.map(answer), ..gate }]);
    (cluster, world)
}

fn upgrades(step: &Step) -> bool {
    matches!(step.name(), "delete-pod" | "lock-maintenance")
}

#[test]
fn gate_before_upgrade() {
    let (cluster, world) = gated(Some(RunOutcome::Running));
    holds_back(&GATE_BEFORE_UPGRADE, &cluster, &world, &upgrades);
    let (cluster, world) = gated(Some(RunOutcome::Succeeded));
    lets_go(&GATE_BEFORE_UPGRADE, &cluster, &world, &upgrades);
}

#[test]
fn gate_failed() {
    let (cluster, world) = gated(Some(RunOutcome::Failed));
    holds_back(&GATE_FAILED, &cluster, &world, &upgrades);
    let (cluster, world) = gated(Some(RunOutcome::Succeeded));
    lets_go(&GATE_FAILED, &cluster, &world, &upgrades);
}

#[test]
fn config_not_read() {
    let cluster = fixture::cluster(json!({"pd": {"config": live(8)}}));
    let mut world = fixture::settled(&cluster);
    assert!(is_named(&CONFIG_NOT_READ, &plan(&cluster, &world)));
    fixture::pd_of(&mut world).config = Some(live(4).into());
    assert!(!is_named(&CONFIG_NOT_READ, &plan(&cluster, &world)));
}

#[test]
fn annotation_not_understood() {
    says(&ANNOTATION_NOT_UNDERSTOOD, &three(), |world| {
        let annotations = &mut pod_of(world, Slot::tikv(1)).annotations;
        annotations.insert("tikv.org/restart".into(), "yes, please".into());
    });
}

#[test]
fn new_store_first() {
    says(&NEW_STORE_FIRST, &three(), |world| {
        let annotations = &mut pod_of(world, Slot::tikv(1)).annotations;
        annotations.insert("tikv.org/replace".into(), "true".into());
    });
}

#[test]
fn tombstone_by_others() {
    says(&TOMBSTONE_BY_OTHERS, &three(), |world| {
        store_of(world, 1).state = StoreState::Tombstone;
    });
}

#[test]
fn pods_start() {
    says(&PODS_START, &three(), |world| {
        pod_of(world, Slot::tikv(0)).containers_ready = false;
    });
}

#[test]
fn node_not_heard() {
    says(&NODE_NOT_HEARD, &three(), |world| {
        let node = world.pods[&Slot::tikv(1)].node.clone().expect("a node");
        world.nodes.insert(node, NodeView::Gone);
    });
}

fn silent(world: &mut World) {
    let seen_for = SignedDuration::from_mins(2);
    world.pd = PdView::Unreachable { seen_for, reason: "no answer".into() };
}

#[test]
fn pd_elects_leader() {
    says(&PD_ELECTS_LEADER, &three(), silent);
}

#[test]
fn pd_quorum_lost() {
    says(&PD_QUORUM_LOST, &three(), |world| {
        silent(world);
        world.pods.remove(&Slot::pd(0));
        world.pods.remove(&Slot::pd(1));
    });
}

#[test]
fn pd_member_not_healthy() {
    says(&PD_MEMBER_NOT_HEALTHY, &three(), |world| {
        fixture::pd_of(world).members.values_mut().next().expect("a member").healthy = false;
    });
}

#[test]
fn stores_register() {
    says(&STORES_REGISTER, &three(), |world| {
        fixture::pd_of(world).stores.remove(&StoreId(3));
        volume_of(world, "tikv-c-tikv-2").marks.store = None;
    });
}

#[test]
fn store_not_up() {
    says(&STORE_NOT_UP, &three(), |world| {
        store_of(world, 2).state = StoreState::Disconnected;
    });
}

#[test]
fn regions_replicated() {
    says(&REGIONS_REPLICATED, &three(), |world| {
        fixture::pd_of(world).replication = Replication::InProgress;
    });
}

#[test]
fn proof_settles() {
    says(&PROOF_SETTLES, &three(), |world| {
        let leader = &mut fixture::pd_of(world).leader;
        (leader.changed, leader.seen_for) = (true, SignedDuration::from_secs(59));
    });
}

#[test]
fn class_is_fixed() {
    let cluster = fixture::cluster(json!({"tikv": {"storageClassName": "fast"}}));
    let mut world = fixture::settled(&cluster);
    assert!(is_named(&CLASS_IS_FIXED, &plan(&cluster, &world)));
    for volume in world.volumes.values_mut() {
        volume.storage_class = Some("fast".into());
    }
    assert!(!is_named(&CLASS_IS_FIXED, &plan(&cluster, &world)));
}

#[test]
fn stores_share_a_place() {
    says(&STORES_SHARE_A_PLACE, &three(), |world| {
        fixture::pd_of(world).location_labels = vec!["host".into()];
        for id in 1..=3 {
            store_of(world, id).labels.insert("host".into(), "one".into());
        }
    });
}
