//! Can `podTemplate` take away what the operator builds a member from?

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test binary: a panic is a failed test"
)]

mod fixture;

use serde_json::{Value, json};
use tikv_operator_api::TikvCluster;
use tikv_operator_core::build;
use tikv_operator_core::check::check;
use tikv_operator_core::world::Slot;

fn with_template(template: &Value) -> TikvCluster {
    let mut manifest = fixture::manifest("version-only");
    manifest["spec"]["tikv"] = json!({ "podTemplate": template });
    serde_json::from_value(manifest).expect("a TikvCluster")
}

fn of_tikv(container: &Value) -> Value {
    let mut container = container.clone();
    container["name"] = "tikv".into();
    json!({"spec": {"containers": [container]}})
}

#[test]
fn what_would_take_something_of_ours_away_is_refused_by_name() {
    let wipe = json!([{"$patch": "replace"}]);
    for (template, field) in [
        (of_tikv(&json!({"volumeMounts": null})), "containers[0].volumeMounts"),
        (of_tikv(&json!({"volumeMounts": wipe})), "containers[0].volumeMounts[0].$patch"),
        (
            of_tikv(&json!({"volumeMounts": [{"mountPath": "/var/lib/tikv", "$patch": "delete"}]})),
            "containers[0].volumeMounts[0].$patch",
        ),
        (of_tikv(&json!({"env": wipe})), "containers[0].env[0].$patch"),
        (of_tikv(&json!({"args": []})), "containers[0].args"),
        (of_tikv(&json!({"$patch": "delete"})), "containers[0].$patch"),
        (json!({"spec": {"containers": null}}), "containers"),
        (json!({"spec": {"volumes": wipe}}), "volumes[0].$patch"),
        (json!({"spec": {"readinessGates": null}}), "readinessGates"),
        (json!({"spec": {"readinessGates": wipe}}), "readinessGates[0].$patch"),
        (json!({"spec": {"hostname": "other"}}), "hostname"),
        (json!({"spec": {"$patch": "replace"}}), "$patch"),
    ] {
        let rejection = check(&with_template(&template)).expect_err("it takes something away");
        let wanted = format!("spec.tikv.podTemplate.spec.{field}");
        assert!(
            rejection.problems.iter().any(|problem| problem.field == wanted),
            "{wanted}: {rejection}"
        );
    }
}

#[test]
fn whatever_passes_keeps_the_member_whole() {
    let bare = check(&with_template(&json!({}))).expect("valid");
    let bare = build::pod(&bare, Slot::tikv(0)).body;
    for template in [
        json!({"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}}),
        of_tikv(&json!({"volumeMounts": [], "env": [{"name": "A", "value": "b"}]})),
        of_tikv(&json!({"lifecycle": null, "stdin": true})),
        json!({"spec": {"readinessGates": [], "volumes": [{"name": "a", "emptyDir": {}}]}}),
        json!({"spec": {"affinity": null, "securityContext": {"fsGroup": null}}}),
    ] {
        let cluster = check(&with_template(&template)).expect("valid");
        let pod = build::pod(&cluster, Slot::tikv(0)).body;
        for part in ["/spec/containers/0/args", "/spec/containers/0/volumeMounts"] {
            assert_eq!(pod.pointer(part), bare.pointer(part), "{part} with {template}");
        }
        for part in ["/metadata/name", "/metadata/ownerReferences", "/spec/readinessGates"] {
            assert_eq!(pod.pointer(part), bare.pointer(part), "{part} with {template}");
        }
        for (key, value) in bare["metadata"]["labels"].as_object().expect("labels") {
            assert_eq!(&pod["metadata"]["labels"][key], value, "{key} with {template}");
        }
    }
}
