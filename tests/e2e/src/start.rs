//! How long does each phase of a cluster's start take, and who takes it?

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;
use tikv_operator_api::labels;

use crate::audit::Call;
use crate::cluster::{Cluster, condition, is_ready, label, summary, text};
use crate::manifest;
use crate::scene::Scene;
use crate::timeline::Timeline;

/// Longest time for a start before it counts as failed at all; the promise is shorter.
const LIMIT: Duration = Duration::from_mins(4);
/// Pause between two looks at PD. Times of what PD says are this late at most, plus an answer.
const LOOK: Duration = Duration::from_millis(100);

/// Members of each component.
const MEMBERS: usize = 3;

/// A 3+3 cluster that was started under observation.
pub(crate) struct Start {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// When what was there.
    pub(crate) phases: Phases,
    /// A moment at which `Ready` was true although PD had regions without all their peers.
    pub(crate) early: Option<String>,
    /// The operator's calls in the namespace until Ready, where the audit log is at hand.
    pub(crate) calls: Option<Vec<Call>>,
}

/// Times from apply on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phases {
    /// Furniture, PD's volumes and pods exist.
    pub(crate) objects: Duration,
    /// All PD containers run.
    pub(crate) pd_running: Duration,
    /// PD has a leader.
    pub(crate) leader: Duration,
    /// TiKV's volumes and pods exist.
    pub(crate) tikv_objects: Duration,
    /// All TiKV containers run.
    pub(crate) tikv_running: Duration,
    /// All stores are Up.
    pub(crate) stores_up: Duration,
    /// Every region has all its peers.
    pub(crate) replicated: Duration,
    /// Kubelets have found all TiKV containers ready.
    pub(crate) tikv_ready: Duration,
    /// `Ready` is true.
    pub(crate) ready: Duration,
}

impl Phases {
    /// Time in which nothing but the operator could make progress: from apply to PD's pods, from
    /// PD's leader to TiKV's pods, from full replication and ready containers to `Ready`.
    pub(crate) fn operators_share(&self) -> Duration {
        let done = self.replicated.max(self.stores_up).max(self.tikv_ready);
        self.objects
            + self.tikv_objects.saturating_sub(self.leader)
            + self.ready.saturating_sub(done)
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("objects and PD pods created", self.objects),
            ("PD pods running", self.pd_running),
            ("PD leader", self.leader),
            ("TiKV pods created", self.tikv_objects),
            ("TiKV pods running", self.tikv_running),
            ("stores Up", self.stores_up),
            ("regions replicated", self.replicated),
            ("TiKV containers ready", self.tikv_ready),
            ("Ready", self.ready),
        ];
        for (what, at) in rows {
            writeln!(f, "      {what:<28} {:6.2} s", at.as_secs_f64())?;
        }
        write!(
            f,
            "      {:<28} {:6.2} s",
            "of it the operator",
            self.operators_share().as_secs_f64()
        )
    }
}

/// Starts a 3+3 cluster in a namespace of its own and watches it until it is Ready.
pub(crate) fn timed(scene: &Scene, case: &str) -> Result<Start> {
    let namespace = scene.namespace(case)?;
    let audit = scene.audit()?;
    let pods = scene.kube.watch(&format!("/api/v1/namespaces/{namespace}/pods"));
    let resources = scene.kube.watch(&crate::cluster::collection(&namespace));
    // The watches must be open before there is something to see.
    std::thread::sleep(Duration::from_millis(500));
    let members = u32::try_from(MEMBERS)?;
    let wanted = manifest::cluster(&scene.servers, case, members, members);
    let begin = Instant::now();
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    let watched = Watched { scene, cluster: &cluster, pods: &pods, resources: &resources, begin };
    let (phases, early) = watched.until_ready()?;
    let calls = match audit {
        // The API server may buffer its log for a moment.
        Some(audit) => {
            std::thread::sleep(Duration::from_secs(3));
            let mut calls = audit.calls(&scene.operator.user)?;
            calls.retain(|call| call.namespace == namespace);
            Some(calls)
        }
        None => None,
    };
    Ok(Start { cluster, phases, early, calls })
}

/// A start that is being watched.
struct Watched<'a> {
    scene: &'a Scene,
    cluster: &'a Cluster,
    pods: &'a Timeline,
    resources: &'a Timeline,
    begin: Instant,
}

/// What PD has said so far.
#[derive(Default)]
struct Heard {
    leader: Option<Duration>,
    stores_up: Option<Duration>,
    replicated: Option<Duration>,
}

impl Watched<'_> {
    fn until_ready(&self) -> Result<(Phases, Option<String>)> {
        let mut heard = Heard::default();
        loop {
            // Ready is looked at *before* PD is asked, and replication only grows during a start:
            // whoever is Ready here and not replicated afterwards was Ready too early.
            let ready = self.resources.when(1, is_ready);
            let silent = self.listen(&mut heard)?;
            if let Some(ready) = ready
                && !silent
            {
                let replicated = heard.stores_up.is_some() && heard.replicated.is_some();
                let early = (!replicated).then(|| {
                    format!(
                        "Ready after {:.2} s, while PD had stores up: {}, all peers there: {}",
                        ready.duration_since(self.begin).as_secs_f64(),
                        heard.stores_up.is_some(),
                        heard.replicated.is_some(),
                    )
                });
                return Ok((self.phases(&heard, ready), early));
            }
            if self.begin.elapsed() > LIMIT {
                let object = self.cluster.get()?;
                bail!("not Ready within {} s: {}", LIMIT.as_secs(), summary(&object));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Asks PD what is not known yet; true where it did not answer.
    fn listen(&self, heard: &mut Heard) -> Result<bool> {
        if self.pods.when(1, |pod| running(pod, "pd")).is_none() {
            return Ok(true);
        }
        let pd = self.scene.pd(self.cluster);
        let pod = format!("{}-pd-0", self.cluster.name);
        if heard.leader.is_none() && pd.leader(&pod)?.is_some() {
            heard.leader = Some(self.begin.elapsed());
        }
        if heard.leader.is_some()
            && heard.stores_up.is_none()
            && pd.up_stores(&pod)?.len() == MEMBERS
        {
            heard.stores_up = Some(self.begin.elapsed());
        }
        if heard.stores_up.is_none() {
            return Ok(heard.leader.is_none());
        }
        if heard.replicated.is_none() {
            let said = pd.fully_replicated(&pod)?;
            heard.replicated = (said == Some(true)).then(|| self.begin.elapsed());
            return Ok(said.is_none());
        }
        Ok(false)
    }

    fn phases(&self, heard: &Heard, ready: Instant) -> Phases {
        let when = |test: &dyn Fn(&Value) -> bool| {
            self.pods
                .when(MEMBERS, test)
                .map(|at| at.saturating_duration_since(self.begin))
                .unwrap_or_default()
        };
        Phases {
            objects: when(&|pod| component(pod) == Some("pd")),
            pd_running: when(&|pod| running(pod, "pd")),
            leader: heard.leader.unwrap_or_default(),
            tikv_objects: when(&|pod| component(pod) == Some("tikv")),
            tikv_running: when(&|pod| running(pod, "tikv")),
            stores_up: heard.stores_up.unwrap_or_default(),
            replicated: heard.replicated.unwrap_or_default(),
            tikv_ready: when(&|pod| component(pod) == Some("tikv") && containers_ready(pod)),
            ready: ready.saturating_duration_since(self.begin),
        }
    }
}

fn component(pod: &Value) -> Option<&str> {
    label(pod, labels::COMPONENT)
}

fn containers_ready(pod: &Value) -> bool {
    condition(pod, "ContainersReady").and_then(|c| text(c, "/status")) == Some("True")
}

fn running(pod: &Value, which: &str) -> bool {
    component(pod) == Some(which) && text(pod, "/status/phase") == Some("Running")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_share_is_what_nobody_else_could_shorten() {
        let s = Duration::from_secs;
        let phases = Phases {
            objects: s(1),
            pd_running: s(5),
            leader: s(8),
            tikv_objects: s(9),
            tikv_running: s(12),
            stores_up: s(14),
            replicated: s(16),
            tikv_ready: s(17),
            ready: s(18),
        };
        assert_eq!(phases.operators_share(), s(1 + 1 + 1));
    }
}
