//! What does the operator see: in its watch cache, and live?

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;
use tikv_operator_api::labels::CLUSTER;
use tikv_operator_core::facts::{Belongings, Owner, missing_claims, resource_facts};
use tikv_operator_core::world::{
    Component, ConfigItem, GrowthRefusal, Kind, NodeFacts, NodeView, Refusal, Slot, Symptom, World,
    symptoms,
};

use super::{FINALIZER, Look, Operator, typed};
use crate::clock;
use crate::kube::{Cache, at, labels, text};
use crate::node::OUT_OF_SERVICE;
use crate::universe::Universe;

/// Where objects are read from.
pub(super) enum View<'a> {
    /// The watch cache.
    Cached(&'a Cache),
    /// The API server: consistent lists.
    Live,
}

impl View<'_> {
    fn get<'v>(&'v self, universe: &'v Universe, kind: &'v str, name: &str) -> Option<&'v Value> {
        match self {
            Self::Cached(cache) => cache.get(kind, name),
            Self::Live => universe.kube.get(kind, name),
        }
    }

    fn list<'v>(&'v self, universe: &'v Universe, kind: &'v str) -> Vec<&'v Value> {
        match self {
            Self::Cached(cache) => cache.list(kind).collect(),
            Self::Live => universe.kube.list(kind).collect(),
        }
    }
}

/// A stranger is believed to be there for this long, then the name is tried again.
const STRANGER_TIME: u64 = 60 * clock::SECOND;

/// A setting that was refused is not tried again for this long.
const REFUSAL_TIME: u64 = 300 * clock::SECOND;

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
    pub(super) fn observe(&mut self, view: &View<'_>, universe: &mut Universe) -> Option<Look> {
        let body = view.get(universe, "TikvCluster", &self.cluster)?;
        let (resource, facts) = (typed(body)?, resource_facts(body, FINALIZER)?);
        let cluster = self.cluster.clone();
        let owner = Owner { name: &cluster, uid: &facts.uid };
        let mut belongings = Belongings::default();
        for kind in KINDS {
            for object in view.list(universe, kind.as_str()) {
                if labelled(object, &self.cluster) {
                    belongings.take(owner, kind, object);
                }
            }
        }
        let now = universe.now;
        self.memory.met.retain(|_, (_, at)| now - *at < STRANGER_TIME);
        for (key, (whose, _)) in &self.memory.met {
            belongings.strangers.insert(key.clone(), whose.clone());
        }
        let created = belongings.pods.keys().any(|slot| slot.component == Component::Pd);
        let pds = pd_processes(&self.cluster, belongings.pods.keys(), universe);
        let pd = self.ask_pd(created, &pds, universe);
        for name in missing_claims(&cluster, &belongings, &pd) {
            let kind = Kind::PersistentVolumeClaim;
            if let Some(body) = universe.kube.get(kind.as_str(), &name) {
                belongings.take(owner, kind, body);
            }
        }
        let nodes = nodes(view, universe, &belongings);
        let processes = self.ask_stores(&pd, universe);
        let mut world = World {
            now: clock::instant(universe.now),
            resource: facts,
            pods: belongings.pods,
            volumes: belongings.volumes,
            objects: belongings.objects,
            strangers: belongings.strangers,
            pd,
            nodes,
            processes,
            config_refusals: self.config_refusals(universe.now),
            seen_for: BTreeMap::new(),
            growth_refused: self.refused_growth(now),
        };
        world.seen_for = self.watch_symptoms(&world, universe.now);
        let version = resource.metadata.resource_version.clone().unwrap_or_default();
        Some(Look { resource, world, version })
    }

    /// Notes settings that PD or a store refused.
    pub(super) fn refused(&mut self, refusals: Vec<(ConfigItem, Refusal)>, now: u64) {
        let dated = refusals.into_iter().map(|(item, refusal)| (item, (refusal, now)));
        self.memory.config_refusals.extend(dated);
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
    hosts.flat_map(|host| universe.names().resolve(&host).to_vec()).collect()
}

/// The nodes that the pods are bound to.
fn nodes(
    view: &View<'_>,
    universe: &Universe,
    belongings: &Belongings,
) -> BTreeMap<String, NodeView> {
    let marked = belongings.volumes.values().filter_map(|volume| volume.marks.node.clone());
    let bound = belongings.pods.values().filter_map(|pod| pod.node.clone());
    let names: BTreeSet<String> = bound.chain(marked).collect();
    names
        .into_iter()
        .map(|name| {
            let node = view.get(universe, "Node", &name);
            let node = node.map_or(NodeView::Gone, |node| NodeView::Known(node_facts(node)));
            (name, node)
        })
        .collect()
}

fn node_facts(node: &Value) -> NodeFacts {
    let conditions = at(node, "/status/conditions").as_array().into_iter().flatten();
    let mut conditions = conditions.filter(|c| text(c, "/type") == "Ready");
    let ready = conditions.next();
    let taints = at(node, "/spec/taints").as_array().into_iter().flatten();
    let mut taints = taints.map(|taint| text(taint, "/key"));
    let labels = labels(node).into_iter().flatten();
    NodeFacts {
        ready: ready.is_some_and(|c| text(c, "/status") == "True"),
        ready_since: ready.and_then(|c| text(c, "/lastTransitionTime").parse().ok()),
        cordoned: at(node, "/spec/unschedulable").as_bool() == Some(true),
        out_of_service: taints.any(|key| key == OUT_OF_SERVICE),
        labels: labels
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
    }
}

fn labelled(object: &Value, cluster: &str) -> bool {
    let pointer = format!("/metadata/labels/{}", CLUSTER.replace('/', "~1"));
    text(object, &pointer) == cluster
}
