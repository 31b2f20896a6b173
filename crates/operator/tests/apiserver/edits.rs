//! What does an edit do that cannot be carried out, whole or in part?

use std::time::{Duration, Instant};

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    operator::{create_cluster, has, manifest, wait_for},
    server::{api, apply, clusters},
    stage::Stage,
};

async fn edit(stage: &Stage, spec: Value) {
    let clusters = clusters(&stage.admin, &stage.namespace);
    let patch = Patch::Merge(json!({ "spec": spec }));
    clusters.patch("c", &PatchParams::default(), &patch).await.unwrap();
}

/// The message of the condition `Degraded`; empty where there is none.
fn fault(resource: &Value) -> String {
    let conditions = resource.pointer("/status/conditions").and_then(Value::as_array);
    let degraded = conditions.into_iter().flatten().find(|c| c["type"] == "Degraded");
    degraded.map_or_else(String::new, |c| c["message"].as_str().unwrap().to_owned())
}

async fn degraded(stage: &Stage, words: &str) -> Value {
    let says =
        |resource: &Value| has(resource, "Degraded", "True") && fault(resource).contains(words);
    wait_for(&stage.admin, &stage.namespace, "c", PATIENCE, says).await
}

async fn recovered(stage: &Stage) {
    let well = |r: &Value| has(r, "Degraded", "False") && has(r, "Ready", "True");
    wait_for(&stage.admin, &stage.namespace, "c", PATIENCE, well).await;
}

async fn stands(stage: &Stage, kind: &str, name: &str) -> bool {
    api(&stage.admin, "", kind, &stage.namespace).get_opt(name).await.unwrap().is_some()
}

async fn until_it_stands(stage: &Stage, kind: &str, name: &str) {
    let start = Instant::now();
    while !stands(stage, kind, name).await {
        assert!(start.elapsed() < PATIENCE, "{kind} {name} is not made");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A field that Kubernetes does not know, in a type of its own: no pod is given up for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_field_of_kubernetes_own_types_is_named_and_takes_no_pod() {
    let stage = Stage::new("edit-typo", "c").await;
    create_cluster(&stage.admin, &stage.namespace, "c").await;
    let _operator = stage.operator();
    stage.ready("c").await;
    let before = stage.pod_uids().await;
    for (tolerations, field) in [
        (json!([{ "key": "a", "operatorr": "Exists" }]), "spec.tolerations[0].operatorr"),
        (json!([{ "key": "a", "operator": "Perhaps" }]), "spec.tolerations[0].operator"),
    ] {
        edit(&stage, json!({ "tolerations": tolerations })).await;
        degraded(&stage, field).await;
        assert_eq!(stage.pod_uids().await, before, "{field}");
    }
    edit(&stage, json!({ "tolerations": null })).await;
    recovered(&stage).await;
    assert_eq!(stage.pod_uids().await, before);
}

/// At creation there is no pod to lose: the first ones are not made without the field either.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_field_is_named_at_creation() {
    let stage = Stage::new("edit-typo-new", "c").await;
    let mut cluster = manifest(&stage.namespace, "c");
    cluster["spec"]["tikv"] = json!({ "tolerations": [{ "key": "a", "operatorr": "Exists" }] });
    apply(&stage.admin, &cluster).await;
    let _operator = stage.operator();
    degraded(&stage, "spec.tolerations[0].operatorr").await;
    assert!(!stands(&stage, "Pod", "c-tikv-0").await);
    edit(&stage, json!({ "tikv": { "tolerations": null } })).await;
    recovered(&stage).await;
}

/// What only `check` can see is named, and the last valid spec stays in force.
#[tokio::test(flavor = "multi_thread")]
async fn s07_under_a_spec_that_is_not_valid_repairs_go_on() {
    let stage = Stage::new("edit-invalid", "c").await;
    create_cluster(&stage.admin, &stage.namespace, "c").await;
    let _operator = stage.operator();
    stage.ready("c").await;
    edit(&stage, json!({ "pd": { "config": "not = [toml" } })).await;
    let resource = degraded(&stage, "spec.pd.config").await;
    assert!(has(&resource, "Ready", "True"));
    for (kind, name) in [("Pod", "c-tikv-1"), ("Service", "c-pd-peer")] {
        let objects = api(&stage.admin, "", kind, &stage.namespace);
        let uid = objects.get(name).await.unwrap().metadata.uid;
        objects.delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
        let start = Instant::now();
        while objects.get_opt(name).await.unwrap().is_none_or(|o| o.metadata.uid == uid) {
            assert!(start.elapsed() < PATIENCE, "{name} is not made again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    edit(&stage, json!({ "pd": { "config": null } })).await;
    recovered(&stage).await;
}

/// As `kubectl scale` and a HorizontalPodAutoscaler do it.
#[tokio::test(flavor = "multi_thread")]
async fn s58_the_scale_subresource_is_an_edit_and_its_selector_names_the_pods_of_stores() {
    let stage = Stage::new("edit-scale", "c").await;
    create_cluster(&stage.admin, &stage.namespace, "c").await;
    let _operator = stage.operator();
    stage.ready("c").await;
    let clusters = clusters(&stage.admin, &stage.namespace);
    let scale = clusters.get_scale("c").await.unwrap();
    let status = scale.status.unwrap();
    assert_eq!(status.replicas, 3);
    let selected = ListParams::default().labels(&status.selector.unwrap());
    let pods = api(&stage.admin, "", "Pod", &stage.namespace).list(&selected).await.unwrap();
    let mut names: Vec<_> = pods.items.into_iter().filter_map(|pod| pod.metadata.name).collect();
    names.sort();
    assert_eq!(names, ["c-tikv-0", "c-tikv-1", "c-tikv-2"]);
    let four = Patch::Merge(json!({ "spec": { "replicas": 4 } }));
    clusters.patch_scale("c", &PatchParams::default(), &four).await.unwrap();
    until_it_stands(&stage, "Pod", "c-tikv-3").await;
    let resource = serde_json::to_value(clusters.get("c").await.unwrap()).unwrap();
    assert_eq!(resource.pointer("/spec/tikv/replicas"), Some(&json!(4)));
}

/// An admission check that takes no Service: whoever asked for a fourth store gets it.
#[tokio::test(flavor = "multi_thread")]
async fn f20_a_refused_service_is_told_and_holds_up_nothing_else() {
    let stage = Stage::new("edit-refused", "c").await;
    create_cluster(&stage.admin, &stage.namespace, "c").await;
    let _operator = stage.operator();
    stage.ready("c").await;
    let group = "admissionregistration.k8s.io";
    let policy = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": "edit-refused" },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "edit-refused" } },
                "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["services"] }],
            },
            "validations": [{ "expression": "false", "message": "no Service changes on Sundays" }],
        },
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": "edit-refused" },
        "spec": { "policyName": "edit-refused", "validationActions": ["Deny"] },
    });
    apply(&stage.admin, &policy).await;
    apply(&stage.admin, &binding).await;
    // It takes some moments until the policy is in force.
    let services = api(&stage.admin, "", "Service", &stage.namespace);
    let start = Instant::now();
    for label in 0.. {
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "try": label.to_string() } } }));
        if services.patch("c-pd-peer", &PatchParams::default(), &patch).await.is_err() {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the policy does not come into force");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let annotated = json!({ "annotations": { "a": "b" } });
    edit(&stage, json!({ "pd": { "service": annotated }, "tikv": { "replicas": 4 } })).await;
    degraded(&stage, "no Service changes on Sundays").await;
    until_it_stands(&stage, "Pod", "c-tikv-3").await;
    let bindings = api(&stage.admin, group, "ValidatingAdmissionPolicyBinding", "");
    bindings.delete("edit-refused", &DeleteParams::default()).await.unwrap();
    recovered(&stage).await;
    let service = services.get("c-pd").await.unwrap();
    assert_eq!(service.metadata.annotations.unwrap_or_default().get("a").unwrap(), "b");
}
