//! Does TiKV get over the death of a node by itself?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, is_ready, summary, text};
use crate::kube::until;
use crate::manifest;
use crate::nodes::store_apart;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::{self, Watchman};

const LIMIT: Duration = Duration::from_mins(10);

/// A node with a store, and its disk, are gone for good.
pub(crate) const CASE: Case = Case {
    name: "failover-store",
    lane: Lane::Alone,
    long: true,
    proves: "a store whose node is dead is replaced, then removed from PD; the cluster is Ready again by itself",
    bound: 900,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose nodes could be broken".to_owned()));
    };
    let namespace = scene.namespace("failover-store")?;
    let wanted = manifest::impatient(&scene.servers, "dead", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let (victim, node) = store_apart(scene, &cluster)?;
    let watchman = Watchman::start(&scene.kube, &cluster);
    let writer = scene.writer(&cluster, std::slice::from_ref(&node))?;
    let begin = Instant::now();
    let off = lab.off(&node)?;
    let replaced = replaced(&cluster, &watchman, &victim);
    let took = begin.elapsed();
    let report = writer.stop();
    let last = removed(scene, &cluster, &replaced);
    off.on(&scene.kube)?;
    let report = report?;
    println!("      {report}");
    replaced?;
    last?;
    report.nothing_lost()?;
    Ok(Verdict::Held(format!(
        "{victim} on {node} replaced after {:.0} s; {report}",
        took.as_secs_f64()
    )))
}

/// Waits until three other stores carry everything; the dead one's id.
fn replaced(cluster: &Cluster, watchman: &Watchman, victim: &str) -> Result<u64> {
    let begin = Instant::now();
    let word = watchman.now();
    let dead = word.stores.get(victim).with_context(|| format!("no store {victim}: {word:?}"))?.id;
    let new = until("a replacement Up", LIMIT, || {
        let word = watchman.now();
        let up = word.stores.iter().filter(|(_, store)| store.state == "Up");
        let new = up.map(|(pod, _)| pod.clone()).find(|pod| pod == "dead-tikv-3");
        Ok(new.ok_or(summary(&cluster.get()?)))
    })?;
    println!("      replacement {new} Up {:6.1} s", begin.elapsed().as_secs_f64());
    ensure!(begin.elapsed() >= Duration::from_mins(1), "replaced before failover.after");
    until("3 stores Up with all regions, and Ready", LIMIT, || {
        let (object, word) = (cluster.get()?, watchman.now());
        let up = word.stores.values().filter(|s| s.state == "Up" && s.regions > 0).count();
        let gone = word.stores.values().all(|store| store.id != dead);
        let done = up == 3 && gone && is_ready(&object);
        Ok(if done { Ok(()) } else { Err(format!("{:?}; {}", word.stores, summary(&object))) })
    })?;
    println!("      Ready with 3 stores       {:6.1} s", begin.elapsed().as_secs_f64());
    let pods = cluster.pods(Some(Component::Tikv))?;
    println!("      pods {:?}", pods.keys().collect::<Vec<_>>());
    Ok(dead)
}

fn removed(scene: &Scene, cluster: &Cluster, dead: &Result<u64>) -> Result<()> {
    dead.as_ref().map_or(Ok(()), |dead| tombstone(scene, cluster, *dead))
}

/// PD has removed the store, and remembers it.
pub(crate) fn tombstone(scene: &Scene, cluster: &Cluster, dead: u64) -> Result<()> {
    let store = until("PD's word on the dead store", LIMIT, || {
        watchman::get(&scene.kube, cluster, &format!("store/{dead}")).map(Ok)
    })?;
    let state = text(&store, "/store/state_name");
    ensure!(state == Some("Tombstone"), "PD says of the dead store {dead}: {state:?}");
    Ok(())
}
