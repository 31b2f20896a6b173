//! What do planners and rules look at? The checked spec, the world, and what follows from both.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Copied;
use std::slice::Iter;

use super::config_tikv::Online;
use super::identity::{hearsay, recorded_bootstrap};
use super::once::Once;
use super::rows::{Member, Row, rows};
use super::{Identity, Outage, RESTART, Roster, furniture, wishes};
use crate::build::{self, PdStart};
use crate::cluster::{self, Cluster, ReclaimPolicy};
use crate::rules::Rule;
use crate::world::{
    ClusterId, Component, NodeView, Object, PdFacts, PdView, PodFacts, Slot, VolumeFacts, World,
};

/// One pass's view, derived once: what everybody asks for at the start, the rest when it is first
/// asked for.
#[derive(Debug)]
pub struct Scene<'a> {
    /// What is wanted.
    pub cluster: &'a Cluster,
    /// What is.
    pub world: &'a World,
    /// Which cluster this is.
    pub identity: Identity,
    /// Every slot that holds anything.
    rows: BTreeMap<Slot, Row<'a>>,
    once: Once<'a>,
    /// The rule that is not asked ([`super::plan_without`]).
    unasked: Option<&'static str>,
}

impl<'a> Scene<'a> {
    /// Derives the scene.
    pub fn new(cluster: &'a Cluster, world: &'a World) -> Self {
        let (rows, identity) = (rows(cluster, world), Identity::of(world));
        Self { cluster, world, identity, rows, once: Once::default(), unasked: None }
    }

    /// As [`Self::new`], with a rule that is not asked.
    pub(super) fn without(cluster: &'a Cluster, world: &'a World, rule: &'static str) -> Self {
        Self { unasked: Some(rule), ..Self::new(cluster, world) }
    }

    /// Is the rule asked? All are, but for the one that [`super::plan_without`] leaves out.
    pub(crate) fn asks(&self, rule: &Rule) -> bool {
        self.unasked != Some(rule.name)
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

    /// The slot's volume is a first one and PD never listed its member as healthy. A volume that was
    /// made later under the same ordinal, for a member that replaces a lost one or came after a
    /// scale-in, carries no bootstrap record: its member joins. One that PD has removed again before
    /// it was healthy (its volume is retired) does not come.
    fn is_late(&self, slot: Slot) -> bool {
        match (&self.identity, self.member(slot).volume) {
            (Identity::Known(_) | Identity::Conflict(_), None) => false,
            (Identity::Known(_) | Identity::Conflict(_), Some(volume)) => {
                let marks = &volume.marks;
                marks.bootstrap.is_some() && marks.member.is_none() && !marks.retired
            }
            (Identity::Unborn | Identity::Starting(_), _) => true,
        }
    }

    /// The cluster id is not to be written down: why (see `identity.rs`).
    pub fn hearsay(&self) -> Option<String> {
        hearsay(self.world)
    }

    /// What to say when the cluster is known and PD's data is gone: who names the cluster, and the
    /// way out.
    pub fn pd_lost(&self, id: ClusterId) -> String {
        if let Some(words) = self.hearsay() {
            return words;
        }
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
        wishes::is_asked(pod, RESTART, self.world.now) || !self.is_current(component, pod)
    }

    /// The node of this pod does not report: what it said of the pod is of before, and the pod may run
    /// and serve. One that is deleted there is not made again before the node is back.
    pub fn is_unheard(&self, pod: &PodFacts) -> bool {
        let node = pod.node.as_ref().and_then(|name| self.world.nodes.get(name));
        node.is_some_and(NodeView::is_lost)
    }

    /// The slot's pod is on a node that takes no new pods, usually because it is being drained.
    pub fn is_cordoned(&self, slot: Slot) -> bool {
        let node = self.member(slot).pod.and_then(|pod| pod.node.as_ref());
        node.and_then(|name| self.world.nodes.get(name)).is_some_and(NodeView::is_cordoned)
    }

    /// The join for one slot.
    pub fn member(&self, slot: Slot) -> Member<'a> {
        match self.rows.get(&slot) {
            Some(row) => row.member,
            None => Member::of(slot),
        }
    }

    /// The slot's main volume claim and its name.
    pub fn main_claim(&self, slot: Slot) -> Option<(&'a String, &'a VolumeFacts)> {
        self.rows.get(&slot)?.main
    }

    /// Claims that say that they are of this slot, the additional ones included.
    pub fn claims(&self, slot: Slot) -> &[(&'a String, &'a VolumeFacts)] {
        self.rows.get(&slot).map_or(&[], |row| &row.claims)
    }

    /// Slots that hold something already: a pod, a volume that may be used, or a record in PD.
    pub fn occupied(&self, component: Component) -> &BTreeSet<Slot> {
        self.once.occupied.of(component).get_or_init(|| {
            let rows = self.rows.values().filter(|row| row.member.slot.component == component);
            rows.filter(|row| row.is_occupied()).map(|row| row.member.slot).collect()
        })
    }

    /// Who stays, leaves and joins, for a cluster whose id is known.
    pub fn roster(&self, component: Component) -> &Roster {
        self.once.roster.of(component).get_or_init(|| self.derive_roster(component))
    }

    /// Slots that should have a pod, in order: those in use, filled up with the lowest free
    /// ordinals.
    ///
    /// Until the cluster id is known these are the recorded first members and nothing else.
    pub fn wanted(&self, component: Component) -> Copied<Iter<'_, Slot>> {
        let slots = self.once.wanted.of(component).get_or_init(|| self.derive_wanted(component));
        slots.iter().copied()
    }

    fn derive_wanted(&self, component: Component) -> Vec<Slot> {
        let slots: BTreeSet<Slot> = match (&self.identity, component) {
            (Identity::Unborn | Identity::Conflict(_), _)
            | (Identity::Starting(_), Component::Tikv) => BTreeSet::new(),
            (Identity::Starting(record), Component::Pd) => {
                record.members.iter().map(|ordinal| Slot::pd(*ordinal)).collect()
            }
            (Identity::Known(_), _) => self.roster(component).slots(),
        };
        slots.into_iter().collect()
    }

    /// Every Service, ConfigMap and disruption budget that should stand.
    pub(crate) fn furniture(&self) -> &[Cow<'a, Object>] {
        self.once.furniture.get_or_init(|| furniture::wanted(self))
    }

    /// The stores that are away. `None` where PD does not say, or did not say `max-replicas`.
    pub fn outage(&self) -> Option<&Outage> {
        self.once.outage.get_or_init(|| self.derive_outage()).as_ref()
    }

    /// The items of the spec that a store of this version takes over while it runs.
    pub(crate) fn online(&self, version: &str) -> Option<&Online<'a>> {
        let derive = || {
            let stores = self.pd().into_iter().flat_map(PdFacts::live_stores);
            let versions: BTreeSet<&'a str> = stores.map(|store| store.version.as_str()).collect();
            versions.into_iter().map(|v| (v, Online::of(self.cluster, v))).collect()
        };
        self.once.online.get_or_init(derive).get(version)
    }
}
