//! How many members an eviction may leave.

use super::*;
use crate::plan::spare::min_available;
use crate::world::{ObjectFacts, StoreId};

const STORES: Component = Component::Tikv;

/// `minAvailable` of a settled cluster to which something happened.
fn of(component: Component, change: impl FnOnce(&mut World)) -> u32 {
    of_cluster(&three(), component, change)
}

fn of_cluster(cluster: &Cluster, component: Component, change: impl FnOnce(&mut World)) -> u32 {
    let mut world = fixture::settled(cluster);
    change(&mut world);
    min_available(&Scene::new(cluster, &world), component)
}

/// The budget stands and says this.
fn stands(world: &mut World, component: Component, min: u32) {
    let name = tikv_operator_api::names::budget("c", component);
    let key = ObjectKey::new(Kind::PodDisruptionBudget, name);
    let body = json!({"spec": {"minAvailable": min}}).into();
    world.objects.insert(key, ObjectFacts { uid: Uid("b".into()), body, deleting: false });
}

fn silent(world: &mut World) {
    world.pd = PdView::Unreachable { seen_for: SignedDuration::ZERO, reason: "x".into() };
}

#[test]
fn while_pd_is_silent_a_budget_stays_as_it_stands() {
    for min in [2, 3] {
        for component in Component::ALL {
            let stays = |world: &mut World| {
                silent(world);
                stands(world, component, min);
            };
            assert_eq!(of(component, stays), min, "{component}");
        }
    }
    // Made for another number of members, it says nothing.
    let other = |world: &mut World| {
        silent(world);
        stands(world, STORES, 5);
    };
    assert_eq!(of(STORES, other), 3);
}

#[test]
fn a_new_budget_is_open_for_pd_and_closed_for_stores() {
    let cluster = three();
    let world = decided();
    let scene = Scene::new(&cluster, &world);
    assert_eq!(Component::ALL.map(|component| min_available(&scene, component)), [2, 3]);
}

/// One or two members never block a drain, unless they are some of more.
#[test]
fn two_stores_of_more_are_not_the_last_two() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 2}}));
    let doubt = |world: &mut World| {
        fixture::pd_of(world).replication = Replication::InProgress;
    };
    assert_eq!(of_cluster(&cluster, STORES, doubt), 1);
    let of_three = |world: &mut World| {
        doubt(world);
        let mut theirs = fixture::store(&cluster, 7);
        theirs.address = "theirs:20160".into();
        fixture::pd_of(world).stores.insert(theirs.id, theirs);
    };
    assert_eq!(of_cluster(&cluster, STORES, of_three), 2);
}

#[test]
fn a_pd_pod_that_counts_and_is_not_heard_closes_the_budget_once_there_are_regions() {
    let unwell = |world: &mut World| {
        let member = fixture::pd_of(world).members.values_mut().next_back().expect("a member");
        member.healthy = false;
    };
    assert_eq!(of(Component::Pd, unwell), 3);
    let going = |world: &mut World| {
        unwell(world);
        world.pods.get_mut(&Slot::pd(2)).expect("a pod").deleting_since = Some(fixture::now());
    };
    assert_eq!(of(Component::Pd, going), 2, "Kubernetes does not count it");
    let young = |world: &mut World| {
        unwell(world);
        fixture::pd_of(world).bootstrapped = false;
    };
    assert_eq!(of(Component::Pd, young), 2, "members that come up one by one");
}

#[test]
fn a_restart_that_goes_on_closes_the_budget_of_stores_unless_it_is_paused() {
    let marked = |world: &mut World| {
        let volume = world.volumes.get_mut("tikv-c-tikv-1").expect("a volume");
        volume.marks.evicting = Some("restart".into());
    };
    assert_eq!(of(STORES, marked), 3);
    assert_eq!(of_cluster(&fixture::cluster(json!({"paused": true})), STORES, marked), 2);
}

#[test]
fn a_store_that_some_region_needs_closes_the_budget_where_there_are_replicas_to_lose() {
    let critical = |regions: u64, replicas: u32| {
        of(STORES, |world| {
            let pd = fixture::pd_of(world);
            pd.critical = Some([(StoreId(2), regions)].into());
            pd.max_replicas = Some(replicas);
        })
    };
    assert_eq!(critical(1, 3), 3);
    assert_eq!(critical(0, 3), 2);
    assert_eq!(critical(1, 2), 2, "one of two replicas is always needed");
}

#[test]
fn missing_replicas_close_the_budget_of_stores_once_there_are_regions() {
    for replication in [Replication::InProgress, Replication::Pending] {
        for (regions, min) in [(0, 2), (1, 3)] {
            let lacks = |world: &mut World| {
                let pd = fixture::pd_of(world);
                (pd.replication, pd.regions) = (replication, regions);
                stands(world, STORES, 2);
            };
            assert_eq!(of(STORES, lacks), min, "{replication:?}, {regions} regions");
        }
    }
}
