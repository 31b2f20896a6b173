//! Do volumes grow under running servers, and under one that a full disk has stopped?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, text};
use crate::kube::until;
use crate::manifest;
use crate::nodes::of_pod;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::{self, Watchman};

const LIMIT: Duration = Duration::from_mins(4);
/// First size, enough for an empty store.
const SMALL: &str = "512Mi";
/// Size in use, after the first growth, in bytes.
const MEDIUM: u64 = 640 << 20;
const LARGE: u64 = 768 << 20;
/// The store whose disk gets full.
const FULL: &str = "grow-tikv-1";

/// Growth with pods running, then with one down.
pub(crate) const CASE: Case = Case {
    name: "grow",
    lane: Lane::Alone,
    long: true,
    proves: "volumes grow without a restart, and also under a store that a full disk keeps from running; nothing is lost",
    bound: 600,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(class) = &scene.growing_class else {
        return Ok(Verdict::NotRun("no --growing-class with volumes that can grow".to_owned()));
    };
    let namespace = scene.namespace("grow")?;
    let mut wanted = manifest::cluster(&scene.servers, "grow", 1, 3);
    manifest::set(&mut wanted, "/spec/tikv/storageClassName", json!(class));
    manifest::set(&mut wanted, "/spec/tikv/requests/storage", json!(SMALL));
    // These volumes have an end of their own.
    manifest::set(&mut wanted, "/spec/tikv/limits", json!({}));
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let watchman = Watchman::start(&scene.kube, &cluster);
    let writer = scene.writer(&cluster, &[])?;
    let online = online(scene, &cluster, &watchman);
    let report = writer.stop()?;
    println!("      {report}");
    let online = online?;
    report.unnoticed(scene.all)?;
    scene.client().write(&cluster, "grow", 200)?;
    let full = full(scene, &cluster, &watchman)?;
    scene.client().verify(&cluster, "grow", 200)?;
    Ok(Verdict::Held(format!("{online}; {full}; {report}")))
}

fn ask(cluster: &Cluster, bytes: u64) -> Result<()> {
    let size = format!("{}Mi", bytes >> 20);
    cluster.merge(&json!({ "spec": { "tikv": { "requests": { "storage": size } } } }))
}

/// The claims have the size, by the word of who made them larger.
fn have(cluster: &Cluster, bytes: u64) -> Result<Result<(), String>> {
    let size = format!("{}Mi", bytes >> 20);
    let claims = cluster.claims()?;
    let tikv = claims.iter().filter(|(name, _)| name.starts_with("tikv-"));
    let smaller: Vec<_> = tikv
        .filter(|(_, claim)| text(claim, "/status/capacity/storage") != Some(&size))
        .map(|(name, claim)| format!("{name}: {:?}", claim.pointer("/status/capacity/storage")))
        .collect();
    Ok(if smaller.is_empty() { Ok(()) } else { Err(format!("{smaller:?}")) })
}

fn online(scene: &Scene, cluster: &Cluster, watchman: &Watchman) -> Result<String> {
    let before = cluster.incarnations()?;
    let small = watchman::ask(&scene.kube, cluster)?.stores;
    ensure!(small.len() == 3, "PD knows the stores {small:?}");
    let begin = Instant::now();
    ask(cluster, MEDIUM)?;
    until("all volumes larger", LIMIT, || have(cluster, MEDIUM))?;
    let took = begin.elapsed();
    // The servers see it themselves: they tell PD with their next heartbeat.
    until("PD to hear of the new sizes", LIMIT, || {
        let now = watchman.now().stores;
        let same =
            |pod: &String| now.get(pod).map(|s| &s.capacity) == small.get(pod).map(|s| &s.capacity);
        let left: Vec<_> = small.keys().filter(|pod| same(pod)).collect();
        Ok(if left.is_empty() { Ok(()) } else { Err(format!("{left:?} as before")) })
    })?;
    let capacity = watchman.now().stores.get(FULL).map(|store| store.capacity.clone());
    crate::cluster::unchanged(&before, &cluster.incarnations()?)?;
    Ok(format!(
        "3 volumes larger after {:.1} s without a restart, PD says {}",
        took.as_secs_f64(),
        capacity.unwrap_or_default()
    ))
}

/// How the store on the full disk is: a TiKV refuses writes and runs on, another server may end.
fn feels_it(cluster: &Cluster, watchman: &Watchman) -> Result<Result<String, String>> {
    let pods = cluster.pods(Some(Component::Tikv))?;
    let count = |pod: &Value| pod.pointer("/status/containerStatuses/0/restartCount")?.as_u64();
    let restarts = pods.get(FULL).and_then(count).unwrap_or_default();
    let store = watchman.now().stores.remove(FULL).context("no such store")?;
    let words = format!("{}, {} free, {restarts} restarts", store.state, store.available);
    let feels = restarts > 0 || store.available.starts_with("0B");
    Ok(if feels { Ok(words) } else { Err(words) })
}

/// Fills the disk, lets the pod start on it, and makes the volume larger.
fn full(scene: &Scene, cluster: &Cluster, watchman: &Watchman) -> Result<String> {
    let pods = cluster.pods(Some(Component::Tikv))?;
    let node = of_pod(pods.get(FULL).context("no such pod")?)?;
    let id = watchman.now().stores.get(FULL).context("no such store")?.id;
    let claim = format!("tikv-{FULL}");
    let occupied = scene.client().occupy(cluster, &claim, &node)?;
    println!("      {occupied}");
    let down = until("the store to feel it", LIMIT, || {
        // The other two take the writes; this one has no room for them.
        scene.client().write(cluster, "full", 50)?;
        feels_it(cluster, watchman)
    })?;
    println!("      store {id} on the full disk: {down}");
    let begin = Instant::now();
    ask(cluster, LARGE)?;
    until("all volumes larger", LIMIT, || have(cluster, LARGE))?;
    let grown = begin.elapsed();
    cluster.wait_ready(LIMIT)?;
    until(&format!("store {id} Up"), LIMIT, || {
        let store = watchman::ask(&scene.kube, cluster)?.stores.remove(FULL);
        let same = store.as_ref().is_none_or(|store| store.id == id);
        ensure!(same, "store {id} came back as {store:?}");
        let up = store.as_ref().is_some_and(|store| store.state == "Up");
        Ok(if up { Ok(()) } else { Err(format!("{store:?}")) })
    })?;
    Ok(format!(
        "under the full disk larger after {:.1} s, Ready after {:.1} s",
        grown.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    ))
}
