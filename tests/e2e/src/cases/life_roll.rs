//! Does anybody notice that version and configuration of a whole cluster change?

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, START, text};
use crate::kube::until;
use crate::manifest;
use crate::promise;
use crate::restarts::Restarts;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::timeline::Timeline;
use crate::watchman::{self, Watchman};

/// Longest time for six restarts one after the other, and a minute for PD's word in between.
const ROLL: Duration = Duration::from_mins(8);
/// Promise for the operator's share of a restart, on a machine that does nothing else.
const SHARE: Duration = Duration::from_secs(3);
/// What no busy machine explains.
const FAULT: Duration = Duration::from_secs(20);

/// A new version and an item that needs a restart, in one edit.
pub(crate) const CASE: Case = Case {
    name: "life-roll",
    lane: Lane::Alone,
    long: false,
    proves: "version and configuration of 3 + 3 change while a client writes: nobody notices, each pod restarts once",
    bound: 700,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(next) = scene.servers.next_version.clone() else {
        return Ok(Verdict::NotRun("no --next-version to change to".to_owned()));
    };
    let namespace = scene.namespace("roll")?;
    let wanted = manifest::cluster(&scene.servers, "roll", 3, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let pods = scene.kube.watch(&cluster.core("pods"));
    let resources = scene.kube.watch(&crate::cluster::collection(&namespace));
    let watchman = Watchman::start(&scene.kube, &cluster);
    let writer = scene.writer(&cluster, &[])?;
    let begin = Instant::now();
    cluster.merge(&edit(&next))?;
    let rolled = until("all pods on the new version, and Ready", ROLL, || {
        let object = cluster.get()?;
        let old: Vec<_> =
            cluster.pods(None)?.into_iter().filter(|(_, p)| !runs(p, &next)).collect();
        let old: Vec<_> = old.into_iter().map(|(name, _)| name).collect();
        let done = old.is_empty() && crate::cluster::is_ready(&object);
        let summary = crate::cluster::summary(&object);
        Ok(if done { Ok(()) } else { Err(format!("{summary}; not new: {old:?}")) })
    });
    let took = begin.elapsed();
    let report = writer.stop()?;
    println!("      {report}");
    waits(begin, &resources);
    let restarts = Restarts::read(begin, &pods, &watchman.heard());
    println!("{restarts}");
    rolled?;
    judge(scene, &cluster, &restarts)?;
    report.unnoticed(scene.all)?;
    Ok(Verdict::Held(format!("{:.0} s; {report}", took.as_secs_f64())))
}

/// Prints what the operator said it waited for, and since when.
fn waits(begin: Instant, resources: &Timeline) {
    let mut last = String::new();
    for event in resources.seen().iter().filter(|event| event.at >= begin) {
        let said = crate::cluster::summary(&event.object);
        if said != last {
            let at = event.at.saturating_duration_since(begin).as_secs_f64();
            println!("      {at:6.1} s  {said}");
            last = said;
        }
    }
}

fn edit(next: &str) -> Value {
    // TiKV takes this item at a start only.
    let config = json!({ "server": { "grpc-concurrency": 3 } });
    let spec = json!({
        "version": next,
        "pd": { "version": next },
        "tikv": { "config": config },
    });
    json!({ "spec": spec })
}

/// The kubelet says that the pod's container runs the image of this tag.
fn runs(pod: &Value, tag: &str) -> bool {
    let image = text(pod, "/status/containerStatuses/0/image").unwrap_or_default();
    image.ends_with(&format!(":{tag}")) && crate::cluster::pod_ready(pod)
}

fn judge(scene: &Scene, cluster: &Cluster, restarts: &Restarts) -> Result<()> {
    let order = restarts.order();
    ensure!(order.len() == 6, "6 restarts expected: {order:?}");
    ensure!(
        order.iter().take(3).all(|pod| pod.contains("-pd-")),
        "TiKV was restarted before PD: {order:?}"
    );
    let (share, unseen) = (restarts.longest_share(), restarts.unseen());
    let took = share.as_secs_f64();
    let words = format!(
        "the operator took {took:.2} s for one pod, promised {SHARE:?}; never seen, so a part is not \
         known: {unseen:?}"
    );
    promise::judge(scene.all, (share <= SHARE && unseen.is_empty(), share <= FAULT), &words)?;
    for pod in order.iter().filter(|pod| pod.contains("-tikv-")) {
        let path = format!("{}/{pod}:20180/proxy/config", cluster.core("pods"));
        let config =
            until(&format!("the configuration of {pod}"), START, || scene.kube.get(&path).map(Ok))?;
        let value = config.pointer("/server/grpc-concurrency").cloned();
        ensure!(value == Some(json!(3)), "{pod} runs with grpc-concurrency {value:?}");
    }
    until("nothing left of the roll in PD", START, || {
        let word = watchman::ask(&scene.kube, cluster)?;
        let held = watchman::locks(&scene.kube, cluster)?;
        Ok(if word.evicting.is_empty() && held.is_none() {
            Ok(())
        } else {
            Err(format!("{:?} lead nothing, lock {held:?}", word.evicting))
        })
    })
}
