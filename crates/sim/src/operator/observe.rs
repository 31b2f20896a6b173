//! What does the operator see: in its watch cache, and live?

use std::collections::BTreeMap;

use serde_json::Value;
use tikv_operator_api::labels;
use tikv_operator_core::facts::{Belongings, Owner, resource_facts};
use tikv_operator_core::world::{Kind, World};

use super::{FINALIZER, Look, Operator, typed};
use crate::clock;
use crate::kube::{Cache, text};
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
        let owner = Owner { name: &self.cluster, uid: &facts.uid };
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
        let hosts: BTreeMap<_, _> = belongings
            .pods
            .keys()
            .map(|slot| {
                (
                    *slot,
                    format!(
                        "{0}.{1}-{2}-peer",
                        slot.pod_name(&self.cluster),
                        self.cluster,
                        slot.component
                    ),
                )
            })
            .collect();
        let pd = self.ask_pd(&hosts, universe);
        let world = World {
            now: clock::instant(universe.now),
            resource: facts,
            pods: belongings.pods,
            volumes: belongings.volumes,
            objects: belongings.objects,
            strangers: belongings.strangers,
            pd,
            nodes: BTreeMap::new(),
            processes: BTreeMap::new(),
            seen_for: BTreeMap::new(),
        };
        let version = resource.metadata.resource_version.clone().unwrap_or_default();
        Some(Look { resource, world, version })
    }
}

fn labelled(object: &Value, cluster: &str) -> bool {
    let pointer = format!("/metadata/labels/{}", labels::CLUSTER.replace('/', "~1"));
    text(object, &pointer) == cluster
}
