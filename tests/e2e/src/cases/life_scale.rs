//! Does anybody notice that stores come and go?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, is_ready, summary};
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::{self, Watchman};

const OUT: Duration = Duration::from_mins(4);
const IN: Duration = Duration::from_mins(8);

/// 3 stores, then 5, then 3.
pub(crate) const CASE: Case = Case {
    name: "life-scale",
    lane: Lane::Alone,
    long: true,
    proves: "3 -> 5 -> 3 stores while a client writes: nobody notices, stores leave empty, by PD's word",
    bound: 700,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("scale")?;
    let wanted = manifest::cluster(&scene.servers, "scale", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let before = cluster.incarnations()?;
    let watchman = Watchman::start(&scene.kube, &cluster);
    let writer = scene.writer(&cluster, &[])?;
    let begin = Instant::now();
    let scaled = there_and_back(scene, &cluster, &watchman);
    let took = begin.elapsed();
    let report = writer.stop()?;
    println!("      {report}");
    let gone = scaled?;
    report.unnoticed(scene.all)?;
    // Those that were there before are the same processes.
    crate::cluster::unchanged(&before, &cluster.incarnations()?)?;
    Ok(Verdict::Held(format!("{:.0} s, stores {gone:?} left; {report}", took.as_secs_f64())))
}

/// Scales out and in; the ids of the stores that left.
fn there_and_back(scene: &Scene, cluster: &Cluster, watchman: &Watchman) -> Result<Vec<u64>> {
    let begin = Instant::now();
    // As `kubectl scale` does.
    let scale = format!("{}/scale", cluster.path());
    scene.kube.merge(&scale, &json!({ "spec": { "replicas": 5 } }))?;
    wait(cluster, 5, OUT)?;
    println!("      5 stores Ready            {:6.1} s", begin.elapsed().as_secs_f64());
    let five = watchman::ask(&scene.kube, cluster)?.stores;
    ensure!(five.len() == 5 && five.values().all(|s| s.state == "Up"), "PD says {five:?}");
    // Data has to move, or leaving proves little.
    until("regions on the new stores", OUT, || {
        let now = watchman.now().stores;
        let empty = now.iter().filter(|(_, store)| store.regions == 0).count();
        Ok(if empty == 0 {
            Ok(())
        } else {
            Err(format!("{empty} stores without regions: {now:?}"))
        })
    })?;
    println!("      regions on all of them    {:6.1} s", begin.elapsed().as_secs_f64());
    scene.kube.merge(&scale, &json!({ "spec": { "replicas": 3 } }))?;
    wait(cluster, 3, IN)?;
    println!("      3 stores Ready            {:6.1} s", begin.elapsed().as_secs_f64());
    let left: Vec<u64> =
        ["scale-tikv-3", "scale-tikv-4"].iter().filter_map(|p| Some(five.get(*p)?.id)).collect();
    ensure!(left.len() == 2, "the stores that came are not the ones expected: {five:?}");
    for id in &left {
        let store = until("PD's word on a store that left", OUT, || {
            watchman::get(&scene.kube, cluster, &format!("store/{id}")).map(Ok)
        })?;
        let state = store.pointer("/store/state_name").and_then(|s| s.as_str()).map(str::to_owned);
        ensure!(state.as_deref() == Some("Tombstone"), "PD says of store {id}: {state:?}");
    }
    let word = watchman::ask(&scene.kube, cluster)?;
    ensure!(word.evicting.is_empty(), "stores still lead nothing: {:?}", word.evicting);
    volumes_are_kept(cluster)?;
    Ok(left)
}

fn wait(cluster: &Cluster, count: usize, limit: Duration) -> Result<()> {
    until(&format!("{count} stores and Ready"), limit, || {
        let object = cluster.get()?;
        let pods = cluster.pods(Some(Component::Tikv))?;
        let done = pods.len() == count && is_ready(&object);
        Ok(if done { Ok(()) } else { Err(format!("{} pods; {}", pods.len(), summary(&object))) })
    })
}

/// With `Retain` the volumes stay, and say that nobody may use them again.
fn volumes_are_kept(cluster: &Cluster) -> Result<()> {
    let claims = cluster.claims()?;
    for name in ["tikv-scale-tikv-3", "tikv-scale-tikv-4"] {
        let claim = claims.get(name).with_context(|| format!("volume {name} is gone"))?;
        let retired = claim.pointer("/metadata/annotations/tikv.org~1retired");
        ensure!(retired.is_some(), "volume {name} does not say that it is retired: {claim}");
    }
    Ok(())
}
