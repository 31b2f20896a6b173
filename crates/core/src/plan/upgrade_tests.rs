//! How does a store get from one spec to the next? One scene, one plan; whole runs are scripts of
//! the simulator.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::fixture;
use crate::rules::{self, Rule};
use crate::world::{
    Component, Kind, Maintenance, NodeFacts, NodeView, ObjectKey, Slot, StoreId, StoreProcess,
    StoreState, Symptom, Trial, World,
};

/// A settled cluster of three and three for which the spec changes now.
fn changed() -> (Cluster, World) {
    let mut world = fixture::settled(&fixture::cluster(json!({})));
    let cluster = fixture::cluster(json!({"tikv": {"annotations": {"restartedAt": "now"}}}));
    fixture::accept(&cluster, &mut world);
    (cluster, world)
}

fn waits(plan: &Plan, rule: &Rule) -> Option<String> {
    plan.waits.iter().find(|w| w.rule == rule).map(|w| w.detail.clone())
}

/// Steps by name and subject; furniture that follows is not of interest here.
fn told(plan: &Plan) -> Vec<String> {
    let telling = plan
        .steps
        .iter()
        .filter(|step| !matches!(step, Step::Create(_) | Step::Apply { .. } | Step::Prune { .. }));
    telling.map(|step| format!("{} {}", step.name(), step.subject())).collect()
}

fn mark(world: &mut World, slot: Slot, reason: &str) {
    let volume = world.volumes.get_mut(&slot.claim_name("c")).expect("a volume");
    volume.marks.evicting = Some(reason.into());
}

fn evicting(world: &mut World, store: u64, leaders: u64) {
    fixture::pd_of(world).evicting.insert(StoreId(store));
    let process = StoreProcess { leaders: Some(leaders), ..StoreProcess::default() };
    world.processes.insert(StoreId(store), process);
}

fn cordon(world: &mut World, slot: Slot) {
    let node = format!("node-of-{slot}");
    let facts = NodeFacts {
        ready: true,
        ready_since: None,
        cordoned: true,
        out_of_service: false,
        labels: std::collections::BTreeMap::new(),
    };
    world.nodes.insert(node.clone(), NodeView::Known(facts));
    world.volumes.get_mut(&slot.claim_name("c")).expect("a volume").marks.node = Some(node.clone());
    world.pods.get_mut(&slot).expect("a pod").node = Some(node);
}

fn budget(cluster: &Cluster, world: &World, name: &str) -> Option<u64> {
    let wanted = furniture_of(&Scene::new(cluster, world));
    let key = ObjectKey::new(Kind::PodDisruptionBudget, name);
    let budget = wanted.into_iter().find(|object| object.key == key);
    budget.and_then(|object| object.body.pointer("/spec/minAvailable").and_then(Value::as_u64))
}

#[test]
fn s28_intent_then_eviction_then_no_leaders_then_the_pod() {
    let (cluster, mut world) = changed();
    assert_eq!(told(&plan(&cluster, &world)), ["mark-volume tikv-c-tikv-2"]);
    mark(&mut world, Slot::tikv(2), "restart");
    assert_eq!(told(&plan(&cluster, &world)), ["evict-leaders store 3"]);
    evicting(&mut world, 3, 2);
    let moving = plan(&cluster, &world);
    assert!(told(&moving).is_empty(), "{moving:?}");
    assert!(waits(&moving, &rules::LEADERS_MOVE_FIRST).is_some());
    evicting(&mut world, 3, 0);
    let gone = told(&plan(&cluster, &world));
    assert_eq!(gone, ["delete-pod c-tikv-2: restarting it for a change of the spec"]);
}

#[test]
fn s28_a_store_that_only_pd_does_not_hear_is_not_restarted_over_its_leaders() {
    let (cluster, mut world) = changed();
    let told = |world: &World| {
        let mut steps = told(&plan(&cluster, world));
        steps.retain(|step| !step.starts_with("set-store-up"));
        steps
    };
    mark(&mut world, Slot::tikv(2), "restart");
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(3)).expect("a store");
    let led = std::mem::take(&mut store.leaders);
    store.state = StoreState::Disconnected;
    store.last_heartbeat = Some(fixture::now() - SignedDuration::from_mins(5));
    // PD counts its regions as others', who were heard to lead them since.
    fixture::pd_of(&mut world).stores.get_mut(&StoreId(1)).expect("a store").leaders += led;
    assert_eq!(told(&world), ["evict-leaders store 3"]);
    fixture::pd_of(&mut world).evicting.insert(StoreId(3));
    assert!(told(&world).is_empty());
    evicting(&mut world, 3, 2);
    assert!(told(&world).is_empty());
    evicting(&mut world, 3, 0);
    let gone = told(&world);
    assert_eq!(gone, ["delete-pod c-tikv-2: restarting it for a change of the spec"]);
    // Nobody hears it: nothing is waited for.
    world.processes.clear();
    fixture::pd_of(&mut world).evicting.clear();
    world.pods.get_mut(&Slot::tikv(2)).expect("a pod").containers_ready = false;
    let since = SignedDuration::from_mins(1);
    world.seen_for.insert(Symptom::PodNotRunning(Slot::tikv(2)), since);
    let gone = told(&world);
    assert!(gone[0].starts_with("delete-pod c-tikv-2"), "{gone:?}");
}

#[test]
fn s29_leaders_that_do_not_move_are_given_up_and_said() {
    let (cluster, mut world) = changed();
    mark(&mut world, Slot::tikv(2), "restart");
    evicting(&mut world, 3, 2);
    world.seen_for.insert(Symptom::Evicting(StoreId(3), 2), SignedDuration::from_mins(10));
    let gone = told(&plan(&cluster, &world));
    assert!(gone[0].contains("its last 2 leaders did not move within 600 s"), "{gone:?}");
}

#[test]
fn s31_eviction_ends_when_the_store_is_back_and_not_before() {
    let (cluster, mut world) = changed();
    let (done, pod) = (fixture::cluster(json!({})), Slot::tikv(2));
    mark(&mut world, pod, "restart");
    evicting(&mut world, 3, 0);
    // Deleted: made again. Made again and not heard: nothing. PD's Up is of the process before.
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(3)).expect("a store");
    store.started = Some(fixture::now() - SignedDuration::from_hours(1));
    assert!(told(&plan(&done, &world)).is_empty(), "{:?}", plan(&done, &world));
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(3)).expect("a store");
    store.started = Some(fixture::now());
    assert_eq!(told(&plan(&done, &world)), ["stop-evicting store 3"]);
    fixture::pd_of(&mut world).evicting.clear();
    assert_eq!(told(&plan(&done, &world)), ["mark PersistentVolumeClaim tikv-c-tikv-2"]);
    assert!(!told(&plan(&cluster, &world)).is_empty());
}

#[test]
fn s26_tikv_waits_for_pd_and_s27_for_the_other_stores() {
    let mut world = fixture::settled(&fixture::cluster(json!({})));
    let both = fixture::cluster(json!({"annotations": {"restartedAt": "now"}}));
    fixture::accept(&both, &mut world);
    let held = plan(&both, &world);
    let begun = told(&held).into_iter().any(|step| step.contains("tikv"));
    assert!(!begun && held.waits.iter().any(|wait| wait.subject == "c-tikv-2"), "{held:?}");
    let (cluster, mut world) = changed();
    fixture::pd_of(&mut world).stores.get_mut(&StoreId(1)).expect("a store").state =
        StoreState::Down;
    let held = plan(&cluster, &world);
    assert!(!held.steps.iter().any(|s| matches!(s, Step::MarkVolume { .. })), "{held:?}");
    assert!(waits(&held, &rules::CALM_FIRST).is_some_and(|words| words.contains("store 1")));
}

#[test]
fn s32_the_next_store_waits_for_the_leaders_of_the_one_before() {
    let (cluster, mut world) = changed();
    let new = world.pods.get_mut(&Slot::tikv(2)).expect("a pod");
    new.revision = Some(crate::build::revision(&cluster, crate::world::Component::Tikv));
    for (id, leaders) in [(1, 300), (2, 300), (3, 10)] {
        fixture::pd_of(&mut world).stores.get_mut(&StoreId(id)).expect("a store").leaders = leaders;
    }
    let held = plan(&cluster, &world);
    assert!(waits(&held, &rules::LEADERS_COME_BACK).is_some_and(|w| w.contains("10 regions")));
    assert!(told(&held).is_empty());
    let begins = |world: &World| told(&plan(&cluster, world)) == ["mark-volume tikv-c-tikv-1"];
    let mut back = world.clone();
    fixture::pd_of(&mut back).stores.get_mut(&StoreId(3)).expect("a store").leaders = 170;
    assert!(begins(&back));
    let mut users = world.clone();
    fixture::pd_of(&mut users).evicting.insert(StoreId(3));
    assert!(begins(&users), "evicted by a user, it never leads");
    // No change for waitLeaderTransferBackTimeout, or for long after the start, is enough too.
    let mut stuck = world.clone();
    stuck.seen_for.insert(Symptom::Leading(StoreId(3), 10), SignedDuration::from_secs(400));
    assert!(begins(&stuck));
    for pod in world.pods.values_mut() {
        pod.started = Some(fixture::now() - SignedDuration::from_secs(1200));
    }
    assert!(begins(&world));
}

#[test]
fn s32_leaders_are_waited_for_as_long_as_the_spec_says() {
    let mut world = fixture::settled(&fixture::cluster(json!({})));
    for (id, leaders) in [(1, 300), (2, 300), (3, 10)] {
        fixture::pd_of(&mut world).stores.get_mut(&StoreId(id)).expect("a store").leaders = leaders;
    }
    let annotated = json!({"restartedAt": "now"});
    let spec = |timeout| json!({"tikv": {"annotations": annotated, "waitLeaderTransferBackTimeout": timeout}});
    // No change of the number for so long; whatever it does, three times as long after the start.
    for (timeout, unchanged, ran, waits_on) in [
        ("90s", 89, 89, true),
        ("90s", 90, 90, false),
        ("90s", 1, 269, true),
        ("90s", 1, 270, false),
        ("20m", 1199, 1199, true),
        ("20m", 1200, 1200, false),
    ] {
        let cluster = fixture::cluster(spec(timeout));
        fixture::accept(&cluster, &mut world);
        let new = world.pods.get_mut(&Slot::tikv(2)).expect("a pod");
        new.revision = Some(crate::build::revision(&cluster, Component::Tikv));
        new.started = Some(fixture::now() - SignedDuration::from_secs(ran));
        let seen = SignedDuration::from_secs(unchanged);
        world.seen_for.insert(Symptom::Leading(StoreId(3), 10), seen);
        let plan = plan(&cluster, &world);
        let case = format!("{timeout}, {unchanged} s, {ran} s");
        assert_eq!(waits(&plan, &rules::LEADERS_COME_BACK).is_some(), waits_on, "{case}");
        assert_eq!(told(&plan) == ["mark-volume tikv-c-tikv-1"], !waits_on, "{case}");
    }
}

#[test]
fn s23_s39_without_redundancy_the_restart_goes_on_and_says_so() {
    let spec = json!({"pd": {"replicas": 1}, "tikv": {"replicas": 1}});
    let mut world = fixture::settled(&fixture::cluster(spec.clone()));
    fixture::pd_of(&mut world).critical = Some([(StoreId(1), 5)].into());
    let mut spec = spec;
    spec["tikv"]["annotations"] = json!({"restartedAt": "now"});
    let alone = fixture::cluster(spec);
    fixture::accept(&alone, &mut world);
    let gone = told(&plan(&alone, &world));
    assert!(gone[0].contains("delete-pod c-tikv-0"), "{gone:?}");
    assert!(gone[0].contains("its leaders have nowhere to go"), "{gone:?}");
    let (cluster, mut world) = changed();
    fixture::pd_of(&mut world).max_replicas = Some(1);
    let gone = told(&plan(&cluster, &world));
    assert!(gone[0].contains("delete-pod c-tikv-2"), "{gone:?}");
}

#[test]
fn s34_a_pod_that_never_registered_is_replaced() {
    let (cluster, mut world) = changed();
    fixture::pd_of(&mut world).stores.remove(&StoreId(3));
    world.volumes.get_mut("tikv-c-tikv-2").expect("a volume").marks.store = None;
    let gone = told(&plan(&cluster, &world));
    assert!(gone.iter().any(|step| step.starts_with("delete-pod c-tikv-2")), "{gone:?}");
}

#[test]
fn one_pod_is_restarted_where_somebody_asks_for_it_on_the_pod() {
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&cluster);
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    pod.annotations.insert(RESTART.into(), "2026-11-23T10:00:00Z".into());
    assert_eq!(told(&plan(&cluster, &world)), ["mark-volume tikv-c-tikv-1"]);
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    pod.annotations.insert(RESTART.into(), "false".into());
    assert!(plan(&cluster, &world).steps.is_empty());
}

#[test]
fn no_pod_is_taken_down_for_one_that_the_api_server_would_not_take() {
    for (component, spec, first, next) in [
        (Component::Pd, json!({"pd": {"labels": {"a": "b"}}}), "c-pd-2", "delete-pod c-pd-2"),
        (Component::Tikv, json!({"tikv": {"labels": {"a": "b"}}}), "c-tikv-2", "mark-volume"),
    ] {
        let cluster = fixture::cluster(spec);
        let mut world = fixture::settled(&fixture::cluster(json!({})));
        let shown = plan(&cluster, &world);
        assert_eq!(told(&shown), [format!("try-pod Pod {first}")]);
        let Some(Step::TryPod { revision, pod, .. }) = shown.steps.first() else { panic!() };
        assert_eq!(*revision, crate::build::revision(&cluster, component));
        assert_eq!(pod.body["metadata"]["labels"]["a"], "b");
        let refused = Some("unknown field \"spec.tolerationz\"".to_owned());
        let trial = Trial { revision: revision.clone(), refused };
        world.trials.insert(component, trial);
        let held = plan(&cluster, &world);
        assert_eq!(told(&held), [""; 0]);
        let words = waits(&held, &rules::TEMPLATE_ACCEPTED).expect("a wait");
        assert!(words.contains("tolerationz") && words.contains(&format!("spec.{component}")));
        assert_eq!(held.waits.iter().map(|w| w.severity).max(), Some(Severity::Degraded));
        // Another edit is shown anew; what runs already needs no trial.
        let edited = fixture::cluster(json!({component.as_str(): {"labels": {"a": "c"}}}));
        assert_eq!(told(&plan(&edited, &world)), [format!("try-pod Pod {first}")]);
        let slot = Slot { component, ordinal: 2 };
        let mut asked = fixture::settled(&fixture::cluster(json!({})));
        let pod = asked.pods.get_mut(&slot).expect("a pod");
        pod.annotations.insert(RESTART.to_owned(), "true".to_owned());
        let again = told(&plan(&fixture::cluster(json!({})), &asked));
        assert!(again.iter().all(|step| !step.starts_with("try-pod")) && !again.is_empty());
        fixture::accept(&cluster, &mut world);
        let goes_on = told(&plan(&cluster, &world));
        assert!(goes_on.first().is_some_and(|step| step.starts_with(next)), "{goes_on:?}");
    }
}

#[test]
fn the_maintenance_lock_is_taken_first_and_given_back_last() {
    let (cluster, mut world) = changed();
    fixture::pd_of(&mut world).maintenance = Maintenance::Free;
    let lock = format!("lock-maintenance rolling-restart {}", fixture::UID);
    assert_eq!(told(&plan(&cluster, &world)), [lock]);
    let held = |id: &str| Maintenance::Held { kind: "rolling-restart".into(), id: id.into() };
    let reason = "status 500: no".to_owned();
    fixture::pd_of(&mut world).maintenance = Maintenance::Unknown { reason };
    let held_up = plan(&cluster, &world);
    assert_eq!(told(&held_up), [""; 0], "unknown is not free");
    assert!(waits(&held_up, &rules::MAINTENANCE_LOCK_HELD).is_some_and(|w| w.contains("500")));
    fixture::pd_of(&mut world).maintenance = held("somebody");
    let other = plan(&cluster, &world);
    assert!(told(&other).is_empty());
    assert!(waits(&other, &rules::MAINTENANCE_LOCK_HELD).is_some());
    fixture::pd_of(&mut world).maintenance = held(fixture::UID);
    assert_eq!(told(&plan(&cluster, &world)), ["mark-volume tikv-c-tikv-2"]);
    let settled = fixture::cluster(json!({}));
    let unlock = format!("unlock-maintenance rolling-restart {}", fixture::UID);
    assert_eq!(told(&plan(&settled, &world)), [unlock]);
    fixture::pd_of(&mut world).maintenance = held("somebody");
    assert!(told(&plan(&settled, &world)).is_empty());
}

#[test]
fn a_cluster_that_was_deleted_in_a_restart_and_made_again_gives_its_lock_back() {
    let settled = fixture::cluster(json!({}));
    let mut world = fixture::settled(&settled);
    let id = "the-resource-of-before".to_owned();
    let held = Maintenance::Held { kind: "rolling-restart".into(), id: id.clone() };
    fixture::pd_of(&mut world).maintenance = held;
    assert!(told(&plan(&settled, &world)).is_empty(), "somebody's");
    world.resource.status.bootstrap = None;
    let volume = world.volumes.get_mut("pd-c-pd-0").expect("a volume");
    let token = id.clone();
    volume.marks.bootstrap = Some(crate::world::BootstrapRecord { token, members: vec![0, 1, 2] });
    let unlock = format!("unlock-maintenance rolling-restart {id}");
    assert_eq!(told(&plan(&settled, &world)).last(), Some(&unlock));
}

#[test]
fn s81_f41_a_cordon_closes_the_budget_until_the_leaders_have_left() {
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&cluster);
    let at_least = |world: &World| budget(&cluster, world, "c-tikv");
    assert_eq!(at_least(&world), Some(2));
    cordon(&mut world, Slot::tikv(0));
    cordon(&mut world, Slot::tikv(1));
    assert_eq!(at_least(&world), Some(3));
    assert_eq!(told(&plan(&cluster, &world)), ["mark-volume tikv-c-tikv-0"]);
    mark(&mut world, Slot::tikv(0), "drain");
    evicting(&mut world, 1, 3);
    assert_eq!(at_least(&world), Some(3));
    evicting(&mut world, 1, 0);
    assert_eq!(at_least(&world), Some(2));
    assert!(told(&plan(&cluster, &world)).is_empty());
    let mut sick = world.clone();
    fixture::pd_of(&mut sick).critical = Some([(StoreId(2), 1)].into());
    assert_eq!(at_least(&sick), Some(3), "regions need another store");
    // Uncordoned: all is undone.
    world.nodes.clear();
    assert_eq!(told(&plan(&cluster, &world)), ["stop-evicting store 1"]);
}

#[test]
fn f41_pds_leadership_leaves_a_cordoned_node_before_its_pod_may() {
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&cluster);
    assert_eq!(budget(&cluster, &world, "c-pd"), Some(2));
    cordon(&mut world, Slot::pd(0));
    cordon(&mut world, Slot::pd(1));
    assert_eq!(budget(&cluster, &world, "c-pd"), Some(3));
    let steps = told(&plan(&cluster, &world));
    assert!(steps.iter().any(|step| step == "transfer-pd-leader c-pd-2"), "{steps:?}");
    fixture::pd_of(&mut world).leader.id = fixture::pd_member(2).id;
    assert_eq!(budget(&cluster, &world, "c-pd"), Some(2));
}

#[test]
fn budgets_follow_redundancy_and_doubt_changes_nothing() {
    for (stores, open) in [(1, 0), (2, 1), (3, 2), (5, 4)] {
        let cluster = fixture::cluster(json!({"tikv": {"replicas": stores}}));
        let mut world = fixture::settled(&cluster);
        assert_eq!(budget(&cluster, &world, "c-tikv"), Some(open), "{stores} stores");
        fixture::pd_of(&mut world).replication = crate::world::Replication::Unknown;
        assert_eq!(budget(&cluster, &world, "c-tikv"), Some(open), "{stores} stores, unknown");
        fixture::pd_of(&mut world).replication = crate::world::Replication::Pending;
        let closed = if stores > 2 { stores } else { open };
        assert_eq!(budget(&cluster, &world, "c-tikv"), Some(closed), "{stores} stores, pending");
    }
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).members.values_mut().last().expect("a member").healthy = false;
    assert_eq!(budget(&cluster, &world, "c-pd"), Some(3), "one that runs and is not heard");
}

#[test]
fn a_pod_that_is_deleted_by_others_gets_its_leaders_moved_where_it_cannot_itself() {
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&cluster);
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").deleting_since = Some(fixture::now());
    assert!(told(&plan(&cluster, &world)).is_empty(), "v8.5.7 does it by itself");
    fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store").version =
        "8.1.2".into();
    let marks = &mut world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks;
    marks.written_by = Some("8.1.2".into());
    assert_eq!(told(&plan(&cluster, &world)), ["mark-volume tikv-c-tikv-1"]);
}

#[test]
fn pause_ends_what_is_half_done_and_nothing_else() {
    let (cluster, mut world) = changed();
    let mut paused = cluster.clone();
    paused.paused = true;
    mark(&mut world, Slot::tikv(2), "restart");
    evicting(&mut world, 3, 0);
    fixture::pd_of(&mut world).maintenance =
        Maintenance::Held { kind: "rolling-restart".into(), id: fixture::UID.into() };
    let steps = told(&plan(&paused, &world));
    let unlock = format!("unlock-maintenance rolling-restart {}", fixture::UID);
    assert_eq!(steps, ["stop-evicting store 3".to_owned(), unlock]);
    // A pod that was taken down for a restart comes back; one that was lost otherwise waits.
    world.pods.remove(&Slot::tikv(2));
    world.pods.remove(&Slot::tikv(1));
    let made: Vec<_> = plan(&paused, &world)
        .steps
        .iter()
        .filter(|step| matches!(step, Step::Create(_)))
        .map(Step::subject)
        .collect();
    assert_eq!(made, ["Pod c-tikv-2"]);
}

#[test]
fn f36_a_corrected_configuration_reaches_a_pod_that_cannot_start() {
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&cluster);
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    (pod.containers_ready, pod.trouble) = (false, Some("CrashLoopBackOff".into()));
    let deletes = |world: &World| told(&plan(&cluster, world)).iter().any(|s| s.contains("delete"));
    assert!(!deletes(&world), "it mounts what is wanted");
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    pod.config_map = Some("c-tikv-of-before".into());
    assert!(!deletes(&world), "it may come back by itself");
    let seen = SignedDuration::from_secs(30);
    world.seen_for.insert(Symptom::PodNotRunning(Slot::tikv(1)), seen);
    assert!(deletes(&world));
    // A store that replays its log is not stopped for it.
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").trouble = None;
    assert!(!deletes(&world));
}

#[test]
fn a_pod_that_cannot_start_without_a_removed_config_map_is_made_anew() {
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&cluster);
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    (pod.containers_ready, pod.has_run) = (false, false);
    pod.config_map = Some("c-tikv-of-before".into());
    let old = ObjectKey::new(Kind::ConfigMap, "c-tikv-of-before");
    let like = world.objects.values().next().expect("an object").clone();
    let deletes = |world: &World| told(&plan(&cluster, world)).iter().any(|s| s.contains("delete"));
    assert!(deletes(&world));
    // One that ran mounts it anew when its machine is started again.
    let mut ran = world.clone();
    let pod = ran.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    (pod.has_run, pod.started) = (true, None);
    assert!(!deletes(&ran), "it may come back by itself");
    let seen = SignedDuration::from_secs(30);
    ran.seen_for.insert(Symptom::PodNotRunning(Slot::tikv(1)), seen);
    assert!(deletes(&ran));
    ran.pods.get_mut(&Slot::tikv(1)).expect("a pod").started = Some(fixture::now());
    assert!(!deletes(&ran), "its containers run");
    world.objects.insert(old, like);
    assert!(!deletes(&world), "it is there, the pod may start");
}

#[test]
fn the_stores_budget_is_made_once_when_the_first_regions_are_replicated() {
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&cluster);
    let key = ObjectKey::new(Kind::PodDisruptionBudget, "c-tikv");
    world.objects.remove(&key);
    assert_eq!(budget(&cluster, &world, "c-tikv"), Some(2));
    fixture::pd_of(&mut world).replication = crate::world::Replication::InProgress;
    assert_eq!(budget(&cluster, &world, "c-tikv"), None);
    let mut away = world.clone();
    fixture::pd_of(&mut away).stores.get_mut(&StoreId(1)).expect("a store").state =
        StoreState::Down;
    assert_eq!(budget(&cluster, &away, "c-tikv"), Some(3), "deleted by hand while a store is down");
}
