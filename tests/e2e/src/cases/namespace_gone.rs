//! Does a namespace end that is deleted in the middle of a change, and does the operator mind?

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cases::standby::restored;
use crate::cluster::{Cluster, START};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(4);

/// A namespace deleted while its cluster's pods are restarted.
pub(crate) const CASE: Case = Case {
    name: "namespace-gone",
    lane: Lane::Alone,
    long: true,
    proves: "a namespace deleted in the middle of a change ends; the operator goes on for the other clusters",
    bound: 900,
    control: Some(Control {
        sabotage: "the operator stopped before the namespace is deleted",
        says: "the budget made again: not within",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let other = &scene.basic()?.cluster;
    other.wait_ready(LIMIT)?;
    let (pods, restarts) = (other.incarnations()?, scene.operator.restarts()?);
    let namespace = scene.namespace("gone")?;
    let wanted = manifest::cluster(&scene.servers, "gone", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let before = cluster.incarnations()?;
    // TiKV takes this item at a start only.
    let config = json!({ "server": { "grpc-concurrency": 3 } });
    cluster.merge(&json!({ "spec": { "tikv": { "config": config } } }))?;
    until("the first pod restarted", LIMIT, || {
        let now = cluster.incarnations()?;
        let restarted = before.iter().any(|(name, old)| now.get(name) != Some(old));
        Ok(if restarted { Ok(()) } else { Err("not yet".to_owned()) })
    })?;
    let _stopped = scene.without_operator()?;
    let path = format!("/api/v1/namespaces/{namespace}");
    let begin = Instant::now();
    scene.kube.delete(&path, None)?;
    until("the namespace gone", LIMIT, || {
        let Some(left) = scene.kube.find(&path)? else { return Ok(Ok(())) };
        Ok(Err(left.pointer("/status/conditions").cloned().unwrap_or_default().to_string()))
    })?;
    let gone = begin.elapsed();
    // It still works for others, and was not started again by what it met.
    restored(scene, other, Instant::now())?;
    ensure!(scene.operator.restarts()? == restarts, "the operator was restarted");
    crate::cluster::unchanged(&pods, &other.incarnations()?)?;
    Ok(Verdict::Held(format!("gone after {:.1} s", gone.as_secs_f64())))
}
