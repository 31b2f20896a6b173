//! Does a cluster bear it that no name is answered, at its start and later?

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, Incarnation, START, is_ready, same_volumes, unchanged};
use crate::control::Control;
use crate::kube::until;
use crate::manifest::{self, set};
use crate::nodes::Lab;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

/// Longest time until Ready once names are answered: kubelets wait ever longer before they start a
/// container again that ended for want of a name.
const LIMIT: Duration = Duration::from_mins(5);
/// Without names at the start: containers end and are started again meanwhile.
const UNBORN: Duration = Duration::from_secs(45);
/// Without names later: longer than `failover.after` of this cluster and PD's patience together.
const LIVING: Duration = Duration::from_secs(150);
const KEYS: u32 = 100;

/// Cluster DNS stands still, twice.
pub(crate) const CASE: Case = Case {
    name: "late-names",
    lane: Lane::Alone,
    long: true,
    proves: "cluster DNS frozen at the start and later for longer than failover.after: one cluster, full names advertised, no pod replaced",
    bound: 900,
    control: Some(Control {
        sabotage: "the manifest names a domain in which nobody has a name",
        says: "late Ready: not within",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose DNS could be frozen".to_owned()));
    };
    let namespace = scene.namespace("late-names")?;
    let mut wanted = manifest::impatient(&scene.servers, "late", 3, 3);
    let domain = if scene.controlled { "nowhere.invalid" } else { "cluster.local" };
    set(&mut wanted, "/spec/clusterDomain", json!(domain));
    let (cluster, born) = born_without_names(scene, lab, &namespace, &wanted)?;
    advertised(scene, &cluster, domain)?;
    scene.client().write(&cluster, "k", KEYS)?;
    let (before, claims) = (cluster.incarnations()?, cluster.claims()?);
    let frozen = lab.freeze("dns")?;
    sleep(LIVING);
    let reached = scene.client().is_reached(&cluster)?;
    ensure!(!reached, "a client found the cluster by its name: names were answered");
    unchanged(&before, &cluster.incarnations()?).context("while no name was answered")?;
    drop(frozen);
    cluster.wait_ready(LIMIT)?;
    unchanged(&before, &cluster.incarnations()?)?;
    same_volumes(&claims, &cluster.claims()?)?;
    scene.client().verify(&cluster, "k", KEYS)?;
    Ok(Verdict::Held(format!(
        "Ready {:.0} s after names were answered; {} s without them later changed nothing",
        born.as_secs_f64(),
        LIVING.as_secs()
    )))
}

/// Makes the cluster while no name is answered; how long it took afterwards.
fn born_without_names(
    scene: &Scene,
    lab: &Lab,
    namespace: &str,
    wanted: &Value,
) -> Result<(Cluster, Duration)> {
    let frozen = lab.freeze("dns")?;
    let cluster = Cluster::create(&scene.kube, namespace, wanted)?;
    until("3 PD pods whose container was started", START, || {
        let pods = cluster.pods(Some(Component::Pd))?;
        let begun = pods.values().filter(|pod| was_started(pod)).count();
        Ok(if begun == 3 { Ok(()) } else { Err(format!("{begun} were")) })
    })?;
    let early = pd_pods(&cluster)?;
    sleep(UNBORN);
    ensure!(!is_ready(&cluster.get()?), "Ready while no name was answered");
    drop(frozen);
    let answered = Instant::now();
    cluster.wait_ready(scene.patience(LIMIT))?;
    let took = answered.elapsed();
    for (name, was) in early {
        let now = pd_pods(&cluster)?.remove(&name);
        let same = now.is_some_and(|now| now.is_same_pod(&was));
        ensure!(same, "{name} was made anew instead of being waited for");
    }
    scene.pd(&cluster).is_all_of(cluster.recorded_id()?.as_deref(), LIMIT)?;
    Ok((cluster, took))
}

fn pd_pods(cluster: &Cluster) -> Result<BTreeMap<String, Incarnation>> {
    let mut pods = cluster.incarnations()?;
    pods.retain(|name, _| name.contains("-pd-"));
    Ok(pods)
}

/// Its first container runs, or ran and ended.
fn was_started(pod: &Value) -> bool {
    let status = pod.pointer("/status/containerStatuses/0");
    let began = |path: &str| status.and_then(|s| s.pointer(path)).is_some_and(|at| !at.is_null());
    began("/state/running") || began("/state/terminated") || began("/lastState/terminated")
}

/// Every store and PD member is known by its full name.
fn advertised(scene: &Scene, cluster: &Cluster, domain: &str) -> Result<()> {
    let addresses = scene.pd(cluster).addresses("late-pd-0")?;
    ensure!(addresses.len() == 6, "not three members and three stores: {addresses:?}");
    let full = |address: &&String| !address.contains(&format!(".svc.{domain}:"));
    let short: Vec<_> = addresses.iter().filter(full).collect();
    ensure!(short.is_empty(), "advertised without the domain {domain}: {short:?}");
    Ok(())
}
