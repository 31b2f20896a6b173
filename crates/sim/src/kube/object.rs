//! What does everybody ask of an object, read once per version of it?

use std::fmt;
use std::ops::Deref;

use serde_json::Value;

use super::json::{at, text};

/// One version of an object. Reads as its JSON; what is asked for in every second is read when it is
/// stored, since there are many more looks than changes.
#[derive(Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, each as the object states it.
pub struct Object {
    body: Value,
    name: String,
    uid: String,
    deleting: bool,
    held: bool,
    owners: Vec<String>,
    cluster: Option<String>,
    node: String,
    ready: bool,
    gated: bool,
    claims: Vec<String>,
}

impl Object {
    pub(super) fn new(body: Value) -> Self {
        let list = |pointer| at(&body, pointer).as_array().into_iter().flatten();
        let owners = list("/metadata/ownerReferences").map(|owner| text(owner, "/uid").to_owned());
        let claims = list("/spec/volumes")
            .map(|volume| text(volume, "/persistentVolumeClaim/claimName").to_owned())
            .filter(|name| !name.is_empty());
        let holds = |kind: &str| {
            let mut conditions = list("/status/conditions");
            let condition = conditions.find(|condition| text(condition, "/type") == kind);
            condition.is_some_and(|condition| text(condition, "/status") == "True")
        };
        let mut gates = list("/spec/readinessGates");
        Self {
            name: text(&body, "/metadata/name").to_owned(),
            uid: text(&body, "/metadata/uid").to_owned(),
            deleting: at(&body, "/metadata/deletionTimestamp").is_string(),
            held: list("/metadata/finalizers").next().is_some(),
            owners: owners.collect(),
            cluster: at(&body, "/metadata/labels/tikv.org~1cluster").as_str().map(str::to_owned),
            node: text(&body, "/spec/nodeName").to_owned(),
            ready: holds("Ready"),
            gated: gates.any(|gate| !holds(text(gate, "/conditionType"))),
            claims: claims.collect(),
            body,
        }
    }

    /// The JSON.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// It is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// Some finalizer holds it.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Uids of its owners.
    pub fn owners(&self) -> &[String] {
        &self.owners
    }

    /// The cluster whose label it carries.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// The node that a pod is bound to; empty where it is to none.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Condition `Ready` is true.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Some readiness gate of the pod is not true.
    pub fn is_gated(&self) -> bool {
        self.gated
    }

    /// The names of the claims that a pod mounts.
    pub fn claims(&self) -> &[String] {
        &self.claims
    }
}

impl Deref for Object {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.body
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}

/// `metadata.name`.
pub fn name_of(object: &Object) -> &str {
    object.name()
}

/// `metadata.uid`.
pub fn uid_of(object: &Object) -> &str {
    object.uid()
}

/// It is being deleted.
pub fn is_deleting(object: &Object) -> bool {
    object.is_deleting()
}
