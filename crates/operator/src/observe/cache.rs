//! What do the watches know?
//!
//! Objects trimmed to what facts follow from, by the cluster whose label they carry. The cache is
//! for noticing that something is to be done; what is done is decided on a fresh look.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use serde_json::Value;
use tikv_operator_api::labels;
use tikv_operator_core::{
    facts::{node_facts, trim},
    world::{Kind, NodeFacts, NodeView, ObjectKey},
};

use super::departures::Departures;
use crate::{controller::Key, kubernetes::Resource};

/// Where watches read: one namespace, or all of them.
pub type Scope = Option<String>;

/// A cluster to look at, and whether its resource itself changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Which one.
    pub key: Key,
    /// The user changed it: do not wait out the delay after a failure.
    pub edited: bool,
}

/// All watched objects; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    inner: Arc<RwLock<Inner>>,
    departures: Departures,
}

#[derive(Debug, Default)]
struct Inner {
    resources: BTreeMap<Key, Arc<Value>>,
    parts: BTreeMap<Key, BTreeMap<ObjectKey, Arc<Value>>>,
    /// Under which cluster an object is filed: its label may change.
    filed: BTreeMap<(String, ObjectKey), Key>,
    /// Watches that have listed everything once.
    listed: BTreeSet<(Resource, Scope)>,
    /// `None` until nodes were listed, and where they may not be.
    nodes: Option<BTreeMap<String, NodeFacts>>,
}

/// One thing that a watch said.
#[derive(Debug)]
pub enum News {
    /// The object is so now.
    Is(Value),
    /// The object is gone.
    Gone(Value),
    /// These are all objects that there are in the scope.
    All(Scope, Vec<Value>),
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Files what a watch of `resource` said. Returns the clusters that it concerns.
    pub fn hear(&self, resource: Resource, news: News) -> Vec<Wake> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        match (resource, news) {
            // They have a cache of their own (`task::TaskCache`).
            (Resource::Task | Resource::Job, _) => Vec::new(),
            (Resource::Cluster, News::Is(body)) => inner.set_resource(body).into_iter().collect(),
            (Resource::Cluster, News::Gone(body)) => {
                let key = own_key(&body);
                key.into_iter().filter_map(|key| inner.drop_resource(key)).collect()
            }
            (Resource::Cluster, News::All(scope, bodies)) => inner.all_resources(scope, bodies),
            (Resource::Part(kind), News::Is(body)) => woken(inner.set_part(kind, &body)),
            (Resource::Part(kind), News::Gone(body)) => {
                let keys = inner.drop_part(kind, &body);
                for key in keys.iter().filter(|_| kind == Kind::Pod) {
                    self.departures.tell(key);
                }
                woken(keys)
            }
            (Resource::Part(kind), News::All(scope, bodies)) => {
                woken(inner.all_parts(kind, scope, &bodies))
            }
            (Resource::Node, News::Is(body)) => {
                let changed =
                    node_facts(&body).and_then(|(name, facts)| inner.set_node(name, facts));
                woken(inner.on_nodes(&changed.into_iter().collect()))
            }
            (Resource::Node, News::Gone(body)) => {
                let gone = node_facts(&body).and_then(|(name, _)| inner.drop_node(name));
                woken(inner.on_nodes(&gone.into_iter().collect()))
            }
            (Resource::Node, News::All(_, bodies)) => {
                let changed = inner.all_nodes(&bodies);
                woken(inner.on_nodes(&changed))
            }
        }
    }

    /// Tells about pods that are gone.
    pub(super) fn departures(&self) -> &Departures {
        &self.departures
    }

    /// What the watch says about a node; `None` where nodes are not watched.
    pub fn node(&self, name: &str) -> Option<NodeView> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let nodes = inner.nodes.as_ref()?;
        Some(nodes.get(name).map_or(NodeView::Gone, |facts| NodeView::Known(facts.clone())))
    }

    /// Are nodes watched, and were they listed?
    pub fn watches_nodes(&self) -> bool {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.nodes.is_some()
    }

    /// Nodes may not be watched (any more): all of them are unknown.
    pub fn forget_nodes(&self) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.nodes = None;
    }

    /// The resource called `key`.
    pub fn resource(&self, key: &Key) -> Option<Arc<Value>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.resources.get(key).cloned()
    }

    /// All objects that carry the label of `key`.
    pub fn parts(&self, key: &Key) -> Vec<(Kind, Arc<Value>)> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let parts = inner.parts.get(key).into_iter().flatten();
        parts.map(|(object, body)| (object.kind, Arc::clone(body))).collect()
    }

    /// All clusters.
    pub fn keys(&self) -> Vec<Key> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.resources.keys().cloned().collect()
    }

    /// Has every watch in these scopes listed everything once?
    pub fn is_filled(&self, scopes: &[Scope]) -> bool {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut watches = scopes.iter().flat_map(|s| Resource::ALL.map(|r| (r, s.clone())));
        watches.all(|watch| inner.listed.contains(&watch))
    }
}

impl Inner {
    /// The name, if the node changed in anything that matters.
    fn set_node(&mut self, name: String, facts: NodeFacts) -> Option<String> {
        let nodes = self.nodes.as_mut()?;
        let before = nodes.insert(name.clone(), facts.clone());
        (before != Some(facts)).then_some(name)
    }

    fn drop_node(&mut self, name: String) -> Option<String> {
        self.nodes.as_mut()?.remove(&name).map(|_| name)
    }

    fn all_nodes(&mut self, bodies: &[Value]) -> BTreeSet<String> {
        let new: BTreeMap<String, NodeFacts> = bodies.iter().filter_map(node_facts).collect();
        let old = self.nodes.replace(new.clone()).unwrap_or_default();
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        names.into_iter().filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
    }

    /// The clusters that have pods on these nodes.
    fn on_nodes(&self, names: &BTreeSet<String>) -> BTreeSet<Key> {
        let is_on = |body: &Value| {
            let node = body.pointer("/spec/nodeName").and_then(Value::as_str);
            node.is_some_and(|node| names.contains(node))
        };
        let parts = self.parts.iter().filter(|_| !names.is_empty());
        let touched = parts.filter(|(_, parts)| {
            parts.iter().any(|(object, body)| object.kind == Kind::Pod && is_on(body))
        });
        touched.map(|(key, _)| key.clone()).collect()
    }

    fn set_resource(&mut self, body: Value) -> Option<Wake> {
        let key = own_key(&body)?;
        let body = without_managed_fields(body);
        let wish = |body: &Value| {
            let at = |pointer| body.pointer(pointer).cloned();
            (at("/metadata/uid"), at("/metadata/generation"), at("/metadata/deletionTimestamp"))
        };
        let edited = self.resources.get(&key).is_none_or(|before| wish(before) != wish(&body));
        self.resources.insert(key.clone(), Arc::new(body));
        Some(Wake { key, edited })
    }

    fn drop_resource(&mut self, key: Key) -> Option<Wake> {
        self.resources.remove(&key).map(|_| Wake { key, edited: true })
    }

    fn all_resources(&mut self, scope: Scope, bodies: Vec<Value>) -> Vec<Wake> {
        let named: BTreeSet<Key> = bodies.iter().filter_map(own_key).collect();
        let in_scope = |key: &Key| scope.as_ref().is_none_or(|scope| *scope == key.namespace);
        let gone: Vec<Key> = self
            .resources
            .keys()
            .filter(|key| in_scope(key) && !named.contains(key))
            .cloned()
            .collect();
        let mut wakes: Vec<Wake> =
            gone.into_iter().filter_map(|key| self.drop_resource(key)).collect();
        wakes.extend(bodies.into_iter().filter_map(|body| self.set_resource(body)));
        self.listed.insert((Resource::Cluster, scope));
        wakes
    }

    fn set_part(&mut self, kind: Kind, body: &Value) -> BTreeSet<Key> {
        let mut touched = self.drop_part(kind, body);
        if let (Some(own), Some(key)) = (own_key(body), cluster_key(body)) {
            let object = ObjectKey::new(kind, own.name);
            self.filed.insert((own.namespace, object.clone()), key.clone());
            let trimmed = Arc::new(trim(kind, body));
            self.parts.entry(key.clone()).or_default().insert(object, trimmed);
            touched.insert(key);
        }
        touched
    }

    fn drop_part(&mut self, kind: Kind, body: &Value) -> BTreeSet<Key> {
        let Some(own) = own_key(body) else { return BTreeSet::new() };
        self.unfile(&own.namespace, &ObjectKey::new(kind, own.name)).into_iter().collect()
    }

    fn unfile(&mut self, namespace: &str, object: &ObjectKey) -> Option<Key> {
        let key = self.filed.remove(&(namespace.to_owned(), object.clone()))?;
        if let Some(parts) = self.parts.get_mut(&key) {
            parts.remove(object);
            if parts.is_empty() {
                self.parts.remove(&key);
            }
        }
        Some(key)
    }

    fn all_parts(&mut self, kind: Kind, scope: Scope, bodies: &[Value]) -> BTreeSet<Key> {
        let old: Vec<(String, ObjectKey)> = self
            .filed
            .keys()
            .filter(|(namespace, object)| {
                object.kind == kind && scope.as_ref().is_none_or(|scope| scope == namespace)
            })
            .cloned()
            .collect();
        let mut touched: BTreeSet<Key> = old
            .into_iter()
            .filter_map(|(namespace, object)| self.unfile(&namespace, &object))
            .collect();
        for body in bodies {
            touched.extend(self.set_part(kind, body));
        }
        self.listed.insert((Resource::Part(kind), scope));
        touched
    }
}

fn woken(keys: BTreeSet<Key>) -> Vec<Wake> {
    keys.into_iter().map(|key| Wake { key, edited: false }).collect()
}

fn own_key(body: &Value) -> Option<Key> {
    let text = |pointer: &str| Some(body.pointer(pointer)?.as_str()?.to_owned());
    Some(Key { namespace: text("/metadata/namespace")?, name: text("/metadata/name")? })
}

/// The cluster whose label an object carries.
fn cluster_key(body: &Value) -> Option<Key> {
    let name = body.pointer("/metadata/labels")?.get(labels::CLUSTER)?.as_str()?;
    Some(Key { namespace: own_key(body)?.namespace, name: name.to_owned() })
}

fn without_managed_fields(mut body: Value) -> Value {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    body
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    fn pod(name: &str, cluster: &str) -> Value {
        json!({ "metadata": {
            "namespace": "ns", "name": name, "uid": name, "labels": { "tikv.org/cluster": cluster },
        } })
    }

    fn cluster(name: &str, generation: i64) -> Value {
        json!({ "metadata": {
            "namespace": "ns", "name": name, "uid": name, "generation": generation,
            "managedFields": [{}],
        } })
    }

    const POD: Resource = Resource::Part(Kind::Pod);

    #[test]
    fn objects_are_found_by_their_cluster_and_gone_when_gone() {
        let cache = Cache::new();
        assert_eq!(cache.hear(POD, News::Is(pod("a-pd-0", "a"))), woken([key("a")].into()));
        assert_eq!(cache.parts(&key("a")).len(), 1);
        assert_eq!(cache.parts(&key("a-pd")).len(), 0);
        assert_eq!(cache.hear(POD, News::Gone(pod("a-pd-0", "a"))), woken([key("a")].into()));
        assert!(cache.parts(&key("a")).is_empty());
    }

    #[test]
    fn an_object_that_changes_its_cluster_concerns_both() {
        let cache = Cache::new();
        cache.hear(POD, News::Is(pod("x", "a")));
        let wakes = cache.hear(POD, News::Is(pod("x", "b")));
        assert_eq!(wakes, woken([key("a"), key("b")].into()));
        assert!(cache.parts(&key("a")).is_empty());
        assert_eq!(cache.parts(&key("b")).len(), 1);
    }

    #[test]
    fn a_new_list_replaces_what_was_known_in_its_scope_and_of_its_kind() {
        let cache = Cache::new();
        cache.hear(POD, News::Is(pod("old", "a")));
        cache.hear(Resource::Part(Kind::Service), News::Is(pod("svc", "a")));
        let wakes = cache.hear(POD, News::All(None, vec![pod("new", "b")]));
        assert_eq!(wakes, woken([key("a"), key("b")].into()));
        assert_eq!(cache.parts(&key("a")).len(), 1, "the service stays");
        cache.hear(POD, News::All(Some("other".to_owned()), vec![]));
        assert_eq!(cache.parts(&key("b")).len(), 1, "another namespace's list says nothing");
    }

    #[test]
    fn only_an_edit_or_a_deletion_counts_as_edited() {
        let cache = Cache::new();
        let edited = |body| cache.hear(Resource::Cluster, News::Is(body)).first().map(|w| w.edited);
        assert_eq!(edited(cluster("a", 1)), Some(true));
        assert_eq!(edited(cluster("a", 1)), Some(false));
        assert_eq!(edited(cluster("a", 2)), Some(true));
        let mut going = cluster("a", 2);
        going["metadata"]["deletionTimestamp"] = json!("2026-11-22T22:00:00Z");
        assert_eq!(edited(going), Some(true));
        assert!(cache.resource(&key("a")).unwrap().pointer("/metadata/managedFields").is_none());
    }

    fn node(name: &str, cordoned: bool) -> Value {
        json!({ "metadata": { "name": name, "resourceVersion": "any" },
            "spec": { "unschedulable": cordoned },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] } })
    }

    #[test]
    fn a_cordon_wakes_the_clusters_with_pods_there_and_a_heartbeat_wakes_nobody() {
        let cache = Cache::new();
        for (cluster, on) in [("a", "n1"), ("b", "n2")] {
            let mut pod = pod(&format!("{cluster}-pd-0"), cluster);
            pod["spec"] = json!({ "nodeName": on });
            cache.hear(POD, News::Is(pod));
        }
        assert_eq!(cache.node("n1"), None, "unknown before the first list");
        let nodes = vec![node("n1", false), node("n2", false), node("n3", false)];
        cache.hear(Resource::Node, News::All(None, nodes.clone()));
        let hear = |body| cache.hear(Resource::Node, News::Is(body));
        assert_eq!(hear(node("n1", true)), woken([key("a")].into()));
        assert!(cache.node("n1").unwrap().is_cordoned());
        let mut beat = node("n1", true);
        beat["metadata"]["resourceVersion"] = json!("newer");
        assert_eq!(hear(beat), []);
        assert_eq!(hear(node("n3", true)), [], "nobody is there");
        let gone = cache.hear(Resource::Node, News::Gone(node("n2", false)));
        assert_eq!(gone, woken([key("b")].into()));
        assert_eq!(cache.node("n2"), Some(NodeView::Gone));
        let wakes = cache.hear(Resource::Node, News::All(None, nodes));
        assert_eq!(wakes, woken([key("a"), key("b")].into()));
        cache.forget_nodes();
        assert_eq!(cache.node("n2"), None, "unknown is not gone");
    }

    #[test]
    fn filled_means_that_every_kind_was_listed_in_every_scope() {
        let cache = Cache::new();
        let scopes = [Some("x".to_owned()), Some("y".to_owned())];
        for scope in &scopes {
            for resource in Resource::ALL {
                assert!(!cache.is_filled(&scopes));
                cache.hear(resource, News::All(scope.clone(), vec![]));
            }
        }
        assert!(cache.is_filled(&scopes));
    }
}
