//! What does a mistake in the middle of a change cost?

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, Incarnation, START, pod_ready, summary, text};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::promise;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman;

const LIMIT: Duration = Duration::from_mins(5);
/// An image of this tag is nowhere.
const NOWHERE: &str = "no-such-version";
/// Time in which an operator would go on to the next pod.
const HOLD: Duration = Duration::from_secs(20);
/// Promise: from the revert until the broken pod is well.
const HEALED: Duration = Duration::from_mins(1);
/// What both controls do to a pod that is well.
const CONTROL: Control = Control {
    sabotage: "a healthy store's pod deleted while the broken one stands",
    says: "restarted, replaced or gone",
};

/// A version without an image, taken back.
pub(crate) const CASE: Case = Case {
    name: "revert",
    lane: Lane::Alone,
    long: true,
    proves: "a version without an image stops at its first pod; taken back, the cluster heals in 60 s and no healthy pod is touched",
    bound: 900,
    control: Some(CONTROL),
    run: |scene| revert(scene, Mistake::Version),
};

/// A configuration with which TiKV does not start, in the middle of a roll, taken back.
pub(crate) const CONFIG_CASE: Case = Case {
    name: "revert-config",
    lane: Lane::Alone,
    long: true,
    proves: "a configuration that TiKV refuses, in the middle of a roll, stops at its first pod; taken back, that pod heals in 60 s, those that were done stay, and the roll ends",
    bound: 900,
    control: Some(CONTROL),
    run: |scene| revert(scene, Mistake::Configuration),
};

/// What is wrong with the edit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// No image of the version can be pulled.
    Version,
    /// TiKV refuses its configuration at start; a roll has begun before.
    Configuration,
}

/// The pod that was broken, and how long it took to heal.
type Healed = (String, Duration);

fn revert(scene: &Scene, mistake: Mistake) -> Result<Verdict> {
    let namespace = scene.namespace("revert")?;
    let wanted = manifest::cluster(&scene.servers, "revert", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let before = cluster.incarnations()?;
    let writer = scene.writer(&cluster, &[])?;
    let reverted = match mistake {
        Mistake::Version => version(scene, &cluster, &before),
        Mistake::Configuration => configuration(scene, &cluster, &before),
    };
    let report = writer.stop()?;
    println!("      {report}");
    let (broken, healed) = reverted?;
    report.unnoticed(scene.all)?;
    let evicting = watchman::ask(&scene.kube, &cluster)?.evicting;
    ensure!(evicting.is_empty(), "stores still lead nothing: {evicting:?}");
    let words = format!("{broken} alone was broken, well {:.1} s after", healed.as_secs_f64());
    let promised = format!("{words}, promised {HEALED:?}");
    promise::judge(scene.all, (healed <= HEALED, healed <= LIMIT), &promised)?;
    Ok(Verdict::Held(format!("{words}; {report}")))
}

fn version(
    scene: &Scene,
    cluster: &Cluster,
    before: &BTreeMap<String, Incarnation>,
) -> Result<Healed> {
    cluster.merge(&json!({ "spec": { "version": NOWHERE } }))?;
    let broken = stops(scene, cluster, before, lacks_image)?;
    let begin = Instant::now();
    cluster.merge(&json!({ "spec": { "version": scene.servers.tikv.tag } }))?;
    cluster.wait_ready(LIMIT)?;
    let healed = begin.elapsed();
    untouched(before, &cluster.incarnations()?, &broken)?;
    Ok((broken, healed))
}

fn configuration(
    scene: &Scene,
    cluster: &Cluster,
    before: &BTreeMap<String, Incarnation>,
) -> Result<Healed> {
    // TiKV takes this item at a start only.
    let config = json!({ "server": { "grpc-concurrency": 3 } });
    cluster.merge(&json!({ "spec": { "tikv": { "config": config } } }))?;
    let first = until("the first store restarted, and back", LIMIT, || {
        let (pods, now) = (cluster.pods(Some(Component::Tikv))?, cluster.incarnations()?);
        let new = |name: &String| now.get(name).is_some_and(|pod| before.get(name) != Some(pod));
        let first = pods.iter().find(|(name, pod)| new(name) && pod_ready(pod));
        Ok(first.map(|(name, _)| name.clone()).ok_or(summary(&cluster.get()?)))
    })?;
    // TiKV refuses a purge threshold below the file size of 32 MB.
    let threshold = |value: &str| json!({ "spec": { "tikv": { "config": { "raft-engine": { "purge-threshold": value } } } } });
    cluster.merge(&threshold("1MB"))?;
    let middle = until("a pod that does not start", LIMIT, || {
        let pods = cluster.pods(Some(Component::Tikv))?;
        let broken = pods.values().any(does_not_start);
        Ok(if broken { Ok(cluster.incarnations()?) } else { Err(summary(&cluster.get()?)) })
    })?;
    let broken = stops(scene, cluster, &middle, does_not_start)?;
    let begin = Instant::now();
    cluster.merge(&threshold("64MB"))?;
    until(&format!("{broken} well"), LIMIT, || {
        let pods = cluster.pods(Some(Component::Tikv))?;
        let well = pods.get(&broken).is_some_and(|pod| pod_ready(pod) && !does_not_start(pod));
        Ok(if well { Ok(()) } else { Err(summary(&cluster.get()?)) })
    })?;
    let healed = begin.elapsed();
    cluster.wait_ready(LIMIT)?;
    let after = cluster.incarnations()?;
    let done = middle.get(&first).with_context(|| format!("no {first}"))?;
    let stayed = first == broken || after.get(&first) == Some(done);
    ensure!(stayed, "{first} was as it should be, and was restarted: {done:?}, {after:?}");
    let old: Vec<_> = after
        .iter()
        .filter(|(name, pod)| name.contains("-tikv-") && before.get(*name) == Some(pod))
        .collect();
    ensure!(old.is_empty(), "Ready before the roll was over: {old:?}");
    Ok((broken, healed))
}

/// The one pod that breaks; all others stay as they are while it stands.
fn stops(
    scene: &Scene,
    cluster: &Cluster,
    before: &BTreeMap<String, Incarnation>,
    is_broken: fn(&Value) -> bool,
) -> Result<String> {
    let broken = until("a pod that is broken", LIMIT, || {
        let pods = cluster.pods(Some(Component::Tikv))?;
        let broken = pods.iter().find(|(_, pod)| is_broken(pod));
        Ok(broken.map(|(name, _)| name.clone()).ok_or(summary(&cluster.get()?)))
    })?;
    if scene.controlled {
        let healthy = before.keys().find(|name| name.contains("-tikv-") && **name != broken);
        let healthy = healthy.context("no other store")?;
        // At once: with its grace it would first give its leaders away, for longer than is looked at.
        scene.kube.delete(&format!("{}/{healthy}", cluster.core("pods")), Some(1))?;
    }
    sleep(HOLD);
    untouched(before, &cluster.incarnations()?, &broken)?;
    Ok(broken)
}

fn lacks_image(pod: &Value) -> bool {
    waits_for(pod).is_some_and(|why| why.starts_with("ErrImage") || why.starts_with("ImagePull"))
}

/// Its process has ended more than once.
fn does_not_start(pod: &Value) -> bool {
    waits_for(pod).is_some_and(|why| why == "CrashLoopBackOff")
}

fn waits_for(pod: &Value) -> Option<&str> {
    text(pod, "/status/containerStatuses/0/state/waiting/reason")
}

/// All pods but this one are as they were.
fn untouched(
    before: &BTreeMap<String, Incarnation>,
    now: &BTreeMap<String, Incarnation>,
    broken: &str,
) -> Result<()> {
    let others = |pods: &BTreeMap<String, Incarnation>| {
        let mut pods = pods.clone();
        pods.remove(broken);
        pods
    };
    crate::cluster::unchanged(&others(before), &others(now))
}
