//! The guards of configuration: the scene in which each holds a step, and the nearest one in which
//! it does not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::build;
use crate::fixture;
use crate::world::{Slot, StoreProcess, StoreState, World};

fn verdict(rule: &Rule, world: &World, spec: Value, step: &Step) -> Result<(), String> {
    let guard = rule.guard.expect("a rule with a guard");
    let cluster = fixture::cluster(spec);
    guard(step, &Scene::new(&cluster, world))
}

fn set(item: &str, value: Value) -> Step {
    Step::SetPdConfig { item: item.into(), value }
}

fn world() -> World {
    fixture::settled(&fixture::cluster(json!({})))
}

#[test]
fn replicas_fit_domains() {
    let rule = &REPLICAS_FIT_DOMAINS;
    let max = |n: u32| set("replication.max-replicas", json!(n));
    let mut world = world();
    for (step, fits) in [
        (max(3), true),
        (max(1), true),
        (max(4), false),
        (max(0), false),
        (set("replication.location-labels", json!([])), true),
        (set("replication.location-labels", json!(["zone"])), false),
        (set("schedule.leader-schedule-limit", json!(99)), true),
    ] {
        assert_eq!(verdict(rule, &world, json!({}), &step).is_ok(), fits, "{step:?}");
    }
    // A store that is being removed holds nothing for long.
    let pd = fixture::pd_of(&mut world);
    pd.stores.values_mut().next().expect("a store").state = StoreState::Offline;
    assert!(verdict(rule, &world, json!({}), &max(3)).is_err());
    let pd = fixture::pd_of(&mut world);
    pd.location_labels = vec!["zone".into(), "host".into()];
    for (index, store) in pd.stores.values_mut().enumerate() {
        store.state = StoreState::Up;
        store.labels = BTreeMap::from([
            ("zone".into(), format!("z{}", index % 2)),
            ("host".into(), format!("h{index}")),
        ]);
    }
    for (level, fits) in [("host", true), ("zone", false), ("", true)] {
        fixture::pd_of(&mut world).isolation_level = Some(level.into());
        assert_eq!(verdict(rule, &world, json!({}), &max(3)).is_ok(), fits, "{level}");
        let step = set("replication.isolation-level", json!(level));
        assert_eq!(verdict(rule, &world, json!({}), &step).is_ok(), fits, "{level}");
    }
    let labels = |labels: Value| set("replication.location-labels", labels);
    assert_eq!(verdict(rule, &world, json!({}), &labels(json!("zone,host"))), Ok(()));
    assert!(verdict(rule, &world, json!({}), &labels(json!(["rack"]))).is_err());
    world.pd = crate::world::PdView::NotCreated;
    assert!(verdict(rule, &world, json!({}), &max(1)).is_err(), "unknown is not enough");
}

#[test]
fn data_format_is_fixed() {
    let rule = &DATA_FORMAT_IS_FIXED;
    let other = || json!({"tikv": {"config": {"storage": {"api-version": 2}}}});
    let cluster = fixture::cluster(other());
    let create = Step::Create(build::pod(&cluster, Slot::tikv(0)));
    let restart = |ordinal: u32| Step::DeletePod {
        name: Slot::tikv(ordinal).pod_name("c"),
        uid: crate::world::Uid("u".into()),
        reason: "x".into(),
    };
    let mut world = world();
    for step in [&create, &restart(0)] {
        assert!(verdict(rule, &world, other(), step).is_err(), "{step:?}");
        assert_eq!(verdict(rule, &world, json!({}), step), Ok(()));
    }
    let pd = Step::Create(build::pod(&cluster, Slot::pd(0)));
    assert_eq!(verdict(rule, &world, other(), &pd), Ok(()));
    // What the stores say decides where nothing was noted.
    let says = |version: u32| StoreProcess {
        leaders: None,
        config: Some(json!({"storage": {"api-version": version}}).into()),
    };
    world.processes.insert(crate::world::StoreId(1), says(2));
    assert_eq!(verdict(rule, &world, other(), &create), Ok(()));
    world.processes.insert(crate::world::StoreId(1), says(1));
    assert!(verdict(rule, &world, other(), &create).is_err());
    // A pod that does not run, or leaves for good, is not restarted with anything.
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").containers_ready = false;
    assert_eq!(verdict(rule, &world, other(), &restart(1)), Ok(()));
    world.volumes.get_mut("tikv-c-tikv-2").expect("a claim").marks.retired = true;
    assert_eq!(verdict(rule, &world, other(), &restart(2)), Ok(()));
    assert!(verdict(rule, &world, other(), &restart(0)).is_err());
    world.resource.deleting_since = Some(fixture::now());
    assert_eq!(verdict(rule, &world, other(), &restart(0)), Ok(()));
    // A cluster without any store yet may have any format.
    let mut young = fixture::settled(&fixture::cluster(json!({})));
    fixture::pd_of(&mut young).bootstrapped = false;
    for volume in young.volumes.values_mut() {
        volume.marks.store = None;
    }
    assert_eq!(verdict(rule, &young, other(), &create), Ok(()));
}
