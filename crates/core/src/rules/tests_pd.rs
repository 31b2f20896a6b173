//! Tables of the rules that protect PD: for each the scene in which it holds a step, and the
//! nearest one in which it does not.

mod removed;
mod starts;

use jiff::SignedDuration;
use serde_json::json;

use super::tests::{allows, holds, make_pod};
use super::*;
use crate::cluster::Cluster;
use crate::fixture;
use crate::plan::Step;
use crate::world::{
    Component, Kind, Leaving, NodeFacts, NodeView, ObjectKey, PdMember, PdMemberId, PdView,
    PodFacts, PodPhase, Revision, Slot, Symptom, Uid, VolumeFacts, VolumeMarks, VolumePhase, World,
};

const TEN_MINUTES: SignedDuration = SignedDuration::from_mins(10);

fn sized(replicas: u32) -> (Cluster, World) {
    let cluster = fixture::cluster(json!({"pd": {"replicas": replicas}}));
    let world = fixture::settled(&cluster);
    (cluster, world)
}

fn id(ordinal: u32) -> PdMemberId {
    fixture::pd_member(ordinal).id
}

fn member(world: &mut World, ordinal: u32) -> &mut PdMember {
    fixture::pd_of(world).members.get_mut(&id(ordinal)).expect("a member")
}

fn pod(world: &mut World, ordinal: u32) -> &mut PodFacts {
    world.pods.get_mut(&Slot::pd(ordinal)).expect("a pod")
}

fn volume(world: &mut World, ordinal: u32) -> &mut VolumeFacts {
    world.volumes.get_mut(&Slot::pd(ordinal).claim_name("c")).expect("a volume")
}

fn leaves(world: &mut World, ordinal: u32, reason: &str) {
    let leaving = Leaving { since: fixture::now(), reason: reason.to_owned() };
    volume(world, ordinal).marks.leaving = Some(leaving);
}

fn remove(ordinal: u32) -> Step {
    Step::RemovePdMember { id: id(ordinal), name: Slot::pd(ordinal).pod_name("c") }
}

fn restart(ordinal: u32) -> Step {
    let slot = Slot::pd(ordinal);
    let uid = Uid(format!("uid-pod-{slot}"));
    Step::DeletePod { name: slot.pod_name("c"), uid, reason: String::new() }
}

fn mark(ordinal: u32, marks: VolumeMarks) -> Step {
    let slot = Slot::pd(ordinal);
    let uid = Uid(format!("uid-volume-{slot}"));
    Step::MarkVolume { name: slot.claim_name("c"), uid, marks }
}

fn intend(ordinal: u32, reason: &str) -> Step {
    let leaving = Some(Leaving { since: fixture::now(), reason: reason.to_owned() });
    mark(ordinal, VolumeMarks { leaving, ..VolumeMarks::default() })
}

fn retire(ordinal: u32) -> Step {
    mark(ordinal, VolumeMarks { retired: true, ..VolumeMarks::default() })
}

fn judge(allowed: bool, rule: &Rule, (cluster, world): (&Cluster, &World), step: &Step) {
    if allowed {
        allows(rule, cluster, world, step);
    } else {
        holds(rule, cluster, world, step);
    }
}

fn silent(world: &mut World) {
    world.pd = PdView::Unreachable { seen_for: TEN_MINUTES, reason: "x".into() };
}

fn outdate(world: &mut World, ordinal: u32) {
    pod(world, ordinal).revision = Some(Revision("earlier".into()));
}

/// The server in this pod does not run.
fn stop(world: &mut World, ordinal: u32) {
    let pod = pod(world, ordinal);
    (pod.containers_ready, pod.started) = (false, None);
}

/// PD and Kubernetes agree for ten minutes that member 2 does not run.
fn lost(world: &mut World) {
    member(world, 2).healthy = false;
    pod(world, 2).containers_ready = false;
    world.seen_for.insert(Symptom::MemberUnhealthy(id(2)), TEN_MINUTES);
    world.seen_for.insert(Symptom::PodNotRunning(Slot::pd(2)), TEN_MINUTES);
    world.seen_for.insert(Symptom::PodFailing(Slot::pd(2)), TEN_MINUTES);
}

#[test]
fn pd_quorum_survives() {
    let rule = &PD_QUORUM_SURVIVES;
    for (members, unhealthy, leaver, allowed) in [
        (3, vec![], 2, true),
        (3, vec![2], 2, true),
        (3, vec![1], 2, false),
        (5, vec![1], 4, false),
        (5, vec![1], 1, true),
        (5, vec![1, 2], 1, true),
        (5, vec![1, 2, 3], 1, false),
        (2, vec![], 1, true),
        (2, vec![1], 1, true),
        (1, vec![], 0, false),
    ] {
        let (cluster, mut world) = sized(members);
        for ordinal in &unhealthy {
            member(&mut world, *ordinal).healthy = false;
        }
        for step in [remove(leaver), intend(leaver, "scale-in")] {
            judge(allowed, rule, (&cluster, &world), &step);
        }
        silent(&mut world);
        holds(rule, &cluster, &world, &remove(leaver));
    }
}

#[test]
fn pd_quorum_survives_a_restart() {
    let rule = &PD_QUORUM_SURVIVES;
    for (members, unhealthy, allowed) in [
        (1, vec![], true),
        (2, vec![], true),
        (2, vec![1], false),
        (3, vec![], true),
        (3, vec![1], false),
        (4, vec![], true),
        (4, vec![1], false),
        (5, vec![1], true),
        (5, vec![1, 2], false),
    ] {
        let (cluster, mut world) = sized(members);
        for ordinal in unhealthy {
            member(&mut world, ordinal).healthy = false;
        }
        judge(allowed, rule, (&cluster, &world), &restart(0));
    }
    let (cluster, mut world) = sized(3);
    member(&mut world, 1).healthy = false;
    member(&mut world, 2).healthy = false;
    pod(&mut world, 2).containers_ready = false;
    allows(rule, &cluster, &world, &restart(2));
    world.resource.deleting_since = Some(fixture::now());
    allows(rule, &cluster, &world, &restart(0));
}

#[test]
fn s25_without_pds_word_only_pods_that_do_not_run_and_are_outdated_go() {
    let rule = &PD_QUORUM_SURVIVES;
    let (cluster, mut world) = sized(3);
    silent(&mut world);
    holds(rule, &cluster, &world, &restart(0));
    outdate(&mut world, 0);
    holds(rule, &cluster, &world, &restart(0));
    pod(&mut world, 0).containers_ready = false;
    allows(rule, &cluster, &world, &restart(0));
    pod(&mut world, 1).deleting_since = Some(fixture::now());
    holds(rule, &cluster, &world, &restart(0));
    pod(&mut world, 1).deleting_since = None;
    pod(&mut world, 2).containers_ready = false;
    holds(rule, &cluster, &world, &restart(2));
    let mut bare = world.clone();
    pod(&mut bare, 2).config_map = Some("removed-by-hand".into());
    allows(rule, &cluster, &bare, &restart(2));
    let map = ObjectKey::new(Kind::ConfigMap, "removed-by-hand");
    bare.strangers.insert(map, "without our labels".into());
    holds(rule, &cluster, &bare, &restart(2));
    pod(&mut world, 2).phase = PodPhase::Failed;
    allows(rule, &cluster, &world, &restart(2));
}

#[test]
fn f73_without_pds_word_a_pod_on_a_node_that_is_not_heard_stays() {
    let rule = &PD_QUORUM_SURVIVES;
    let (cluster, mut world) = sized(3);
    silent(&mut world);
    stop(&mut world, 2);
    outdate(&mut world, 2);
    allows(rule, &cluster, &world, &restart(2));
    let node = NodeFacts {
        ready: false,
        ready_since: None,
        cordoned: false,
        out_of_service: false,
        labels: [].into(),
    };
    world.nodes.insert("node-1".into(), NodeView::Known(node));
    holds(rule, &cluster, &world, &restart(2));
}

#[test]
fn pd_restarts_one_at_a_time() {
    let rule = &PD_RESTARTS_ONE_AT_A_TIME;
    let (cluster, mut world) = sized(3);
    holds(rule, &cluster, &world, &restart(2));
    outdate(&mut world, 2);
    allows(rule, &cluster, &world, &restart(2));
    let changes: [fn(&mut World); 5] = [
        |w| member(w, 1).healthy = false,
        |w| stop(w, 1),
        |w| pod(w, 1).deleting_since = Some(fixture::now()),
        |w| drop(w.pods.remove(&Slot::tikv(0))),
        silent,
    ];
    for change in changes {
        let mut sick = world.clone();
        change(&mut sick);
        holds(rule, &cluster, &sick, &restart(2));
    }
    // One that does not run is no restart of a running one, and one that PD let go serves nobody.
    stop(&mut world, 2);
    member(&mut world, 1).healthy = false;
    allows(rule, &cluster, &world, &restart(2));
    pod(&mut world, 2).containers_ready = true;
    holds(rule, &cluster, &world, &restart(2));
    fixture::pd_of(&mut world).members.remove(&id(2));
    allows(rule, &cluster, &world, &restart(2));
}

#[test]
fn s24_an_upgraded_pod_that_never_ran_stops_the_roll() {
    let (cluster, mut world) = sized(3);
    outdate(&mut world, 1);
    let broken = pod(&mut world, 2);
    (broken.has_run, broken.containers_ready, broken.phase) = (false, false, PodPhase::Pending);
    holds(&PD_RESTARTS_ONE_AT_A_TIME, &cluster, &world, &restart(1));
}

#[test]
fn transfer_before_removal() {
    let rule = &TRANSFER_BEFORE_REMOVAL;
    let (cluster, mut world) = sized(3);
    for step in [remove(0), restart(0)] {
        holds(rule, &cluster, &world, &step);
    }
    for step in [remove(1), restart(1)] {
        allows(rule, &cluster, &world, &step);
    }
    fixture::pd_of(&mut world).leader.id = id(1);
    allows(rule, &cluster, &world, &remove(0));
    let (cluster, world) = sized(1);
    allows(rule, &cluster, &world, &restart(0));
}

#[test]
fn pd_leader_moves_to_a_healthy_member() {
    let rule = &PD_LEADER_MOVES_TO_A_HEALTHY_MEMBER;
    let (cluster, world) = sized(3);
    let step = Step::TransferPdLeader { to: "c-pd-1".into() };
    allows(rule, &cluster, &world, &step);
    let changes: [fn(&mut World); 6] = [
        |w| member(w, 1).healthy = false,
        |w| stop(w, 1),
        |w| leaves(w, 1, "scale-in"),
        |w| fixture::pd_of(w).leader.seen_for = SignedDuration::from_secs(4),
        |w| {
            let leader = &mut fixture::pd_of(w).leader;
            (leader.changed, leader.seen_for) = (true, SignedDuration::from_secs(4));
        },
        silent,
    ];
    for change in changes {
        let mut sick = world.clone();
        change(&mut sick);
        holds(rule, &cluster, &sick, &step);
    }
    holds(rule, &cluster, &world, &Step::TransferPdLeader { to: "other-pd-1".into() });
}

#[test]
fn pd_removal_is_intended() {
    let rule = &PD_REMOVAL_IS_INTENDED;
    let (cluster, mut world) = sized(3);
    holds(rule, &cluster, &world, &remove(2));
    leaves(&mut world, 2, "scale-in");
    allows(rule, &cluster, &world, &remove(2));
    holds(rule, &cluster, &world, &Step::RemovePdMember { id: id(2), name: "c-pd-1".into() });
    holds(
        rule,
        &cluster,
        &world,
        &Step::RemovePdMember { id: PdMemberId(7), name: "c-pd-2".into() },
    );
    // The volume is that of another member which bore the name.
    volume(&mut world, 2).marks.member = Some(PdMemberId(7));
    holds(rule, &cluster, &world, &remove(2));
    member(&mut world, 1).name = "other-pd-1".into();
    let foreign = Step::RemovePdMember { id: id(1), name: "other-pd-1".into() };
    holds(rule, &cluster, &world, &foreign);
}

#[test]
fn a_half_joined_member_is_removed_when_nobody_can_be_it() {
    let rule = &PD_REMOVAL_IS_INTENDED;
    let (cluster, mut world) = sized(3);
    member(&mut world, 2).name.clear();
    volume(&mut world, 2).marks.member = None;
    let step = Step::RemovePdMember { id: id(2), name: String::new() };
    holds(rule, &cluster, &world, &step);
    let leaving = Leaving { since: fixture::now(), reason: NEVER_JOINED.to_owned() };
    let mark = mark(2, VolumeMarks { leaving: Some(leaving), ..VolumeMarks::default() });
    holds(rule, &cluster, &world, &mark);
    world.seen_for.insert(Symptom::HalfJoined(id(2)), TEN_MINUTES);
    // What the join left on the volume would keep its next process from starting.
    holds(rule, &cluster, &world, &step);
    allows(rule, &cluster, &world, &mark);
    leaves(&mut world, 2, NEVER_JOINED);
    allows(rule, &cluster, &world, &step);
    world.seen_for.clear();
    volume(&mut world, 2).marks.leaving = None;
    world.pods.remove(&Slot::pd(2));
    holds(rule, &cluster, &world, &step);
    world.volumes.remove("pd-c-pd-2");
    allows(rule, &cluster, &world, &step);
}

#[test]
fn pd_label_before_removal() {
    let (cluster, mut world) = sized(3);
    holds(&PD_LABEL_BEFORE_REMOVAL, &cluster, &world, &remove(2));
    pod(&mut world, 2).serving = false;
    allows(&PD_LABEL_BEFORE_REMOVAL, &cluster, &world, &remove(2));
    pod(&mut world, 2).serving = true;
    pod(&mut world, 2).deleting_since = Some(fixture::now());
    allows(&PD_LABEL_BEFORE_REMOVAL, &cluster, &world, &remove(2));
    // Nobody may take the label off a pod that is not ours.
    world.pods.remove(&Slot::pd(2));
    world.strangers.insert(ObjectKey::new(Kind::Pod, "c-pd-2"), "of nobody".to_owned());
    holds(&PD_LABEL_BEFORE_REMOVAL, &cluster, &world, &remove(2));
}

#[test]
fn pd_loss_is_proved() {
    let rule = &PD_LOSS_IS_PROVED;
    let (cluster, mut world) = sized(3);
    lost(&mut world);
    allows(rule, &cluster, &world, &intend(2, "replaced"));
    leaves(&mut world, 2, "replaced");
    allows(rule, &cluster, &world, &remove(2));
    let changes: [fn(&mut World); 10] = [
        |w| pod(w, 1).started = Some(fixture::now() - SignedDuration::from_secs(59)),
        |w| member(w, 2).healthy = true,
        |w| w.seen_for.extend([(Symptom::MemberUnhealthy(id(2)), TEN_MINUTES / 2)]),
        |w| w.seen_for.extend([(Symptom::PodFailing(Slot::pd(2)), TEN_MINUTES / 2)]),
        |w| fixture::pd_of(w).leader.seen_for = SignedDuration::from_secs(59),
        // s66: it waits for a place, or has just found one.
        |w| pod(w, 2).phase = PodPhase::Pending,
        |w| w.seen_for.extend([(Symptom::PodFailing(Slot::pd(2)), SignedDuration::ZERO)]),
        |w| drop(w.pods.remove(&Slot::pd(2))),
        |w| pod(w, 2).deleting_since = Some(fixture::now()),
        // Nobody runs this spec well, so the spec may be to blame.
        |w| outdate(w, 2),
    ];
    for change in changes {
        let mut other = world.clone();
        change(&mut other);
        holds(rule, &cluster, &other, &remove(2));
        holds(rule, &cluster, &other, &intend(2, "replaced"));
    }
    // Who leaves because there are too many need not be lost.
    member(&mut world, 2).healthy = true;
    leaves(&mut world, 2, "scale-in");
    allows(rule, &cluster, &world, &remove(2));
}

#[test]
fn s73_a_lost_node_and_a_lost_volume_are_proof() {
    let rule = &PD_LOSS_IS_PROVED;
    let (cluster, mut world) = sized(3);
    lost(&mut world);
    pod(&mut world, 2).phase = PodPhase::Pending;
    holds(rule, &cluster, &world, &intend(2, "replaced"));
    let mut node = world.clone();
    node.seen_for.insert(Symptom::NodeLost(Slot::pd(2)), TEN_MINUTES / 2);
    holds(rule, &cluster, &node, &intend(2, "replaced"));
    node.seen_for.insert(Symptom::NodeLost(Slot::pd(2)), TEN_MINUTES);
    allows(rule, &cluster, &node, &intend(2, "replaced"));
    volume(&mut world, 2).phase = VolumePhase::Lost;
    allows(rule, &cluster, &world, &intend(2, "replaced"));
    world.volumes.remove("pd-c-pd-2");
    allows(rule, &cluster, &world, &remove(2));
    pod(&mut world, 2).containers_ready = true;
    holds(rule, &cluster, &world, &remove(2));
    pod(&mut world, 2).containers_ready = false;
    let claim = ObjectKey::new(Kind::PersistentVolumeClaim, "pd-c-pd-2");
    world.strangers.insert(claim, "not ours".into());
    holds(rule, &cluster, &world, &remove(2));
}

#[test]
fn pd_failover_limit() {
    let rule = &PD_FAILOVER_LIMIT;
    let (cluster, mut world) = sized(3);
    lost(&mut world);
    leaves(&mut world, 2, "replaced");
    allows(rule, &cluster, &world, &remove(2));
    let off = fixture::cluster(json!({"pd": {"maxFailoverCount": 0}}));
    holds(rule, &off, &world, &remove(2));
    leaves(&mut world, 2, "scale-in");
    allows(rule, &off, &world, &remove(2));
    leaves(&mut world, 2, "replaced");
    let one = fixture::cluster(json!({"pd": {"maxFailoverCount": 1}}));
    let mut earlier = fixture::volume(Slot::pd(7));
    earlier.marks.retired = true;
    earlier.marks.leaving = volume(&mut world, 2).marks.leaving.clone();
    earlier.marks.retired_since = Some(world.now - SignedDuration::from_hours(23));
    world.volumes.insert("pd-c-pd-7".into(), earlier.clone());
    holds(rule, &one, &world, &remove(2));
    allows(rule, &cluster, &world, &remove(2));
    earlier.marks.retired_since = Some(world.now - SignedDuration::from_hours(24));
    world.volumes.insert("pd-c-pd-7".into(), earlier);
    allows(rule, &one, &world, &remove(2));
}

#[test]
fn pd_member_gone_before_retire() {
    let rule = &PD_MEMBER_GONE_BEFORE_RETIRE;
    let (cluster, mut world) = sized(3);
    leaves(&mut world, 2, "scale-in");
    world.pods.remove(&Slot::pd(2));
    holds(rule, &cluster, &world, &retire(2));
    let listed = fixture::pd_of(&mut world).members.remove(&id(2)).expect("a member");
    allows(rule, &cluster, &world, &retire(2));
    let mut named = world.clone();
    fixture::pd_of(&mut named)
        .members
        .insert(PdMemberId(9), PdMember { id: PdMemberId(9), ..listed.clone() });
    holds(rule, &cluster, &named, &retire(2));
    let mut used = world.clone();
    used.pods.insert(Slot::pd(2), fixture::pod(&cluster, Slot::pd(2)));
    allows(rule, &cluster, &used, &retire(2));
    // Never a member: its process may join until it ends.
    volume(&mut used, 2).marks.member = None;
    holds(rule, &cluster, &used, &retire(2));
    pod(&mut used, 2).deleting_since = Some(fixture::now());
    allows(rule, &cluster, &used, &retire(2));
    let mut joining = world.clone();
    volume(&mut joining, 2).marks.member = None;
    allows(rule, &cluster, &joining, &retire(2));
    let half = PdMember { id: PdMemberId(9), name: String::new(), ..listed };
    fixture::pd_of(&mut joining).members.insert(half.id, half);
    holds(rule, &cluster, &joining, &retire(2));
    silent(&mut world);
    holds(rule, &cluster, &world, &retire(2));
}

#[test]
fn a_lost_nodes_pod_holds_its_slot_only_while_something_else_is_there() {
    let (cluster, mut world) = sized(3);
    pod(&mut world, 2).deleting_since = Some(fixture::now());
    let roster = |world: &World| Scene::new(&cluster, world).roster(Component::Pd).clone();
    assert_eq!(roster(&world).staying.len(), 3);
    world.volumes.remove("pd-c-pd-2");
    fixture::pd_of(&mut world).members.remove(&id(2));
    assert_eq!(roster(&world).staying.len(), 3, "an unknown node is not a lost one");
    world.nodes.insert(
        "node-1".into(),
        NodeView::Known(NodeFacts {
            ready: false,
            ready_since: None,
            cordoned: false,
            out_of_service: false,
            labels: std::collections::BTreeMap::new(),
        }),
    );
    assert_eq!(roster(&world).joining, [Slot::pd(3)]);
}
