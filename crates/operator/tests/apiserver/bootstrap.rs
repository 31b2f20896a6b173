//! From nothing to Ready: undisturbed, killed after every single write, and edited meanwhile.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use kube::{
    Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    counting::dying_after,
    kubelet::Kubelet,
    operator::{Operator, create_cluster, has, wait_for},
    pd::Pd,
    server::{api, clusters, server},
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

/// Uid, namespace and cluster id differ; everything else must not.
fn normalised(objects: &BTreeMap<String, Value>, told: &[(&str, &str)]) -> String {
    let mut text = serde_json::to_string_pretty(objects).unwrap();
    for (value, word) in told {
        text = text.replace(value, word);
    }
    // Hashes of what holds the uid or the namespace.
    text.lines().filter(|line| !line.contains("tikv.org/applied")).collect::<Vec<_>>().join("\n")
}

/// What happens to a cluster while it is born.
#[derive(Clone, Copy)]
struct Course {
    /// So many operators are killed, each after its first write.
    kills: usize,
    /// The resource is edited when so many have died, and one PD pod is late.
    edit_after: Option<usize>,
}

const UNDISTURBED: Course = Course { kills: 0, edit_after: None };

/// How long the cluster id is known before the late PD pod starts.
const LATE: Duration = Duration::from_secs(3);

/// What came of it.
struct Birth {
    objects: String,
    pods: usize,
    writes: usize,
}

async fn born(namespace: &str, course: Course) -> Birth {
    let server = server().await;
    let admin = server.admin();
    server.namespace(namespace).await;
    let pd = Pd::run(&admin, namespace, "c").await;
    let late = Arc::new(AtomicBool::new(course.edit_after.is_some()));
    let held = Arc::clone(&late);
    let may_start = move |pod: &str| pod != "c-pd-2" || !held.load(Ordering::Relaxed);
    let _kubelet = Kubelet::run(&admin, namespace, Arc::new(may_start));
    let (config, user) = server.operator();
    create_cluster(&admin, namespace, "c").await;

    let mut deaths = 0;
    let (token, known) = (OnceLock::new(), OnceLock::new());
    let resource = loop {
        assert!(deaths < 200, "still not born");
        let life = dying_after(config.clone(), if deaths < course.kills { 1 } else { i64::MAX });
        let operator =
            Operator::start(life.client, namespace, &format!("life-{deaths}"), &pd.address);
        let edited = course.edit_after.is_none_or(|after| after <= deaths);
        let ready = wait_for(&admin, namespace, "c", PATIENCE, |resource| {
            if let Some(now) = resource.pointer("/status/bootstrap/token").and_then(Value::as_str) {
                let first = token.get_or_init(|| now.to_owned());
                assert_eq!(first, now, "a second decision to bootstrap");
            }
            if resource["status"]["clusterId"].is_string() {
                let since = known.get_or_init(Instant::now);
                late.fetch_and(since.elapsed() < LATE, Ordering::Relaxed);
            }
            life.died.load(Ordering::Relaxed) || (edited && is_born(resource))
        });
        let resource = ready.await;
        drop(operator);
        if edited && is_born(&resource) {
            break resource;
        }
        deaths += 1;
        if course.edit_after == Some(deaths) {
            edit(&admin, namespace).await;
        }
    };
    let text = |pointer: &str| resource.pointer(pointer).unwrap().as_str().unwrap();
    let (uid, id) = (text("/metadata/uid"), text("/status/clusterId"));
    assert_eq!(pd.founded(), [id], "the clusters that PD pods were told to found");
    println!("{namespace}: {deaths} deaths; calls {:#?}", server.calls(&user));
    let found = objects(&admin, namespace).await;
    let told = [(uid, "UID"), (namespace, "NAMESPACE"), (id, "ID")];
    Birth {
        objects: normalised(&found, &told),
        pods: found.keys().filter(|name| name.starts_with("Pod ")).count(),
        writes: writes(&server.calls(&user)),
    }
}

/// All that the present spec asks for is there.
fn is_born(resource: &Value) -> bool {
    let seen = resource["status"]["observedGeneration"] == resource["metadata"]["generation"];
    let edited = resource["metadata"]["generation"] != 1;
    seen && has(resource, "Ready", "True") && (!edited || has(resource, "Progressing", "False"))
}

/// What a user edits while PD forms the cluster: labels, and the number of members.
async fn edit(admin: &Client, namespace: &str) {
    let patch = json!({
        "metadata": { "labels": { "team": "storage" } },
        "spec": { "pd": { "replicas": 5, "service": { "labels": { "team": "storage" } } } },
    });
    let clusters = clusters(admin, namespace);
    let decided = serde_json::to_value(clusters.get("c").await.unwrap()).unwrap();
    assert!(decided["status"]["bootstrap"].is_object(), "before the decision it may change it");
    clusters.patch("c", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
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
    let Birth { pods, writes, .. } = born("birth", UNDISTURBED).await;
    println!("{writes} writes");
    assert_eq!(pods, 6);
    assert!(writes <= 36, "{writes} writes");
}

fn assert_same(one: &Birth, other: &Birth) {
    for (one, other) in one.objects.lines().zip(other.objects.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(one.objects.len(), other.objects.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_every_single_write_it_is_born_the_same_and_once() {
    let undisturbed = born("undisturbed", UNDISTURBED).await;
    let killed = born("killed", Course { kills: usize::MAX, edit_after: None }).await;
    assert_same(&undisturbed, &killed);
}

/// With a PD member that comes late, and the spec edited after the decision to bootstrap, between
/// furniture and volumes, and when the first PD pods are made. What the members found is derived
/// from what their pods mount: first members of another number would found another cluster.
#[tokio::test(flavor = "multi_thread")]
async fn s04_edited_midway_and_killed_after_every_single_write_it_is_born_once() {
    let course = |kills, edit_after| Course { kills, edit_after: Some(edit_after) };
    let (calm, decided, furnished, made) = tokio::join!(
        born("edited", course(1, 1)),
        born("edited-after-1", course(usize::MAX, 1)),
        born("edited-after-10", course(usize::MAX, 10)),
        born("edited-after-16", course(usize::MAX, 16)),
    );
    assert_eq!(calm.pods, 8);
    for killed in [decided, furnished, made] {
        assert_same(&calm, &killed);
    }
}
