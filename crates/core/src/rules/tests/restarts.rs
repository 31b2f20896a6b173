//! Tables of the guards that look at pods which are taken down to come back.

use jiff::SignedDuration;

use super::*;
use crate::world::{
    Leaving, Maintenance, NodeFacts, NodeView, PdMemberId, PodPhase, StoreId, StoreState,
};

fn restart(slot: Slot) -> Step {
    Step::DeletePod {
        name: slot.pod_name("c"),
        uid: Uid(format!("uid-pod-{slot}")),
        reason: "a test".into(),
    }
}

fn critical(world: &mut World, regions: Option<u64>) {
    let map = regions.map(|n| [(StoreId(1), n)].into());
    fixture::pd_of(world).critical = map;
}

/// What a guard of restarts must let pass whatever else is wrong: a pod that does not run, a store
/// that PD has let go, the end of the cluster, a component that is to stop.
fn passes_what_takes_nothing(rule: &Rule, cluster: &Cluster, wrong: &World) {
    let step = restart(Slot::tikv(0));
    holds(rule, cluster, wrong, &step);
    let mut going = wrong.clone();
    going.resource.deleting_since = Some(fixture::now());
    allows(rule, cluster, &going, &step);
    let mut ended = wrong.clone();
    let pod = ended.pods.get_mut(&Slot::tikv(0)).expect("a pod");
    (pod.containers_ready, pod.phase) = (false, PodPhase::Failed);
    allows(rule, cluster, &ended, &step);
    let mut stopping = cluster.clone();
    stopping.tikv.common.suspended = true;
    allows(rule, &stopping, wrong, &step);
    allows(rule, cluster, wrong, &make_pod(cluster, Slot::tikv(7)));
}

#[test]
fn region_quorum_survives() {
    let rule = &REGION_QUORUM_SURVIVES;
    let cluster = three();
    let step = restart(Slot::tikv(0));
    let mut world = fixture::settled(&cluster);
    allows(rule, &cluster, &world, &step);
    critical(&mut world, Some(4));
    allows(rule, &cluster, &world, &restart(Slot::tikv(1)));
    allows(rule, &cluster, &world, &restart(Slot::pd(0)));
    passes_what_takes_nothing(rule, &cluster, &world);
    fixture::pd_of(&mut world).max_replicas = Some(2);
    allows(rule, &cluster, &world, &step);
    fixture::pd_of(&mut world).max_replicas = None;
    holds(rule, &cluster, &world, &step);
    // A spec that asks for fewer stores than there are takes no redundancy away.
    let fewer = fixture::cluster(json!({"tikv": {"replicas": 1}}));
    holds(rule, &fewer, &world, &step);
    critical(&mut world, None);
    holds(rule, &cluster, &world, &step);
    world.pd = PdView::Unreachable { seen_for: SignedDuration::ZERO, reason: "x".into() };
    holds(rule, &cluster, &world, &step);
    // The stores give no redundancy, so a restart that takes regions away is what was asked for.
    let two = fixture::cluster(json!({"tikv": {"replicas": 2}}));
    let mut world = fixture::settled(&two);
    critical(&mut world, Some(4));
    allows(rule, &two, &world, &step);
}

#[test]
fn calm_first() {
    let rule = &CALM_FIRST;
    let cluster = three();
    let step = restart(Slot::tikv(0));
    let mut world = fixture::settled(&cluster);
    allows(rule, &cluster, &world, &step);
    let store = |world: &mut World, id| {
        let stores = &mut fixture::pd_of(world).stores;
        stores.get_mut(&StoreId(id)).expect("a store").state = StoreState::Disconnected;
    };
    let mut own = world.clone();
    store(&mut own, 1);
    allows(rule, &cluster, &own, &step);
    let mut unwell = world.clone();
    fixture::pd_of(&mut unwell).members.values_mut().next().expect("a member").healthy = false;
    holds(rule, &cluster, &unwell, &step);
    store(&mut world, 3);
    passes_what_takes_nothing(rule, &cluster, &world);
    // A pod that never registered a store can be made anew at any time.
    fixture::pd_of(&mut world).stores.remove(&StoreId(1));
    allows(rule, &cluster, &world, &step);
}

#[test]
fn pd_knows_all_regions() {
    let rule = &PD_KNOWS_ALL_REGIONS;
    let cluster = three();
    let step = restart(Slot::tikv(0));
    let world = fixture::settled(&cluster);
    allows(rule, &cluster, &world, &step);
    let mut fresh = world.clone();
    let leader = &mut fixture::pd_of(&mut fresh).leader;
    (leader.changed, leader.seen_for) = (true, SignedDuration::from_secs(59));
    passes_what_takes_nothing(rule, &cluster, &fresh);
    fixture::pd_of(&mut fresh).leader.seen_for = SignedDuration::from_secs(60);
    allows(rule, &cluster, &fresh, &step);
    // An operator that has just started has seen no change; PD's counts tell.
    let mut unheard = world.clone();
    fixture::pd_of(&mut unheard).regions = 100;
    holds(rule, &cluster, &unheard, &step);
    fixture::pd_of(&mut unheard).regions = 0;
    holds(rule, &cluster, &unheard, &step);
}

#[test]
fn maintenance_lock_held() {
    let rule = &MAINTENANCE_LOCK_HELD;
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let held = |id: &str| Maintenance::Held { kind: "backup".into(), id: id.into() };
    for lock in [Maintenance::Free, Maintenance::Unsupported, held(fixture::UID)] {
        fixture::pd_of(&mut world).maintenance = lock;
        allows(rule, &cluster, &world, &restart(Slot::tikv(0)));
    }
    fixture::pd_of(&mut world).maintenance = held("somebody");
    holds(rule, &cluster, &world, &restart(Slot::pd(0)));
    passes_what_takes_nothing(rule, &cluster, &world);
}

fn versions(pd: &str, tikv: [&str; 3]) -> World {
    let mut world = fixture::settled(&three());
    let facts = fixture::pd_of(&mut world);
    facts.members.values_mut().for_each(|member| member.version = pd.into());
    for (store, version) in facts.stores.values_mut().zip(tikv) {
        store.version = version.into();
    }
    world
}

#[test]
fn no_downgrade() {
    let rule = &NO_DOWNGRADE;
    let spec = |version: &str| fixture::cluster(json!({"version": version}));
    for (wanted, running, held) in [
        ("v8.5.5", ["8.5.7"; 3], false),
        ("v9.0.0", ["8.5.7"; 3], false),
        ("v8.1.2", ["8.5.7"; 3], true),
        ("v7.5.0", ["8.5.7"; 3], true),
        // The last store was not upgraded yet: PD still takes the earlier version.
        ("v8.1.2", ["8.5.7", "8.5.7", "8.1.2"], false),
        ("v7.5.0", ["8.5.7", "8.5.7", "8.1.2"], true),
        ("nightly", ["8.5.7"; 3], false),
        ("v8.1.2", ["nightly"; 3], false),
    ] {
        let (cluster, world) = (spec(wanted), versions("v8.5.7", running));
        for step in [restart(Slot::tikv(0)), make_pod(&cluster, Slot::tikv(3))] {
            let refused = verdict(rule, &cluster, &world, &step).is_err();
            assert_eq!(refused, held, "{wanted} over {running:?}: {step:?}");
        }
        allows(rule, &cluster, &world, &restart(Slot::pd(0)));
    }
}

#[test]
fn pd_not_older_than_tikv() {
    let rule = &PD_NOT_OLDER_THAN_TIKV;
    let spec = |pd: &str, tikv: &str| {
        fixture::cluster(json!({"pd": {"version": pd}, "tikv": {"version": tikv}}))
    };
    let world = versions("v8.5.7", ["8.5.7", "8.5.7", "8.1.2"]);
    let newer = spec("v9.0.0", "v9.0.0");
    allows(rule, &newer, &world, &restart(Slot::pd(0)));
    holds(rule, &newer, &world, &restart(Slot::tikv(0)));
    let older = spec("v8.1.2", "v8.1.2");
    holds(rule, &older, &world, &restart(Slot::pd(0)));
    allows(rule, &older, &world, &restart(Slot::tikv(0)));
    let world = versions("v8.5.7", ["8.1.2"; 3]);
    allows(rule, &older, &world, &restart(Slot::pd(0)));
    allows(rule, &spec("nightly", "nightly"), &world, &restart(Slot::tikv(0)));
    // A pod that is made is judged as well, and what it waits for does not wait for it.
    let mut lost = versions("v8.5.7", ["8.5.7"; 3]);
    lost.pods.remove(&Slot::tikv(2));
    let store = fixture::pd_of(&mut lost).stores.get_mut(&StoreId(3)).expect("a store");
    store.state = StoreState::Down;
    holds(rule, &newer, &lost, &make_pod(&newer, Slot::tikv(2)));
    allows(&PD_RESTARTS_ONE_AT_A_TIME, &newer, &lost, &restart(Slot::pd(2)));
    let same = spec("v8.5.7", "v8.5.7");
    allows(rule, &same, &lost, &make_pod(&same, Slot::tikv(2)));
}

#[test]
fn s70_without_pds_word_what_wrote_the_data_decides_on_a_downgrade() {
    let older = fixture::cluster(json!({"version": "v8.1.2"}));
    let mut world = fixture::settled(&three());
    world.pods.remove(&Slot::tikv(2));
    world.pd = PdView::Unreachable { seen_for: SignedDuration::ZERO, reason: "x".into() };
    let step = make_pod(&older, Slot::tikv(2));
    holds(&NO_DOWNGRADE, &older, &world, &step);
    allows(&NO_DOWNGRADE, &three(), &world, &make_pod(&three(), Slot::tikv(2)));
    let volume = world.volumes.get_mut("tikv-c-tikv-2").expect("a volume");
    volume.marks.written_by = Some("8.1.0".into());
    allows(&NO_DOWNGRADE, &older, &world, &step);
}

#[test]
fn process_may_return() {
    let rule = &PROCESS_MAY_RETURN;
    let cluster = fixture::cluster(json!({"version": "v8.5.8"}));
    for slot in [Slot::pd(1), Slot::tikv(1)] {
        let mut world = fixture::settled(&three());
        allows(rule, &cluster, &world, &restart(slot));
        if let Some(member) = fixture::pd_of(&mut world).members.get_mut(&PdMemberId(102)) {
            member.healthy = false;
        }
        let pod = world.pods.get_mut(&slot).expect("a pod");
        (pod.containers_ready, pod.started) = (false, None);
        pod.trouble = Some("CrashLoopBackOff".into());
        let down = |seconds| {
            let mut later = world.clone();
            let seen = SignedDuration::from_secs(seconds);
            later.seen_for.insert(crate::world::Symptom::PodNotRunning(slot), seen);
            later
        };
        holds(rule, &cluster, &world, &restart(slot));
        holds(rule, &cluster, &down(29), &restart(slot));
        allows(rule, &cluster, &down(30), &restart(slot));
        let mut ended = world.clone();
        ended.pods.get_mut(&slot).expect("a pod").phase = PodPhase::Failed;
        allows(rule, &cluster, &ended, &restart(slot));
        let mut never = world.clone();
        never.pods.get_mut(&slot).expect("a pod").has_run = false;
        allows(rule, &cluster, &never, &restart(slot));
        let mut going = world.clone();
        going.resource.deleting_since = Some(fixture::now());
        allows(rule, &cluster, &going, &restart(slot));
    }
}

#[test]
fn restart_waits_for_node() {
    let rule = &RESTART_WAITS_FOR_NODE;
    let cluster = fixture::cluster(json!({"version": "v8.5.8"}));
    for slot in [Slot::pd(1), Slot::tikv(1)] {
        let mut world = fixture::settled(&three());
        let node = world.pods[&slot].node.clone().expect("a node");
        let lost = NodeFacts {
            ready: false,
            ready_since: None,
            cordoned: false,
            out_of_service: false,
            labels: [].into(),
        };
        allows(rule, &cluster, &world, &restart(slot));
        for seen in [NodeView::Gone, NodeView::Known(lost)] {
            world.nodes.insert(node.clone(), seen);
            holds(rule, &cluster, &world, &restart(slot));
        }
        // Kubernetes goes on to call the containers ready, or never heard that they are.
        world.pods.get_mut(&slot).expect("a pod").containers_ready = false;
        holds(rule, &cluster, &world, &restart(slot));
        let mut ended = world.clone();
        ended.pods.get_mut(&slot).expect("a pod").phase = PodPhase::Failed;
        allows(rule, &cluster, &ended, &restart(slot));
        let mut going = world.clone();
        going.resource.deleting_since = Some(fixture::now());
        allows(rule, &cluster, &going, &restart(slot));
        let main = world.volumes.values_mut().find(|volume| volume.slot == slot);
        main.expect("a volume").marks.retired = true;
        allows(rule, &cluster, &world, &restart(slot));
    }
}

#[test]
fn pd_before_tikv() {
    let rule = &PD_BEFORE_TIKV;
    let step = restart(Slot::tikv(0));
    let world = fixture::settled(&three());
    let both = fixture::cluster(json!({"annotations": {"restartedAt": "now"}}));
    passes_what_takes_nothing(rule, &both, &world);
    allows(rule, &both, &world, &restart(Slot::pd(0)));
    let tikv = fixture::cluster(json!({"tikv": {"annotations": {"restartedAt": "now"}}}));
    allows(rule, &tikv, &world, &step);
    let more = fixture::cluster(json!({"pd": {"replicas": 5}, "tikv": {"version": "v8.5.8"}}));
    let mut joining = world.clone();
    joining.pods.insert(Slot::pd(3), fixture::pod(&more, Slot::pd(3)));
    holds(rule, &more, &joining, &step);
    let mut one = world.clone();
    let pod = one.pods.get_mut(&Slot::pd(2)).expect("a pod");
    pod.annotations.insert(crate::plan::RESTART.into(), "true".into());
    holds(rule, &tikv, &one, &step);
    // Back to an earlier version TiKV goes first, and PD waits for it.
    let back = fixture::cluster(json!({"version": "v8.1.2"}));
    allows(rule, &back, &world, &step);
}

#[test]
fn pd_knows_all_regions_when_it_has_heard_of_95_in_100() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let step = Step::DeletePod {
        name: "c-tikv-0".into(),
        uid: fixture::pod(&cluster, Slot::tikv(0)).uid,
        reason: "test".into(),
    };
    let mut heard = |leaders: u64| {
        let pd = fixture::pd_of(&mut world);
        pd.regions = 100;
        pd.stores.values_mut().for_each(|store| store.leaders = 0);
        pd.stores.values_mut().next().expect("a store").leaders = leaders;
        verdict(&PD_KNOWS_ALL_REGIONS, &cluster, &world, &step)
    };
    assert!(heard(94).is_err());
    assert_eq!(heard(95), Ok(()));
}

#[test]
fn a_process_that_leaves_for_good_is_not_waited_for() {
    let (cluster, slot) = (three(), Slot::tikv(1));
    let mut world = fixture::settled(&cluster);
    let pod = world.pods.get_mut(&slot).expect("a pod");
    (pod.containers_ready, pod.started) = (false, None);
    let uid = pod.uid.clone();
    let step = Step::DeletePod { name: slot.pod_name("c"), uid, reason: "test".into() };
    holds(&PROCESS_MAY_RETURN, &cluster, &world, &step);
    let leaving = Some(Leaving { since: fixture::now(), reason: "scale-in".into() });
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks.leaving = leaving;
    allows(&PROCESS_MAY_RETURN, &cluster, &world, &step);
}
