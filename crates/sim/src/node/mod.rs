//! What happens to a pod after it was created?
//!
//! Scheduler, volume provisioner and kubelet of every node, as one module of the model: a pod gets
//! a node, its claims get disks, its container is started, watched and started again.

mod kubelet;
mod launch;
mod lost;
mod schedule;
mod show;

use std::collections::{BTreeMap, BTreeSet};

pub use kubelet::Processes;
pub use launch::{Launch, Program};
use serde_json::Value;

use crate::kube::Key;
use crate::pd::DiskId;

/// The taint by which someone vouches that a machine is off.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// One machine.
#[derive(Clone, Debug)]
pub struct Node {
    /// It has power.
    pub up: bool,
    /// Images that are there.
    pub images: BTreeSet<String>,
    /// Since when it has been silent.
    silent_since: Option<u64>,
}

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
    /// The image is fetched and configuration is mounted.
    Pulling { until: u64 },
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
#[derive(Clone, Debug)]
struct Run {
    pod: Key,
    node: String,
    stage: Stage,
    /// ConfigMap data as mounted, by ConfigMap name.
    mounted: BTreeMap<String, Value>,
    /// When kubelet will have noticed that a mounted ConfigMap changed.
    refresh_at: Option<u64>,
    /// When the node's silence will show in the pod's status.
    lost_at: Option<u64>,
    started: u64,
    restarts: u32,
    /// What the pod's status says, so that only changes are written.
    shown: Option<show::Shown>,
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
            let node = Node { up: true, images: BTreeSet::new(), silent_since: None };
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

    /// The provisioner takes the volume of a claim that is gone.
    pub fn reclaim(&mut self, claim_uid: &str) -> Option<DiskId> {
        self.disks.remove(claim_uid).map(|disk| disk.id)
    }
}
