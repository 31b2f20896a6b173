//! What is true right now about one cluster?
//!
//! `observe` fills a [`World`] from watch caches or live answers; everything behind it is pure.
//! A [`World`] is facts only: what Kubernetes and PD said, and when it was looked at. Unknown is
//! represented ([`PdView::Unreachable`]), never left out.

mod gate;
mod ids;
mod node;
mod object;
mod pd;
mod pod;
mod process;
mod refusal;
mod resource;
mod symptom;
mod trial;
mod volume;

use std::collections::BTreeMap;

pub use gate::{Gate, Gates};
pub use ids::{ClusterId, Component, PdMemberId, Revision, Slot, StoreId, Uid};
use jiff::{SignedDuration, Timestamp};
pub use node::{NodeFacts, NodeView};
pub use object::{Applied, Kind, Object, ObjectFacts, ObjectKey};
pub use pd::{
    LEADER_SETTLES, LeaderFacts, LostZones, Maintenance, PdFacts, PdMember, PdView, Progress,
    Replication, StoreFacts, StoreState,
};
pub use pod::{PodFacts, PodPhase};
pub use process::StoreProcess;
pub use refusal::{ConfigItem, Refusal};
pub use resource::{BootstrapRecord, ResourceFacts};
pub use symptom::{Symptom, symptoms};
use tikv_operator_api::names;
pub use trial::Trial;
pub use volume::{GrowthRefusal, Leaving, VolumeFacts, VolumeMarks, VolumePhase};

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
    /// The nodes that our pods are bound to, and those that our stores last ran on, by name. A node that is not in here is unknown (not
    /// asked, or not permitted), which is not [`NodeView::Gone`].
    pub nodes: BTreeMap<String, NodeView>,
    /// What stores say of themselves at their status port. Asked only where it decides something;
    /// a store that is not in here said nothing.
    pub processes: BTreeMap<StoreId, StoreProcess>,
    /// Settings that PD or a store refused to this operator process in the last five minutes and
    /// since that server last took another. They are not tried again meanwhile, and the cluster says
    /// why.
    pub config_refusals: BTreeMap<ConfigItem, Refusal>,
    /// How long this operator process has seen each symptom without a break. A restart of the
    /// operator starts all of them anew, which lengthens delays and never shortens them.
    pub seen_for: BTreeMap<Symptom, SignedDuration>,
    /// Volume claims whose growth the API server refused to this process the last time that it
    /// asked, by name.
    pub growth_refused: BTreeMap<String, GrowthRefusal>,
    /// What this process has applied of late, by object.
    pub applied: BTreeMap<ObjectKey, Applied>,
    /// The last pod of each component that was shown to the API server in a dry run, and what it
    /// said; a refusal is forgotten after five minutes.
    pub trials: BTreeMap<Component, Trial>,
    /// Tasks that ask for the start of an upgrade.
    pub gates: Gates,
}

impl World {
    /// Nothing is known but the resource itself, and PD has no pod.
    pub fn bare(now: Timestamp, resource: ResourceFacts) -> Self {
        Self {
            now,
            resource,
            pods: BTreeMap::new(),
            volumes: BTreeMap::new(),
            objects: BTreeMap::new(),
            strangers: BTreeMap::new(),
            pd: PdView::NotCreated,
            nodes: BTreeMap::new(),
            processes: BTreeMap::new(),
            config_refusals: BTreeMap::new(),
            seen_for: BTreeMap::new(),
            growth_refused: BTreeMap::new(),
            applied: BTreeMap::new(),
            trials: BTreeMap::new(),
            gates: Gates::default(),
        }
    }

    /// How long this process has seen the symptom; zero if it does not see it.
    pub fn seen_for(&self, symptom: &Symptom) -> SignedDuration {
        self.seen_for.get(symptom).copied().unwrap_or_default()
    }

    /// The node of the slot's pod; where it has none or an unbound one, the node that its store last
    /// ran on. `None` where it is not known.
    pub fn node_of(&self, slot: Slot) -> Option<&NodeView> {
        let bound = self.pods.get(&slot).and_then(|pod| pod.node.as_ref());
        let marked = || {
            let claim = self.volumes.get(&slot.claim_name(&self.resource.name));
            claim.and_then(|volume| volume.marks.node.as_ref())
        };
        bound.or_else(marked).and_then(|name| self.nodes.get(name))
    }

    /// The first claim of the slot that its member has used and that is gone, or has lost its volume.
    /// One that is there and not ours (its labels were taken off) is not gone.
    pub fn lost_claim(&self, slot: Slot) -> Option<String> {
        let gone = |name: &String| {
            let claim = ObjectKey::new(Kind::PersistentVolumeClaim, name.clone());
            match self.volumes.get(name) {
                Some(volume) => volume.phase == VolumePhase::Lost,
                None => !self.strangers.contains_key(&claim),
            }
        };
        let main = slot.claim_name(&self.resource.name);
        if gone(&main) {
            return Some(main);
        }
        let extra = self.volumes.get(&main)?.marks.extra.iter().flatten();
        let claim = |volume: &String| {
            names::extra_volume(&self.resource.name, slot.component, volume, slot.ordinal)
        };
        extra.map(claim).find(gone)
    }

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
