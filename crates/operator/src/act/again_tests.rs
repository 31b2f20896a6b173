//! What must be as it was, before something is taken away?

use tikv_operator_core::{
    plan::Step,
    world::{ClusterId, PdMemberId, StoreId, StoreState, Uid},
};

use super::{
    again::{Verdict, is_needed, verify},
    bench::{CLUSTER, address, again, world},
};
use crate::pd::Again;

type Change = fn(&mut Again);

fn offline(store: u64) -> Step {
    let ordinal = u32::try_from(store).unwrap() - 1;
    Step::OfflineStore { store: StoreId(store), address: address(ordinal) }
}

fn remove(id: u64, name: &str) -> Step {
    Step::RemovePdMember { id: PdMemberId(id), name: name.to_owned() }
}

fn transfer(to: &str) -> Step {
    Step::TransferPdLeader { to: to.to_owned() }
}

fn pod(name: &str) -> Step {
    Step::DeletePod { name: name.to_owned(), uid: Uid(name.to_owned()), reason: String::new() }
}

fn volume(name: &str) -> Step {
    Step::DeleteVolume { name: name.to_owned(), uid: Uid(name.to_owned()), version: "1".to_owned() }
}

fn state(now: &mut Again, store: u64, state: StoreState) {
    now.stores.get_mut(&StoreId(store)).unwrap().state = state;
}

fn sick(now: &mut Again, member: u64) {
    now.members.get_mut(&PdMemberId(member)).unwrap().healthy = false;
}

/// Planned on `then`, met `now`: what follows, in words.
fn met(step: &Step, then: Change, now: Change) -> String {
    let mut planned = again(5, 4);
    then(&mut planned);
    let mut found = planned.clone();
    now(&mut found);
    let world = world(&planned);
    assert!(is_needed(step, &world), "{step:?}");
    match verify(step, &world, &found) {
        Ok(Verdict::Go) => "go".to_owned(),
        Ok(Verdict::Done) => "done".to_owned(),
        Err(difference) => difference,
    }
}

const SAME: Change = |_| {};

fn expect(cases: &[(&str, Step, Change, Change, &str)]) {
    for (what, step, then, now, want) in cases {
        let met = met(step, *then, *now);
        assert!(met.contains(want), "{what}: {met}");
    }
}

/// PD before v5.0 would make it Up again.
#[test]
fn a_store_that_has_left_is_not_kept() {
    let keep = || Step::KeepStore { store: StoreId(4) };
    let leaving: Change = |pd| state(pd, 4, StoreState::Offline);
    expect(&[
        ("leaving", keep(), leaving, SAME, "go"),
        ("kept by an earlier call", keep(), leaving, |pd| state(pd, 4, StoreState::Up), "go"),
        ("gone", keep(), leaving, |pd| state(pd, 4, StoreState::Tombstone), "has left PD"),
        ("unlisted", keep(), leaving, |pd| drop(pd.stores.remove(&StoreId(4))), "has left PD"),
    ]);
}

#[test]
fn a_store_is_taken_offline_only_as_it_was_planned() {
    let down: Change = |pd| state(pd, 4, StoreState::Down);
    expect(&[
        ("as it was", offline(4), SAME, SAME, "go"),
        ("dead then and now", offline(4), down, SAME, "go"),
        ("came back", offline(4), down, |pd| state(pd, 4, StoreState::Up), "Up now, and was Down"),
        ("fell silent", offline(4), SAME, |pd| state(pd, 4, StoreState::Disconnected), "Disconn"),
        ("lost answer", offline(4), SAME, |pd| state(pd, 4, StoreState::Offline), "done"),
        ("gone for good", offline(4), SAME, |pd| state(pd, 4, StoreState::Tombstone), "Tombstone"),
        (
            "another address",
            offline(4),
            SAME,
            |pd| pd.stores.get_mut(&StoreId(4)).unwrap().address = address(9),
            "store 4 is at c-tikv-9",
        ),
        ("unlisted", offline(4), SAME, |pd| drop(pd.stores.remove(&StoreId(4))), "no longer lists"),
        (
            "another cluster",
            offline(4),
            SAME,
            |pd| pd.cluster_id = ClusterId(1),
            "cluster 1 answers",
        ),
    ]);
}

#[test]
fn a_member_is_removed_only_where_a_majority_of_the_rest_is_healthy() {
    let one_dead: Change = |pd| sick(pd, 15);
    let two_dead: Change = |pd| {
        sick(pd, 14);
        sick(pd, 15);
    };
    expect(&[
        ("a dead one of five", remove(15, "c-pd-4"), one_dead, SAME, "go"),
        ("a healthy one of five", remove(15, "c-pd-4"), SAME, SAME, "go"),
        ("one of two dead", remove(15, "c-pd-4"), two_dead, SAME, "go"),
        ("a healthy one, two dead", remove(13, "c-pd-2"), two_dead, SAME, "2 are healthy"),
        (
            "a third died meanwhile",
            remove(15, "c-pd-4"),
            two_dead,
            |pd| sick(pd, 13),
            "of the 4 members that would remain 2 are healthy",
        ),
        (
            "it came back",
            remove(15, "c-pd-4"),
            one_dead,
            |pd| {
                pd.members.get_mut(&PdMemberId(15)).unwrap().healthy = true;
            },
            "is healthy now",
        ),
        ("it died meanwhile", remove(15, "c-pd-4"), SAME, one_dead, "is not healthy now"),
        ("it leads now", remove(15, "c-pd-4"), SAME, |pd| pd.leader = PdMemberId(15), "leads PD"),
        ("another name", remove(15, "c-pd-9"), SAME, SAME, "is called"),
        (
            "lost answer",
            remove(15, "c-pd-4"),
            SAME,
            |pd| {
                pd.members.remove(&PdMemberId(15));
            },
            "done",
        ),
        (
            "another cluster",
            remove(15, "c-pd-4"),
            SAME,
            |pd| pd.cluster_id = ClusterId(1),
            "answers",
        ),
    ]);
}

#[test]
fn of_three_members_with_two_down_none_is_removed() {
    let mut planned = again(3, 3);
    sick(&mut planned, 12);
    sick(&mut planned, 13);
    let world = world(&planned);
    for (id, name) in [(12, "c-pd-1"), (13, "c-pd-2")] {
        let refused = verify(&remove(id, name), &world, &planned).unwrap_err();
        assert!(refused.contains("no majority"), "{refused}");
    }
    let one = again(1, 1);
    let alone = verify(&remove(11, "c-pd-0"), &super::bench::world(&one), &one).unwrap_err();
    assert!(alone.contains("leads PD"), "{alone}");
}

#[test]
fn the_leadership_moves_only_to_a_healthy_member() {
    expect(&[
        ("as it was", transfer("c-pd-1"), SAME, SAME, "go"),
        ("it leads already", transfer("c-pd-1"), SAME, |pd| pd.leader = PdMemberId(12), "done"),
        ("it died", transfer("c-pd-1"), SAME, |pd| sick(pd, 12), "not healthy"),
        ("unlisted", transfer("c-pd-7"), SAME, SAME, "no longer lists"),
        ("no name", transfer(""), SAME, SAME, "no longer lists"),
        ("another cluster", transfer("c-pd-1"), SAME, |pd| pd.cluster_id = ClusterId(1), "answers"),
    ]);
}

#[test]
fn a_running_pod_is_deleted_only_while_the_others_are_as_well_as_they_were() {
    let silent: Change = |pd| state(pd, 2, StoreState::Disconnected);
    expect(&[
        ("as it was", pod("c-tikv-0"), SAME, SAME, "go"),
        ("another store fell silent", pod("c-tikv-0"), SAME, silent, "was Up and is Disconnected"),
        ("it fell silent itself", pod("c-tikv-1"), SAME, silent, "go"),
        ("was silent before", pod("c-tikv-0"), silent, SAME, "go"),
        ("a member died", pod("c-tikv-0"), SAME, |pd| sick(pd, 12), "no longer healthy"),
        ("its own member died", pod("c-pd-1"), SAME, |pd| sick(pd, 12), "go"),
        ("another member died", pod("c-pd-2"), SAME, |pd| sick(pd, 12), "no longer healthy"),
        ("the leader changed", pod("c-pd-2"), SAME, |pd| pd.leader = PdMemberId(13), "leader was"),
        ("another cluster", pod("c-pd-2"), SAME, |pd| pd.cluster_id = ClusterId(1), "answers"),
    ]);
}

#[test]
fn a_volume_goes_only_when_pd_has_let_go_of_its_member() {
    expect(&[
        ("its store is Up", volume("tikv-c-tikv-3"), SAME, SAME, "store 4 is Up"),
        (
            "its store is Offline",
            volume("tikv-c-tikv-3"),
            SAME,
            |pd| {
                state(pd, 4, StoreState::Offline);
            },
            "Offline",
        ),
        (
            "a tombstone",
            volume("tikv-c-tikv-3"),
            SAME,
            |pd| {
                state(pd, 4, StoreState::Tombstone);
            },
            "go",
        ),
        ("unlisted", volume("tikv-c-tikv-3"), SAME, |pd| drop(pd.stores.remove(&StoreId(4))), "go"),
        ("its member is listed", volume("pd-c-pd-4"), SAME, SAME, "still one of PD's"),
        (
            "its member is gone",
            volume("pd-c-pd-4"),
            SAME,
            |pd| {
                pd.members.remove(&PdMemberId(15));
            },
            "go",
        ),
        ("unknown", volume("tikv-c-tikv-9"), SAME, SAME, "not in the look"),
    ]);
}

#[test]
fn a_cluster_that_goes_as_a_whole_is_not_checked_and_neither_is_a_pod_that_does_not_run() {
    let mut world = world(&again(3, 3));
    for pod in world.pods.values_mut() {
        pod.containers_ready = false;
    }
    assert!(!is_needed(&pod("c-tikv-0"), &world));
    assert!(is_needed(&offline(1), &world));
    world.resource.deleting_since = Some(world.now);
    assert!(!is_needed(&offline(1), &world));
    assert!(!is_needed(&volume("tikv-c-tikv-0"), &world));
}

#[test]
fn where_the_cluster_id_is_in_doubt_nothing_is_done() {
    let planned = again(3, 3);
    let mut doubtful = world(&planned);
    doubtful.resource.status.cluster_id = Some("1".to_owned());
    let refused = verify(&offline(1), &doubtful, &planned).unwrap_err();
    assert!(refused.contains(&CLUSTER.to_string()), "{refused}");
}
