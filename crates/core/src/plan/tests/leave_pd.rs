//! How PD members leave and hand over, and who counts as one.

use super::*;
use crate::plan::draft::Draft;
use crate::plan::leave_pd;
use crate::rules::REPLACED;
use crate::world::{Leaving, PdMember, PodFacts, Symptom, VolumeMarks};

pub(super) fn pd(replicas: u32) -> Cluster {
    fixture::cluster(json!({"pd": {"replicas": replicas}}))
}

pub(super) fn marks(world: &mut World, ordinal: u32) -> &mut VolumeMarks {
    &mut world.volumes.get_mut(&Slot::pd(ordinal).claim_name("c")).expect("a volume").marks
}

pub(super) fn leaves(world: &mut World, ordinal: u32, reason: &str) {
    let leaving = Leaving { since: fixture::now(), reason: reason.into() };
    marks(world, ordinal).leaving = Some(leaving);
}

pub(super) fn member(world: &mut World, ordinal: u32) -> &mut PdMember {
    let id = fixture::pd_member(ordinal).id;
    fixture::pd_of(world).members.get_mut(&id).expect("a member")
}

pub(super) fn pod(world: &mut World, slot: Slot) -> &mut PodFacts {
    world.pods.get_mut(&slot).expect("a pod")
}

/// PD pods and what is told of them; the API server takes every pod.
pub(super) fn told(cluster: &Cluster, world: &World) -> Vec<String> {
    let mut world = world.clone();
    fixture::accept(cluster, &mut world);
    let steps = plan(cluster, &world).steps;
    let aside = |step: &&Step| !step.is_furniture();
    steps.iter().filter(aside).map(|step| format!("{} {}", step.name(), step.subject())).collect()
}

pub(super) fn detail(cluster: &Cluster, world: &World, rule: &Rule) -> Option<String> {
    let mut world = world.clone();
    fixture::accept(cluster, &mut world);
    let waits = plan(cluster, &world).waits;
    waits.iter().find(|wait| wait.rule == rule).map(|wait| wait.detail.clone())
}

/// Whom the leadership of `pd-2` goes to.
fn heir(world: &mut World) -> Option<String> {
    let cluster = pd(3);
    fixture::pd_of(world).leader.id = fixture::pd_member(2).id;
    let scene = Scene::new(&cluster, world);
    let mut draft = Draft::new(&scene);
    let asked = leave_pd::hand_over(&scene, Slot::pd(2), &mut draft);
    let plan = draft.finish();
    assert_eq!(asked, !plan.steps.is_empty());
    plan.steps.into_iter().find_map(|step| {
        let Step::TransferPdLeader { to } = step else { return None };
        Some(to)
    })
}

#[test]
fn the_leadership_goes_to_a_member_that_is_well_and_stays() {
    let mut world = fixture::settled(&pd(3));
    assert_eq!(heir(&mut world).as_deref(), Some("c-pd-0"));
    let mut unwell = world.clone();
    member(&mut unwell, 0).healthy = false;
    assert_eq!(heir(&mut unwell).as_deref(), Some("c-pd-1"));
    // It was to be replaced and came back, and the mark is still on its volume.
    leaves(&mut world, 0, REPLACED);
    assert_eq!(heir(&mut world).as_deref(), Some("c-pd-1"));
    leaves(&mut world, 1, REPLACED);
    assert_eq!(heir(&mut world), None, "not even to itself");
}

#[test]
fn the_only_member_of_pd_has_nobody_to_hand_over_to_and_that_is_not_asked() {
    let cluster = pd(1);
    let mut world = fixture::settled(&cluster);
    member(&mut world, 0).healthy = false;
    pod(&mut world, Slot::pd(0)).containers_ready = false;
    let hour = SignedDuration::from_hours(1);
    world.seen_for.insert(Symptom::MemberUnhealthy(fixture::pd_member(0).id), hour);
    assert_eq!(detail(&cluster, &world, &rules::TRANSFER_BEFORE_REMOVAL), None);
    assert!(detail(&cluster, &world, &rules::PD_QUORUM_SURVIVES).is_some());
}

#[test]
fn a_removed_members_volume_is_retired_in_one_pass_and_its_pod_goes_in_the_next() {
    let cluster = pd(3);
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).members.remove(&fixture::pd_member(1).id);
    assert_eq!(told(&cluster, &world), ["mark-volume pd-c-pd-1"]);
}

#[test]
fn a_replacement_is_taken_back_when_the_member_is_well_and_a_scale_in_at_once() {
    let cluster = pd(3);
    for (reason, healthy, back) in [
        ("scale-in", false, true),
        ("scale-in", true, true),
        (REPLACED, false, false),
        (REPLACED, true, true),
    ] {
        let mut world = fixture::settled(&cluster);
        leaves(&mut world, 1, reason);
        member(&mut world, 1).healthy = healthy;
        let taken_back =
            told(&cluster, &world).contains(&"mark PersistentVolumeClaim pd-c-pd-1".into());
        assert_eq!(taken_back, back, "{reason}, healthy: {healthy}");
    }
}

#[test]
fn who_may_be_about_to_join_has_a_pod_and_stays() {
    let cluster = pd(4);
    let mut world = fixture::settled(&pd(3));
    let joiners = |world: &World| Scene::new(&cluster, world).joiners();
    world.volumes.insert("pd-c-pd-3".into(), fixture::volume(Slot::pd(3)));
    assert_eq!(joiners(&world), []);
    world.pods.insert(Slot::pd(3), fixture::pod(&cluster, Slot::pd(3)));
    assert_eq!(joiners(&world), [Slot::pd(3)]);
    leaves(&mut world, 3, "scale-in");
    assert_eq!(joiners(&world), []);
}

#[test]
fn a_leader_is_lonely_unless_it_lists_a_majority_of_those_that_volumes_name() {
    for (known, listed, lonely) in [(5, 3, false), (5, 2, true), (2, 1, true), (2, 2, false)] {
        let cluster = pd(known);
        let mut world = fixture::settled(&cluster);
        let stay: Vec<_> = (0..listed).map(|ordinal| fixture::pd_member(ordinal).id).collect();
        fixture::pd_of(&mut world).members.retain(|id, _| stay.contains(id));
        let found = Scene::new(&cluster, &world).lonely_leader();
        let number = |of: u32| usize::try_from(of).expect("few");
        let expected = lonely.then_some((number(listed), number(known)));
        assert_eq!(found, expected, "{listed} of {known}");
    }
}

#[test]
fn a_bootstrap_is_not_read_from_the_volume_of_a_removed_member() {
    let record = BootstrapRecord { token: "t".into(), members: vec![0, 1, 2] };
    let mut world = fixture::settled(&pd(3));
    let recorded = |world: &World| crate::plan::identity::recorded_bootstrap(world);
    marks(&mut world, 1).bootstrap = Some(record.clone());
    assert_eq!(recorded(&world), Some(record));
    marks(&mut world, 1).retired = true;
    assert_eq!(recorded(&world), None);
}
