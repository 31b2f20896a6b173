//! Does TiKV get over a disk that takes no more writes?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, is_ready, summary, text};
use crate::kube::until;
use crate::manifest;
use crate::nodes::{Lab, Place};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::Watchman;

const LIMIT: Duration = Duration::from_mins(10);

/// The file system under one store turns read-only, as one does that found an error on its disk.
pub(crate) const CASE: Case = Case {
    name: "read-only",
    lane: Lane::Alone,
    long: true,
    proves: "a store whose disk takes no writes any more is replaced on another volume; nothing is lost",
    bound: 900,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let (Some(lab), Some(class)) = (&scene.lab, &scene.growing_class) else {
        return Ok(Verdict::NotRun("no lab, or no volumes that are file systems".to_owned()));
    };
    let namespace = scene.namespace("read-only")?;
    let mut wanted = manifest::impatient(&scene.servers, "stuck", 1, 3);
    manifest::set(&mut wanted, "/spec/tikv/storageClassName", json!(class));
    manifest::set(&mut wanted, "/spec/tikv/requests/storage", json!("512Mi"));
    // These volumes have an end of their own.
    manifest::set(&mut wanted, "/spec/tikv/limits", json!({}));
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let victim = Place::of(&cluster, "stuck-tikv-1")?;
    let path = volume_path(scene, &cluster, &format!("tikv-{}", victim.pod))?;
    let watchman = Watchman::start(&scene.kube, &cluster);
    let writer = scene.writer(&cluster, &[])?;
    let replaced = broken(&cluster, lab, &victim, &path)
        .and_then(|()| replaced(&cluster, &watchman, &victim.pod));
    let report = writer.stop();
    // What is unmounted later has to be as it was made.
    lab.read_only(&victim.node, &path, false)?;
    let report = report?;
    println!("      {report}");
    let words = replaced?;
    report.nothing_lost()?;
    Ok(Verdict::Held(format!("{words}; {report}")))
}

/// Where the volume of a claim is mounted on its node.
fn volume_path(scene: &Scene, cluster: &Cluster, claim: &str) -> Result<String> {
    let claims = cluster.claims()?;
    let claim = claims.get(claim).with_context(|| format!("no claim {claim}"))?;
    let volume = text(claim, "/spec/volumeName").context("the claim has no volume")?;
    let volume = scene.kube.get(&format!("/api/v1/persistentvolumes/{volume}"))?;
    Ok(text(&volume, "/spec/local/path").context("the volume is not local")?.to_owned())
}

/// Files that are open for writing keep a file system writable, so the server ends first: its next
/// start finds a disk that it cannot write.
fn broken(cluster: &Cluster, lab: &Lab, victim: &Place, path: &str) -> Result<()> {
    lab.kill(&victim.node, (cluster, &victim.pod))?;
    lab.read_only(&victim.node, path, true)
}

fn replaced(cluster: &Cluster, watchman: &Watchman, victim: &str) -> Result<String> {
    let begin = Instant::now();
    let dead = watchman.now().stores.get(victim).context("no such store")?.id;
    let crashes = || -> Result<u64> {
        let pods = cluster.pods(Some(Component::Tikv))?;
        let count =
            pods.get(victim).and_then(|p| p.pointer("/status/containerStatuses/0/restartCount"));
        Ok(count.and_then(serde_json::Value::as_u64).unwrap_or_default())
    };
    until("the store to end again and again", LIMIT, || {
        let count = crashes()?;
        Ok(if count >= 2 { Ok(()) } else { Err(format!("{count} restarts")) })
    })?;
    until("a replacement Up", LIMIT, || {
        let stores = watchman.now().stores;
        let new = stores.get("stuck-tikv-3").filter(|store| store.state == "Up");
        Ok(if new.is_some() { Ok(()) } else { Err(summary(&cluster.get()?)) })
    })?;
    let up = begin.elapsed();
    ensure!(up >= Duration::from_mins(1), "replaced before failover.after");
    until("3 stores Up with all regions, and Ready", LIMIT, || {
        let (object, stores) = (cluster.get()?, watchman.now().stores);
        let well = stores.values().filter(|s| s.state == "Up" && s.regions > 0).count();
        let gone = stores.values().all(|store| store.id != dead);
        let done = well == 3 && gone && is_ready(&object);
        Ok(if done { Ok(()) } else { Err(format!("{stores:?}; {}", summary(&object))) })
    })?;
    let pods = cluster.pods(Some(Component::Tikv))?;
    ensure!(pods.len() == 3, "more than one replacement: {:?}", pods.keys());
    Ok(format!(
        "replacement Up after {:.0} s, Ready with 3 stores after {:.0} s",
        up.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    ))
}
