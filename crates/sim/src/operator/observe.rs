//! What does the operator see: in its watch cache, and live?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use tikv_operator_core::facts::{Belongings, Owner, missing_claims};
use tikv_operator_core::report::Outcome;
use tikv_operator_core::world::{
    Applied, Component, ConfigItem, Gates, GrowthRefusal, Kind, ObjectKey, PdView, Refusal, Slot,
    Symptom, Trial, World, symptoms,
};

use super::{Look, Operator};
use crate::clock;
use crate::kube::{Cache, Object, labels, text};
use crate::names::OPERATOR;
use crate::universe::Universe;

/// Where objects are read from.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    /// The watch cache.
    Cached(&'a Cache),
    /// The API server: consistent lists.
    Live,
}

impl<'a> View<'a> {
    fn list(self, universe: &'a Universe, kind: &str) -> Vec<&'a Arc<Object>> {
        match self {
            Self::Cached(cache) => cache.list(kind).collect(),
            Self::Live => universe.kube.list_shared(kind).collect(),
        }
    }
}

/// A stranger is believed to be there for this long, then the name is tried again.
const STRANGER_TIME: u64 = 60 * clock::SECOND;

/// A setting that was refused is not tried again for this long.
const REFUSAL_TIME: u64 = 300 * clock::SECOND;

/// What was applied this long ago and has stayed since was not changed back.
const APPLIED_TIME: u64 = 600 * clock::SECOND;

/// The kinds that belong to a cluster.
const KINDS: [Kind; 5] = [
    Kind::Service,
    Kind::ConfigMap,
    Kind::PodDisruptionBudget,
    Kind::PersistentVolumeClaim,
    Kind::Pod,
];

impl Operator {
    /// Everything about the cluster in one view. `None` where the resource does not exist.
    pub(super) fn observe(&mut self, view: View<'_>, universe: &mut Universe) -> Option<Look> {
        let mut resources = view.list(universe, "TikvCluster").into_iter();
        let resource = resources.find(|object| object.name() == self.cluster).cloned()?;
        let facts = self.known.resource(&resource)?;
        let cluster = self.cluster.clone();
        let owner = Owner { name: &cluster, uid: &facts.uid };
        for kind in KINDS {
            let mut listed = view.list(universe, kind.as_str());
            listed.retain(|object| object.cluster() == Some(&self.cluster));
            self.known.follow(owner, kind, &listed);
        }
        let mut belongings = self.known.lend();
        let now = universe.now;
        self.memory.met.retain(|_, (_, at)| now - *at < STRANGER_TIME);
        for (key, (whose, _)) in &self.memory.met {
            belongings.strangers.insert(key.clone(), whose.clone());
        }
        let pd = self.ask_pds(belongings.pods.keys(), universe);
        for name in missing_claims(&cluster, &belongings, &pd) {
            let kind = Kind::PersistentVolumeClaim;
            if let Some(body) = universe.kube.get(kind.as_str(), &name) {
                belongings.take(owner, kind, body);
            }
        }
        let nodes = self.known.nodes(&view.list(universe, "Node"), node_names(&belongings));
        let gates = self.gates(&resource, universe);
        let trials = self.trials(facts.generation, now);
        let mut world = World {
            now: clock::instant(universe.now) + self.clock_off,
            resource: facts,
            pods: belongings.pods,
            volumes: belongings.volumes,
            objects: belongings.objects,
            strangers: belongings.strangers,
            pd,
            nodes,
            processes: BTreeMap::new(),
            config_refusals: self.config_refusals(universe.now),
            seen_for: BTreeMap::new(),
            growth_refused: self.refused_growth(now),
            applied: self.applied_of_late(now),
            trials,
            gates,
        };
        self.ask_processes(&mut world, &resource, universe);
        let version = text(&resource, "/metadata/resourceVersion").to_owned();
        Some(Look { resource, world, version })
    }

    /// Tasks that ask for the start of an upgrade. They are few and always read live: their watch
    /// would take its lag from the same dice as the others'.
    fn gates(&mut self, resource: &Object, universe: &Universe) -> Gates {
        let tasks: Vec<&Arc<Object>> = universe.kube.list_shared("TikvTask").collect();
        if tasks.is_empty() {
            return Gates::default();
        }
        let labels = labels(resource).into_iter().flatten();
        let labels =
            labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        self.known.gates(&tasks, &self.cluster, labels.collect(), clock::instant(universe.now))
    }

    /// What PD and the stores say, and how long that has been so.
    pub(super) fn ask_servers(
        &mut self,
        world: &mut World,
        resource: &Object,
        universe: &mut Universe,
    ) {
        world.pd = self.ask_pds(world.pods.keys(), universe);
        self.ask_processes(world, resource, universe);
    }

    fn ask_pds<'s>(
        &mut self,
        slots: impl Iterator<Item = &'s Slot> + Clone,
        universe: &mut Universe,
    ) -> PdView {
        let created = slots.clone().any(|slot| slot.component == Component::Pd);
        let pds = pd_processes(&self.cluster, slots, universe);
        self.ask_pd(created, &pds, universe)
    }

    fn ask_processes(&mut self, world: &mut World, resource: &Object, universe: &mut Universe) {
        world.processes = self.ask_stores(world, resource, universe);
        world.seen_for = self.watch_symptoms(world, universe.now);
    }

    /// Notes whether PD or a store took or refused settings.
    pub(super) fn configured(&mut self, outcome: &Outcome, now: u64) {
        let known = &mut self.memory.config_refusals;
        known.retain(|item, _| !outcome.outdates(item));
        let refusals = outcome.config_refusals().into_iter();
        known.extend(refusals.map(|(item, refusal)| (item, (refusal, now))));
    }

    fn config_refusals(&mut self, now: u64) -> BTreeMap<ConfigItem, Refusal> {
        let known = &mut self.memory.config_refusals;
        known.retain(|_, (_, at)| now - *at < REFUSAL_TIME);
        known.iter().map(|(item, (refusal, _))| (item.clone(), refusal.clone())).collect()
    }
}

impl Operator {
    /// What the API server answered to growth, until it grants one.
    fn refused_growth(&self, now: u64) -> BTreeMap<String, GrowthRefusal> {
        let refused = self.memory.growth.iter().map(|(claim, (words, at))| {
            let ago = clock::span(now - *at);
            (claim.clone(), GrowthRefusal { words: words.clone(), ago })
        });
        refused.collect()
    }

    /// A pod that was refused is shown again after a while, and every one after an edit.
    fn trials(&mut self, generation: i64, now: u64) -> BTreeMap<Component, Trial> {
        if generation > self.memory.tried_for {
            self.memory.tried_for = generation;
            self.memory.trials.clear();
        }
        let known = &mut self.memory.trials;
        known.retain(|_, (trial, at)| trial.refused.is_none() || now - *at < REFUSAL_TIME);
        known.iter().map(|(component, (trial, _))| (*component, trial.clone())).collect()
    }

    fn applied_of_late(&mut self, now: u64) -> BTreeMap<ObjectKey, Applied> {
        let known = &mut self.memory.applied;
        known.retain(|_, (_, _, at)| now - *at < APPLIED_TIME);
        let applied = known.iter().map(|(key, (hash, times, at))| {
            let ago = clock::span(now - *at);
            (key.clone(), Applied { hash: hash.clone(), times: *times, ago })
        });
        applied.collect()
    }

    /// How long this process has seen what is wrong now. What it does not see it forgets.
    fn watch_symptoms(&mut self, world: &World, now: u64) -> BTreeMap<Symptom, SignedDuration> {
        let seen = symptoms(world);
        let known = &mut self.memory.symptoms;
        known.retain(|symptom, _| seen.contains(symptom));
        for symptom in seen {
            known.entry(symptom).or_insert(now);
        }
        let ages =
            known.iter().map(|(symptom, since)| (symptom.clone(), clock::span(now - *since)));
        ages.collect()
    }
}

/// The PD processes behind the cluster's pods, by ordinal.
pub(super) fn pd_processes<'s>(
    cluster: &str,
    slots: impl Iterator<Item = &'s Slot>,
    universe: &Universe,
) -> Vec<String> {
    let pds = slots.filter(|slot| slot.component == Component::Pd);
    let hosts = pds.map(|slot| format!("{}.{cluster}-pd-peer", slot.pod_name(cluster)));
    let names = universe.names();
    let processes = hosts.flat_map(|host| names.resolve(&host).to_vec());
    processes.filter(|process| names.connects(OPERATOR, process)).collect()
}

/// The nodes that the pods are bound to, and those that volumes were last used on.
fn node_names(belongings: &Belongings) -> BTreeSet<&String> {
    let marked = belongings.volumes.values().filter_map(|volume| volume.marks.node.as_ref());
    let bound = belongings.pods.values().filter_map(|pod| pod.node.as_ref());
    bound.chain(marked).collect()
}
