//! Tables of the rules about lost stores. Every scene differs from [`lost`], in which a store has
//! been silent and its node lost for an hour, by what the rule is about.

use jiff::SignedDuration;

use super::*;
use crate::world::Symptom::SilentAlone;
use crate::world::{
    Leaving, NodeFacts, NodeView, PodPhase, StoreId, StoreState, Symptom, symptoms,
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn node(ready: bool) -> NodeView {
    NodeView::Known(NodeFacts {
        ready,
        ready_since: None,
        cordoned: false,
        out_of_service: false,
        labels: [].into(),
    })
}

/// Store 2, of `tikv-1`, is lost for an hour.
fn lost(cluster: &Cluster) -> World {
    let mut world = fixture::settled(cluster);
    silence(&mut world, 1);
    world
}

fn silence(world: &mut World, ordinal: u32) {
    let (slot, id) = (Slot::tikv(ordinal), StoreId(u64::from(ordinal) + 1));
    let store = fixture::pd_of(world).stores.get_mut(&id).expect("a store");
    store.state = StoreState::Down;
    store.last_heartbeat = Some(fixture::now() - HOUR);
    let pod = world.pods.get_mut(&slot).expect("a pod");
    pod.containers_ready = false;
    pod.node = Some(format!("node-of-{slot}"));
    world.nodes.insert(format!("node-of-{slot}"), node(false));
    for symptom in [
        Symptom::StoreSilent(id),
        Symptom::SilentAlone(id),
        Symptom::PodNotRunning(slot),
        Symptom::PodFailing(slot),
        Symptom::NodeLost(slot),
    ] {
        world.seen_for.insert(symptom, HOUR);
    }
}

/// As [`lost`], with a replacement in `tikv-3` that is Up.
fn replaced(cluster: &Cluster) -> World {
    let mut world = lost(cluster);
    let slot = Slot::tikv(3);
    let store = fixture::store(cluster, 3);
    let mut volume = fixture::volume(slot);
    volume.marks.replaces = Some(StoreId(2));
    volume.marks.store = Some(store.id);
    world.volumes.insert(slot.claim_name("c"), volume);
    world.pods.insert(slot, fixture::pod(cluster, slot));
    fixture::pd_of(&mut world).stores.insert(store.id, store);
    let lost = world.volumes.get_mut("tikv-c-tikv-1").expect("a volume");
    lost.marks.leaving = Some(Leaving { since: fixture::now(), reason: "replaced".into() });
    world
}

/// Makes a replacement for store 2 in `tikv-3`.
fn replace(cluster: &Cluster) -> Step {
    let marks = VolumeMarks { replaces: Some(StoreId(2)), ..VolumeMarks::default() };
    let claims = build::claims(cluster, Slot::tikv(3), &marks);
    Step::Create(claims.into_iter().next().expect("a main volume"))
}

fn remove(world: &World) -> Step {
    let Some(store) = Some(&world.pd).and_then(|pd| match pd {
        PdView::Known(facts) => facts.stores.get(&StoreId(2)),
        PdView::NotCreated | PdView::Unreachable { .. } => None,
    }) else {
        panic!("store 2 is listed")
    };
    Step::OfflineStore { store: store.id, address: store.address.clone() }
}

/// Writes the intent to remove store 2.
fn intend() -> Step {
    let leaving = Some(Leaving { since: fixture::now(), reason: "replaced".into() });
    Step::MarkVolume {
        name: "tikv-c-tikv-1".into(),
        uid: fixture::volume(Slot::tikv(1)).uid,
        marks: VolumeMarks { leaving, ..VolumeMarks::default() },
    }
}

/// The rule lets both halves pass in the scenes above and holds them after `change`.
fn holds_both(rule: &Rule, change: impl Fn(&mut World)) {
    let cluster = three();
    let (mut before, mut after) = (lost(&cluster), replaced(&cluster));
    let removal = remove(&after);
    allows(rule, &cluster, &before, &replace(&cluster));
    allows(rule, &cluster, &after, &removal);
    allows(rule, &cluster, &after, &intend());
    change(&mut before);
    change(&mut after);
    holds(rule, &cluster, &before, &replace(&cluster));
    holds(rule, &cluster, &after, &removal);
    holds(rule, &cluster, &after, &intend());
}

/// The rule lets the removal pass and holds it, and the intent to it, after `change`.
fn holds_removal(rule: &Rule, change: impl Fn(&mut World)) {
    let cluster = three();
    let mut world = replaced(&cluster);
    let removal = remove(&world);
    allows(rule, &cluster, &world, &removal);
    change(&mut world);
    holds(rule, &cluster, &world, &removal);
    holds(rule, &cluster, &world, &intend());
}

fn store(world: &mut World, id: u64) -> &mut crate::world::StoreFacts {
    fixture::pd_of(world).stores.get_mut(&StoreId(id)).expect("a store")
}

fn lost_pod(world: &mut World) -> &mut crate::world::PodFacts {
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod")
}

#[test]
fn failover_waits_for_pd() {
    let rule = &FAILOVER_WAITS_FOR_PD;
    holds_both(rule, |w| fixture::pd_of(w).leader.seen_for = SignedDuration::from_secs(59));
    // A member that was started or joined may have cost the leader its leadership between two looks.
    holds_both(rule, |w| {
        let pod = w.pods.get_mut(&Slot::pd(0)).expect("a pod");
        pod.started = Some(fixture::now() - SignedDuration::from_secs(59));
    });
    holds_both(rule, |w| fixture::pd_of(w).max_replicas = None);
    holds_both(rule, |w| fixture::pd_of(w).unsafe_recovery = Some(true));
    holds_both(rule, |w| fixture::pd_of(w).unsafe_recovery = None);
    let cluster = three();
    let mut world = lost(&cluster);
    fixture::pd_of(&mut world).stores.remove(&StoreId(2));
    holds(rule, &cluster, &world, &replace(&cluster));
}

#[test]
fn too_many_stores_down() {
    let rule = &TOO_MANY_STORES_DOWN;
    holds_both(rule, |w| silence(w, 2));
    holds_both(rule, |w| fixture::pd_of(w).max_replicas = Some(2));
    // Two on one machine are one failure.
    let cluster = three();
    let mut world = replaced(&cluster);
    fixture::pd_of(&mut world).location_labels = vec!["host".into()];
    for (id, host) in [(1, "a"), (2, "b"), (3, "b"), (4, "c")] {
        store(&mut world, id).labels.insert("host".into(), host.into());
    }
    silence(&mut world, 2);
    allows(rule, &cluster, &world, &remove(&world));
    store(&mut world, 3).labels.insert("host".into(), "a".into());
    holds(rule, &cluster, &world, &remove(&world));
}

#[test]
fn a_dead_store_that_is_being_removed_counts_as_down() {
    let cluster = three();
    let mut world = replaced(&cluster);
    silence(&mut world, 2);
    store(&mut world, 3).state = StoreState::Offline;
    holds(&TOO_MANY_STORES_DOWN, &cluster, &world, &remove(&world));
    store(&mut world, 3).last_heartbeat = Some(fixture::now());
    allows(&TOO_MANY_STORES_DOWN, &cluster, &world, &remove(&world));
    store(&mut world, 3).state = StoreState::Down;
    store(&mut world, 3).last_heartbeat = None;
    allows(&TOO_MANY_STORES_DOWN, &cluster, &world, &remove(&world));
}

#[test]
fn zone_outage() {
    let zones = |world: &mut World, of: &str| {
        fixture::pd_of(world).location_labels = vec!["zone".into(), "host".into()];
        let ids: Vec<StoreId> = fixture::pd_of(world).stores.keys().copied().collect();
        for (id, zone) in ids.into_iter().zip(of.chars()) {
            store(world, id.0).labels.insert("zone".into(), zone.into());
        }
    };
    let rule = &ZONE_OUTAGE;
    holds_both(rule, |w| {
        silence(w, 2);
        zones(w, "azzb");
    });
    let cluster = three();
    for of in ["azza", "azbz"] {
        let mut world = replaced(&cluster);
        zones(&mut world, of);
        allows(rule, &cluster, &world, &remove(&world));
    }
    let mut machine = replaced(&cluster);
    silence(&mut machine, 2);
    zones(&mut machine, "azzb");
    fixture::pd_of(&mut machine).location_labels = vec!["host".into()];
    allows(rule, &cluster, &machine, &remove(&machine));
    // One of its zone is back since a moment, or since long.
    let seen = |alone| {
        move |w: &mut World| {
            w.seen_for.insert(SilentAlone(StoreId(2)), alone);
        }
    };
    holds_both(rule, seen(SignedDuration::from_secs(599)));
    let mut since_long = replaced(&cluster);
    seen(SignedDuration::from_mins(10))(&mut since_long);
    allows(rule, &cluster, &since_long, &remove(&since_long));
}

#[test]
fn f61_of_two_zones_that_are_away_neither_is_refilled() {
    let six = fixture::cluster(json!({"tikv": {"replicas": 6}}));
    let mut world = fixture::settled(&six);
    let pd = fixture::pd_of(&mut world);
    (pd.location_labels, pd.max_replicas) = (vec!["zone".into()], Some(5));
    for (store, zone) in pd.stores.values_mut().zip(["a", "a", "b", "b", "c", "d"]) {
        store.labels.insert("zone".into(), zone.into());
    }
    (0..4).for_each(|ordinal| silence(&mut world, ordinal));
    for id in 1..=4 {
        let marks = VolumeMarks { replaces: Some(StoreId(id)), ..VolumeMarks::default() };
        let claim = build::claims(&six, Slot::tikv(6), &marks).into_iter().next();
        holds(&ZONE_OUTAGE, &six, &world, &Step::Create(claim.expect("a main volume")));
        assert!(!symptoms(&world).contains(&SilentAlone(StoreId(id))), "store {id}");
    }
}

#[test]
fn failover_off() {
    let off = fixture::cluster(json!({"tikv": {"replicas": 3, "maxFailoverCount": 0}}));
    holds(&FAILOVER_OFF, &off, &lost(&off), &replace(&off));
    allows(&FAILOVER_OFF, &three(), &lost(&three()), &replace(&three()));
    let ordinary = make_volume(&off, Slot::tikv(3));
    allows(&FAILOVER_OFF, &off, &lost(&off), &ordinary);
}

#[test]
fn one_replacement() {
    let cluster = three();
    let mut world = replaced(&cluster);
    world.volumes.get_mut("tikv-c-tikv-3").expect("a volume").slot = Slot::tikv(4);
    holds(&ONE_REPLACEMENT, &cluster, &world, &replace(&cluster));
    world.volumes.get_mut("tikv-c-tikv-3").expect("a volume").marks.retired = true;
    allows(&ONE_REPLACEMENT, &cluster, &world, &replace(&cluster));
    allows(&ONE_REPLACEMENT, &cluster, &lost(&cluster), &replace(&cluster));
}

#[test]
fn one_signal_is_not_enough() {
    let rule = &ONE_SIGNAL_IS_NOT_ENOUGH;
    holds_both(rule, |w| {
        w.seen_for.remove(&Symptom::PodNotRunning(Slot::tikv(1)));
        w.seen_for.remove(&Symptom::PodFailing(Slot::tikv(1)));
        w.seen_for.remove(&Symptom::NodeLost(Slot::tikv(1)));
    });
    holds_both(rule, |w| store(w, 2).state = StoreState::Up);
    // Registered and never heard reads Down.
    holds_both(rule, |w| store(w, 2).last_heartbeat = None);
}

#[test]
fn pending_is_not_lost() {
    let rule = &PENDING_IS_NOT_LOST;
    let back_on_a_node = |w: &mut World| {
        w.seen_for.remove(&Symptom::NodeLost(Slot::tikv(1)));
    };
    holds_both(rule, |w| {
        back_on_a_node(w);
        lost_pod(w).phase = PodPhase::Pending;
    });
    holds_both(rule, |w| {
        back_on_a_node(w);
        lost_pod(w).trouble = Some("tikv: ImagePullBackOff".into());
    });
    holds_both(rule, |w| {
        back_on_a_node(w);
        w.pods.remove(&Slot::tikv(1));
    });
    // f36: a corrected spec makes it anew.
    holds_both(rule, |w| {
        back_on_a_node(w);
        lost_pod(w).deleting_since = Some(fixture::now());
    });
    // Unbound on a lost node's network volume: it only waits for room.
    holds_both(rule, |w| {
        lost_pod(w).phase = PodPhase::Pending;
        lost_pod(w).node = None;
        lost_pod(w).trouble = Some("Unschedulable: 3 Insufficient memory".into());
    });
    let cluster = three();
    let mut stranded = lost(&cluster);
    lost_pod(&mut stranded).phase = PodPhase::Pending;
    lost_pod(&mut stranded).node = None;
    let words =
        "Unschedulable: 0/3 nodes are available: 3 node(s) had volume node affinity conflict.";
    lost_pod(&mut stranded).trouble = Some(words.into());
    allows(rule, &cluster, &stranded, &replace(&cluster));
    // Not made again, because its last node is lost.
    let mut fenced = lost(&cluster);
    fenced.pods.remove(&Slot::tikv(1));
    allows(rule, &cluster, &fenced, &replace(&cluster));
    let mut emptied = lost(&cluster);
    back_on_a_node(&mut emptied);
    lost_pod(&mut emptied).phase = PodPhase::Pending;
    emptied.seen_for.insert(Symptom::VolumeLost(Slot::tikv(1)), HOUR);
    allows(rule, &cluster, &emptied, &replace(&cluster));
}

#[test]
fn spec_is_not_to_blame() {
    let rule = &SPEC_IS_NOT_TO_BLAME;
    // f36: the pod was made from a spec that nobody runs well, and was never heard.
    let crashes = |w: &mut World| {
        w.seen_for.remove(&Symptom::NodeLost(Slot::tikv(1)));
        lost_pod(w).created = fixture::now() - SignedDuration::from_mins(50);
        lost_pod(w).trouble = Some("tikv: CrashLoopBackOff".into());
    };
    holds_both(rule, |w| {
        crashes(w);
        lost_pod(w).config_map = Some("c-tikv-with-a-mistake".into());
    });
    holds_both(rule, |w| {
        crashes(w);
        lost_pod(w).revision = Some(crate::world::Revision("another".into()));
    });
    let cluster = three();
    let mut alone = lost(&cluster);
    crashes(&mut alone);
    allows(rule, &cluster, &alone, &replace(&cluster));
    // It ran in this very pod: the disk is to blame, or the memory.
    lost_pod(&mut alone).config_map = Some("of-before".into());
    lost_pod(&mut alone).created = fixture::now() - SignedDuration::from_hours(2);
    allows(rule, &cluster, &alone, &replace(&cluster));
}

#[test]
fn failover_after() {
    let rule = &FAILOVER_AFTER;
    let nearly = SignedDuration::from_secs(599);
    holds_both(rule, |w| {
        w.seen_for.insert(Symptom::StoreSilent(StoreId(2)), nearly);
    });
    holds_both(rule, |w| store(w, 2).last_heartbeat = Some(w_now() - nearly));
    holds_both(rule, |w| {
        w.seen_for.insert(Symptom::PodFailing(Slot::tikv(1)), nearly);
        w.seen_for.insert(Symptom::NodeLost(Slot::tikv(1)), nearly);
    });
    // f35, s66: for an hour it waited for an image or a node; now it starts.
    holds_both(rule, |w| {
        w.seen_for.remove(&Symptom::NodeLost(Slot::tikv(1)));
        w.seen_for.insert(Symptom::PodFailing(Slot::tikv(1)), SignedDuration::ZERO);
    });
    let soon = json!({"tikv": {"replicas": 3, "failover": {"after": "599s"}}});
    let cluster = fixture::cluster(soon);
    let mut world = lost(&cluster);
    world.seen_for.insert(Symptom::StoreSilent(StoreId(2)), nearly);
    allows(rule, &cluster, &world, &replace(&cluster));
}

fn w_now() -> jiff::Timestamp {
    fixture::now()
}

#[test]
fn failover_limit() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 3, "maxFailoverCount": 1}}));
    allows(&FAILOVER_LIMIT, &cluster, &lost(&cluster), &replace(&cluster));
    let mut world = lost(&cluster);
    let mut other = fixture::volume(Slot::tikv(4));
    other.marks.replaces = Some(StoreId(1));
    world.volumes.insert("tikv-c-tikv-4".into(), other);
    holds(&FAILOVER_LIMIT, &cluster, &world, &replace(&cluster));
    let mut gone = world.clone();
    store(&mut gone, 1).state = StoreState::Tombstone;
    allows(&FAILOVER_LIMIT, &cluster, &gone, &replace(&cluster));
    world.volumes.get_mut("tikv-c-tikv-4").expect("a volume").marks.retired = true;
    allows(&FAILOVER_LIMIT, &cluster, &world, &replace(&cluster));
}

#[test]
fn replacement_can_leave() {
    let cluster = three();
    allows(&REPLACEMENT_CAN_LEAVE, &cluster, &lost(&cluster), &replace(&cluster));
    let mut world = lost(&cluster);
    fixture::pd_of(&mut world).max_replicas = Some(4);
    holds(&REPLACEMENT_CAN_LEAVE, &cluster, &world, &replace(&cluster));
    // What PD has counts, not what the spec asks for.
    let more = fixture::cluster(json!({"tikv": {"replicas": 5}}));
    holds(&REPLACEMENT_CAN_LEAVE, &more, &world, &replace(&more));
    let fewer = fixture::cluster(json!({"tikv": {"replicas": 2}}));
    allows(&REPLACEMENT_CAN_LEAVE, &fewer, &lost(&cluster), &replace(&fewer));
    fixture::pd_of(&mut world).max_replicas = None;
    holds(&REPLACEMENT_CAN_LEAVE, &cluster, &world, &replace(&cluster));
}

#[test]
fn dead_store_is_proven() {
    let rule = &DEAD_STORE_IS_PROVEN;
    holds_removal(rule, |w| store(w, 2).state = StoreState::Disconnected);
    let cluster = three();
    let mut world = replaced(&cluster);
    store(&mut world, 2).state = StoreState::Disconnected;
    world.nodes.insert("node-of-tikv-1".into(), NodeView::Gone);
    allows(rule, &cluster, &world, &remove(&world));
    let NodeView::Known(mut off) = node(false) else { panic!("a node") };
    off.out_of_service = true;
    world.nodes.insert("node-of-tikv-1".into(), NodeView::Known(off));
    allows(rule, &cluster, &world, &remove(&world));
    world.nodes.clear();
    holds(rule, &cluster, &world, &remove(&world));
}

#[test]
fn replacement_is_ready() {
    let rule = &REPLACEMENT_IS_READY;
    holds_removal(rule, |w| store(w, 4).state = StoreState::Disconnected);
    holds_removal(rule, |w| store(w, 4).last_heartbeat = Some(w_now() - HOUR));
    holds_removal(rule, |w| store(w, 4).available = Some((1 << 30) - 1));
    holds_removal(rule, |w| {
        w.pods.get_mut(&Slot::tikv(3)).expect("a pod").containers_ready = false;
    });
    holds_removal(rule, |w| store(w, 1).state = StoreState::Disconnected);
    holds_removal(rule, |w| {
        w.volumes.get_mut("tikv-c-tikv-3").expect("a volume").marks.replaces = None;
    });
    holds_removal(rule, |w| {
        w.volumes.get_mut("tikv-c-tikv-3").expect("a volume").marks.retired = true;
    });
    let cluster = three();
    let mut world = replaced(&cluster);
    store(&mut world, 2).used = None;
    store(&mut world, 4).available = Some(0);
    allows(rule, &cluster, &world, &remove(&world));
}

#[test]
fn a_store_that_was_silent_alone_from_the_first_is_of_no_zone_that_comes_back() {
    let cluster = three();
    let mut world = replaced(&cluster);
    for symptom in [Symptom::StoreSilent(StoreId(2)), SilentAlone(StoreId(2))] {
        world.seen_for.insert(symptom, SignedDuration::from_mins(5));
    }
    allows(&ZONE_OUTAGE, &cluster, &world, &remove(&world));
}

#[test]
fn a_refusal_names_the_store_and_its_address() {
    let off = fixture::cluster(json!({"tikv": {"replicas": 3, "maxFailoverCount": 0}}));
    let words = verdict(&FAILOVER_OFF, &off, &lost(&off), &replace(&off)).expect_err("a refusal");
    assert!(words.starts_with("store 2 at c-tikv-1."), "{words}");
}

#[test]
fn where_the_node_or_the_volume_is_lost_the_spec_is_not_to_blame() {
    let (rule, cluster) = (&SPEC_IS_NOT_TO_BLAME, three());
    let mut world = lost(&cluster);
    world.seen_for.remove(&Symptom::NodeLost(Slot::tikv(1)));
    lost_pod(&mut world).config_map = Some("of-nobody-else".into());
    // Heard in the moment in which its pod was made: that was the process of the pod before.
    lost_pod(&mut world).created = fixture::now() - HOUR;
    holds(rule, &cluster, &world, &replace(&cluster));
    for symptom in [Symptom::NodeLost(Slot::tikv(1)), Symptom::VolumeLost(Slot::tikv(1))] {
        let otherwise = edited(&world, |w| w.seen_for.extend([(symptom, HOUR)]));
        allows(rule, &cluster, &otherwise, &replace(&cluster));
    }
}

fn edited(base: &World, change: impl FnOnce(&mut World)) -> World {
    let mut world = base.clone();
    change(&mut world);
    world
}

#[test]
fn what_is_missing_to_failover_after_is_said_in_tens_of_seconds() {
    let cluster = three();
    let nearly = SignedDuration::from_secs(599);
    let world = edited(&lost(&cluster), |w| {
        w.seen_for.insert(Symptom::StoreSilent(StoreId(2)), nearly);
    });
    let words = verdict(&FAILOVER_AFTER, &cluster, &world, &replace(&cluster)).expect_err("held");
    assert!(words.contains("for 590 s, and") && words.contains("lost for 3600 s"), "{words}");
}

#[test]
fn a_replacement_with_just_enough_room_is_ready() {
    let cluster = three();
    let world = edited(&replaced(&cluster), |w| store(w, 4).available = Some(1 << 30));
    allows(&REPLACEMENT_IS_READY, &cluster, &world, &remove(&world));
}
