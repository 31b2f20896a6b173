//! Who stays, who leaves, who is replaced, and what counts as a member at all.

use super::*;
use crate::world::{Leaving, NodeFacts, NodeView, StoreFacts, StoreId, VolumeFacts};

fn volume_of(world: &mut World, ordinal: u32) -> &mut VolumeFacts {
    world.volumes.get_mut(&Slot::tikv(ordinal).claim_name("c")).expect("a volume")
}

fn store_of(world: &mut World, ordinal: u32) -> &mut StoreFacts {
    let id = StoreId(u64::from(ordinal) + 1);
    fixture::pd_of(world).stores.get_mut(&id).expect("a store")
}

fn stores(count: u32) -> Cluster {
    fixture::cluster(json!({"tikv": {"replicas": count}}))
}

/// Whom the roster of stores sends away where three are wanted.
fn leaving(world: &World) -> Vec<u32> {
    let cluster = three();
    let scene = Scene::new(&cluster, world);
    scene.roster(Component::Tikv).leaving.iter().map(|slot| slot.ordinal).collect()
}

/// `tikv-3` was made in the place of `tikv-1`, whose store is Down.
fn replaced() -> World {
    let mut world = fixture::settled(&stores(4));
    store_of(&mut world, 1).state = StoreState::Down;
    volume_of(&mut world, 3).marks.replaces = Some(StoreId(2));
    world
}

fn is_replaced(world: &World) -> bool {
    let cluster = three();
    let scene = Scene::new(&cluster, world);
    scene.roster(Component::Tikv).replaced.contains_key(&Slot::tikv(1))
}

#[test]
fn a_replaced_store_is_back_when_pd_and_kubernetes_say_so() {
    let mut world = replaced();
    assert!(is_replaced(&world), "its pod runs, and PD does not hear it");
    store_of(&mut world, 1).state = StoreState::Up;
    assert!(!is_replaced(&world));
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").containers_ready = false;
    assert!(is_replaced(&world));
}

#[test]
fn a_replaced_store_that_has_left_is_not_replaced_any_more_though_its_pod_still_stands() {
    let mut world = replaced();
    store_of(&mut world, 1).state = StoreState::Tombstone;
    let leaving = Leaving { since: fixture::now(), reason: rules::REPLACED.to_owned() };
    let marks = &mut volume_of(&mut world, 1).marks;
    (marks.leaving, marks.retired) = (Some(leaving), true);
    assert!(!is_replaced(&world));
}

#[test]
fn the_replacement_of_a_store_that_came_back_is_the_surplus_whatever_its_ordinal() {
    let mut world = fixture::settled(&stores(4));
    assert_eq!(leaving(&world), [3], "the highest ordinal");
    volume_of(&mut world, 0).marks.replaces = Some(StoreId(3));
    assert_eq!(leaving(&world), [0]);
    // The store that it replaced has left: it is a store like every other.
    let mut tombstone = fixture::store(&stores(4), 9);
    tombstone.state = StoreState::Tombstone;
    volume_of(&mut world, 0).marks.replaces = Some(tombstone.id);
    fixture::pd_of(&mut world).stores.insert(tombstone.id, tombstone);
    assert_eq!(leaving(&world), [3]);
}

#[test]
fn the_one_that_a_user_names_leaves_before_one_that_never_was_a_member() {
    let mut world = fixture::settled(&stores(4));
    fixture::pd_of(&mut world).stores.remove(&StoreId(4));
    volume_of(&mut world, 3).marks.store = None;
    assert_eq!(leaving(&world), [3]);
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    pod.annotations.insert(LEAVE.to_owned(), "true".to_owned());
    assert_eq!(leaving(&world), [1]);
}

#[test]
fn what_is_left_of_a_removed_member_occupies_nothing() {
    let cluster = three();
    let occupied = |change: fn(&mut World)| {
        let mut world = fixture::settled(&cluster);
        world.pods.remove(&Slot::tikv(2));
        fixture::pd_of(&mut world).stores.remove(&StoreId(3));
        change(&mut world);
        Scene::new(&cluster, &world).occupied(Component::Tikv).contains(&Slot::tikv(2))
    };
    assert!(occupied(|_| {}), "its volume waits for it");
    assert!(!occupied(|world| volume_of(world, 2).marks.retired = true));
    assert!(
        !occupied(|world| volume_of(world, 2).main = false),
        "an additional volume is no member"
    );
}

/// A pod whose volume is gone, on its way out on a lost node: it may be so for ever.
#[test]
fn a_slot_is_vacated_when_nobody_is_known_in_it_and_its_pod_never_comes_back() {
    let cluster = three();
    let vacated = |change: fn(&mut World)| {
        let mut world = fixture::settled(&cluster);
        world.volumes.remove("tikv-c-tikv-2");
        fixture::pd_of(&mut world).stores.remove(&StoreId(3));
        let pod = world.pods.get_mut(&Slot::tikv(2)).expect("a pod");
        (pod.node, pod.deleting_since) = (Some("dead".into()), Some(fixture::now()));
        let facts = NodeFacts {
            ready: false,
            ready_since: None,
            cordoned: false,
            out_of_service: false,
            labels: [].into(),
        };
        world.nodes.insert("dead".into(), NodeView::Known(facts));
        change(&mut world);
        Scene::new(&cluster, &world).is_vacated(Slot::tikv(2))
    };
    assert!(vacated(|_| {}));
    let known = |world: &mut World| {
        let store = fixture::store(&three(), 2);
        fixture::pd_of(world).stores.insert(store.id, store);
    };
    assert!(!vacated(known));
    let pod = |world: &mut World| {
        world.pods.get_mut(&Slot::tikv(2)).expect("a pod").deleting_since = None;
    };
    assert!(!vacated(pod));
    assert!(!vacated(|world| world.nodes.clear()));
}

/// Everybody asks for these in every pass.
#[test]
fn what_is_derived_of_a_component_is_derived_once() {
    let cluster = three();
    let world = fixture::settled(&cluster);
    let scene = Scene::new(&cluster, &world);
    for component in Component::ALL {
        assert!(std::ptr::eq(scene.roster(component), scene.roster(component)));
        assert!(std::ptr::eq(scene.occupied(component), scene.occupied(component)));
    }
}
