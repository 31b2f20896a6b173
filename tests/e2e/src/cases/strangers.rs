//! Are objects that merely bear a name of ours left alone?

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::{self, Component};

use crate::cluster::{Cluster, is_ready};
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(3);
/// The cluster whose names are taken.
const NAME: &str = "taken";

/// Objects of our names that are not ours.
pub(crate) const CASE: Case = Case {
    name: "strangers",
    lane: Lane::Side,
    long: false,
    proves: "a Service, ConfigMap, PVC, pod or PDB of our name that is not ours is named, never adopted or deleted",
    bound: 360,
    control: None,
    run,
};

/// Somebody's object, in the way.
struct Stranger {
    collection: String,
    name: String,
    body: Value,
}

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("strangers")?;
    let strangers = strangers(&namespace);
    let mut made = Vec::new();
    for stranger in &strangers {
        let mut body = stranger.body.clone();
        manifest::set(&mut body, "/metadata/name", json!(stranger.name));
        made.push(scene.kube.create(&stranger.collection, &body)?);
    }
    let wanted = manifest::cluster(&scene.servers, NAME, 1, 1);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_condition("Degraded", "True", &[], LIMIT)?;
    named_one_after_the_other(scene, &cluster, &strangers, &made)?;
    cluster.wait_ready(LIMIT)?;
    Ok(Verdict::Held(format!(
        "{} kinds named and left alone; Ready once they were gone",
        strangers.len()
    )))
}

/// Each stranger must be named while it is there, be as it was made, and is then taken away by its
/// owner, so that whatever is held back only by the next one shows itself too.
fn named_one_after_the_other(
    scene: &Scene,
    cluster: &Cluster,
    strangers: &[Stranger],
    made: &[Value],
) -> Result<()> {
    for (stranger, made) in strangers.iter().zip(made) {
        until(&format!("{} named in the status", stranger.name), LIMIT, || {
            let status = cluster.get()?.get("status").cloned().unwrap_or_default().to_string();
            Ok(if status.contains(&stranger.name) { Ok(()) } else { Err(status) })
        })?;
        ensure!(!is_ready(&cluster.get()?), "Ready although {} is in the way", stranger.name);
        let path = format!("{}/{}", stranger.collection, stranger.name);
        let now = scene.kube.get(&path)?;
        let parts = ["uid", "ownerReferences", "deletionTimestamp", "finalizers", "labels"];
        let parts = parts.map(|part| format!("/metadata/{part}"));
        let content = ["/spec", "/data", "/binaryData"].map(str::to_owned);
        for part in parts.iter().chain(&content) {
            ensure!(now.pointer(part) == made.pointer(part), "{part} of {path} changed: {now}");
        }
        // Kubernetes' own controllers annotate objects, too.
        let annotations = now.pointer("/metadata/annotations");
        let ours = annotations.is_some_and(|all| all.to_string().contains("tikv.org/"));
        ensure!(!ours, "{path} got marks of ours: {now}");
        scene.kube.delete(&path, Some(0))?;
    }
    Ok(())
}

fn strangers(namespace: &str) -> Vec<Stranger> {
    let core = |plural: &str| format!("/api/v1/namespaces/{namespace}/{plural}");
    let stranger =
        |collection: String, name: String, body: Value| Stranger { collection, name, body };
    vec![
        stranger(
            core("services"),
            names::pd_service(NAME),
            json!({ "spec": { "selector": { "app": "other" }, "ports": [{ "port": 80 }] } }),
        ),
        stranger(core("configmaps"), names::connection(NAME), json!({ "data": { "a": "b" } })),
        stranger(
            format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"),
            names::budget(NAME, Component::Pd),
            json!({ "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "other" } } } }),
        ),
        stranger(
            core("persistentvolumeclaims"),
            names::data_volume(NAME, Component::Tikv, 0),
            json!({ "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "1Gi" } },
            } }),
        ),
        stranger(core("pods"), names::pod(NAME, Component::Tikv, 0), unschedulable()),
    ]
}

/// A pod that never runs: it is only in the way.
fn unschedulable() -> Value {
    json!({ "spec": {
        "nodeSelector": { "tikv.org/no-such-node": "true" },
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "other",
            "image": "example.com/other:1",
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
            },
        }],
    } })
}
