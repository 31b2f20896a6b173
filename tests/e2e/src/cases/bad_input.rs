//! What does bad input do to a live cluster beside it? (Nothing.)
//!
//! A sample on a live cluster; the long table of cases runs against an API server alone.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, collection, unchanged};
use crate::kube::status_code;
use crate::manifest::{self, set};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(3);

/// Bad resources beside a good one.
pub(crate) const CASE: Case = Case {
    name: "bad-input",
    lane: Lane::Side,
    long: false,
    proves: "bad resources are refused or named by a condition, get no pod, and disturb no other cluster",
    bound: 600,
    control: None,
    run,
};

/// A field, a value that is wrong for it, and what the answer must name.
struct Bad {
    path: &'static str,
    value: Value,
    named: &'static str,
}

fn bad(path: &'static str, value: Value, named: &'static str) -> Bad {
    Bad { path, value, named }
}

fn samples() -> Vec<Bad> {
    vec![
        bad("/spec/pd/replicas", json!(0), "replicas"),
        bad("/spec/tikv/replicas", json!("three"), "replicas"),
        bad("/spec/tikv/requests/storage", json!("lots"), "storage"),
        bad("/spec/version", json!("v8 latest"), "version"),
        bad("/spec/tikv/colour", json!("blue"), "colour"),
        bad("/spec/tikv/storageVolumes", json!([{}]), "storageVolumes"),
        bad("/spec/tikv/config", json!("[server\naddr ="), "config"),
        bad("/spec/tikv/config", json!({ "storage": { "data-dir": "/x" } }), "data-dir"),
        bad("/spec/pd/config", json!({ "client-urls": "http://0.0.0.0:1" }), "client-urls"),
        bad("/spec/pd/affinity", json!({ "nodeAffinity": "near" }), "affinity"),
        bad("/metadata/name", json!("n".repeat(60)), "name"),
    ]
}

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("bad-input")?;
    let good = manifest::cluster(&scene.servers, "good", 1, 1);
    let good = Cluster::create(&scene.kube, &namespace, &good)?;
    good.wait_ready(LIMIT)?;
    let (before, restarts) = (good.incarnations()?, scene.operator.restarts()?);
    let (mut refused, mut accepted) = (0, Vec::new());
    for (number, bad) in samples().into_iter().enumerate() {
        match submit(scene, &namespace, number, &bad)? {
            Some(cluster) => accepted.push((cluster, bad)),
            None => refused += 1,
        }
    }
    for (cluster, bad) in &accepted {
        cluster.wait_condition("Degraded", "True", &[bad.named], LIMIT)?;
        let pods = cluster.pods(None)?;
        ensure!(pods.is_empty(), "{} = {} reached pods {:?}", bad.path, bad.value, pods.keys());
    }
    change_immutable(scene, &good)?;
    scene.client().write(&good, "k", 10)?;
    unchanged(&before, &good.incarnations()?)?;
    good.wait_ready(LIMIT)?;
    let now = scene.operator.restarts()?;
    ensure!(now == restarts, "the operator restarted {} times", now.saturating_sub(restarts));
    let named = accepted.len();
    Ok(Verdict::Held(format!("{refused} refused by the API server, {named} named by a condition")))
}

/// Creates the bad resource; `None` where the API server refused it for the right reason.
fn submit(scene: &Scene, namespace: &str, number: usize, bad: &Bad) -> Result<Option<Cluster>> {
    let name = format!("bad-{number}");
    let mut manifest = manifest::cluster(&scene.servers, &name, 1, 1);
    set(&mut manifest, bad.path, bad.value.clone());
    match scene.kube.create(&collection(namespace), &manifest) {
        Ok(_) => Cluster::named(&scene.kube, namespace, &name).map(Some),
        Err(e) if matches!(status_code(&e), Some(400 | 422)) => {
            let message = format!("{e:#}");
            ensure!(message.contains(bad.named), "refusal does not name {}: {message}", bad.named);
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// An immutable field of the live cluster.
fn change_immutable(scene: &Scene, good: &Cluster) -> Result<()> {
    let patch = json!({ "spec": { "clusterDomain": "other.example" } });
    match scene.kube.merge(&good.path(), &patch) {
        Err(e) if status_code(&e) == Some(422) => Ok(()),
        Err(e) => Err(e),
        Ok(_) => bail!("an immutable field of a live cluster could be changed"),
    }
}
