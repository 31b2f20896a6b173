//! What do planners and rules look at? The checked spec, the world, and what follows from both.

use std::collections::BTreeSet;

use super::Identity;
use super::identity::recorded_bootstrap;
use crate::build::{self, PdStart};
use crate::cluster::{self, Cluster, ReclaimPolicy};
use crate::world::{
    ClusterId, Component, NodeView, PdFacts, PdMember, PdView, PodFacts, Slot, StoreFacts,
    VolumeFacts, World,
};

/// Annotation on a pod by which a user has just this one restarted, with all care that a change of
/// the spec gets. Any value but `false` counts; the pod that comes back does not carry it.
pub const RESTART: &str = "tikv.org/restart";

/// One pass's view, derived once.
#[derive(Debug)]
pub struct Scene<'a> {
    /// What is wanted.
    pub cluster: &'a Cluster,
    /// What is.
    pub world: &'a World,
    /// Which cluster this is.
    pub identity: Identity,
}

/// One slot with all that is in it: the join of pod, volume and PD's record.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The slot.
    pub slot: Slot,
    /// Its pod.
    pub pod: Option<&'a PodFacts>,
    /// Its main volume claim.
    pub volume: Option<&'a VolumeFacts>,
    /// Its store in PD, tombstones apart (TiKV slots).
    pub store: Option<&'a StoreFacts>,
    /// Its member in PD (PD slots).
    pub listed: Option<&'a PdMember>,
}

impl<'a> Scene<'a> {
    /// Derives the scene.
    pub fn new(cluster: &'a Cluster, world: &'a World) -> Self {
        Self { cluster, world, identity: Identity::of(world) }
    }

    /// PD's facts, if it answers.
    pub fn pd(&self) -> Option<&'a PdFacts> {
        match &self.world.pd {
            PdView::Known(facts) => Some(facts),
            PdView::NotCreated | PdView::Unreachable { .. } => None,
        }
    }

    /// Name of the cluster.
    pub fn name(&self) -> &'a str {
        self.cluster.name.as_str()
    }

    /// What the two components share, of one of them.
    pub fn common(&self, component: Component) -> &'a cluster::Component {
        match component {
            Component::Pd => &self.cluster.pd.common,
            Component::Tikv => &self.cluster.tikv.common,
        }
    }

    /// Are the component's volumes deleted with the resource (`pvReclaimPolicy: Delete`)?
    pub fn deletes_volumes(&self, component: Component) -> bool {
        match self.common(component).reclaim {
            ReclaimPolicy::Delete => true,
            ReclaimPolicy::Retain => false,
        }
    }

    /// Wanted number of members of a component.
    pub fn replicas(&self, component: Component) -> u32 {
        match component {
            Component::Pd => self.cluster.pd.replicas,
            Component::Tikv => self.cluster.tikv.replicas,
        }
    }

    /// How a PD member that has no data starts now.
    ///
    /// The static initial cluster stays in force until PD has seen every first member with its
    /// data: etcd lists them all by name from the start, so a late one that said `join` would find
    /// its own name taken and abort ("missing data or join a duplicated pd"). As soon as all are
    /// marked, every start says `join`.
    pub fn pd_start(&self) -> PdStart {
        match recorded_bootstrap(self.world) {
            Some(record) if record.members.iter().any(|o| self.is_late(Slot::pd(*o))) => {
                PdStart::Bootstrap(record)
            }
            Some(_) | None => PdStart::Join,
        }
    }

    /// The slot's volume exists and PD never listed its member as healthy.
    fn is_late(&self, slot: Slot) -> bool {
        match (&self.identity, self.member(slot).volume) {
            (Identity::Known(_) | Identity::Conflict(_), None) => false,
            (Identity::Known(_) | Identity::Conflict(_), Some(volume)) => {
                volume.marks.member.is_none()
            }
            (Identity::Unborn | Identity::Starting(_), _) => true,
        }
    }

    /// What to say when the cluster is known and PD's data is gone: who names the cluster, and the
    /// way out.
    pub fn pd_lost(&self, id: ClusterId) -> String {
        let named: Vec<&str> = self
            .world
            .volumes
            .iter()
            .filter(|(_, volume)| volume.marks.cluster == Some(id))
            .map(|(name, _)| name.as_str())
            .collect();
        let whose = if named.is_empty() { "status".to_owned() } else { named.join(", ") };
        format!(
            "cluster {id} (named by {whose}) has no PD volume left; it is not bootstrapped again. \
             Bring a PD volume back, or recover PD by hand with this cluster id \
             (docs/runbooks/pd-lost.md)"
        )
    }

    /// Was the pod made from what the user asks for now?
    pub fn is_current(&self, component: Component, pod: &PodFacts) -> bool {
        pod.revision.as_ref().is_some_and(|r| build::is_current(self.cluster, component, r))
    }

    /// Is the pod to be made anew: from an earlier spec, or because somebody asked for it
    /// ([`RESTART`])?
    pub fn is_outdated(&self, component: Component, pod: &PodFacts) -> bool {
        let asked = pod.annotations.get(RESTART).is_some_and(|value| value != "false");
        asked || !self.is_current(component, pod)
    }

    /// The slot's pod is on a node that takes no new pods, usually because it is being drained.
    pub fn is_cordoned(&self, slot: Slot) -> bool {
        let node = self.member(slot).pod.and_then(|pod| pod.node.as_ref());
        node.and_then(|name| self.world.nodes.get(name)).is_some_and(NodeView::is_cordoned)
    }

    /// The join for one slot.
    pub fn member(&self, slot: Slot) -> Member<'a> {
        let pod_name = slot.pod_name(self.name());
        Member {
            slot,
            pod: self.world.pods.get(&slot),
            volume: self.world.volumes.get(&slot.claim_name(self.name())),
            store: match slot.component {
                Component::Pd => None,
                Component::Tikv => self.world.store_at(&build::store_address(self.cluster, slot)),
            },
            listed: match slot.component {
                Component::Pd => {
                    self.pd().and_then(|pd| pd.members.values().find(|m| m.name == pod_name))
                }
                Component::Tikv => None,
            },
        }
    }

    /// Slots that hold something already: a pod, a volume that may be used, or a record in PD.
    pub fn occupied(&self, component: Component) -> BTreeSet<Slot> {
        let pods = self.world.pods.keys().copied().filter(|s| s.component == component);
        let volumes = self
            .world
            .volumes
            .values()
            .filter(|v| v.main && v.slot.component == component && !v.marks.retired)
            .map(|v| v.slot);
        let mut slots: BTreeSet<Slot> = pods.chain(volumes).collect();
        slots.extend(self.recorded(component));
        slots
    }

    /// Slots that should have a pod: those in use, filled up with the lowest free ordinals.
    ///
    /// Until the cluster id is known these are the recorded first members and nothing else.
    pub fn wanted(&self, component: Component) -> BTreeSet<Slot> {
        match (&self.identity, component) {
            (Identity::Unborn | Identity::Conflict(_), _)
            | (Identity::Starting(_), Component::Tikv) => BTreeSet::new(),
            (Identity::Starting(record), Component::Pd) => {
                record.members.iter().map(|ordinal| Slot::pd(*ordinal)).collect()
            }
            (Identity::Known(_), _) => self.roster(component).slots(),
        }
    }

    /// All slots that hold or should hold a pod, for furniture that counts members.
    pub fn slots(&self, component: Component) -> Vec<Slot> {
        self.wanted(component).into_iter().collect()
    }

    /// Slots that PD knows by the name or address of their pod.
    fn recorded(&self, component: Component) -> BTreeSet<Slot> {
        let Some(pd) = self.pd() else {
            return BTreeSet::new();
        };
        let named =
            |name: &str| Slot::of_pod(self.name(), name).filter(|slot| slot.component == component);
        match component {
            Component::Pd => pd.members.values().filter_map(|m| named(&m.name)).collect(),
            // A cluster of the same name in another namespace may share this PD.
            Component::Tikv => pd
                .live_stores()
                .filter_map(|store| {
                    let slot = named(store.address.split('.').next()?)?;
                    (store.address == build::store_address(self.cluster, slot)).then_some(slot)
                })
                .collect(),
        }
    }
}
