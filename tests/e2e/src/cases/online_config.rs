//! Do settings change while the servers run, and again after a server was killed?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, Incarnation, START};
use crate::kube::until;
use crate::manifest;
use crate::nodes::of_pod;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman;

const LIMIT: Duration = Duration::from_mins(4);

/// TiKV's item, as a flat key's pointer; 20 by default, and not written by anybody else.
const ITEM: &str = "/raftstore/raft-log-gc-threshold";

/// How long a client goes on after the change: a whole window of its promise, with the new settings.
const AFTERWARDS: Duration = Duration::from_secs(12);

/// Items that both servers take over while they run.
pub(crate) const CASE: Case = Case {
    name: "online-config",
    lane: Lane::Alone,
    long: false,
    proves: "settings change online while a client writes: nobody notices, no restart; they are live again in a store that was killed",
    bound: 700,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("online")?;
    let wanted = manifest::cluster(&scene.servers, "online", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let before = cluster.incarnations()?;
    let writer = scene.writer(&cluster, &[])?;
    let changed = change(scene, &cluster);
    let report = writer.stop()?;
    println!("      {report}");
    let took = changed?;
    crate::cluster::unchanged(&before, &cluster.incarnations()?)?;
    report.unnoticed(scene.all)?;
    let seconds = took.as_secs_f64();
    let words = format!("live in PD and 3 stores after {seconds:.1} s, 0 restarts; {report}");
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun(format!("{words}; no lab that could kill a container")));
    };
    let pod = "online-tikv-1";
    let node = of_pod(cluster.pods(None)?.get(pod).context("no such pod")?)?;
    let begin = Instant::now();
    lab.kill(&node, (&cluster, pod))?;
    until("the container to be started again", LIMIT, || {
        let now = cluster.incarnations()?;
        let again = now.get(pod) != before.get(pod);
        Ok(if again { Ok(()) } else { Err("it is the old one".to_owned()) })
    })?;
    until("7 in PD and 77 in all stores", LIMIT, || live(scene, &cluster))?;
    same_pods(&before, &cluster.incarnations()?)?;
    let again = begin.elapsed().as_secs_f64();
    Ok(Verdict::Held(format!("{words}; live again {again:.1} s after a kill -9")))
}

/// Sets the items while the client writes; how long it takes until they are live everywhere.
fn change(scene: &Scene, cluster: &Cluster) -> Result<Duration> {
    let begin = Instant::now();
    cluster.merge(&json!({ "spec": {
        "pd": { "config": { "schedule": { "leader-schedule-limit": 7 } } },
        "tikv": { "config": { "raftstore": { "raft-log-gc-threshold": 77 } } },
    } }))?;
    until("7 in PD and 77 in all stores", LIMIT, || live(scene, cluster))?;
    let took = begin.elapsed();
    cluster.wait_ready(LIMIT)?;
    std::thread::sleep(AFTERWARDS);
    Ok(took)
}

/// The values as the servers themselves give them.
fn live(scene: &Scene, cluster: &Cluster) -> Result<Result<(), String>> {
    // A server that starts, or a PD without a leader, does not answer.
    let schedule = watchman::get(&scene.kube, cluster, "config/schedule").unwrap_or_default();
    let mut wrong = Vec::new();
    let limit = schedule.get("leader-schedule-limit").cloned();
    if limit != Some(json!(7)) {
        wrong.push(format!("PD {limit:?}"));
    }
    for pod in cluster.pods(Some(Component::Tikv))?.keys() {
        let path = format!("{}/{pod}:20180/proxy/config", cluster.core("pods"));
        let config = scene.kube.get(&path).unwrap_or(Value::Null);
        let value = config.pointer(ITEM).cloned();
        if value != Some(json!(77)) {
            wrong.push(format!("{pod} {value:?}"));
        }
    }
    Ok(if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) })
}

/// No pod was made anew, whatever became of its containers.
fn same_pods(
    before: &BTreeMap<String, Incarnation>,
    after: &BTreeMap<String, Incarnation>,
) -> Result<()> {
    let same =
        before.iter().all(|(name, old)| after.get(name).is_some_and(|new| new.is_same_pod(old)));
    ensure!(same, "a pod was made anew: {before:?}, now {after:?}");
    Ok(())
}
