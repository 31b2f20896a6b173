//! What happens to a pod after it was created?
//!
//! Scheduler, volume provisioner and kubelet of every node, as one module of the model: a pod gets
//! a node, its claims get disks, its container is started, watched and started again.

mod alike;
mod kubelet;
mod launch;
mod lost;
mod schedule;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::kube::{Key, Kube, Object};
use crate::pd::DiskId;
pub use kubelet::Processes;
pub use launch::{Launch, Program};

/// The taint by which someone vouches that a machine is off.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// One machine.
#[derive(Clone, Debug)]
pub struct Node {
    /// It has power.
    pub up: bool,
    /// Nothing gets through between it and the API server; what runs on it runs on.
    pub muted: bool,
    /// Images that are there.
    pub images: BTreeSet<String>,
    /// Since when it has been silent.
    silent_since: Option<u64>,
}

impl Node {
    /// Its kubelet and the API server hear each other.
    pub fn is_heard(&self) -> bool {
        self.up && !self.muted
    }
}

/// A process that ended within this time may come back before anybody could miss it.
const MOMENT: u64 = 30 * crate::clock::SECOND;

/// A provisioned volume. It lives on one machine, as a local disk does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// By which PD and TiKV know what is on it.
    pub id: DiskId,
    /// The machine.
    pub node: String,
    /// Name of the claim that it was made for.
    pub claim: String,
}

/// How far a pod's container is.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Volumes are provisioned and attached.
    Attaching { until: u64 },
    /// The image is fetched; then configuration is mounted.
    Pulling { until: u64 },
    /// A ConfigMap that it mounts does not exist.
    Unmounted,
    /// It runs.
    Running,
    /// The image cannot be had.
    NoImage,
    /// It ended and will be started again.
    BackOff { until: u64, words: String },
    /// The pod is being deleted; the process has had its signal.
    Ending { until: u64 },
}

/// What kubelet knows of one pod.
#[derive(Clone)]
struct Run {
    pod: Key,
    node: String,
    stage: Stage,
    /// ConfigMaps as mounted, by name.
    mounted: BTreeMap<String, Arc<Object>>,
    /// When kubelet will have noticed that a mounted ConfigMap changed.
    refresh_at: Option<u64>,
    /// When the node's silence will show in the pod's status.
    lost_at: Option<u64>,
    started: u64,
    /// When a process that served was last found ended.
    ended: Option<u64>,
    restarts: u32,
    /// What the pod's status says, so that only changes are written.
    shown: Option<show::Shown>,
    /// How many changes of the store there had been when it was last looked at and left alone.
    looked_at: Option<usize>,
}

/// All machines with what runs and lies on them.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    /// Machines by name.
    pub machines: BTreeMap<String, Node>,
    /// Provisioned volumes by the uid of their claim.
    pub disks: BTreeMap<String, Disk>,
    /// Pods that may not start before a time, by pod name: a slow image, a full node.
    pub late: BTreeMap<String, u64>,
    /// A process was started on a disk that another one had: (disk, pod uid, other pod uid).
    pub shared_disks: Vec<(DiskId, String, String)>,
    /// Tags that no registry has.
    pub missing_tags: BTreeSet<String>,
    /// Machines that someone drains: their pods are evicted one by one.
    pub draining: BTreeSet<String>,
    runs: BTreeMap<String, Run>,
    next_disk: DiskId,
    /// How many changes the scheduler had seen when it last looked.
    seen: usize,
}

impl Nodes {
    /// Machines with these names, all up.
    pub fn new(names: &[&str]) -> Self {
        let node = |name: &&str| {
            let node = Node { up: true, muted: false, images: BTreeSet::new(), silent_since: None };
            ((*name).to_owned(), node)
        };
        Self { machines: names.iter().map(node).collect(), ..Self::default() }
    }

    /// The disk behind a claim, by the claim's name.
    pub fn disk_of_claim(&self, claim: &str) -> Option<&Disk> {
        self.disks.values().rfind(|disk| disk.claim == claim)
    }

    /// Turns a machine on or off.
    pub fn power(&mut self, node: &str, up: bool) {
        if let Some(machine) = self.machines.get_mut(node) {
            machine.up = up;
            // The scheduler looks again.
            self.seen = usize::MAX;
        }
    }

    /// Cuts a machine off from the API server, or lets it be heard again.
    pub fn mute(&mut self, node: &str, muted: bool) {
        if let Some(machine) = self.machines.get_mut(node) {
            machine.muted = muted;
            self.seen = usize::MAX;
        }
    }

    /// The process of a pod served until a moment ago, and kubelet is about to start it again.
    pub fn is_about_to_return(&self, uid: &str, now: u64) -> bool {
        self.runs.get(uid).is_some_and(|run| {
            let ended = run.ended.is_some_and(|at| now.saturating_sub(at) < MOMENT);
            ended && matches!(run.stage, Stage::BackOff { .. })
        })
    }

    /// The next moment in which something is due here, if nothing else changes; `now` where that
    /// is the next one.
    pub fn next_due(&self, kube: &Kube, processes: &Processes<'_>, now: u64) -> u64 {
        if self.seen != kube.version() || processes.have_ended() {
            return now;
        }
        let late = self.late.values().copied();
        let drains = if self.draining.is_empty() { u64::MAX } else { now };
        let machines = self.machines.values().filter(|machine| !machine.is_heard());
        let silences = machines.flat_map(|machine| {
            let since = machine.silent_since.unwrap_or(now);
            let noticed = since + schedule::NODE_GRACE;
            [noticed, noticed + crate::beliefs::UNREACHABLE_TOLERATED.value]
        });
        let timers = late.chain(silences).filter(|due| *due > now);
        let runs = self.runs.iter().map(|(uid, run)| {
            let heard = self.machines.get(&run.node).is_some_and(Node::is_heard);
            if heard { run.next_due(uid, processes, now) } else { run.lost_due(now) }
        });
        timers.chain(runs).min().unwrap_or(u64::MAX).min(drains)
    }

    /// The provisioner takes the volume of a claim that is gone.
    pub fn reclaim(&mut self, claim_uid: &str) -> Option<DiskId> {
        self.disks.remove(claim_uid).map(|disk| disk.id)
    }
}

/// Without what is remembered to save time alone: two runs in which the same happened read the same.
impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pod, node, stage, mounted, refresh_at, lost_at, started, restarts, shown, ..
        } = self;
        f.debug_struct("Run")
            .field("pod", pod)
            .field("node", node)
            .field("stage", stage)
            .field("mounted", mounted)
            .field("refresh_at", refresh_at)
            .field("lost_at", lost_at)
            .field("started", started)
            .field("restarts", restarts)
            .field("shown", shown)
            .finish()
    }
}

impl Run {
    /// On a machine that runs.
    fn next_due(&self, uid: &str, processes: &Processes<'_>, now: u64) -> u64 {
        let stage = match &self.stage {
            Stage::Attaching { until } | Stage::BackOff { until, .. } | Stage::Ending { until } => {
                *until
            }
            Stage::Pulling { until } => *until,
            Stage::Unmounted | Stage::NoImage => u64::MAX,
            Stage::Running => {
                let ready = self.shown.as_ref().is_some_and(|shown| shown.ready);
                let same = processes.runs(uid) && processes.is_open(uid) == ready;
                if same { u64::MAX } else { now }
            }
        };
        stage.min(self.refresh_at.unwrap_or(u64::MAX))
    }

    /// On a machine without power.
    fn lost_due(&self, now: u64) -> u64 {
        match self.lost_at {
            None => now,
            Some(due) if due > now => due,
            Some(_) => u64::MAX,
        }
    }
}
