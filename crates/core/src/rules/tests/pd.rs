//! What the rules that protect PD say, and the nearest scenes in which they let a step pass.

use jiff::SignedDuration;

use super::*;
use crate::world::{Component, Leaving, PdMemberId, PodFacts, PodPhase, Symptom};

const TEN_MINUTES: SignedDuration = SignedDuration::from_mins(10);

fn id(ordinal: u32) -> PdMemberId {
    fixture::pd_member(ordinal).id
}

fn remove(ordinal: u32) -> Step {
    let PdMember { id, name, .. } = fixture::pd_member(ordinal);
    Step::RemovePdMember { id, name }
}

fn restart(ordinal: u32) -> Step {
    let slot = Slot::pd(ordinal);
    let uid = Uid(format!("uid-pod-{slot}"));
    Step::DeletePod { name: slot.pod_name("c"), uid, reason: String::new() }
}

fn mark(slot: Slot, marks: VolumeMarks) -> Step {
    Step::MarkVolume { name: slot.claim_name("c"), uid: fixture::volume(slot).uid, marks }
}

fn leaving(reason: &str) -> VolumeMarks {
    let leaving = Some(Leaving { since: fixture::now(), reason: reason.into() });
    VolumeMarks { leaving, ..VolumeMarks::default() }
}

fn retired() -> VolumeMarks {
    VolumeMarks { retired: true, ..VolumeMarks::default() }
}

fn edited(change: impl FnOnce(&mut World)) -> World {
    let mut world = fixture::settled(&three());
    change(&mut world);
    world
}

fn pod(world: &mut World, ordinal: u32) -> &mut PodFacts {
    world.pods.get_mut(&Slot::pd(ordinal)).expect("a pod")
}

fn silent(world: &mut World) {
    world.pd = PdView::Unreachable { seen_for: TEN_MINUTES, reason: "x".into() };
}

/// PD and Kubernetes agree for ten minutes that member 2 does not run.
fn lost(world: &mut World) {
    fixture::pd_of(world).members.get_mut(&id(2)).expect("a member").healthy = false;
    pod(world, 2).containers_ready = false;
    for symptom in [Symptom::MemberUnhealthy(id(2)), Symptom::PodFailing(Slot::pd(2))] {
        world.seen_for.insert(symptom, TEN_MINUTES);
    }
}

fn words(rule: &Rule, world: &World, step: &Step) -> String {
    verdict(rule, &three(), world, step).expect_err("a refusal")
}

#[test]
fn a_refusal_says_which_member_would_be_missed() {
    let member = |world: &mut World, change: fn(&mut PdMember)| {
        change(fixture::pd_of(world).members.get_mut(&id(1)).expect("a member"));
    };
    let world = edited(|world| member(world, |member| member.healthy = false));
    let said = words(&PD_QUORUM_SURVIVES, &world, &remove(2));
    assert!(said.starts_with("without c-pd-2 1 of 2 "), "{said}");
    let world = edited(|world| {
        member(world, |member| member.name.clear());
        fixture::pd_of(world).members.get_mut(&id(2)).expect("a member").healthy = false;
    });
    let said = words(
        &PD_QUORUM_SURVIVES,
        &world,
        &Step::RemovePdMember { id: id(1), name: String::new() },
    );
    assert!(said.starts_with("without (half-joined) 1 of 2 "), "{said}");
}

#[test]
fn without_pds_word_a_pod_that_has_ended_waits_for_no_other() {
    let world = edited(|world| {
        silent(world);
        (pod(world, 2).containers_ready, pod(world, 2).phase) = (false, PodPhase::Failed);
        pod(world, 1).deleting_since = Some(fixture::now());
    });
    allows(&PD_QUORUM_SURVIVES, &three(), &world, &restart(2));
}

#[test]
fn no_member_is_restarted_while_another_pod_runs_that_pd_does_not_list() {
    for has_run in [true, false] {
        let world = edited(|world| {
            pod(world, 2).revision = Some(crate::world::Revision("earlier".into()));
            pod(world, 1).has_run = has_run;
            fixture::pd_of(world).members.remove(&id(1));
        });
        let said = words(&PD_RESTARTS_ONE_AT_A_TIME, &world, &restart(2));
        assert!(said.contains("is a healthy PD member"), "{said}");
    }
}

#[test]
fn that_pds_leader_is_to_leave_may_be_written_down() {
    let step = mark(Slot::pd(0), leaving("scale-in"));
    allows(&TRANSFER_BEFORE_REMOVAL, &three(), &edited(|_| {}), &step);
}

#[test]
fn a_member_on_a_claim_of_somebody_else_is_not_removed() {
    let mut world = edited(|world| drop(world.volumes.remove("pd-c-pd-2")));
    allows(&PD_REMOVAL_IS_INTENDED, &three(), &world, &remove(2));
    let claim = ObjectKey::new(Kind::PersistentVolumeClaim, "pd-c-pd-2");
    world.strangers.insert(claim, "of somebody".into());
    holds(&PD_REMOVAL_IS_INTENDED, &three(), &world, &remove(2));
}

#[test]
fn what_is_missing_to_the_proof_of_a_loss_is_said() {
    let (rule, intent) = (&PD_LOSS_IS_PROVED, mark(Slot::pd(2), leaving("replaced")));
    let mut world = edited(lost);
    allows(rule, &three(), &world, &intent);
    world.seen_for.insert(Symptom::NodeLost(Slot::pd(2)), TEN_MINUTES / 2);
    let said = words(rule, &world, &intent);
    assert!(said.ends_with("the node of c-pd-2 is lost since 300 s of 600 s"), "{said}");
    world.seen_for.remove(&Symptom::NodeLost(Slot::pd(2)));
    pod(&mut world, 2).phase = PodPhase::Pending;
    pod(&mut world, 2).trouble = Some("no room".into());
    let said = words(rule, &world, &intent);
    assert!(said.ends_with("a place to run, which is not a loss (no room)"), "{said}");
}

#[test]
fn beside_a_lonely_leader_only_what_it_does_not_list_stays() {
    let (rule, cluster) = (&PD_VIEW_IS_WHOLE, three());
    let mut world = edited(|w| fixture::pd_of(w).members.retain(|other, _| *other == id(0)));
    holds(rule, &cluster, &world, &mark(Slot::pd(2), retired()));
    holds(rule, &cluster, &world, &restart(2));
    allows(rule, &cluster, &world, &restart(0));
    allows(rule, &cluster, &world, &mark(Slot::tikv(2), retired()));
    world.resource.deleting_since = Some(fixture::now());
    allows(rule, &cluster, &world, &restart(2));
}

#[test]
fn a_pd_volume_is_deleted_when_pd_does_not_list_the_member_that_it_names() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let slot = Slot::pd(2);
    let (name, uid) = (slot.claim_name("c"), fixture::volume(slot).uid);
    let step = Step::DeleteVolume { name: name.clone(), uid, version: "1".into() };
    let found = |member: Option<PdMemberId>, leaves: bool| {
        let world = edited(|world| {
            world.pods.remove(&slot);
            fixture::pd_of(world).members.remove(&id(2));
            let marks = &mut world.volumes.get_mut(&name).expect("a volume").marks;
            (marks.retired, marks.member) = (true, member);
            marks.leaving = leaving("scale-in").leaving.filter(|_| leaves);
        });
        verdict(&VOLUME_DELETION_IS_PROVEN, &cluster, &world, &step)
    };
    assert_eq!(found(Some(id(2)), false), Ok(()));
    assert!(found(Some(id(1)), true).expect_err("listed").contains("still lists"));
    assert!(found(None, false).expect_err("unknown").contains("does not say whose"));
    assert_eq!(found(None, true), Ok(()), "it never was a member, and we took it away");
}

#[test]
fn pds_leadership_rests_for_five_seconds() {
    let (cluster, step) = (three(), Step::TransferPdLeader { to: "c-pd-1".into() });
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).leader.seen_for = SignedDuration::from_secs(5);
    allows(&PD_LEADER_MOVES_TO_A_HEALTHY_MEMBER, &cluster, &world, &step);
}

#[test]
fn replaced_stores_do_not_count_as_replaced_pd_members() {
    let cluster = fixture::cluster(json!({"pd": {"maxFailoverCount": 1}}));
    let mut world = fixture::settled(&cluster);
    for slot in [Slot::tikv(1), Slot::pd(2)] {
        let leaving = Some(Leaving { since: fixture::now(), reason: "replaced".into() });
        world.volumes.get_mut(&slot.claim_name("c")).expect("a volume").marks.leaving = leaving;
    }
    let PdMember { id, name, .. } = fixture::pd_member(2);
    let step = Step::RemovePdMember { id, name };
    allows(&PD_FAILOVER_LIMIT, &cluster, &world, &step);
}

/// A setting that is taken online is in another ConfigMap, and in no revision.
#[test]
fn without_pds_word_a_pod_in_trouble_gets_the_configuration_that_was_corrected() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pd = PdView::Unreachable { seen_for: SignedDuration::ZERO, reason: "x".into() };
    let wanted = ObjectKey::new(Kind::ConfigMap, build::config_map_name(&cluster, Component::Pd));
    let earlier = ObjectKey::new(Kind::ConfigMap, "c-pd-of-before");
    world.objects.insert(earlier.clone(), world.objects[&wanted].clone());
    let slot = Slot::pd(2);
    let uid = fixture::pod(&cluster, slot).uid;
    let step = Step::DeletePod { name: slot.pod_name("c"), uid, reason: "test".into() };
    for (trouble, map, goes) in [
        (Some("CrashLoopBackOff"), &earlier, true),
        (None, &earlier, false),
        (Some("CrashLoopBackOff"), &wanted, false),
    ] {
        let pod = world.pods.get_mut(&slot).expect("a pod");
        (pod.containers_ready, pod.trouble) = (false, trouble.map(str::to_owned));
        pod.config_map = Some(map.name.clone());
        let found = verdict(&PD_QUORUM_SURVIVES, &cluster, &world, &step);
        assert_eq!(found.is_ok(), goes, "{trouble:?} with {map}: {found:?}");
    }
}
