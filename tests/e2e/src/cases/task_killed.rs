//! Is an event lost, or told twice, by an operator that is killed while it tells of it?

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cases::task_delay::{Stage, TASKS, Tasks};
use crate::cluster::{Cluster, unchanged};
use crate::control::Control;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::task;

const LIMIT: Duration = Duration::from_mins(2);
/// When the operator is killed after each event. Undisturbed it takes some 0.2 s until the cluster's
/// status tells of it, and about a second until all Jobs are made.
const KILLED: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(300),
    Duration::from_millis(400),
    Duration::from_millis(550),
    Duration::from_millis(700),
    Duration::from_millis(900),
];

/// The operator is killed on the way from an event to its Jobs.
pub(crate) const CASE: Case = Case {
    name: "task-killed",
    lane: Lane::Alone,
    long: true,
    proves: "the operator killed at eight moments between an event and the Jobs of ten tasks: each Job is made, none twice",
    bound: 900,
    control: Some(Control {
        sabotage: "somebody makes one of the Jobs once more, under another key",
        says: "81 Jobs were made of 10 tasks and 8 events",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let cluster = &scene.basic()?.cluster;
    cluster.wait_ready(LIMIT)?;
    let before = cluster.incarnations()?;
    let stage = Stage::of(scene, cluster, LIMIT)?;
    let tasks = Tasks::start(scene, cluster)?;
    let mut longest = Duration::ZERO;
    for (number, after) in (1..).zip(KILLED) {
        let kill = || {
            sleep(after);
            scene.kill_operator()
        };
        let (jobs, _) = stage.event(number, kill)?;
        longest = jobs.into_iter().chain([longest]).max().unwrap_or_default();
        scene.operator.wait_ready()?;
    }
    if scene.controlled {
        once_more(scene, cluster)?;
    }
    stage.none_twice(KILLED.len())?;
    drop(tasks);
    stage.cleared()?;
    unchanged(&before, &cluster.incarnations()?)?;
    Ok(Verdict::Held(format!(
        "{} kills, {} Jobs, none twice, the last {:.1} s after its event",
        KILLED.len(),
        KILLED.len() * TASKS,
        longest.as_secs_f64()
    )))
}

/// The sabotage: what a run that forgot its key would do.
fn once_more(scene: &Scene, cluster: &Cluster) -> Result<()> {
    let path = task::jobs(&cluster.namespace);
    let job = scene.kube.list(&path)?.into_iter().next().context("no Job")?;
    let take = |pointer: &str| job.pointer(pointer).cloned().unwrap_or_default();
    // What its controller added belongs to the Job that is there.
    let mut template = take("/spec/template");
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| key == task::LABEL);
    }
    let copy = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "told-twice",
            "labels": { task::LABEL: take("/metadata/labels/tikv.org~1task") },
            "ownerReferences": take("/metadata/ownerReferences"),
        },
        "spec": { "suspend": true, "template": template },
    });
    scene.kube.create(&path, &copy)?;
    // The watch tells of it.
    sleep(Duration::from_secs(2));
    Ok(())
}
