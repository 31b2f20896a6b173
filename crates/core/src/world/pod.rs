//! What does Kubernetes say about one pod?

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Revision, Uid};

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Not all containers have started: not scheduled, pulling, or initialising.
    Pending,
    /// At least one container runs.
    Running,
    /// All containers ended with success; our pods never should.
    Succeeded,
    /// Ended for good (evicted by kubelet, node shut down).
    Failed,
    /// The node does not report.
    Unknown,
}

/// One pod of the cluster.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, each as Kubernetes states it.
pub struct PodFacts {
    /// Its identity.
    pub uid: Uid,
    /// The revision annotation; `None` on a pod that we did not make (adopted).
    pub revision: Option<Revision>,
    /// Its phase.
    pub phase: PodPhase,
    /// All containers of the pod are ready (condition `ContainersReady`), whatever the gates say.
    pub containers_ready: bool,
    /// Condition `Ready`, gates included.
    pub ready: bool,
    /// The readiness gate `tikv.org/store-up` as it stands; `None` where it was never set.
    pub store_up_gate: Option<bool>,
    /// Some container of the pod has been ready before: `Ready` was true or a container was
    /// restarted after running. A pod that never ran holds nothing up.
    pub has_run: bool,
    /// The main container's image, as the pod asks for it.
    pub image: Option<String>,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// Creation time.
    pub created: Timestamp,
    /// The main container's present start, if it runs.
    pub started: Option<Timestamp>,
    /// Restarts of the main container.
    pub restarts: u32,
    /// Set once it is being deleted.
    pub deleting_since: Option<Timestamp>,
    /// Why it does not run, in Kubernetes' words: unschedulable, image pull, crash loop.
    pub trouble: Option<String>,
    /// The ConfigMap that it mounts as configuration; ConfigMaps in use are not pruned.
    pub config_map: Option<String>,
    /// It carries the label by which the client Service selects PD pods (`tikv.org/serving`).
    pub serving: bool,
    /// Our annotations on it (`tikv.org/…`).
    pub annotations: BTreeMap<String, String>,
}

impl PodFacts {
    /// It waits for a node, a volume or an image: nothing of it has failed.
    pub fn waits_to_start(&self) -> bool {
        let trouble = self.trouble.as_deref().unwrap_or_default();
        self.phase == PodPhase::Pending || trouble.contains("ImagePull")
    }
}
