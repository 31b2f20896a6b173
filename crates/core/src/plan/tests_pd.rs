//! What does a plan do about PD members in the scenes that matter? A test walks one member through
//! what it takes; the simulator does the same with everything else going on.

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::fixture;
use crate::rules::{self, Rule};
use crate::world::{
    Kind, Leaving, Maintenance, PdMember, PdMemberId, PodPhase, Revision, Slot, Symptom, World,
};

const TEN_MINUTES: SignedDuration = SignedDuration::from_mins(10);

fn pd(replicas: u32) -> Cluster {
    fixture::cluster(json!({"pd": {"replicas": replicas}}))
}

fn id(ordinal: u32) -> PdMemberId {
    fixture::pd_member(ordinal).id
}

/// What a plan does, furniture apart, in words.
fn done(cluster: &Cluster, world: &World) -> Vec<String> {
    let furniture = |step: &&Step| !matches!(step, Step::Apply { .. } | Step::Prune { .. });
    let plan = accepted(cluster, world);
    plan.steps.iter().filter(furniture).map(|s| format!("{} {}", s.name(), s.subject())).collect()
}

fn waits_for(cluster: &Cluster, world: &World, rule: &Rule) -> bool {
    accepted(cluster, world).waits.iter().any(|w| w.rule == rule)
}

/// The plan where the API server takes every pod.
fn accepted(cluster: &Cluster, world: &World) -> Plan {
    let mut world = world.clone();
    fixture::accept(cluster, &mut world);
    plan(cluster, &world)
}

#[allow(clippy::wildcard_enum_match_arm)]
/// Does to the world what the first of the plan's steps for PD members would.
fn advance(cluster: &Cluster, world: &mut World) -> String {
    let steps = accepted(cluster, world).steps;
    let concerns = |step: &&Step| !matches!(step, Step::Apply { .. } | Step::Prune { .. });
    let Some(step) = steps.iter().find(concerns).cloned() else { return String::new() };
    match &step {
        Step::MarkVolume { name, marks, .. } => {
            let own = &mut world.volumes.get_mut(name).expect("a volume").marks;
            own.leaving = marks.leaving.clone().or(own.leaving.take());
            own.retired |= marks.retired;
            own.retired_since = marks.retired_since.or(own.retired_since);
        }
        Step::Mark { key, .. } if key.kind == Kind::Pod => {
            let slot = Slot::of_pod("c", &key.name).expect("a slot");
            let pod = world.pods.get_mut(&slot).expect("a pod");
            pod.serving = !pod.serving;
        }
        Step::Mark { key, .. } => {
            world.volumes.get_mut(&key.name).expect("a volume").marks.leaving = None;
        }
        Step::TransferPdLeader { to } => {
            let pd = fixture::pd_of(world);
            pd.leader.id = pd.members.values().find(|m| m.name == *to).expect("a member").id;
        }
        Step::RemovePdMember { id, .. } => drop(fixture::pd_of(world).members.remove(id)),
        Step::DeletePod { name, .. } => {
            world.pods.remove(&Slot::of_pod("c", name).expect("a slot"));
        }
        other => panic!("{other:?}"),
    }
    format!("{} {}", step.name(), step.subject())
}

fn walk(cluster: &Cluster, world: &mut World, count: usize) -> Vec<String> {
    (0..count).map(|_| advance(cluster, world)).collect()
}

#[test]
fn s53_three_to_one_the_leader_among_those_who_leave() {
    let mut world = fixture::settled(&pd(3));
    fixture::pd_of(&mut world).leader.id = id(2);
    let steps = walk(&pd(1), &mut world, 12);
    assert_eq!(
        steps,
        [
            "transfer-pd-leader c-pd-0",
            "mark-volume pd-c-pd-2",
            "mark Pod c-pd-2",
            "remove-pd-member c-pd-2 (103)",
            "mark-volume pd-c-pd-2",
            "delete-pod c-pd-2: PD does not list its member any more",
            "mark-volume pd-c-pd-1",
            "mark Pod c-pd-1",
            "remove-pd-member c-pd-1 (102)",
            "mark-volume pd-c-pd-1",
            "delete-pod c-pd-1: PD does not list its member any more",
            "",
        ]
    );
    let volume = world.volumes.get("pd-c-pd-1").expect("it stays");
    assert!(volume.marks.retired && volume.marks.retired_since == Some(world.now));
}

#[test]
fn s53_a_member_that_is_let_go_gets_no_pod_for_that_moment() {
    let mut world = fixture::settled(&pd(5));
    let marks = &mut world.volumes.get_mut("pd-c-pd-4").expect("a volume").marks;
    marks.leaving = Some(Leaving { since: fixture::now(), reason: "scale-in".into() });
    world.pods.remove(&Slot::pd(4));
    assert_eq!(done(&pd(4), &world), ["remove-pd-member c-pd-4 (105)"]);
    // As long as the others need it, it runs.
    for ordinal in [0, 1] {
        let members = &mut fixture::pd_of(&mut world).members;
        members.get_mut(&id(ordinal)).expect("a member").healthy = false;
    }
    let done = done(&pd(4), &world);
    assert!(done.contains(&"create Pod c-pd-4".to_owned()), "{done:?}");
}

#[test]
fn s54_the_unhealthy_member_leaves_and_not_a_healthy_one() {
    let mut world = fixture::settled(&pd(3));
    let sick = fixture::pd_of(&mut world).members.get_mut(&id(1)).expect("a member");
    sick.healthy = false;
    assert_eq!(done(&pd(2), &world), ["mark-volume pd-c-pd-1"]);
    // The user insists on another one.
    let pod = world.pods.get_mut(&Slot::pd(2)).expect("a pod");
    pod.annotations.insert(LEAVE.to_owned(), "true".to_owned());
    assert_eq!(done(&pd(2), &world), [""; 0]);
    assert!(waits_for(&pd(2), &world, &rules::PD_QUORUM_SURVIVES));
}

#[test]
fn f63_more_replicas_again_cancel_a_scale_in_before_the_removal() {
    let mut world = fixture::settled(&pd(3));
    walk(&pd(2), &mut world, 2);
    assert!(!world.pods[&Slot::pd(2)].serving);
    assert_eq!(
        walk(&pd(3), &mut world, 3),
        ["mark PersistentVolumeClaim pd-c-pd-2", "mark Pod c-pd-2", "",]
    );
    assert_eq!(world, fixture::settled(&pd(3)));
}

#[test]
fn f55_a_crash_between_removal_and_deletion_is_gone_on_from() {
    let mut world = fixture::settled(&pd(3));
    walk(&pd(2), &mut world, 3);
    // PD let it go, then its pod vanished: it must not be made again on that volume.
    world.pods.remove(&Slot::pd(2));
    let plan = plan(&pd(2), &world);
    assert!(!plan.steps.iter().any(|s| matches!(s, Step::Create(_))), "{:?}", plan.steps);
    assert_eq!(done(&pd(2), &world), ["mark-volume pd-c-pd-2"]);
}

#[test]
fn f45_a_removed_ordinal_is_not_used_again() {
    let mut world = fixture::settled(&pd(3));
    walk(&pd(2), &mut world, 6);
    let plan = plan(&pd(3), &world);
    let made: Vec<String> = plan.steps.iter().map(Step::subject).collect();
    assert_eq!(made, ["PersistentVolumeClaim pd-c-pd-3", "Pod c-pd-3"]);
}

/// Everything of `spec.pd` but its version as it was.
fn newer(replicas: u32) -> Cluster {
    fixture::cluster(json!({"pd": {"replicas": replicas, "version": "v8.5.8"}}))
}

fn upgrade_all(cluster: &Cluster, world: &mut World) -> Vec<String> {
    let mut steps = Vec::new();
    for _ in 0..20 {
        let step = advance(cluster, world);
        if step.is_empty() {
            break;
        }
        if let Some(name) = step.strip_prefix("delete-pod ") {
            let name = name.split(':').next().unwrap_or_default();
            let slot = Slot::of_pod("c", name).expect("a slot");
            world.pods.insert(slot, fixture::pod(cluster, slot));
        }
        steps.push(step);
    }
    steps
}

#[test]
fn s22_followers_then_the_leadership_then_the_old_leader() {
    let mut world = fixture::settled(&pd(3));
    fixture::pd_of(&mut world).leader.id = id(1);
    assert_eq!(
        upgrade_all(&newer(3), &mut world),
        [
            "delete-pod c-pd-2: it was made from an earlier spec",
            "delete-pod c-pd-0: it was made from an earlier spec",
            "transfer-pd-leader c-pd-0",
            "delete-pod c-pd-1: it was made from an earlier spec",
        ]
    );
}

#[test]
fn s22_the_leadership_goes_to_a_member_that_runs_the_new_spec() {
    let mut world = fixture::settled(&pd(3));
    let cluster = newer(3);
    world.pods.insert(Slot::pd(2), fixture::pod(&cluster, Slot::pd(2)));
    world.pods.insert(Slot::pd(1), fixture::pod(&cluster, Slot::pd(1)));
    assert_eq!(done(&cluster, &world), ["transfer-pd-leader c-pd-1"]);
}

#[test]
fn s23_a_single_member_is_restarted_directly_and_that_is_said() {
    let world = fixture::settled(&pd(1));
    let steps = done(&newer(1), &world);
    assert!(matches!(steps.as_slice(), [one] if one.contains("PD pauses meanwhile")), "{steps:?}");
}

#[test]
fn s24_a_broken_upgraded_member_stops_the_roll_and_a_corrected_spec_heals_it() {
    let mut world = fixture::settled(&pd(3));
    let bad = newer(3);
    let mut broken = fixture::pod(&bad, Slot::pd(2));
    (broken.containers_ready, broken.has_run, broken.phase) = (false, false, PodPhase::Pending);
    world.pods.insert(Slot::pd(2), broken);
    fixture::pd_of(&mut world).members.get_mut(&id(2)).expect("a member").healthy = false;
    assert_eq!(done(&bad, &world), [""; 0]);
    assert!(waits_for(&bad, &world, &rules::PD_QUORUM_SURVIVES));
    let healed = done(&pd(3), &world);
    let pod = world.pods.get_mut(&Slot::pd(2)).expect("a pod");
    (pod.has_run, pod.trouble) = (true, Some("pd: CrashLoopBackOff".to_owned()));
    for steps in [healed, done(&pd(3), &world)] {
        assert!(matches!(steps.as_slice(), [one] if one.starts_with("delete-pod c-pd-2")));
    }
}

#[test]
fn s25_a_spec_that_broke_all_of_pd_is_corrected_without_an_answer_of_pd() {
    let mut world = fixture::settled(&newer(3));
    for ordinal in 0..3 {
        let pod = world.pods.get_mut(&Slot::pd(ordinal)).expect("a pod");
        (pod.containers_ready, pod.trouble) = (false, Some("pd: CrashLoopBackOff".to_owned()));
    }
    world.pd = crate::world::PdView::Unreachable { seen_for: TEN_MINUTES, reason: "x".into() };
    assert_eq!(done(&newer(3), &world), [""; 0]);
    assert!(waits_for(&newer(3), &world, &rules::PD_QUORUM_LOST));
    assert_eq!(done(&pd(3), &world), [""; 0], "they may come back by themselves");
    for ordinal in 0..3 {
        let seen = SignedDuration::from_secs(30);
        world.seen_for.insert(Symptom::PodNotRunning(Slot::pd(ordinal)), seen);
    }
    let steps = done(&pd(3), &world);
    assert!(matches!(steps.as_slice(), [one] if one.starts_with("delete-pod c-pd-0")), "{steps:?}");
}

#[test]
fn a_member_that_never_started_may_be_half_of_two() {
    let mut world = fixture::settled(&pd(1));
    let mut pod = world.pods[&Slot::pd(0)].clone();
    let mut volume = world.volumes["pd-c-pd-0"].clone();
    (pod.containers_ready, pod.has_run) = (false, true);
    (volume.slot, volume.marks.member) = (Slot::pd(1), None);
    world.pods.insert(Slot::pd(1), pod);
    world.volumes.insert("pd-c-pd-1".to_owned(), volume);
    world.pd = crate::world::PdView::Unreachable { seen_for: TEN_MINUTES, reason: "x".into() };
    assert!(waits_for(&pd(2), &world, &rules::PD_QUORUM_LOST));
    let pod = world.pods.get_mut(&Slot::pd(1)).expect("a pod");
    pod.has_run = false;
    assert!(!waits_for(&pd(2), &world, &rules::PD_QUORUM_LOST), "it has never been one");
}

#[test]
fn s36_members_leave_before_others_are_restarted() {
    let mut world = fixture::settled(&pd(3));
    fixture::pd_of(&mut world).leader.id = id(1);
    let cluster = newer(2);
    assert_eq!(done(&cluster, &world), ["mark-volume pd-c-pd-2"]);
    assert!(waits_for(&cluster, &world, &rules::SCALING_BEFORE_RESTARTING));
    let scene = Scene::new(&cluster, &world);
    assert!(upgrade_pd::unfinished(&scene).is_some());
}

fn lose(world: &mut World, ordinal: u32) {
    let slot = Slot::pd(ordinal);
    fixture::pd_of(world).members.get_mut(&id(ordinal)).expect("a member").healthy = false;
    if let Some(pod) = world.pods.get_mut(&slot) {
        (pod.containers_ready, pod.ready) = (false, false);
    }
    world.seen_for.insert(Symptom::MemberUnhealthy(id(ordinal)), TEN_MINUTES);
    world.seen_for.insert(Symptom::PodNotRunning(slot), TEN_MINUTES);
    world.seen_for.insert(Symptom::PodFailing(slot), TEN_MINUTES);
}

#[test]
fn s61_a_lost_member_is_removed_first_and_then_replaced() {
    let cluster = pd(3);
    let mut world = fixture::settled(&cluster);
    lose(&mut world, 2);
    assert_eq!(
        walk(&cluster, &mut world, 5),
        [
            "mark-volume pd-c-pd-2",
            "mark Pod c-pd-2",
            "remove-pd-member c-pd-2 (103)",
            "mark-volume pd-c-pd-2",
            "delete-pod c-pd-2: PD does not list its member any more",
        ]
    );
    let made: Vec<String> = plan(&cluster, &world).steps.iter().map(Step::subject).collect();
    assert_eq!(made, ["PersistentVolumeClaim pd-c-pd-3", "Pod c-pd-3"]);
}

#[test]
fn s60_s63_nothing_before_the_delay_and_nothing_without_a_majority() {
    let cluster = pd(3);
    let mut world = fixture::settled(&cluster);
    lose(&mut world, 2);
    world.seen_for.insert(Symptom::MemberUnhealthy(id(2)), TEN_MINUTES / 2);
    assert_eq!(done(&cluster, &world), [""; 0]);
    assert!(waits_for(&cluster, &world, &rules::PD_LOSS_IS_PROVED));
    lose(&mut world, 2);
    lose(&mut world, 1);
    assert_eq!(done(&cluster, &world), [""; 0]);
    assert!(waits_for(&cluster, &world, &rules::PD_QUORUM_SURVIVES));
}

#[test]
fn f39_a_pod_that_is_on_its_way_out_for_ever_is_not_waited_for() {
    let cluster = pd(3);
    let mut world = fixture::settled(&cluster);
    lose(&mut world, 2);
    world.seen_for.insert(Symptom::NodeLost(Slot::pd(2)), TEN_MINUTES);
    world.pods.get_mut(&Slot::pd(2)).expect("a pod").deleting_since = Some(world.now);
    assert_eq!(
        walk(&cluster, &mut world, 3),
        ["mark-volume pd-c-pd-2", "remove-pd-member c-pd-2 (103)", "mark-volume pd-c-pd-2",]
    );
    let made: Vec<String> = plan(&cluster, &world).steps.iter().map(Step::subject).collect();
    assert_eq!(made, ["PersistentVolumeClaim pd-c-pd-3", "Pod c-pd-3"]);
}

#[test]
fn s64_a_member_that_comes_back_before_its_removal_stays() {
    let cluster = pd(3);
    let mut world = fixture::settled(&cluster);
    lose(&mut world, 2);
    walk(&cluster, &mut world, 2);
    let healthy = fixture::settled(&cluster);
    world.pd = healthy.pd.clone();
    world.seen_for.clear();
    let pod = world.pods.get_mut(&Slot::pd(2)).expect("a pod");
    (pod.containers_ready, pod.ready) = (true, true);
    assert_eq!(
        walk(&cluster, &mut world, 3),
        ["mark PersistentVolumeClaim pd-c-pd-2", "mark Pod c-pd-2", "",]
    );
    assert_eq!(world, healthy);
}

#[test]
fn s73_a_member_whose_claim_is_gone_is_removed_and_its_slot_filled_again() {
    let cluster = pd(3);
    let mut world = fixture::settled(&cluster);
    world.volumes.remove("pd-c-pd-2");
    world.pods.remove(&Slot::pd(2));
    lose(&mut world, 2);
    assert_eq!(walk(&cluster, &mut world, 1), ["remove-pd-member c-pd-2 (103)"]);
    let made: Vec<String> = plan(&cluster, &world).steps.iter().map(Step::subject).collect();
    assert_eq!(made, ["PersistentVolumeClaim pd-c-pd-2", "Pod c-pd-2"]);
}

#[test]
fn a_half_joined_member_is_cleared_away_and_a_zombie_is_retired() {
    let cluster = pd(3);
    let mut world = fixture::settled(&cluster);
    let half = PdMember { id: PdMemberId(9), name: String::new(), ..fixture::pd_member(0) };
    fixture::pd_of(&mut world).members.insert(half.id, PdMember { healthy: false, ..half });
    assert_eq!(done(&cluster, &world), ["remove-pd-member  (9)"]);
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).members.remove(&id(1));
    assert_eq!(
        walk(&cluster, &mut world, 2),
        ["mark-volume pd-c-pd-1", "delete-pod c-pd-1: PD does not list its member any more"]
    );
}

#[test]
fn s77_nothing_happens_to_pd_while_it_does_not_answer() {
    let mut world = fixture::settled(&pd(5));
    let leaving = Leaving { since: world.now, reason: "scale-in".to_owned() };
    world.volumes.get_mut("pd-c-pd-4").expect("a volume").marks.leaving = Some(leaving);
    world.pd = crate::world::PdView::Unreachable { seen_for: TEN_MINUTES, reason: "x".into() };
    for cluster in [pd(3), pd(5), newer(5)] {
        assert_eq!(done(&cluster, &world), [""; 0]);
    }
    assert!(waits_for(&pd(3), &world, &rules::PD_ELECTS_LEADER));
}

#[test]
fn a_pod_behind_no_service_gets_its_label_and_an_outdated_one_is_seen() {
    let cluster = pd(3);
    let mut world = fixture::settled(&cluster);
    world.pods.get_mut(&Slot::pd(1)).expect("a pod").serving = false;
    assert_eq!(done(&cluster, &world), ["mark Pod c-pd-1"]);
    let pod = world.pods.get_mut(&Slot::pd(1)).expect("a pod");
    (pod.serving, pod.revision) = (true, Some(Revision("earlier".into())));
    let scene = Scene::new(&cluster, &world);
    assert!(upgrade_pd::unfinished(&scene).is_some_and(|why| why.contains("c-pd-1")));
}

#[test]
fn who_holds_the_lock_is_said_while_pd_is_not_rolled() {
    let (cluster, mut world) = (pd(3), fixture::settled(&pd(3)));
    for ordinal in 0..3 {
        let pod = world.pods.get_mut(&Slot::pd(ordinal)).expect("a pod");
        pod.revision = Some(Revision("of-before".to_owned()));
    }
    let reason = "no answer".to_owned();
    let (kind, id) = ("backup".to_owned(), "nightly".to_owned());
    for maintenance in [Maintenance::Unknown { reason }, Maintenance::Held { kind, id }] {
        fixture::pd_of(&mut world).maintenance = maintenance;
        assert_eq!(done(&cluster, &world), Vec::<String>::new());
        assert!(waits_for(&cluster, &world, &rules::MAINTENANCE_LOCK_HELD));
    }
}
