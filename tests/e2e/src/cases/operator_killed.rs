//! Does a change get done, and in order, by an operator that is killed all the time?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cluster::{Cluster, Incarnation, START, is_ready, summary};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::restarts::Restarts;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::{self, Watchman};

const LIMIT: Duration = Duration::from_mins(15);
/// Time that it has before it is killed, once it leads.
const LIVES: Duration = Duration::from_millis(1_500);

/// A roll of all stores, and no operator that lives longer than seconds.
pub(crate) const CASE: Case = Case {
    name: "operator-killed",
    lane: Lane::Alone,
    long: true,
    proves: "an operator killed every few seconds while it rolls a change: each store restarts once, nobody notices, nothing stays behind in PD",
    bound: 1_200,
    control: Some(Control {
        sabotage: "a store that was restarted is restarted once more",
        says: "3 restarts expected",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("killed")?;
    let wanted = manifest::cluster(&scene.servers, "killed", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let before = cluster.incarnations()?;
    let pods = scene.kube.watch(&cluster.core("pods"));
    let watchman = Watchman::start(&scene.kube, &cluster);
    let writer = scene.writer(&cluster, &[])?;
    let begin = Instant::now();
    // TiKV takes this item at a start only.
    let config = json!({ "server": { "grpc-concurrency": 3 } });
    cluster.merge(&json!({ "spec": { "tikv": { "config": config } } }))?;
    let killed = kill_until_done(scene, &cluster, &before);
    let took = begin.elapsed();
    let report = writer.stop()?;
    println!("      {report}");
    let restarts = Restarts::read(begin, &pods, &watchman.heard());
    println!("{restarts}");
    let killed = killed?;
    ensure!(killed > 3, "it was killed {killed} times only");
    let order = restarts.order();
    ensure!(order.len() == 3, "3 restarts expected: {order:?}");
    until("nothing left of the roll in PD", LIMIT, || {
        let word = watchman::ask(&scene.kube, &cluster)?;
        let held = watchman::locks(&scene.kube, &cluster)?;
        let clean = word.evicting.is_empty() && held.is_none();
        Ok(if clean { Ok(()) } else { Err(format!("{:?}, lock {held:?}", word.evicting)) })
    })?;
    report.unnoticed(scene.all)?;
    Ok(Verdict::Held(format!("{killed} kills, done after {:.0} s; {report}", took.as_secs_f64())))
}

/// Kills the operator again and again until every store has been restarted; how often.
fn kill_until_done(
    scene: &Scene,
    cluster: &Cluster,
    before: &BTreeMap<String, Incarnation>,
) -> Result<u32> {
    let (begin, mut killed, mut sabotaged) = (Instant::now(), 0, !scene.controlled);
    loop {
        scene.kill_operator()?;
        killed += 1;
        // The Lease of the one that was killed runs out first.
        scene.operator.wait_ready()?;
        scene.operator.leader()?;
        std::thread::sleep(LIVES);
        let now = cluster.incarnations()?;
        let old = before.iter().filter(|(name, old)| {
            name.contains("-tikv-") && now.get(*name).is_none_or(|new| new == *old)
        });
        let old: Vec<_> = old.map(|(name, _)| name).collect();
        if old.is_empty() {
            break;
        }
        let again = before.keys().find(|name| name.contains("-tikv-") && !old.contains(name));
        if let Some(again) = again.filter(|_| !sabotaged) {
            scene.kube.delete(&format!("{}/{again}", cluster.core("pods")), None)?;
            sabotaged = true;
        }
        let said = summary(&cluster.get()?);
        ensure!(begin.elapsed() < LIMIT, "not restarted after {killed} kills: {old:?}; {said}");
    }
    until("Ready after the last kill", LIMIT, || {
        let object = cluster.get()?;
        Ok(if is_ready(&object) { Ok(()) } else { Err(summary(&object)) })
    })?;
    Ok(killed)
}
