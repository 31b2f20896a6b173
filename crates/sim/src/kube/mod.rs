//! What does the API server do with a request?
//!
//! Objects are JSON under kind and name, in one namespace. Identity (`uid`), optimistic locking
//! (`resourceVersion`), preconditions, finalizers and owner references behave as
//! [`crate::beliefs`] says they do. Nothing here knows what the objects mean.

mod admission;
mod alike;
mod cache;
mod json;
mod merge;
mod object;
mod patches;
mod refusal;
mod sweep;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use cache::Cache;
pub use json::{at, labels, set, text};
pub use merge::patch;
pub use object::{Object, is_deleting, name_of, uid_of};
pub use refusal::{Reason, Refusal};
use serde_json::Value;
pub use sweep::{Propagation, set_finalizer};
pub use writes::{Subresource, Verb};

/// Kind and name of an object in the one namespace of the model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `Pod`, `Service`, …
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(kind: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned() }
    }

    /// The key of an object by its own account.
    pub fn of(object: &Value) -> Self {
        Self::new(text(object, "/kind"), text(object, "/metadata/name"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// One change of one object, as a watch would tell it.
#[derive(Clone, Debug)]
struct Change {
    key: Key,
    /// `None`: the object is gone.
    object: Option<Arc<Object>>,
    /// The cluster whose watch is told, by name; `None`: everybody's.
    cluster: Option<String>,
}

impl Change {
    fn put_into(self, objects: &mut Objects) {
        let kind = match objects.get_mut(&self.key.kind) {
            Some(kind) => kind,
            None => objects.entry(self.key.kind).or_default(),
        };
        match self.object {
            Some(object) => kind.insert(self.key.name, object),
            None => kind.remove(&self.key.name),
        };
    }
}

/// Objects by kind and name.
type Objects = BTreeMap<String, BTreeMap<String, Arc<Object>>>;

/// The API server with its store.
#[derive(Clone, Default)]
pub struct Kube {
    objects: Objects,
    changes: Vec<Change>,
    /// How many changes there were before those that are still told ([`Kube::forget`]).
    forgotten: usize,
    /// Everything as it was before the changes that are still told, where that is known ([`Kube::trim`]).
    base: Option<Objects>,
    /// What the operator applied last, by uid: server-side apply takes away what is left out, but
    /// not what a create put there ([`crate::beliefs::CREATE_IS_NOT_APPLIED`]).
    applied: BTreeMap<(String, Subresource), Value>,
    /// Storage classes that do not allow expansion.
    pub rigid_classes: BTreeSet<String>,
    /// Claims that a quota of storage does not let grow ([`crate::beliefs::QUOTA_REFUSES`]).
    pub full_claims: BTreeSet<String>,
    /// A ResourceQuota: most pods that may exist ([`crate::beliefs::QUOTA_REFUSES`]).
    pub quota: Option<usize>,
    /// An admission webhook that has its own ideas: kind, place and value, set at each write.
    pub webhooks: Vec<(String, String, Value)>,
    /// Kinds whose objects a policy webhook refuses ([`crate::beliefs::WEBHOOKS_REFUSE`]).
    pub denied: BTreeSet<String>,
    uids: u64,
    /// How many changes the controllers had seen when they found nothing to do.
    swept: usize,
    /// Milliseconds since the beginning of the run.
    now: u64,
}

impl Kube {
    /// Sets the clock of the server, in milliseconds since the beginning of the run.
    pub fn set_time(&mut self, now: u64) {
        self.now = now;
    }

    /// The object as it is now.
    pub fn get(&self, kind: &str, name: &str) -> Option<&Object> {
        self.find(kind, name).map(Arc::as_ref)
    }

    /// As [`Kube::get`], shared.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(kind)?.get(name)
    }

    /// The object as it is now, shared.
    pub fn shared(&self, key: &Key) -> Option<Arc<Object>> {
        self.find(&key.kind, &key.name).cloned()
    }

    /// All objects of a kind, by name.
    pub fn list(&self, kind: &str) -> impl Iterator<Item = &Object> + use<'_> {
        self.list_shared(kind).map(Arc::as_ref)
    }

    /// As [`Kube::list`], shared.
    pub fn list_shared(&self, kind: &str) -> impl Iterator<Item = &Arc<Object>> + use<'_> {
        self.objects.get(kind).into_iter().flat_map(BTreeMap::values)
    }

    /// The keys of all objects, in order.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.all().map(|(kind, name, _)| Key::new(kind, name))
    }

    fn all(&self) -> impl Iterator<Item = (&String, &String, &Object)> {
        self.objects.iter().flat_map(|(kind, objects)| {
            objects.iter().map(move |(name, object)| (kind, name, object.as_ref()))
        })
    }

    /// The pod that bears this uid.
    pub fn pod_by_uid(&self, uid: &str) -> Option<&Object> {
        self.list("Pod").find(|pod| pod.uid() == uid)
    }

    /// The controllers have seen everything.
    pub fn is_swept(&self) -> bool {
        self.swept == self.version()
    }

    /// How many changes there have been. Grows with every real change, never with a no-op.
    pub fn version(&self) -> usize {
        self.forgotten + self.changes.len()
    }

    /// The changes after the first `version`; `None` where some of them are not told any more.
    fn news(&self, version: usize) -> Option<&[Change]> {
        self.changes.get(version.checked_sub(self.forgotten)?..)
    }

    /// Changes before `version` are not told any more: whoever has not seen them has to list. Of use
    /// where many copies of a run are kept.
    pub fn forget(&mut self, version: usize) {
        let gone = version.min(self.version()).saturating_sub(self.forgotten);
        self.changes.drain(..gone);
        self.forgotten += gone;
        self.base = None;
    }

    /// As [`Kube::forget`], and whoever begins later still sees everything as it came to be: changes are
    /// put together, so that a long run does not hold every version of every object.
    pub fn trim(&mut self, version: usize) {
        if self.forgotten == 0 {
            self.base.get_or_insert_default();
        }
        let gone = version.min(self.version()).saturating_sub(self.forgotten);
        let Some(base) = &mut self.base else { return };
        for change in self.changes.drain(..gone) {
            change.put_into(base);
        }
        self.forgotten += gone;
    }

    /// How many changes are still told.
    pub fn told(&self) -> usize {
        self.changes.len()
    }

    /// Has some object of these kinds changed since `version`?
    pub fn has_news(&self, version: usize, kinds: &[&str]) -> bool {
        let news = self.news(version);
        news.is_none_or(|news| news.iter().any(|c| kinds.contains(&c.key.kind.as_str())))
    }

    /// The versions of objects of a kind that came after `version`, as far as they are still told.
    pub(crate) fn since(&self, version: usize, kind: &str) -> impl Iterator<Item = &Object> {
        let news = self.news(version).unwrap_or_default().iter();
        news.filter(move |change| change.key.kind == kind)
            .filter_map(|change| change.object.as_deref())
    }

    /// Has something changed since `version` that the operator's watches for this cluster tell?
    pub fn concerns(&self, version: usize, cluster: &str) -> bool {
        let news = self.news(version).unwrap_or_default();
        news.iter().any(|change| change.cluster.as_deref().is_none_or(|of| of == cluster))
    }

    /// Puts an object there that nobody created in the course of the run: a machine's node. It
    /// bears its name as uid.
    pub fn place(&mut self, mut object: Value) {
        let key = Key::of(&object);
        set(&mut object, &["metadata", "uid"], Value::String(key.name.clone()));
        self.put(key, object);
    }

    fn put(&mut self, key: Key, mut object: Value) {
        let version = (self.version() + 1).to_string();
        set(&mut object, &["metadata", "resourceVersion"], Value::String(version));
        let object = Arc::new(Object::new(object));
        let kind = match self.objects.get_mut(&key.kind) {
            Some(kind) => kind,
            None => self.objects.entry(key.kind.clone()).or_default(),
        };
        let before = kind.insert(key.name.clone(), Arc::clone(&object));
        let cluster = told(&key, &object, before.as_deref());
        self.changes.push(Change { key, object: Some(object), cluster });
    }

    fn remove(&mut self, key: &Key) {
        let found = self.objects.get_mut(&key.kind).and_then(|kind| kind.remove(&key.name));
        if let Some(object) = found {
            self.applied.retain(|(uid, _), _| uid != object.uid());
            let cluster = told(key, &object, None);
            self.changes.push(Change { key: key.clone(), object: None, cluster });
        }
    }

    /// Changes an object in place, as a controller or kubelet with full rights does. No change is
    /// recorded where nothing changed.
    pub fn edit(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> bool {
        let Some(current) = self.find(&key.kind, &key.name) else { return false };
        let mut object = current.body().clone();
        change(&mut object);
        if json::same(&object, current) {
            return false;
        }
        self.put(key.clone(), object);
        true
    }
}

/// Without the changes that are still told: two runs in which the same happened read the same.
impl fmt::Debug for Kube {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { objects, applied, rigid_classes, full_claims, quota, webhooks, denied, .. } =
            self;
        f.debug_struct("Kube")
            .field("version", &self.version())
            .field("objects", objects)
            .field("applied", applied)
            .field("rigid_classes", rigid_classes)
            .field("full_claims", full_claims)
            .field("quota", quota)
            .field("webhooks", webhooks)
            .field("denied", denied)
            .finish()
    }
}

/// Whose watch is told: a resource's own, or that of the cluster whose label the object bears.
/// Everybody's where that changed, and of nodes.
fn told(key: &Key, object: &Object, before: Option<&Object>) -> Option<String> {
    match key.kind.as_str() {
        "Node" => None,
        "TikvCluster" => Some(key.name.clone()),
        _ if before.is_some_and(|before| before.cluster() != object.cluster()) => None,
        // Nobody's: a name that no cluster can have.
        _ => Some(object.cluster().unwrap_or_default().to_owned()),
    }
}
