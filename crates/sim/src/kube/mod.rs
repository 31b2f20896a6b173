//! What does the API server do with a request?
//!
//! Objects are JSON under kind and name, in one namespace. Identity (`uid`), optimistic locking
//! (`resourceVersion`), preconditions, finalizers and owner references behave as
//! [`crate::beliefs`] says they do. Nothing here knows what the objects mean.

mod admission;
mod cache;
mod json;
mod merge;
mod sweep;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use cache::Cache;
pub use json::{at, finalizers, is_deleting, labels, name_of, owners, set, text, uid_of};
use serde_json::Value;
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
        Self::new(text(object, "/kind"), name_of(object))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// A request that the API server did not grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status: 404, 409, 422.
    pub code: u16,
    /// What the server says.
    pub message: String,
}

impl Refusal {
    fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// One change of one object, as a watch would tell it.
#[derive(Clone, Debug)]
struct Change {
    key: Key,
    /// `None`: the object is gone.
    object: Option<Arc<Value>>,
}

/// The API server with its store.
#[derive(Clone, Debug, Default)]
pub struct Kube {
    objects: BTreeMap<Key, Arc<Value>>,
    changes: Vec<Change>,
    /// What the operator applied last, by uid: server-side apply takes away what is left out, but
    /// not what a create put there ([`crate::beliefs::CREATE_IS_NOT_APPLIED`]).
    applied: BTreeMap<(String, Subresource), Value>,
    /// Storage classes that do not allow expansion.
    pub rigid_classes: BTreeSet<String>,
    /// A ResourceQuota: most pods that may exist ([`crate::beliefs::QUOTA_REFUSES`]).
    pub quota: Option<usize>,
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
    pub fn get(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.get(&Key::new(kind, name)).map(Arc::as_ref)
    }

    /// The object as it is now, shared.
    pub fn shared(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    /// All objects of a kind, by name.
    pub fn list<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |(key, _)| key.kind == kind).map(|(_, o)| o.as_ref())
    }

    /// Every object.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// The object that bears this uid.
    pub fn by_uid(&self, uid: &str) -> Option<&Value> {
        self.objects.values().map(Arc::as_ref).find(|object| uid_of(object) == uid)
    }

    /// How many changes there have been. Grows with every real change, never with a no-op.
    pub fn version(&self) -> usize {
        self.changes.len()
    }

    /// Puts an object there that nobody created in the course of the run: a machine's node. It
    /// bears its name as uid.
    pub fn place(&mut self, mut object: Value) {
        let name = Value::String(name_of(&object).to_owned());
        set(&mut object, &["metadata", "uid"], name);
        self.put(Key::of(&object), object);
    }

    fn put(&mut self, key: Key, mut object: Value) {
        let version = (self.changes.len() + 1).to_string();
        set(&mut object, &["metadata", "resourceVersion"], Value::String(version));
        let object = Arc::new(object);
        self.objects.insert(key.clone(), Arc::clone(&object));
        self.changes.push(Change { key, object: Some(object) });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(object) = self.objects.remove(key) {
            self.applied.retain(|(uid, _), _| uid != uid_of(&object));
            self.changes.push(Change { key: key.clone(), object: None });
        }
    }

    /// Changes an object in place, as a controller or kubelet with full rights does. No change is
    /// recorded where nothing changed.
    pub fn edit(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> bool {
        let Some(current) = self.objects.get(key) else { return false };
        let mut object = current.as_ref().clone();
        change(&mut object);
        if object == **current {
            return false;
        }
        self.put(key.clone(), object);
        true
    }
}
