//! When has a store its leaders back?

use super::*;
use crate::world::StoreId;

/// `tikv-2` was restarted a moment ago for a change of the spec, and the stores lead so many regions.
fn leads(leaders: [u64; 3]) -> (Cluster, World) {
    let mut world = fixture::settled(&three());
    let cluster = fixture::cluster(json!({"tikv": {"annotations": {"restartedAt": "now"}}}));
    fixture::accept(&cluster, &mut world);
    world.pods.insert(Slot::tikv(2), fixture::pod(&cluster, Slot::tikv(2)));
    for (id, leaders) in (1..).zip(leaders) {
        let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(id)).expect("a store");
        store.leaders = leaders;
    }
    (cluster, world)
}

/// Two thirds of what each would lead if all led the same, where one more or less is nothing.
#[test]
fn leaders_are_back_at_two_thirds_of_the_share() {
    for (leaders, waited_for) in [([4, 4, 1], false), ([5, 5, 2], false), ([6, 5, 1], true)] {
        let (cluster, world) = leads(leaders);
        let plan = plan(&cluster, &world);
        assert_eq!(waits_for(&plan, &rules::LEADERS_COME_BACK), waited_for, "{leaders:?}");
    }
}

#[test]
fn a_store_that_may_not_lead_has_no_share() {
    let (cluster, mut world) = leads([0, 10, 2]);
    // Its own start is long ago.
    let started = fixture::now() - SignedDuration::from_hours(1);
    world.pods.get_mut(&Slot::tikv(0)).expect("a pod").started = Some(started);
    let waits = |world: &World| waits_for(&plan(&cluster, world), &rules::LEADERS_COME_BACK);
    assert!(!waits(&world), "a third of 12");
    fixture::pd_of(&mut world).evicting.insert(StoreId(1));
    assert!(waits(&world), "half of 12");
    fixture::pd_of(&mut world).evicting.clear();
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(1)).expect("a store");
    store.state = StoreState::Disconnected;
    assert!(waits(&world));
}
