//! How are Kubernetes objects named and carried through the pure code?
//!
//! Bodies are JSON, not typed structs: a pod overlay may hold fields that are newer than our types.

use std::fmt;
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::Value;

use super::Uid;

/// The kinds of object that the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Service.
    Service,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `policy/v1` PodDisruptionBudget.
    PodDisruptionBudget,
    /// `v1` PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// `v1` Pod.
    Pod,
}

impl Kind {
    /// The name of the kind as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::ConfigMap => "ConfigMap",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::Pod => "Pod",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Kind and name of an object in the cluster's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// An object as a builder made it: complete, ready to be created or applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Kind and name.
    pub key: ObjectKey,
    /// The whole manifest, `apiVersion` and `kind` included.
    pub body: Value,
}

/// What this operator process has applied to one object of late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The hash that the manifest carries.
    pub hash: String,
    /// How often in a row it was that manifest.
    pub times: u32,
    /// How long ago it was for the last time.
    pub ago: SignedDuration,
}

/// A piece of furniture as it exists.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectFacts {
    /// Its identity.
    pub uid: Uid,
    /// What is compared with the wanted object: `metadata.labels`, `metadata.annotations`,
    /// `metadata.ownerReferences`, `spec`, `data`. Other parts may be trimmed away. Shared: it is
    /// the same from pass to pass.
    pub body: Arc<Value>,
    /// It is being deleted.
    pub deleting: bool,
}
