//! How soon is an event a Job?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cases::tasks::job;
use crate::cluster::{Cluster, collection, label, unchanged};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::nodes::{Cordon, of_pod};
use crate::promise;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::task::{self, Task};
use crate::timeline::Timeline;
use crate::watchman;

/// Tasks that react to each event. No more than run at the same time, since none of them ends.
pub(crate) const TASKS: usize = 10;
/// Events. One run of each task is begun for each, and ten may go on.
const EVENTS: usize = 10;
/// Promise: 99 of 100 Jobs exist so soon after the edit that is the event.
const PROMISED: Duration = Duration::from_secs(1);
/// What only an operator that does not act explains, however busy the machine is.
const FAULT: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_mins(2);

/// A node under the cluster is cordoned again and again.
pub(crate) const CASE: Case = Case {
    name: "task-delay",
    lane: Lane::Alone,
    long: false,
    proves: "of the Jobs that ten tasks make of ten events each, 99 in 100 are there within 1 s of the edit; none twice",
    bound: 400,
    control: Some(Control {
        sabotage: "the operator stopped before the first event",
        says: "Jobs of event 1: not within",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let cluster = &scene.basic()?.cluster;
    cluster.wait_ready(LIMIT)?;
    let before = cluster.incarnations()?;
    let stage = Stage::of(scene, cluster, scene.patience(LIMIT))?;
    let tasks = Tasks::start(scene, cluster)?;
    let _stopped = scene.without_operator()?;
    let (mut made, mut said) = (Vec::new(), Vec::new());
    for number in 1..=EVENTS {
        let (jobs, status) = stage.event(number, || Ok(()))?;
        made.extend(jobs);
        said.push(status);
    }
    stage.none_twice(EVENTS)?;
    drop(tasks);
    stage.cleared()?;
    unchanged(&before, &cluster.incarnations()?)?;
    made.sort_unstable();
    said.sort_unstable();
    let words = words(&made, &said);
    let slow = of_hundred(&made, 99);
    promise::judge(scene.all, (slow <= PROMISED, slow <= FAULT), &words)?;
    Ok(Verdict::Held(words))
}

fn words(made: &[Duration], said: &[Duration]) -> String {
    let seconds = |times, share| of_hundred(times, share).as_secs_f64();
    format!(
        "{} Jobs: p50 {:.2} s, p99 {:.2} s, longest {:.2} s after the edit, promised p99 {:.0} s; \
         of it until the cluster's status said so p50 {:.2} s, longest {:.2} s",
        made.len(),
        seconds(made, 50),
        seconds(made, 99),
        seconds(made, 100),
        PROMISED.as_secs_f64(),
        seconds(said, 50),
        seconds(said, 100)
    )
}

/// What so many in a hundred of these sorted times do not exceed.
fn of_hundred(sorted: &[Duration], share: usize) -> Duration {
    let rank = (sorted.len() * share).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// A node with members, and without PD's leader if that can be: it would move away first.
fn node(scene: &Scene, cluster: &Cluster) -> Result<String> {
    let leader = watchman::ask(&scene.kube, cluster)?.leader;
    let pods = cluster.pods(None)?;
    let led = of_pod(pods.get(&leader).with_context(|| format!("PD is led by {leader}"))?)?;
    let mut nodes = pods.values().filter_map(|pod| of_pod(pod).ok());
    Ok(nodes.find(|node| *node != led).unwrap_or(led))
}

/// Where it happens, and who looks on.
pub(crate) struct Stage<'a> {
    scene: &'a Scene,
    cluster: &'a Cluster,
    node: String,
    limit: Duration,
    jobs: Timeline,
    clusters: Timeline,
}

impl<'a> Stage<'a> {
    /// On a node of this cluster; so long is waited for the Jobs of an event.
    pub(crate) fn of(scene: &'a Scene, cluster: &'a Cluster, limit: Duration) -> Result<Self> {
        let node = node(scene, cluster)?;
        let jobs = scene.kube.watch(&task::jobs(&cluster.namespace));
        let clusters = scene.kube.watch(&collection(&cluster.namespace));
        Ok(Self { scene, cluster, node, limit, jobs, clusters })
    }

    /// One event: how long each task's Job took, and the cluster's status. It is over when no task
    /// remembers it: only then is the next one another event.
    pub(crate) fn event(
        &self,
        number: usize,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<(Vec<Duration>, Duration)> {
        let begin = Instant::now();
        let cordon = Cordon::of(&self.scene.kube, &self.node)?;
        meanwhile()?;
        let made = until(&format!("{TASKS} Jobs of event {number}"), self.limit, || {
            let made = self.made_since(begin);
            let all = made.len() == TASKS;
            Ok(if all { Ok(made) } else { Err(format!("of {:?}", made.keys())) })
        })?;
        drop(cordon);
        until("no task to remember a cordoned node", LIMIT, || {
            let tasks = self.scene.kube.list(&task::collection(&self.cluster.namespace))?;
            let remembers = |task: &&Value| {
                let marks = task.pointer("/status/clusters/0/marks").map(Value::to_string);
                marks.is_some_and(|marks| marks.contains("NodeCordoned"))
            };
            let left = tasks.iter().filter(remembers).count();
            Ok(if left == 0 { Ok(()) } else { Err(format!("{left} do")) })
        })?;
        let said = self.clusters.seen().into_iter().find(|seen| {
            let nodes = seen.object.pointer("/status/cordonedNodes");
            seen.at >= begin && nodes.is_some_and(|nodes| nodes.to_string().contains(&self.node))
        });
        let said =
            said.with_context(|| format!("no status said that {} is cordoned", self.node))?;
        let after = |at: Instant| at.saturating_duration_since(begin);
        Ok((made.into_values().map(after).collect(), after(said.at)))
    }

    /// When the first Job of each task was seen that was made after this.
    fn made_since(&self, begin: Instant) -> BTreeMap<String, Instant> {
        let mut made = BTreeMap::new();
        for seen in self.jobs.seen() {
            if seen.kind == "ADDED" && seen.at >= begin {
                let task = label(&seen.object, task::LABEL).unwrap_or("no task").to_owned();
                made.entry(task).or_insert(seen.at);
            }
        }
        made
    }

    /// There is one Job of each task and event.
    pub(crate) fn none_twice(&self, events: usize) -> Result<()> {
        self.jobs.goes_on()?;
        let jobs = self.jobs.seen().into_iter().filter(|seen| seen.kind == "ADDED").count();
        let wanted = TASKS * events;
        ensure!(jobs == wanted, "{jobs} Jobs were made of {TASKS} tasks and {events} events");
        Ok(())
    }

    /// All is as before: no Job is left, and all stores may lead.
    pub(crate) fn cleared(&self) -> Result<()> {
        until("no Job left, and all stores allowed to lead", LIMIT, || {
            let jobs = self.scene.kube.list(&task::jobs(&self.cluster.namespace))?.len();
            let evicting = watchman::ask(&self.scene.kube, self.cluster)?.evicting;
            let clear = jobs == 0 && evicting.is_empty();
            Ok(if clear { Ok(()) } else { Err(format!("{jobs} Jobs, evicting {evicting:?}")) })
        })?;
        self.cluster.wait_ready(LIMIT).map(drop)
    }
}

/// The tasks, until this is dropped.
pub(crate) struct Tasks<'a> {
    scene: &'a Scene,
    tasks: Vec<Task<'a>>,
}

impl<'a> Tasks<'a> {
    /// Makes them and waits until each has been looked at. Their Jobs are suspended: what pods would
    /// take of the machine is not what is measured.
    pub(crate) fn start(scene: &'a Scene, cluster: &Cluster) -> Result<Self> {
        let mut work = job(scene.client_image(), &["--help"]);
        manifest::set(&mut work, "/job/template/spec/suspend", json!(true));
        let spec = json!({
            "cluster": cluster.name, "events": ["NodeCordoned"], "concurrencyPolicy": "Allow",
            "run": work,
        });
        let mut made = Self { scene, tasks: Vec::new() };
        for number in 0..TASKS {
            let name = format!("delay-{number}");
            made.tasks.push(Task::create(scene, &cluster.namespace, &name, &spec)?);
        }
        for task in &made.tasks {
            task.looked()?;
        }
        Ok(made)
    }
}

impl Drop for Tasks<'_> {
    fn drop(&mut self) {
        for task in &self.tasks {
            let path = task.path();
            if let Err(e) = self.scene.kube.delete(&path, None) {
                eprintln!("{path} is left behind: {e:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_times_is_found_in_their_order() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        for (share, millis) in [(50, 100), (99, 198), (100, 200)] {
            assert_eq!(of_hundred(&times, share), Duration::from_millis(millis));
        }
        let few = [Duration::from_millis(1), Duration::from_millis(2)];
        assert_eq!(of_hundred(&few, 99), Duration::from_millis(2));
        assert_eq!(of_hundred(&[], 99), Duration::ZERO);
    }
}
