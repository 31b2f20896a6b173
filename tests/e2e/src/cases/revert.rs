//! What does a wrong image in the middle of a change cost?

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, Incarnation, START, summary, text};
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
/// Promise: from the revert until Ready.
const HEALED: Duration = Duration::from_mins(1);

/// A version without an image, taken back.
pub(crate) const CASE: Case = Case {
    name: "revert",
    lane: Lane::Alone,
    long: true,
    proves: "a version without an image stops at its first pod; taken back, the cluster heals in 60 s and no healthy pod is touched",
    bound: 900,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("revert")?;
    let wanted = manifest::cluster(&scene.servers, "revert", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let before = cluster.incarnations()?;
    let writer = scene.writer(&cluster, &[])?;
    let reverted = there_and_back(scene, &cluster, &before);
    let report = writer.stop()?;
    println!("      {report}");
    let (broken, healed) = reverted?;
    report.unnoticed(scene.all)?;
    let evicting = watchman::ask(&scene.kube, &cluster)?.evicting;
    ensure!(evicting.is_empty(), "stores still lead nothing: {evicting:?}");
    let words = format!("{broken} alone was broken, Ready {:.1} s after", healed.as_secs_f64());
    let promised = format!("{words}, promised {HEALED:?}");
    promise::judge(scene.all, (healed <= HEALED, healed <= LIMIT), &promised)?;
    Ok(Verdict::Held(format!("{words}; {report}")))
}

/// The pod that was broken, and how long it took to heal.
fn there_and_back(
    scene: &Scene,
    cluster: &Cluster,
    before: &BTreeMap<String, Incarnation>,
) -> Result<(String, Duration)> {
    cluster.merge(&json!({ "spec": { "version": NOWHERE } }))?;
    let broken = until("a pod without an image", LIMIT, || {
        let pods = cluster.pods(Some(Component::Tikv))?;
        let broken = pods.iter().find(|(_, pod)| lacks_image(pod));
        Ok(broken.map(|(name, _)| name.clone()).ok_or(summary(&cluster.get()?)))
    })?;
    sleep(HOLD);
    untouched(before, &cluster.incarnations()?, &broken)?;
    let begin = Instant::now();
    cluster.merge(&json!({ "spec": { "version": scene.servers.tikv.tag } }))?;
    cluster.wait_ready(LIMIT)?;
    let healed = begin.elapsed();
    untouched(before, &cluster.incarnations()?, &broken)?;
    Ok((broken, healed))
}

fn lacks_image(pod: &Value) -> bool {
    let reason = text(pod, "/status/containerStatuses/0/state/waiting/reason");
    reason.is_some_and(|reason| reason.starts_with("ErrImage") || reason.starts_with("ImagePull"))
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
