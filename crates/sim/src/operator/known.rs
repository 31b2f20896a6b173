//! What was an object like when it was last looked at?
//!
//! Most objects are the same from look to look, and what follows from them is the same as well: a
//! look takes over what the last one found, and reads only those that have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tikv_operator_core::facts::{Belongings, Owner, node_facts, resource_facts};
use tikv_operator_core::world::{
    Gates, Kind, NodeFacts, NodeView, ObjectKey, ResourceFacts, Slot, Uid, World,
};

use super::FINALIZER;
use crate::kube::Object;

/// Facts of the versions of objects that were looked at last.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// Whose belongings they are.
    owner: Option<Uid>,
    parts: BTreeMap<Kind, Vec<Arc<Object>>>,
    belongings: Belongings,
    /// The belongings are in a world that was not given back.
    lent: bool,
    resource: Option<(Arc<Object>, ResourceFacts)>,
    nodes: BTreeMap<String, (Arc<Object>, NodeFacts)>,
    gates: Option<KnownGates>,
}

/// What came of tasks, and the labels of the cluster that they were read for.
#[derive(Clone)]
struct KnownGates {
    tasks: Vec<Arc<Object>>,
    labels: BTreeMap<String, String>,
    gates: Gates,
}

impl Known {
    /// Facts of the resource. `None` where it is not as we write it.
    pub(super) fn resource(&mut self, object: &Arc<Object>) -> Option<ResourceFacts> {
        let known = self.resource.take().filter(|(known, _)| Arc::ptr_eq(known, object));
        known.map(|(_, facts)| facts).or_else(|| resource_facts(object, FINALIZER))
    }

    /// Everything of one kind that carries the owner's label, in the order of names.
    pub(super) fn follow(&mut self, owner: Owner<'_>, kind: Kind, listed: &[&Arc<Object>]) {
        if self.lent || self.owner.as_ref() != Some(owner.uid) {
            *self = Self { owner: Some(owner.uid.clone()), ..Self::default() };
        }
        let known = self.parts.entry(kind).or_default();
        let is_among = |object: &Arc<Object>, others: &[&Arc<Object>]| {
            others.iter().any(|other| Arc::ptr_eq(object, other))
        };
        let same = known.len() == listed.len() && known.iter().all(|old| is_among(old, listed));
        if same {
            return;
        }
        let old: Vec<&Arc<Object>> = known.iter().collect();
        for object in old.iter().filter(|object| !is_among(object, listed)) {
            forget(&mut self.belongings, owner, kind, object.name());
        }
        for object in listed.iter().filter(|object| !is_among(object, &old)) {
            self.belongings.take(owner, kind, object);
        }
        *known = listed.iter().map(|object| Arc::clone(object)).collect();
    }

    /// What belongs to the owner; strangers are copied, the rest is lent ([`Known::give_back`]).
    pub(super) fn lend(&mut self) -> Belongings {
        self.lent = true;
        Belongings {
            strangers: self.belongings.strangers.clone(),
            pods: std::mem::take(&mut self.belongings.pods),
            volumes: std::mem::take(&mut self.belongings.volumes),
            objects: std::mem::take(&mut self.belongings.objects),
        }
    }

    /// Takes back what a world was made of. Worlds are not changed.
    pub(super) fn give_back(&mut self, resource: Arc<Object>, world: World) {
        self.lent = false;
        self.belongings.pods = world.pods;
        self.belongings.volumes = world.volumes;
        // A claim that lost its labels was read by its name, for that look alone.
        let claims = self.parts.get(&Kind::PersistentVolumeClaim).map(Vec::as_slice);
        let listed = claims.unwrap_or_default();
        if self.belongings.volumes.len() > listed.len() {
            let is_listed = |name: &String| listed.iter().any(|object| object.name() == name);
            self.belongings.volumes.retain(|name, _| is_listed(name));
        }
        self.belongings.objects = world.objects;
        self.resource = Some((resource, world.resource));
    }

    /// The nodes of these names.
    pub(super) fn nodes(
        &mut self,
        listed: &[&Arc<Object>],
        names: BTreeSet<&String>,
    ) -> BTreeMap<String, NodeView> {
        let mut view = |name: &String| {
            let object = listed.iter().find(|object| object.name() == name);
            let facts = object.and_then(|object| self.node(object));
            (name.clone(), facts.map_or(NodeView::Gone, NodeView::Known))
        };
        names.into_iter().map(&mut view).collect()
    }

    /// The tasks that ask for the start of this cluster's upgrade. Time decides of schedules alone,
    /// which are no gates.
    pub(super) fn gates(
        &mut self,
        tasks: &[&Arc<Object>],
        cluster: &str,
        labels: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Gates {
        let same = |known: &&KnownGates| {
            let mut pairs = known.tasks.iter().zip(tasks);
            known.tasks.len() == tasks.len()
                && known.labels == labels
                && pairs.all(|(old, new)| Arc::ptr_eq(old, new))
        };
        if let Some(known) = self.gates.as_ref().filter(same) {
            return known.gates.clone();
        }
        let gates = Gates::of(tasks.iter().map(|task| task.body()), cluster, &labels, now);
        let tasks = tasks.iter().map(|task| Arc::clone(task)).collect();
        self.gates = Some(KnownGates { tasks, labels, gates: gates.clone() });
        gates
    }

    fn node(&mut self, object: &Arc<Object>) -> Option<NodeFacts> {
        if let Some((known, facts)) = self.nodes.get(object.name())
            && Arc::ptr_eq(known, object)
        {
            return Some(facts.clone());
        }
        let (name, facts) = node_facts(object)?;
        self.nodes.insert(name, (Arc::clone(object), facts.clone()));
        Some(facts)
    }
}

fn forget(belongings: &mut Belongings, owner: Owner<'_>, kind: Kind, name: &str) {
    let key = ObjectKey::new(kind, name);
    belongings.strangers.remove(&key);
    match kind {
        Kind::Pod => {
            Slot::of_pod(owner.name, name).and_then(|slot| belongings.pods.remove(&slot));
        }
        Kind::PersistentVolumeClaim => {
            belongings.volumes.remove(name);
        }
        Kind::Service | Kind::ConfigMap | Kind::PodDisruptionBudget => {
            belongings.objects.remove(&key);
        }
    }
}
