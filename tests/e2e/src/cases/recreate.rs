//! Do volumes outlive their cluster, and only for the cluster that they belong to?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tikv_operator_api::names::{Component, data_volume};

use crate::cases::basic::{KEYS, PREFIX};
use crate::cluster::Cluster;
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(3);

/// The same cluster over its own volumes.
pub(crate) const SAME: Case = Case {
    name: "recreate",
    lane: Lane::Alone,
    long: false,
    proves: "a deleted cluster keeps its volumes; made again it has the same cluster id and every key",
    bound: 600,
    control: None,
    run: same,
};

/// A cluster over volumes of another one.
pub(crate) const FOREIGN: Case = Case {
    name: "foreign-volumes",
    lane: Lane::Side,
    long: false,
    proves: "over volumes of another cluster: refused with their names, volumes untouched",
    bound: 300,
    control: None,
    run: foreign,
};

fn same(scene: &Scene) -> Result<Verdict> {
    let cluster = &scene.basic()?.cluster;
    scene.client().write(cluster, PREFIX, KEYS)?;
    let id = cluster.recorded_id()?.context("no cluster id in status")?;
    let volumes = cluster.claims()?;
    ensure!(volumes.len() == 6, "6 volumes expected, found {:?}", volumes.keys());
    let manifest = manifest::cluster(&scene.servers, &cluster.name, 3, 3);
    cluster.delete(LIMIT)?;
    let kept = cluster.claims()?;
    for (name, claim) in &volumes {
        let uid = kept.get(name).and_then(|c| c.pointer("/metadata/uid"));
        ensure!(uid == claim.pointer("/metadata/uid"), "volume {name} did not outlive its cluster");
    }
    let again = Cluster::create(&scene.kube, &cluster.namespace, &manifest)?;
    again.wait_ready(LIMIT)?;
    let now = again.recorded_id()?;
    ensure!(now.as_ref() == Some(&id), "cluster id {id} became {now:?}");
    scene.pd(&again).is_all_of(Some(&id), LIMIT)?;
    scene.client().verify(&again, PREFIX, KEYS)?;
    Ok(Verdict::Held(format!("cluster id {id} and {KEYS} keys are back")))
}

/// One volume of a deleted cluster is marked as another cluster's; then the cluster is made again.
fn foreign(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("foreign")?;
    let manifest = manifest::cluster(&scene.servers, "twin", 1, 1);
    let first = Cluster::create(&scene.kube, &namespace, &manifest)?;
    first.wait_ready(LIMIT)?;
    let id = first.recorded_id()?.context("no cluster id in status")?;
    first.delete(LIMIT)?;
    let claim = data_volume("twin", Component::Tikv, 0);
    let path = format!("{}/{claim}", first.core("persistentvolumeclaims"));
    let marked = foreign_marks(&scene.kube.get(&path)?, &id)?;
    scene.kube.merge(&path, &marked)?;
    let second = Cluster::create(&scene.kube, &namespace, &manifest)?;
    let message = second.wait_condition("Degraded", "True", &[&claim], LIMIT)?;
    ensure!(!crate::cluster::is_ready(&second.get()?), "Ready over a foreign volume");
    let pods = second.pods(Some(Component::Tikv))?;
    ensure!(pods.is_empty(), "a store was started over a foreign volume: {:?}", pods.keys());
    until("foreign volume still there", Duration::from_secs(1), || {
        let found = scene.kube.find(&path)?;
        Ok(found
            .filter(|c| c.pointer("/metadata/deletionTimestamp").is_none())
            .ok_or("gone".to_owned()))
    })?;
    Ok(Verdict::Held(message))
}

/// The claim's own marks, wherever they carry the cluster id, with another one in its place.
fn foreign_marks(claim: &serde_json::Value, id: &str) -> Result<serde_json::Value> {
    let mut patch = json!({ "metadata": {} });
    let mut found = false;
    for kind in ["labels", "annotations"] {
        let marks = claim.pointer(&format!("/metadata/{kind}")).and_then(|m| m.as_object());
        for (key, value) in marks.into_iter().flatten() {
            if value.as_str() == Some(id) {
                manifest::set(&mut patch, &format!("/metadata/{kind}"), json!({}));
                if let Some(map) =
                    patch.pointer_mut(&format!("/metadata/{kind}")).and_then(|m| m.as_object_mut())
                {
                    map.insert(key.clone(), json!("7000000000000000001"));
                }
                found = true;
            }
        }
    }
    ensure!(found, "the volume does not carry its cluster id {id}: {claim}");
    Ok(patch)
}
