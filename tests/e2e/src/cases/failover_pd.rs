//! Does PD get over the loss of a member's disk by itself?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, is_ready, summary};
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::Watchman;

const LIMIT: Duration = Duration::from_mins(6);

/// A member's volume and pod are destroyed.
pub(crate) const CASE: Case = Case {
    name: "failover-pd",
    lane: Lane::Alone,
    long: true,
    proves: "a PD member that loses its disk is replaced under a new name while a client writes; nothing is lost",
    bound: 600,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("failover-pd")?;
    let mut wanted = manifest::cluster(&scene.servers, "mend", 3, 1);
    manifest::set(&mut wanted, "/spec/failover", json!({ "after": "1m" }));
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let id = cluster.recorded_id()?;
    let watchman = Watchman::start(&scene.kube, &cluster);
    let leader = until("PD's leader", LIMIT, || {
        let leader = watchman.now().leader;
        Ok(if leader.is_empty() { Err("none".to_owned()) } else { Ok(leader) })
    })?;
    let pods = cluster.pods(Some(Component::Pd))?;
    let victim = pods.keys().find(|pod| **pod != leader).context("no follower")?.clone();
    let writer = scene.writer(&cluster, &[])?;
    let begin = Instant::now();
    let replaced = replace(scene, &cluster, &watchman, &victim);
    let took = begin.elapsed();
    let report = writer.stop()?;
    println!("      {report}");
    replaced?;
    report.nothing_lost()?;
    scene.pd(&cluster).is_all_of(id.as_deref(), LIMIT)?;
    Ok(Verdict::Held(format!("{victim} replaced after {:.0} s; {report}", took.as_secs_f64())))
}

fn replace(scene: &Scene, cluster: &Cluster, watchman: &Watchman, victim: &str) -> Result<()> {
    let begin = Instant::now();
    let claim = format!("{}/pd-{victim}", cluster.core("persistentvolumeclaims"));
    scene.kube.delete(&claim, None)?;
    scene.kube.delete(&format!("{}/{victim}", cluster.core("pods")), None)?;
    until("the volume to be gone", LIMIT, || {
        Ok(scene.kube.find(&claim)?.map_or(Ok(()), |_| Err("still there".to_owned())))
    })?;
    println!("      volume gone               {:6.1} s", begin.elapsed().as_secs_f64());
    until("the member out of PD's list", LIMIT, || {
        let word = watchman.now();
        let out = !word.members.is_empty() && !word.members.contains(victim);
        Ok(if out { Ok(()) } else { Err(summary(&cluster.get()?)) })
    })?;
    println!("      member removed            {:6.1} s", begin.elapsed().as_secs_f64());
    until("3 healthy members, and Ready", LIMIT, || {
        let object = cluster.get()?;
        let word = watchman.now();
        let pods: Vec<String> = cluster.pods(Some(Component::Pd))?.into_keys().collect();
        let well = word.healthy.len() == 3 && word.members == word.healthy;
        let ours = pods.len() == 3 && pods.iter().all(|pod| word.members.contains(pod));
        let done = well && ours && is_ready(&object);
        Ok(if done { Ok(()) } else { Err(format!("{word:?}, {pods:?}; {}", summary(&object))) })
    })?;
    println!("      3 members healthy         {:6.1} s", begin.elapsed().as_secs_f64());
    // Not at once: two signals have to agree for the time that the manifest gives them.
    ensure!(begin.elapsed() >= Duration::from_mins(1), "replaced before failover.after");
    Ok(())
}
