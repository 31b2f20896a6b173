//! Does a drained node during a change take a second store away?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tikv_operator_api::labels;

use crate::cluster::{Cluster, START, label, pod_ready, summary, text};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::nodes::{Cordon, evict, of_pod};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::timeline::Timeline;

const LIMIT: Duration = Duration::from_mins(8);

/// A node is drained in the middle of a roll.
pub(crate) const CASE: Case = Case {
    name: "drain-roll",
    lane: Lane::Alone,
    long: true,
    proves: "a node drained while a change rolls: one store at a time, nobody notices, both get done",
    bound: 900,
    control: Some(Control {
        sabotage: "the pods of the two other stores deleted without grace during the drain",
        says: "at the same time not ready",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("drain-roll")?;
    let wanted = manifest::cluster(&scene.servers, "both", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let pods = cluster.pods(None)?;
    let pd = of_pod(pods.get("both-pd-0").context("no PD pod")?)?;
    let stores = pods.iter().filter(|(name, _)| name.contains("-tikv-"));
    let mut stores = stores.filter_map(|(name, pod)| Some((name.clone(), of_pod(pod).ok()?)));
    let apart = stores.find(|(_, node)| *node != pd).context("all stores are on PD's node")?;
    let timeline = scene.kube.watch(&cluster.core("pods"));
    let writer = scene.writer(&cluster, std::slice::from_ref(&apart.1))?;
    let begin = Instant::now();
    let done = both(scene, &cluster, &apart);
    let took = begin.elapsed();
    let report = writer.stop()?;
    println!("      {report}");
    let refused = done?;
    one_at_a_time(&timeline)?;
    report.unnoticed(scene.all)?;
    Ok(Verdict::Held(format!(
        "both done after {:.0} s, {refused} evictions refused; {report}",
        took.as_secs_f64()
    )))
}

/// Changes what needs restarts, and drains a node at the same time; the evictions refused.
fn both(scene: &Scene, cluster: &Cluster, (pod, node): &(String, String)) -> Result<u32> {
    let before = cluster.incarnations()?;
    // TiKV takes this item at a start only.
    let config = json!({ "server": { "grpc-concurrency": 3 } });
    cluster.merge(&json!({ "spec": { "tikv": { "config": config } } }))?;
    let cordon = Cordon::of(&scene.kube, node)?;
    if scene.controlled {
        for other in before.keys().filter(|name| name.contains("-tikv-") && *name != pod) {
            scene.kube.delete(&format!("{}/{other}", cluster.core("pods")), Some(0))?;
        }
    }
    let mut refused = 0;
    until("the store's pod gone from its node", LIMIT, || {
        let gone = cluster.incarnations()?.get(pod) != before.get(pod);
        if gone {
            return Ok(Ok(()));
        }
        refused += u32::from(!evict(&scene.kube, cluster, pod)?);
        Ok(Err(format!("refused {refused} times")))
    })?;
    drop(cordon);
    until("all stores with the new configuration, and Ready", LIMIT, || {
        let (object, now) = (cluster.get()?, cluster.incarnations()?);
        let stores = before.iter().filter(|(name, _)| name.contains("-tikv-"));
        let old: Vec<_> = stores.filter(|(name, old)| now.get(*name) == Some(old)).collect();
        let done = old.is_empty() && crate::cluster::is_ready(&object);
        Ok(if done { Ok(()) } else { Err(format!("{}; as before: {old:?}", summary(&object))) })
    })?;
    Ok(refused)
}

/// Once all stores' pods were ready, at no moment were two of them not. The operator may call the
/// cluster Ready a moment before the kubelet says so of the last pod.
fn one_at_a_time(timeline: &Timeline) -> Result<()> {
    let (mut ready, mut begun) = (BTreeMap::new(), false);
    for event in timeline.seen() {
        let Some(name) = text(&event.object, "/metadata/name") else { continue };
        if label(&event.object, labels::COMPONENT) != Some("tikv") {
            continue;
        }
        ready.insert(name.to_owned(), event.kind != "DELETED" && pod_ready(&event.object));
        let down: Vec<_> = ready.iter().filter(|(_, ready)| !**ready).map(|(pod, _)| pod).collect();
        begun |= ready.len() == 3 && down.is_empty();
        ensure!(!begun || down.len() <= 1, "at the same time not ready: {down:?}");
    }
    ensure!(begun, "the stores' pods were never all ready: {ready:?}");
    Ok(())
}
