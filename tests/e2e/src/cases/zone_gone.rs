//! Is a whole zone that is away left alone?

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, same_volumes, summary, text};
use crate::control::Control;
use crate::manifest;
use crate::nodes::{of_pod, store_apart};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::Watchman;

const LIMIT: Duration = Duration::from_mins(6);
/// Well above `failover.after`, PD's time until it calls a store Down, and Kubernetes' time until it
/// calls the node lost.
const AWAY: Duration = Duration::from_mins(3);
const ZONE: &str = "topology.kubernetes.io/zone";

/// Both stores of one zone lose their node.
pub(crate) const CASE: Case = Case {
    name: "zone-gone",
    lane: Lane::Alone,
    long: true,
    proves: "a zone with all its stores is away for longer than failover.after: named, held, nothing refilled; back, all is as before",
    bound: 900,
    control: Some(Control {
        sabotage: "PD knows of no zones, and its regions bear the loss of two stores",
        says: "stores were made or removed",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose nodes could be broken".to_owned()));
    };
    let namespace = scene.namespace("zone")?;
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted(scene))?;
    cluster.wait_ready(START)?;
    let (_, node) = store_apart(scene, &cluster)?;
    let there = stores_on(&cluster, &node)?;
    ensure!(there.len() == 2, "on {node} are {:?}, not two stores", there.keys());
    let (before, claims) = (cluster.incarnations()?, cluster.claims()?);
    let watchman = Watchman::start(&scene.kube, &cluster);
    let writer = scene.writer(&cluster, std::slice::from_ref(&node))?;
    let off = lab.off(&node)?;
    let said = held(&cluster, &watchman);
    off.on(&scene.kube)?;
    let on = Instant::now();
    let back = cluster.wait_ready(LIMIT);
    let report = writer.stop()?;
    println!("      {report}");
    let said = said?;
    back?;
    report.nothing_lost()?;
    let after = cluster.incarnations()?;
    let same = |(name, old): (&String, _)| after.get(name).is_some_and(|new| new.is_same_pod(old));
    ensure!(before.iter().all(same), "a pod was made anew: {before:?}, now {after:?}");
    same_volumes(&claims, &cluster.claims()?)?;
    Ok(Verdict::Held(format!(
        "said \"{said}\"; Ready {:.0} s after the return; {report}",
        on.elapsed().as_secs_f64()
    )))
}

/// Two stores in each of three zones, which PD knows of.
fn wanted(scene: &Scene) -> Value {
    let mut wanted = manifest::impatient(&scene.servers, "zoned", 1, 6);
    manifest::set(&mut wanted, "/spec/tikv/storeLabels", json!([ZONE]));
    let zones = json!({ "location-labels": [ZONE], "max-replicas": 3 });
    let replication = if scene.controlled { json!({ "max-replicas": 5 }) } else { zones };
    manifest::set(&mut wanted, "/spec/pd/config/replication", replication);
    wanted
}

fn stores_on(cluster: &Cluster, node: &str) -> Result<BTreeMap<String, Value>> {
    let mut pods = cluster.pods(Some(Component::Tikv))?;
    pods.retain(|_, pod| of_pod(pod).is_ok_and(|on| on == node));
    Ok(pods)
}

/// While the zone is away nothing is made or removed; the wait that names it.
fn held(cluster: &Cluster, watchman: &Watchman) -> Result<String> {
    let (begin, mut said) = (Instant::now(), None);
    while begin.elapsed() < AWAY {
        let pods = cluster.pods(Some(Component::Tikv))?;
        ensure!(pods.len() == 6, "stores were made or removed: {:?}", pods.keys());
        let word = watchman.now();
        let kept = word.stores.len() == 6 && word.stores.values().all(|s| s.state != "Offline");
        ensure!(kept, "PD says {:?}", word.stores);
        let object = cluster.get()?;
        let waits = object.pointer("/status/waits").and_then(Value::as_array);
        let zone = waits.into_iter().flatten().find(|w| text(w, "/rule") == Some("zone-outage"));
        said = zone.and_then(|w| text(w, "/detail")).map(str::to_owned).or(said);
        sleep(Duration::from_secs(2));
    }
    let object = cluster.get()?;
    said.with_context(|| format!("the zone is not named: {}", summary(&object)))
}
