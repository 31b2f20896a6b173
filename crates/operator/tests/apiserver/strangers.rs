//! Objects of our names that are not ours, from the resource's point of view.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    PATIENCE,
    operator::{create_cluster, has, wait_for},
    server::{api, apply, clusters},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_object_is_named_in_the_status_and_left_alone_until_it_goes() {
    let stage = Stage::new("strangers", "c").await;
    let Stage { admin, namespace, .. } = &stage;
    let theirs = json!({ "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "c-pd", "namespace": namespace },
        "spec": { "ports": [{ "port": 1 }] } });
    apply(admin, &theirs).await;
    create_cluster(admin, namespace, "c").await;
    let _operator = stage.operator();
    wait_for(admin, namespace, "c", PATIENCE, |resource| {
        has(resource, "Degraded", "True") && resource["status"].to_string().contains("c-pd")
    })
    .await;
    let services = api(admin, "", "Service", namespace);
    let service = serde_json::to_value(services.get("c-pd").await.unwrap()).unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 1);
    assert!(service["metadata"].get("ownerReferences").is_none());

    services.delete("c-pd", &kube::api::DeleteParams::default()).await.unwrap();
    // The name is tried again a minute after it was met.
    wait_for(admin, namespace, "c", PATIENCE, |resource| {
        has(resource, "Ready", "True") && has(resource, "Degraded", "False")
    })
    .await;
    let ours = serde_json::to_value(services.get("c-pd").await.unwrap()).unwrap();
    assert_eq!(ours["metadata"]["ownerReferences"][0]["kind"], "TikvCluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_or_changed_by_hand_comes_back_and_the_pods_stay() {
    let stage = Stage::new("repaired", "c").await;
    let Stage { admin, namespace, .. } = &stage;
    create_cluster(admin, namespace, "c").await;
    let _operator = stage.operator();
    stage.ready("c").await;
    let before = stage.pod_uids().await;

    let services = api(admin, "", "Service", namespace);
    services.delete("c-pd-peer", &kube::api::DeleteParams::default()).await.unwrap();
    let patch = json!({ "metadata": { "labels": { "tikv.org/cluster": null } },
        "spec": { "selector": { "app": "broken" } } });
    let patch = kube::api::Patch::Merge(patch);
    services.patch("c-pd", &kube::api::PatchParams::default(), &patch).await.unwrap();
    let start = std::time::Instant::now();
    loop {
        let peer = services.get_opt("c-pd-peer").await.unwrap();
        let client = serde_json::to_value(services.get("c-pd").await.unwrap()).unwrap();
        let whole = client["spec"]["selector"]["tikv.org/cluster"] == "c"
            && client["metadata"]["labels"]["tikv.org/cluster"] == "c";
        if peer.is_some() && whole {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{client:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(stage.pod_uids().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_the_status_all_the_time_neither_stops_the_operator_nor_makes_it_write() {
    let stage = Stage::new("bumped", "c").await;
    let Stage { server, admin, namespace, user, .. } = &stage;
    create_cluster(admin, namespace, "c").await;
    let theirs = another_writer(admin.clone(), namespace.clone());
    let _operator = stage.operator();
    stage.ready("c").await;
    clusters(admin, namespace)
        .patch(
            "c",
            &PatchParams::default(),
            &Patch::Merge(json!({ "spec": { "pd": { "replicas": 5 } } })),
        )
        .await
        .unwrap();
    let five = |resource: &serde_json::Value| {
        has(resource, "Ready", "True") && resource["status"]["pd"]["ready"] == 5
    };
    wait_for(admin, namespace, "c", PATIENCE, five).await;
    let mut before = writes(&server.calls(user));
    let start = std::time::Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let now = writes(&server.calls(user));
        if now == before {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it does not come to rest: {now} writes");
        before = now;
    }
    assert!(!theirs.is_finished(), "nobody wrote the status meanwhile");
    theirs.abort();
}

/// Changes a condition of its own every 20 ms.
fn another_writer(admin: kube::Client, namespace: String) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        for number in 0_u64.. {
            let condition = json!({ "type": "Theirs", "status": "True", "reason": "Counted",
                "message": number.to_string(), "lastTransitionTime": "2026-01-01T00:00:00Z" });
            let body = json!({ "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
                "metadata": { "name": "c" }, "status": { "conditions": [condition] } });
            let params = PatchParams::apply("theirs").force();
            let clusters = clusters(&admin, &namespace);
            clusters.patch_status("c", &params, &Patch::Apply(body)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

/// How often something was changed, Leases and Events apart.
fn writes(calls: &std::collections::BTreeMap<(String, String), usize>) -> usize {
    let write = |verb: &str| ["create", "update", "patch", "delete"].contains(&verb);
    let apart = |resource: &str| ["leases", "events"].contains(&resource);
    calls.iter().filter(|((verb, what), _)| write(verb) && !apart(what)).map(|(_, n)| n).sum()
}
