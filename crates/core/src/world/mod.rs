//! What is true right now about one cluster?
//!
//! `observe` fills a [`World`] from watch caches or live answers; everything behind it is pure.
//! A [`World`] is facts only: what Kubernetes and PD said, and when it was looked at. Unknown is
//! represented ([`PdView::Unreachable`]), never left out.

mod ids;
mod object;
mod pd;
mod pod;
mod resource;
mod volume;

use std::collections::BTreeMap;

pub use ids::{ClusterId, Component, PdMemberId, Revision, Slot, StoreId, Uid};
use jiff::Timestamp;
pub use object::{Kind, Object, ObjectFacts, ObjectKey};
pub use pd::{LeaderFacts, PdFacts, PdMember, PdView, Replication, StoreFacts, StoreState};
pub use pod::{PodFacts, PodPhase};
pub use resource::{BootstrapRecord, ResourceFacts};
pub use volume::{VolumeFacts, VolumeMarks, VolumePhase};

/// Everything that the planner may know about one `TikvCluster`.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// The one reading of the clock of this pass (UTC).
    pub now: Timestamp,
    /// The resource itself, apart from its spec.
    pub resource: ResourceFacts,
    /// Pods that this resource owns (by owner uid), by slot.
    pub pods: BTreeMap<Slot, PodFacts>,
    /// Volume claims that carry this cluster's labels, by claim name. They have no owner reference.
    pub volumes: BTreeMap<String, VolumeFacts>,
    /// Services, ConfigMaps and PodDisruptionBudgets that this resource owns.
    pub objects: BTreeMap<ObjectKey, ObjectFacts>,
    /// Objects that bear a name which we need but are not ours: whose they are, in words.
    pub strangers: BTreeMap<ObjectKey, String>,
    /// What PD says.
    pub pd: PdView,
}

impl World {
    /// The store that PD knows under the address of this slot's pod, tombstones apart.
    ///
    /// `address` is the advertised address with its port.
    pub fn store_at(&self, address: &str) -> Option<&StoreFacts> {
        let PdView::Known(facts) = &self.pd else {
            return None;
        };
        facts.stores.values().find(|s| s.address == address && s.state != StoreState::Tombstone)
    }
}
