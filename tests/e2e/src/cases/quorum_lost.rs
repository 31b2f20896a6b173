//! What happens when most of PD goes away, and comes back?

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::labels;
use tikv_operator_api::names::Component;

use crate::client::hardened;
use crate::cluster::{Cluster, START, condition, is_ready, same_volumes, summary, text};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::nodes::Cordon;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(5);
/// Longer than `failover.after`, so that a replacement would be made if anything would.
const AWAY: Duration = Duration::from_secs(80);
const KEYS: u32 = 100;

/// Two of three PD members away for a while.
pub(crate) const CASE: Case = Case {
    name: "quorum-lost",
    lane: Lane::Alone,
    long: true,
    proves: "two of three PD members away for longer than failover.after: said loudly, nothing done; back, all is as before",
    bound: 900,
    control: Some(Control {
        sabotage: "a further PD pod of the cluster made meanwhile",
        says: "replacements without a quorum",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("quorum")?;
    let wanted = manifest::impatient(&scene.servers, "quorum", 3, 1);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    scene.client().write(&cluster, "k", KEYS)?;
    let (id, claims) = (cluster.recorded_id()?, cluster.claims()?);
    let members = scene.pd(&cluster).members("quorum-pd-0")?;
    let store = cluster.incarnations()?.remove("quorum-tikv-0").context("no store's pod")?;
    let said = {
        let _everywhere = everywhere(scene)?;
        for pod in ["quorum-pd-1", "quorum-pd-2"] {
            scene.kube.delete(&format!("{}/{pod}", cluster.core("pods")), Some(0))?;
        }
        away(scene, &cluster)?
    };
    let begin = Instant::now();
    cluster.wait_ready(LIMIT)?;
    let back = begin.elapsed();
    ensure!(cluster.recorded_id()? == id, "the cluster id changed");
    let now = scene.pd(&cluster).members("quorum-pd-0")?;
    ensure!(now == members, "PD had the members {members:?} and has {now:?}");
    same_volumes(&claims, &cluster.claims()?)?;
    let after = cluster.incarnations()?.remove("quorum-tikv-0");
    ensure!(after.as_ref() == Some(&store), "the store was restarted: {after:?}");
    scene.client().verify(&cluster, "k", KEYS)?;
    Ok(Verdict::Held(format!(
        "said \"{said}\"; Ready {:.0} s after the return",
        back.as_secs_f64()
    )))
}

/// No node takes a pod until this is dropped.
fn everywhere(scene: &Scene) -> Result<Vec<Cordon<'_>>> {
    let nodes = scene.kube.list("/api/v1/nodes")?;
    let names = nodes.iter().filter_map(|node| text(node, "/metadata/name"));
    names.map(|name| Cordon::of(&scene.kube, name)).collect()
}

/// While they are away it is said, and nothing is made in their place.
fn away(scene: &Scene, cluster: &Cluster) -> Result<String> {
    let said = until("the loss to be said", LIMIT, || {
        let object = cluster.get()?;
        let degraded = condition(&object, "Degraded").cloned().unwrap_or_default();
        let message = text(&degraded, "/message").unwrap_or_default().to_owned();
        let loud = text(&degraded, "/status") == Some("True") && message.contains("quorum");
        let said = loud && !is_ready(&object);
        Ok(if said { Ok(message) } else { Err(summary(&object)) })
    })?;
    if scene.controlled {
        let pod = further(scene, cluster);
        scene.kube.create(&cluster.core("pods"), &pod)?;
    }
    let begin = Instant::now();
    while begin.elapsed() < AWAY {
        let pods = cluster.pods(Some(Component::Pd))?;
        let known = ["quorum-pd-0", "quorum-pd-1", "quorum-pd-2"];
        let new: Vec<_> = pods.keys().filter(|pod| !known.contains(&pod.as_str())).collect();
        ensure!(new.is_empty(), "replacements without a quorum: {new:?}");
        ensure!(!is_ready(&cluster.get()?), "Ready without most of PD");
        sleep(Duration::from_secs(2));
    }
    Ok(said)
}

/// What a replacement would look like; no node takes it.
fn further(scene: &Scene, cluster: &Cluster) -> Value {
    let image = format!("{}:{}", scene.servers.pd.base, scene.servers.pd.tag);
    let mut pod = hardened(&image, "quorum-pd-3", &[], None);
    let labels = labels::component(&cluster.name, Component::Pd);
    manifest::set(&mut pod, "/metadata/labels", json!(labels));
    pod
}
