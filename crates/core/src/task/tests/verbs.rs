//! Which call is which verb?

use serde_json::{Value, json};

use super::super::fixture::{Stage, cordon};
use super::*;

#[test]
fn the_number_of_stores_is_decided_once() {
    let decided = |scale: Value| {
        let mut stage = Stage::new(&json!({
            "events": ["NodeCordoned"], "serviceAccountName": "a", "run": {"scale": scale.clone()},
        }));
        cordon(&mut stage, 0..1);
        stage.pass();
        // The call came through, its answer did not: the next attempt must not add to it.
        stage.world.clusters.get_mut("c").expect("a cluster").tikv_wanted = Some(9);
        let plan = stage.pass();
        let [TaskStep::Call { call: Call::Scale { before, replicas, .. }, .. }] =
            plan.steps.as_slice()
        else {
            panic!("{plan:?}")
        };
        // What it was decided from is part of the call: it writes over no other number.
        assert_eq!(*before, scale.get("by").map(|_| 3));
        *replicas
    };
    for (what, want) in [
        (json!({"by": 1}), 4),
        (json!({"by": 5, "max": 6}), 6),
        (json!({"by": 1, "max": 2}), 3),
        (json!({"by": -2}), 1),
        (json!({"by": -9}), 1),
        (json!({"by": -1, "min": 3}), 3),
        (json!({"to": 7}), 7),
        (json!({"to": 7, "max": 5}), 5),
    ] {
        assert_eq!(decided(what.clone()), want, "{what}");
    }
}

#[test]
fn verbs_are_calls_on_the_pods_that_are_meant() {
    let call = |run: Value, events: Value| {
        let mut stage = Stage::new(&json!({
            "events": events, "serviceAccountName": "a", "run": run,
        }));
        stage.store(2).state = crate::world::StoreState::Down;
        stage.report_cluster();
        let plan = stage.pass();
        match plan.steps.as_slice() {
            [TaskStep::Call { call, .. }] => call.clone(),
            other => panic!("{other:?}"),
        }
    };
    let pods = |call: Call| match call {
        Call::Annotate(to) => (
            format!("{} {}", to.on.word(), to.names.join(" ")),
            to.key,
            to.value,
            to.made_before.is_some(),
        ),
        Call::Http(_) | Call::SetConfig { .. } | Call::Scale { .. } => panic!("{call:?}"),
    };
    let yes = Some("true".to_owned());
    let down = json!(["StoreDown"]);
    assert_eq!(
        pods(call(json!({"restart": {}}), down.clone())),
        ("pod c-tikv-1".into(), "tikv.org/restart", yes.clone(), true)
    );
    assert_eq!(
        pods(call(json!({"restart": {"component": "pd"}}), down.clone())),
        ("pod c-pd-0 c-pd-1 c-pd-2".into(), "tikv.org/restart", yes.clone(), true)
    );
    assert_eq!(
        pods(call(json!({"evictLeaders": {"pods": ["c-tikv-0"]}}), down.clone())),
        ("pod c-tikv-0".into(), "tikv.org/evict-leaders", yes, false)
    );
    assert_eq!(
        pods(call(json!({"restoreLeaders": {}}), down.clone())),
        ("pod c-tikv-1".into(), "tikv.org/evict-leaders", None, false)
    );
    assert_eq!(
        pods(call(json!({"storeReplace": {}}), down.clone())),
        ("volume claim tikv-c-tikv-1".into(), "tikv.org/replace", Some("true".to_owned()), true)
    );
    let set = call(json!({"configSet": {"component": "tikv", "config": {"a": {"b": 1}}}}), down);
    let Call::SetConfig { component, config, .. } = set else { panic!("{set:?}") };
    assert_eq!(
        Call::config_patch(component, &config),
        json!({"spec": {"tikv": {"config": {"a": {"b": 1}}}}})
    );
}
