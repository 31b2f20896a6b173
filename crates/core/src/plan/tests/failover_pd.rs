//! PD members that never joined, and a PD that has lost too many.

use super::leave_pd::{detail, marks, pd, pod};
use super::*;
use crate::rules::NEVER_JOINED;
use crate::world::{Leaving, PdMember, PdMemberId, Symptom, VolumeMarks};

/// A join that was broken off leaves on the volume who the members were.
#[test]
fn the_volume_of_a_member_that_never_joined_is_given_up_before_the_member() {
    let cluster = pd(4);
    let mut world = fixture::settled(&pd(3));
    let mut volume = fixture::volume(Slot::pd(3));
    volume.capacity = cluster.pd.common.storage.size.units();
    volume.requested = volume.capacity;
    world.volumes.insert("pd-c-pd-3".into(), volume);
    let nameless = PdMember { id: PdMemberId(9), name: String::new(), ..fixture::pd_member(3) };
    let nameless = PdMember { healthy: false, ..nameless };
    let half = Symptom::HalfJoined(nameless.id);
    world.seen_for.insert(half, SignedDuration::from_mins(10));
    fixture::pd_of(&mut world).members.insert(nameless.id, nameless);
    let leaving = Some(Leaving { since: fixture::now(), reason: NEVER_JOINED.to_owned() });
    let (name, uid) = ("pd-c-pd-3".to_owned(), Uid("uid-volume-pd-3".into()));
    let marks = VolumeMarks { leaving, ..VolumeMarks::default() };
    let steps = plan(&cluster, &world).steps;
    assert!(steps.contains(&Step::MarkVolume { name, uid, marks }), "{steps:?}");
}

#[test]
fn pd_has_lost_its_quorum_when_fewer_than_a_majority_run() {
    let cluster = fixture::cluster(json!({"pd": {"replicas": 5}}));
    for (running, lost) in [(3, false), (2, true)] {
        let mut world = fixture::settled(&cluster);
        let seen_for = SignedDuration::from_mins(1);
        world.pd = PdView::Unreachable { seen_for, reason: "x".into() };
        for ordinal in running..5 {
            world.pods.get_mut(&Slot::pd(ordinal)).expect("a pod").containers_ready = false;
        }
        let said = detail(&cluster, &world, &rules::PD_QUORUM_LOST);
        assert_eq!(said.is_some(), lost, "{running} run: {said:?}");
        assert!(
            said.is_none_or(
                |said| said.contains("2 of 5 members are known to run and 3 are needed")
            )
        );
    }
}

/// `pd-3` was to join when PD fell silent: it may count as the fourth of four.
#[test]
fn a_member_that_was_to_join_counts_where_it_makes_the_difference() {
    let cluster = pd(4);
    let lost = |running: u32| {
        let mut world = fixture::settled(&cluster);
        marks(&mut world, 3).member = None;
        for ordinal in running..4 {
            pod(&mut world, Slot::pd(ordinal)).containers_ready = false;
        }
        let seen_for = SignedDuration::from_mins(1);
        world.pd = PdView::Unreachable { seen_for, reason: "x".into() };
        detail(&cluster, &world, &rules::PD_QUORUM_LOST)
    };
    assert_eq!(lost(3), None, "three of four are a majority");
    let words = lost(2).expect("lost");
    assert!(words.contains("if it counts c-pd-3, which was to join and does not start"), "{words}");
    assert!(words.contains("2 of 4 members are known to run and 3 are needed"), "{words}");
    let words = lost(1).expect("lost");
    assert!(words.contains("1 of 3 members are known to run and 2 are needed"), "{words}");
}
