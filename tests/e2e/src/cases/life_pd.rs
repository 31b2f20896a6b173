//! Does anybody notice that PD members come and go?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, is_ready, summary};
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::Watchman;

const LIMIT: Duration = Duration::from_mins(5);

/// 1 member, then 3, 5 and 3.
pub(crate) const CASE: Case = Case {
    name: "life-pd",
    lane: Lane::Alone,
    long: true,
    proves: "1 -> 3 -> 5 -> 3 PD members while a client writes: nobody notices, one cluster id",
    bound: 700,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("members")?;
    let wanted = manifest::cluster(&scene.servers, "members", 1, 1);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let before = cluster.incarnations()?;
    let id = cluster.recorded_id()?;
    let watchman = Watchman::start(&scene.kube, &cluster);
    let writer = scene.writer(&cluster, &[])?;
    let begin = Instant::now();
    let steps = [3, 5, 3].into_iter().try_for_each(|count| {
        cluster.merge(&json!({ "spec": { "pd": { "replicas": count } } }))?;
        wait(&cluster, &watchman, count)?;
        println!("      {count} members healthy        {:6.1} s", begin.elapsed().as_secs_f64());
        anyhow::Ok(())
    });
    let took = begin.elapsed();
    let report = writer.stop()?;
    println!("      {report}");
    steps?;
    report.unnoticed(scene.all)?;
    let after = cluster.incarnations()?;
    for pod in ["members-pd-0", "members-tikv-0"] {
        ensure!(before.get(pod) == after.get(pod), "{pod} was restarted");
    }
    scene.pd(&cluster).is_all_of(id.as_deref(), LIMIT)?;
    Ok(Verdict::Held(format!("{:.0} s; {report}", took.as_secs_f64())))
}

/// PD lists this many members, all healthy, and they are the pods that exist.
fn wait(cluster: &Cluster, watchman: &Watchman, count: usize) -> Result<()> {
    until(&format!("{count} PD members and Ready"), LIMIT, || {
        let object = cluster.get()?;
        let pods: BTreeSet<String> = cluster.pods(Some(Component::Pd))?.into_keys().collect();
        let word = watchman.now();
        let fits = word.members.len() == count && word.healthy == word.members;
        let done = fits && pods == word.members && is_ready(&object);
        let words = || format!("pods {pods:?}, PD lists {:?}; {}", word.members, summary(&object));
        Ok(if done { Ok(()) } else { Err(words()) })
    })
}
