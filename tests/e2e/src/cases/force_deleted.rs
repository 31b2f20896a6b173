//! A pod is deleted by force while its process lives: does anything write to its volume beside it?

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, pod_ready};
use crate::control::Control;
use crate::manifest;
use crate::nodes::{of_pod, store_apart};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::Watchman;

const LIMIT: Duration = Duration::from_mins(5);
/// Long enough for Kubernetes to call the node lost, and shorter than `failover.after`.
const FROZEN: Duration = Duration::from_secs(50);

/// What an impatient person does to a pod that does not go.
pub(crate) const CASE: Case = Case {
    name: "force-deleted",
    lane: Lane::Alone,
    long: true,
    proves: "a store's pod deleted by force on a node that stands still: no second process on its volume, no replacement, nothing lost",
    bound: 600,
    control: Some(Control {
        sabotage: "the node runs on",
        says: "is ready beside the frozen process",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose nodes could be frozen".to_owned()));
    };
    let namespace = scene.namespace("force")?;
    let wanted = manifest::cluster(&scene.servers, "forced", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let (pod, node) = store_apart(scene, &cluster)?;
    let watchman = Watchman::start(&scene.kube, &cluster);
    let store = watchman_store(&cluster, &watchman, &pod)?;
    let writer = scene.writer(&cluster, std::slice::from_ref(&node))?;
    let frozen = (!scene.controlled).then(|| lab.freeze(&node)).transpose()?;
    let forced = scene.kube.delete(&format!("{}/{pod}", cluster.core("pods")), Some(0));
    let alone = forced.and_then(|()| alone(&cluster, (&pod, &node)));
    drop(frozen);
    let thawed = Instant::now();
    let ready = alone.and_then(|()| cluster.wait_ready(LIMIT));
    let report = writer.stop()?;
    println!("      {report}");
    ready?;
    let back = thawed.elapsed();
    report.nothing_lost()?;
    let now = watchman_store(&cluster, &watchman, &pod)?;
    ensure!(now == store, "{pod} was store {store} and is {now}");
    ensure!(watchman.now().stores.len() == 3, "PD lists {:?}", watchman.now().stores);
    Ok(Verdict::Held(format!("Ready {:.0} s after the thaw; {report}", back.as_secs_f64())))
}

/// While the old process may live, no pod of that name is ready, and none is on another node.
fn alone(cluster: &Cluster, (name, node): (&str, &str)) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < FROZEN {
        let pods = cluster.pods(Some(Component::Tikv))?;
        ensure!(pods.len() <= 3, "a replacement was made: {:?}", pods.keys());
        if let Some(pod) = pods.get(name) {
            ensure!(!pod_ready(pod), "{name} is ready beside the frozen process");
            let placed = of_pod(pod).ok();
            ensure!(placed.is_none_or(|on| on == node), "{name} is made on another node");
        }
        sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn watchman_store(cluster: &Cluster, watchman: &Watchman, pod: &str) -> Result<u64> {
    let word = crate::kube::until("PD's word", LIMIT, || {
        let word = watchman.now();
        Ok(if word.stores.contains_key(pod) { Ok(word) } else { Err(format!("{word:?}")) })
    })?;
    let store = word.stores.get(pod);
    Ok(store.with_context(|| format!("{} has no store at {pod}", cluster.name))?.id)
}
