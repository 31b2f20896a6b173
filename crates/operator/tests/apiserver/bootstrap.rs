//! From nothing to Ready, undisturbed and killed after every single write.

use std::{collections::BTreeMap, sync::Arc};

use kube::{Client, api::ListParams};
use serde_json::Value;

use crate::{
    PATIENCE,
    counting::dying_after,
    kubelet::Kubelet,
    operator::{Operator, create_cluster, has, wait_for},
    pd::{CLUSTER_ID, Pd},
    server::{api, server},
};

/// Objects of a namespace, without what differs from run to run.
async fn objects(admin: &Client, namespace: &str) -> BTreeMap<String, Value> {
    let kinds = [
        ("", "Service"),
        ("", "ConfigMap"),
        ("policy", "PodDisruptionBudget"),
        ("", "PersistentVolumeClaim"),
        ("", "Pod"),
    ];
    let mut found = BTreeMap::new();
    for (group, kind) in kinds {
        for object in api(admin, group, kind, namespace).list(&ListParams::default()).await.unwrap()
        {
            let object = serde_json::to_value(object).unwrap();
            let kept = [
                "/metadata/labels",
                "/metadata/annotations",
                "/data",
                "/spec/containers/0/args",
                "/spec/volumes",
                "/spec/resources",
                "/spec/minAvailable",
                "/spec/selector",
                "/spec/subdomain",
            ];
            let parts: Value =
                kept.iter().map(|p| object.pointer(p).cloned().unwrap_or_default()).collect();
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            found.insert(format!("{kind} {name}"), parts);
        }
    }
    // The server itself puts this one into every namespace, sooner or later.
    found.remove("ConfigMap kube-root-ca.crt");
    found
}

/// Uid, namespace and token differ; everything else must not.
fn normalised(objects: &BTreeMap<String, Value>, uid: &str, namespace: &str) -> String {
    let text = serde_json::to_string_pretty(objects).unwrap();
    let text = text.replace(uid, "UID").replace(namespace, "NAMESPACE");
    // Hashes of what holds the uid or the namespace.
    text.lines().filter(|line| !line.contains("tikv.org/applied")).collect::<Vec<_>>().join("\n")
}

async fn born(namespace: &str, die_after: Option<i64>) -> (String, usize) {
    let server = server().await;
    let admin = server.admin();
    server.namespace(namespace).await;
    let pd = Pd::run(&admin, namespace, "c").await;
    let _kubelet = Kubelet::run(&admin, namespace, Arc::new(|_| true));
    let (config, user) = server.operator();
    create_cluster(&admin, namespace, "c").await;

    let mut lives = 0;
    let token = std::sync::OnceLock::new();
    let resource = loop {
        lives += 1;
        assert!(lives < 100, "still not born");
        let life = dying_after(config.clone(), die_after.unwrap_or(i64::MAX));
        let operator =
            Operator::start(life.client, namespace, &format!("life-{lives}"), &pd.address);
        let ready = wait_for(&admin, namespace, "c", PATIENCE, |resource| {
            if let Some(now) = resource.pointer("/status/bootstrap/token").and_then(Value::as_str) {
                let first = token.get_or_init(|| now.to_owned());
                assert_eq!(first, now, "a second decision to bootstrap");
            }
            life.died.load(std::sync::atomic::Ordering::Relaxed) || has(resource, "Ready", "True")
        });
        let resource = ready.await;
        drop(operator);
        if has(&resource, "Ready", "True") {
            break resource;
        }
    };
    assert_eq!(resource["status"]["clusterId"], CLUSTER_ID);
    let uid = resource["metadata"]["uid"].as_str().unwrap();
    let found = objects(&admin, namespace).await;
    assert_eq!(found.keys().filter(|name| name.starts_with("Pod ")).count(), 6);
    println!("{namespace}: {lives} lives; calls {:#?}", server.calls(&user));
    let writes = writes(&server.calls(&user));
    (normalised(&found, uid, namespace), writes)
}

/// Writes, Events and the Lease apart.
fn writes(calls: &BTreeMap<(String, String), usize>) -> usize {
    let counted = calls.iter().filter(|((verb, resource), _)| {
        !["get", "list", "watch"].contains(&verb.as_str())
            && !["events", "leases"].contains(&resource.as_str())
    });
    counted.map(|(_, count)| count).sum()
}

/// The promise is 36.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_six_is_born_with_at_most_36_writes() {
    let (_, writes) = born("birth", None).await;
    println!("{writes} writes");
    assert!(writes <= 36, "{writes} writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_every_single_write_it_is_born_the_same_and_once() {
    let (undisturbed, _) = born("undisturbed", None).await;
    let (killed, _) = born("killed", Some(1)).await;
    for (one, other) in undisturbed.lines().zip(killed.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(undisturbed.len(), killed.len());
}
