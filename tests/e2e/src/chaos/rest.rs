//! Is all as it should be between two rounds, and what may never be seen in between?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Stage;
use super::act::Purposes;
use crate::cluster::{by_name, is_ready, pod_ready, summary, text};
use crate::kube::until;
use crate::watchman::{self, Heard};

/// Longest time until the cluster is at rest again.
pub(super) const LIMIT: Duration = Duration::from_mins(12);
/// One process is watched for so long before its memory is judged.
const WATCHED: Duration = Duration::from_mins(20);
/// Memory that grows by less an hour is flat.
const FLAT: f64 = 0.01;
/// Members of PD.
const PD: usize = 3;

/// The operator's memory at a moment at rest.
pub(super) struct Sample {
    /// Since the beginning.
    pub(super) at: Duration,
    /// Which process.
    pub(super) pod: String,
    /// Resident memory in KiB.
    pub(super) kib: u32,
}

/// What must come back.
pub(super) struct Rest {
    id: Option<String>,
    members: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    samples: Vec<Sample>,
    scaled: bool,
}

/// It came back.
pub(super) struct Rested {
    /// After this time.
    pub(super) took: Duration,
    /// In words.
    pub(super) words: String,
}

impl Rest {
    /// As it is now.
    pub(super) fn of(stage: &Stage<'_>) -> Result<Self> {
        Ok(Self {
            id: stage.cluster.recorded_id()?,
            members: watchman::ask(&stage.scene.kube, &stage.cluster)?.members,
            namespaces: namespaces(stage)?,
            samples: Vec::new(),
            scaled: false,
        })
    }

    /// Waits until the cluster is at rest, then looks for what does not belong there.
    pub(super) fn wait(
        &mut self,
        stage: &Stage<'_>,
        purposes: &Purposes,
        begin: Instant,
    ) -> Result<Rested> {
        let since = Instant::now();
        self.scaled |= purposes.left > 0;
        let stores = usize::try_from(purposes.stores)?;
        until("the cluster at rest", LIMIT, || {
            let object = stage.cluster.get()?;
            let word = watchman::ask(&stage.scene.kube, &stage.cluster)?;
            let up = word.stores.values().filter(|store| store.state == "Up").count();
            let lock = watchman::locks(&stage.scene.kube, &stage.cluster)?;
            let calm = is_ready(&object)
                && (up, word.stores.len(), word.healthy.len()) == (stores, stores, PD)
                && word.evicting.is_empty()
                && lock.is_none();
            let left = left_behind(stage, purposes)?;
            let words = || format!("{}; {word:?}, lock {lock:?}, {left:?}", summary(&object));
            Ok(if calm && left.is_none() { Ok(()) } else { Err(words()) })
        })?;
        self.belongs(stage)?;
        self.sample(stage, begin)?;
        let kib = self.samples.last().map_or(0, |sample| sample.kib);
        let words = format!("{stores} stores, the operator has {kib} KiB");
        Ok(Rested { took: since.elapsed(), words })
    }

    /// No namespace is left behind; the cluster and PD's members are the same.
    fn belongs(&self, stage: &Stage<'_>) -> Result<()> {
        let cluster = &stage.cluster;
        ensure!(
            cluster.recorded_id()? == self.id,
            "another cluster id: {:?}",
            cluster.recorded_id()?
        );
        let members = watchman::ask(&stage.scene.kube, cluster)?.members;
        ensure!(
            members == self.members,
            "PD's members were {:?} and are {members:?}",
            self.members
        );
        let now = namespaces(stage)?;
        ensure!(now == self.namespaces, "namespaces came or went: {now:?}");
        Ok(())
    }

    fn sample(&mut self, stage: &Stage<'_>, begin: Instant) -> Result<()> {
        let leader = stage.scene.operator.leader()?;
        let field = |path| text(&leader, path).with_context(|| format!("a pod without {path}"));
        let (name, node) = (field("/metadata/name")?, field("/spec/nodeName")?);
        let stats = stage.scene.kube.get(&format!("/api/v1/nodes/{node}/proxy/stats/summary"))?;
        let pods = stats.pointer("/pods").and_then(|pods| pods.as_array());
        let own = pods.into_iter().flatten().find(|pod| text(pod, "/podRef/name") == Some(name));
        // The kubelet looks at a new container after some seconds.
        let bytes = own.and_then(|pod| pod.pointer("/containers/0/memory/rssBytes")?.as_u64());
        if let Some(bytes) = bytes {
            let restarts = leader.pointer("/status/containerStatuses/0/restartCount");
            let pod = format!("{name}/{}", restarts.and_then(Value::as_u64).unwrap_or(0));
            let kib = u32::try_from(bytes / 1024)?;
            self.samples.push(Sample { at: begin.elapsed(), pod, kib });
        }
        Ok(())
    }

    /// The operator's memory grows: by how much of a hundred parts an hour. That nobody watched one
    /// process for long enough in a long soak is found as well: it would look flat.
    pub(super) fn grows(&self) -> Option<String> {
        let last = self.samples.last()?;
        let own: Vec<&Sample> = self.samples.iter().filter(|s| s.pod == last.pod).collect();
        let Some(rate) = hourly(&own) else {
            let words = format!("no process of the operator was watched for {WATCHED:?}");
            println!("      the operator's memory is not judged: {words}");
            return (last.at > WATCHED * 2).then_some(words);
        };
        println!("      the operator's memory changes by {:.2} % an hour", rate * 100.0);
        (rate > FLAT)
            .then(|| format!("the operator's memory grows by {:.1} % an hour", rate * 100.0))
    }

    /// The operator's memory.
    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// What PD should never have said.
    pub(super) fn heard(&self, heard: &Heard) -> Vec<String> {
        let mut found = Vec::new();
        for (_, word) in heard {
            let leaving: Vec<_> =
                word.stores.iter().filter(|(_, s)| s.state == "Offline").collect();
            if leaving.len() > 1 || (!leaving.is_empty() && !self.scaled) {
                found.push(format!("stores were taken offline: {leaving:?}"));
            }
            if word.members != self.members {
                found.push(format!("PD's members were {:?}", word.members));
            }
            if word.stores.len() > 4 {
                found.push(format!("{} stores, so one was replaced", word.stores.len()));
            }
        }
        found.dedup();
        found
    }
}

/// The slope of a straight line through the samples, per hour and of their mean.
fn hourly(samples: &[&Sample]) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    if last.at.saturating_sub(first.at) < WATCHED {
        return None;
    }
    let points: Vec<(f64, f64)> =
        samples.iter().map(|s| (s.at.as_secs_f64() / 3_600.0, f64::from(s.kib))).collect();
    let count = f64::from(u32::try_from(points.len()).ok()?);
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (hours, kib) = (mean(|p| p.0), mean(|p| p.1));
    let above: f64 = points.iter().map(|(x, y)| (x - hours) * (y - kib)).sum();
    let below: f64 = points.iter().map(|(x, _)| (x - hours).powi(2)).sum();
    Some(above / below / kib)
}

/// What is not as it has to be of pods and volumes, if anything. The pod of a store that has left
/// goes some seconds after it, and what was just done to a pod is not yet in the cluster's conditions.
fn left_behind(stage: &Stage<'_>, purposes: &Purposes) -> Result<Option<String>> {
    let stores = usize::try_from(purposes.stores)?;
    let pods = stage.cluster.pods(None)?;
    if pods.len() != PD + stores {
        return Ok(Some(format!("pods: {:?}", pods.keys())));
    }
    let going = |pod: &Value| !pod_ready(pod) || text(pod, "/metadata/deletionTimestamp").is_some();
    if let Some((name, _)) = pods.iter().find(|(_, pod)| going(pod)) {
        return Ok(Some(format!("{name} is not ready or goes")));
    }
    // The volumes of those that left stay, as `Retain` says.
    let grown = usize::try_from(purposes.left)? + usize::from(purposes.stores == 4);
    let claims: Vec<_> = stage.cluster.claims()?.into_keys().collect();
    Ok((claims.len() != PD + 3 + grown).then(|| format!("volumes: {claims:?}")))
}

fn namespaces(stage: &Stage<'_>) -> Result<BTreeSet<String>> {
    let found = stage.scene.kube.list("/api/v1/namespaces")?;
    Ok(by_name(found).map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_judged_by_its_slope_and_only_after_a_while() {
        let samples = |minutes: u64, step: u32| -> Vec<Sample> {
            let one = |m: u64| Sample {
                at: Duration::from_secs(m * 60),
                pod: "p".to_owned(),
                kib: 10_000 + step * u32::try_from(m).unwrap(),
            };
            (0..=minutes).map(one).collect()
        };
        let rate = |samples: &[Sample]| hourly(&samples.iter().collect::<Vec<_>>());
        assert_eq!(rate(&samples(19, 5)), None);
        assert_eq!(rate(&samples(40, 0)), Some(0.0));
        assert!(rate(&samples(40, 5)).is_some_and(|rate| (0.02..0.04).contains(&rate)));
    }
}
