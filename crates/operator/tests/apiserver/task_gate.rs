//! Does the operator hold an upgrade for a task, and go on when the task is gone?

use std::time::{Duration, Instant};

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    operator::{create_cluster, wait_for},
    server::{api, clusters},
    stage::Stage,
};

fn waits(resource: &Value) -> String {
    resource.pointer("/status/waits").map(Value::to_string).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_held_until_its_gate_is_gone() {
    let stage = Stage::new("task-gate", "c").await;
    create_cluster(&stage.admin, &stage.namespace, "c").await;
    let _operator = stage.operator();
    stage.ready("c").await;
    let tasks = api(&stage.admin, "tikv.org", "TikvTask", &stage.namespace);
    let mut spec = tikv_operator_api::cases::task_spec();
    spec["events"] = json!(["UpgradeStarting"]);
    spec["gate"] = json!("before");
    let task = json!({
        "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask",
        "metadata": {"name": "backup", "namespace": stage.namespace}, "spec": spec,
    });
    let task = serde_json::from_value(task).unwrap();
    tasks.create(&PostParams::default(), &task).await.unwrap();
    let before = stage.pod_uids().await;
    let edit = Patch::Merge(json!({"spec": {"version": "v8.5.8"}}));
    let cluster = clusters(&stage.admin, &stage.namespace);
    cluster.patch("c", &PatchParams::default(), &edit).await.unwrap();
    // The Job is made, and nobody runs it here.
    let runs = |resource: &Value| waits(resource).contains("runs before the upgrade");
    let held = wait_for(&stage.admin, &stage.namespace, "c", PATIENCE, runs).await;
    assert!(waits(&held).contains("gate-before-upgrade"), "{}", waits(&held));
    let id = held["status"]["upgrade"]["id"].as_str().unwrap().to_owned();
    assert!(waits(&held).contains(&format!("skip-gate={id}")), "{}", waits(&held));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.pod_uids().await, before, "held");
    tasks.delete("backup", &DeleteParams::default()).await.unwrap();
    let start = Instant::now();
    while stage.pod_uids().await == before {
        assert!(start.elapsed() < PATIENCE, "the gate is not released with its task");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
