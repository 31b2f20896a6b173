//! Who makes way for somebody who is about to take a member away?

use super::*;
use crate::world::{NodeFacts, NodeView, PdMemberId, StoreId, VolumeMarks};

fn cordoned(cordoned: bool) -> NodeView {
    NodeView::Known(NodeFacts {
        ready: true,
        ready_since: None,
        cordoned,
        out_of_service: false,
        labels: [].into(),
    })
}

/// Each member is on a node of its own; those of these slots are cordoned.
fn world(slots: &[Slot]) -> World {
    let mut world = fixture::settled(&fixture::cluster(json!({})));
    for (slot, pod) in &mut world.pods {
        let node = format!("node-of-{slot}");
        world.nodes.insert(node.clone(), cordoned(slots.contains(slot)));
        pod.node = Some(node);
    }
    world
}

fn edited(base: &World, change: impl FnOnce(&mut World)) -> World {
    let mut world = base.clone();
    change(&mut world);
    world
}

fn pod(world: &mut World, slot: Slot) -> &mut crate::world::PodFacts {
    world.pods.get_mut(&slot).expect("a pod")
}

fn marks(world: &mut World, slot: Slot) -> &mut VolumeMarks {
    &mut world.volumes.get_mut(&slot.claim_name("c")).expect("a volume").marks
}

fn next(cluster: &Cluster, world: &World) -> Option<Slot> {
    crate::plan::drain::next(&Scene::new(cluster, world)).map(|member| member.slot)
}

#[test]
fn one_store_at_a_time_makes_way_and_what_has_begun_goes_on() {
    let cluster = fixture::cluster(json!({}));
    let both = world(&[Slot::tikv(1), Slot::tikv(2)]);
    assert_eq!(next(&cluster, &both), Some(Slot::tikv(1)));
    let begun = |why: &str| {
        edited(&both, |world| marks(world, Slot::tikv(2)).evicting = Some(why.to_owned()))
    };
    assert_eq!(next(&cluster, &begun("drain")), Some(Slot::tikv(2)));
    assert_eq!(next(&cluster, &begun("leaving")), Some(Slot::tikv(1)), "not for this");
    let others: [fn(&mut World); 3] = [
        |world| pod(world, Slot::tikv(1)).containers_ready = false,
        |world| pod(world, Slot::tikv(1)).deleting_since = Some(fixture::now()),
        |world| {
            let store = fixture::pd_of(world).stores.get_mut(&StoreId(2)).expect("a store");
            store.state = StoreState::Down;
        },
    ];
    for (n, change) in others.into_iter().enumerate() {
        assert_eq!(next(&cluster, &edited(&both, change)), Some(Slot::tikv(2)), "{n}");
    }
    assert_eq!(next(&cluster, &world(&[])), None);
    let paused = fixture::cluster(json!({"paused": true}));
    assert_eq!(next(&paused, &both), None);
}

#[test]
fn pds_leadership_moves_off_a_cordoned_node_to_the_first_that_is_well() {
    let cluster = fixture::cluster(json!({}));
    let to = |world: &World| crate::plan::drain::pd_leader_to_move(&Scene::new(&cluster, world));
    let leader = world(&[Slot::pd(0)]);
    assert_eq!(to(&leader).as_deref(), Some("c-pd-1"));
    let others: [fn(&mut World); 4] = [
        |world| pod(world, Slot::pd(1)).containers_ready = false,
        |world| pod(world, Slot::pd(1)).deleting_since = Some(fixture::now()),
        |world| {
            let member = fixture::pd_of(world).members.get_mut(&PdMemberId(102));
            member.expect("a member").healthy = false;
        },
        |world| drop(world.nodes.insert("node-of-pd-1".into(), cordoned(true))),
    ];
    for (n, change) in others.into_iter().enumerate() {
        assert_eq!(to(&edited(&leader, change)).as_deref(), Some("c-pd-2"), "{n}");
    }
    assert_eq!(to(&world(&[Slot::pd(1)])), None, "it does not lead");
    let given_up = edited(&leader, |world| marks(world, Slot::pd(0)).retired = true);
    assert_eq!(
        to(&given_up),
        None,
        "a person gave its volume up: it is no member of ours to be moved"
    );
}

/// Stores whose leaders are asked away in a pass.
fn evicted(world: &World) -> Vec<String> {
    let steps = plan(&fixture::cluster(json!({})), world).steps.into_iter();
    let evicts = |step: &Step| {
        let marked = matches!(step, Step::MarkVolume { marks, .. } if marks.evicting.is_some());
        marked || step.name() == "evict-leaders"
    };
    steps.filter(evicts).map(|step| step.subject()).collect()
}

#[test]
fn a_store_that_is_deleted_gives_up_its_leaders_where_it_does_not_do_so_itself() {
    let version = |version: &str| {
        edited(&world(&[]), |world| {
            for store in fixture::pd_of(world).stores.values_mut() {
                store.version = version.to_owned();
            }
        })
    };
    let deleted = |world: &World| {
        edited(world, |world| pod(world, Slot::tikv(1)).deleting_since = Some(fixture::now()))
    };
    assert_eq!(evicted(&version("8.5.4")), Vec::<String>::new());
    assert_eq!(evicted(&deleted(&version("8.5.4"))), ["tikv-c-tikv-1"]);
    assert_eq!(evicted(&deleted(&version("8.5.5"))), Vec::<String>::new());
    let ended = edited(&deleted(&version("8.5.4")), |world| {
        pod(world, Slot::tikv(1)).containers_ready = false;
    });
    assert_eq!(evicted(&ended), Vec::<String>::new());
}

#[test]
fn what_has_begun_to_make_way_waits_while_something_else_is_away() {
    let begun = edited(&world(&[Slot::tikv(1)]), |world| {
        marks(world, Slot::tikv(1)).evicting = Some("drain".into());
    });
    assert_eq!(evicted(&begun), ["store 2"]);
    let away = edited(&begun, |world| {
        pod(world, Slot::tikv(2)).containers_ready = false;
        pod(world, Slot::tikv(2)).started = None;
    });
    assert_eq!(evicted(&away), Vec::<String>::new());
}
