//! A store that a person wants replaced: one scene, one plan.

use super::*;
use crate::world::{Leaving, StoreId, StoreState};

fn stores(count: u32) -> Cluster {
    fixture::cluster(json!({"tikv": {"replicas": count}}))
}

/// A settled cluster of `count` stores, of which the second is to be replaced.
fn asked(count: u32, value: &str) -> World {
    let mut world = fixture::settled(&stores(count));
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    pod.annotations.insert(REPLACE.into(), value.into());
    world
}

fn steps(cluster: &Cluster, world: &World) -> Vec<String> {
    let plan = plan(cluster, world);
    let aside = |step: &&Step| !matches!(step, Step::SetStoreUp { .. } | Step::Apply { .. });
    let steps = plan.steps.iter().filter(aside);
    steps.map(|step| format!("{} {}", step.name(), step.subject())).collect()
}

#[test]
fn one_more_is_made_first() {
    let cluster = stores(3);
    let world = asked(3, "true");
    let scene = Scene::new(&cluster, &world);
    assert_eq!(scene.roster(Component::Tikv).joining, [Slot::tikv(3)]);
    let plan = plan(&cluster, &world);
    assert!(plan.steps.iter().any(|step| step.subject().contains("c-tikv-3")), "{plan:?}");
    let wait = plan.waits.iter().find(|wait| *wait.rule == rules::NEW_STORE_FIRST);
    let detail = &wait.expect("a wait").detail;
    assert!(detail.contains("c-tikv-1") && detail.contains("3 other stores"), "{detail}");
    assert!(detail.ends_with("2 are"), "{detail}");
    for value in ["false", "soon"] {
        assert_eq!(steps(&cluster, &asked(3, value)), [""; 0], "{value}");
    }
}

/// The run of a task has succeeded with the wish, so a pod that is made anew must not take it away.
#[test]
fn a_wish_on_the_claim_outlives_the_pod() {
    let cluster = stores(3);
    let mut world = fixture::settled(&cluster);
    let claim = Slot::tikv(1).claim_name("c");
    world.volumes.get_mut(&claim).expect("a volume").replace = Some("true".into());
    let joining =
        |world: &World| Scene::new(&cluster, world).roster(Component::Tikv).joining.clone();
    assert_eq!(joining(&world), [Slot::tikv(3)]);
    let pod = world.pods.remove(&Slot::tikv(1)).expect("a pod");
    assert_eq!(joining(&world), [Slot::tikv(3)], "while the pod is away");
    let made_anew = crate::world::PodFacts { uid: crate::world::Uid("new".into()), ..pod };
    world.pods.insert(Slot::tikv(1), made_anew);
    assert_eq!(joining(&world), [Slot::tikv(3)]);
    // It is the one that goes when the new one serves.
    let mut world = fixture::settled(&stores(4));
    world.volumes.get_mut(&claim).expect("a volume").replace = Some("true".into());
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-1"]);
    world.volumes.get_mut(&claim).expect("a volume").replace = None;
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-3"], "called back");
}

#[test]
fn it_leaves_when_as_many_others_serve_as_are_wanted() {
    let cluster = stores(3);
    let leaves = ["mark-volume tikv-c-tikv-1"];
    let world = asked(4, "true");
    assert_eq!(steps(&cluster, &world), leaves);
    // The new one is not Ready, is not heard, or another one is not: it stays.
    for slot in [Slot::tikv(3), Slot::tikv(0)] {
        let mut unready = world.clone();
        unready.pods.get_mut(&slot).expect("a pod").ready = false;
        assert_eq!(steps(&cluster, &unready), [""; 0], "{slot}");
        let mut unheard = world.clone();
        let id = StoreId(u64::from(slot.ordinal) + 1);
        let store = fixture::pd_of(&mut unheard).stores.get_mut(&id).expect("a store");
        store.state = StoreState::Disconnected;
        let joining = Scene::new(&cluster, &unheard).roster(Component::Tikv).clone();
        assert_eq!((joining.joining, joining.leaving), (Vec::new(), Vec::new()), "{slot}");
    }
    // With fewer wanted meanwhile it is the first to go.
    let world = asked(5, "true");
    let scene = Scene::new(&cluster, &world);
    assert_eq!(scene.roster(Component::Tikv).leaving, [Slot::tikv(1), Slot::tikv(4)]);
}

#[test]
fn once_it_is_on_its_way_nothing_calls_it_back_but_a_larger_number() {
    let mut world = asked(4, "true");
    let claim = Slot::tikv(1).claim_name("c");
    let marks = &mut world.volumes.get_mut(&claim).expect("a volume").marks;
    marks.leaving = Some(Leaving { since: fixture::now(), reason: "scale-in".into() });
    // A new store that is ill for a moment, or a pod made anew, takes nothing back.
    world.pods.get_mut(&Slot::tikv(3)).expect("a pod").ready = false;
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").annotations.clear();
    let roster = |count| Scene::new(&stores(count), &world).roster(Component::Tikv).clone();
    assert_eq!(roster(3).leaving, [Slot::tikv(1)]);
    assert_eq!(roster(4).leaving, []);
}

#[test]
fn nothing_is_made_where_pd_lets_no_store_go() {
    let cluster = stores(2);
    let world = asked(2, "true");
    let plan = plan(&cluster, &world);
    let scene = Scene::new(&cluster, &world);
    assert_eq!(scene.roster(Component::Tikv).joining, []);
    let wait = plan.waits.iter().find(|wait| *wait.rule == rules::NEW_STORE_FIRST);
    let detail = &wait.expect("a wait").detail;
    assert!(detail.contains("c-tikv-1") && detail.contains("max-replicas"), "{detail}");
}

#[test]
fn two_at_once_are_two_more() {
    let mut world = asked(3, "true");
    let pod = world.pods.get_mut(&Slot::tikv(2)).expect("a pod");
    pod.annotations.insert(REPLACE.into(), "true".into());
    let cluster = stores(3);
    let scene = Scene::new(&cluster, &world);
    assert_eq!(scene.roster(Component::Tikv).joining, [Slot::tikv(3), Slot::tikv(4)]);
}

#[test]
fn a_pod_that_is_being_deleted_does_not_stand_in_for_one_that_is_to_go() {
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"replicas": 4}})));
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    pod.annotations.insert(REPLACE.into(), "true".into());
    let said = |world: &World| {
        let waits = plan(&cluster, world).waits;
        waits.into_iter().find(|w| *w.rule == rules::NEW_STORE_FIRST).map(|wait| wait.detail)
    };
    assert_eq!(said(&world), None, "three others serve");
    world.pods.get_mut(&Slot::tikv(2)).expect("a pod").deleting_since = Some(fixture::now());
    let words = said(&world).expect("a wait");
    assert!(words.ends_with(": 2 are"), "{words}");
}
