//! Does anybody notice that a node with a store is drained?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, text};
use crate::kube::until;
use crate::manifest;
use crate::nodes::{Cordon, evict, of_pod};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::{self, Watchman};

const LIMIT: Duration = Duration::from_mins(3);

/// A node under a store is cordoned and its pod evicted.
pub(crate) const CASE: Case = Case {
    name: "drain",
    lane: Lane::Alone,
    long: true,
    proves: "a drained node's store gives up its leaders first, the eviction is refused until then; nobody notices",
    bound: 500,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("drain")?;
    let wanted = manifest::cluster(&scene.servers, "drain", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let pods = cluster.pods(None)?;
    let pd = of_pod(pods.get("drain-pd-0").context("no PD pod")?)?;
    let watchman = Watchman::start(&scene.kube, &cluster);
    // A store that leads something, on a node without PD.
    let (pod, node) = until("a store with leaders apart from PD", LIMIT, || {
        let word = watchman.now();
        let leads = |pod: &str| word.stores.get(pod).is_some_and(|store| store.leaders > 0);
        let found = pods.iter().filter(|(name, _)| leads(name));
        let mut found = found.filter_map(|(name, pod)| Some((name.clone(), of_pod(pod).ok()?)));
        Ok(found.find(|(_, node)| *node != pd).ok_or_else(|| format!("{word:?}")))
    })?;
    let writer = scene.writer(&cluster, std::slice::from_ref(&node))?;
    let drained = drain(scene, (&cluster, &pod, &node), &watchman);
    let report = writer.stop()?;
    println!("      {report}");
    let words = drained?;
    report.unnoticed(scene.all)?;
    Ok(Verdict::Held(format!("{words}; {report}")))
}

fn drain(
    scene: &Scene,
    (cluster, pod, node): (&Cluster, &str, &str),
    watchman: &Watchman,
) -> Result<String> {
    let before = cluster.incarnations()?;
    let id = watchman.now().stores.get(pod).context("no such store")?.id;
    let budgets = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", cluster.namespace);
    let budgets = scene.kube.watch(&budgets);
    let begin = Instant::now();
    let cordon = Cordon::of(&scene.kube, node)?;
    // Closed for a second only where leaders move fast: the watch sees it all the same.
    let closed = until("the budget to close", LIMIT, || {
        let closed = budgets.when(1, |budget| {
            text(budget, "/metadata/name") == Some("drain-tikv")
                && budget.pointer("/spec/minAvailable") == Some(&json!(3))
        });
        Ok(closed.ok_or_else(|| "one may go".to_owned()))
    })?;
    let closed = closed.saturating_duration_since(begin);
    let mut refused = 0;
    until("the eviction to pass", LIMIT, || {
        let passed = evict(&scene.kube, cluster, pod)?;
        refused += u32::from(!passed);
        Ok(if passed { Ok(()) } else { Err(format!("refused {refused} times")) })
    })?;
    let passed = begin.elapsed();
    let word = watchman::ask(&scene.kube, cluster)?;
    let leaders = word.stores.get(pod).map(|store| store.leaders);
    ensure!(word.evicting.contains(&id), "the pod was let go while its store {id} could lead");
    ensure!(leaders == Some(0), "the pod was let go while its store led {leaders:?} regions");
    until("another pod in its place", LIMIT, || {
        let now = cluster.incarnations()?;
        let changed = now.get(pod).is_some_and(|now| before.get(pod) != Some(now));
        Ok(if changed { Ok(()) } else { Err("not yet".to_owned()) })
    })?;
    drop(cordon);
    cluster.wait_ready(LIMIT)?;
    until("the store to be allowed to lead again", LIMIT, || {
        let word = watchman.now();
        let back = !word.evicting.contains(&id);
        Ok(if back { Ok(()) } else { Err(format!("{word:?}")) })
    })?;
    let store = watchman.now().stores.get(pod).map(|store| store.id);
    ensure!(store == Some(id), "store {id} came back as {store:?}");
    let mut others = cluster.incarnations()?;
    others.retain(|name, _| name != pod);
    ensure!(others.iter().all(|(name, now)| before.get(name) == Some(now)), "others restarted");
    ensure!(cluster.pods(Some(Component::Tikv))?.len() == 3, "not 3 stores' pods");
    Ok(format!(
        "budget closed after {:.1} s, {refused} evictions refused, evicted without leaders after \
         {:.1} s, Ready after {:.1} s",
        closed.as_secs_f64(),
        passed.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    ))
}
