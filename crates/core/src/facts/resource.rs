//! What is the resource like, apart from its spec?

use serde::Deserialize as _;
use serde_json::Value;
use tikv_operator_api::{TikvClusterStatus, conditions, labels};

use super::text::{self, list, text, time};
use crate::world::ResourceFacts;

/// By which Kubernetes' garbage collector holds an owner until its children name it no more.
const ORPHAN: &str = "orphan";

/// Facts about the resource as stored; `finalizer` is the name of the operator's own.
///
/// The spec is not looked at, so that a spec that cannot be read can still be reported. `None`
/// without name or uid, or where the status is not one: a status that was misread as empty would
/// be written back without the record of the bootstrap.
pub fn resource_facts(body: &Value, finalizer: &str) -> Option<ResourceFacts> {
    let mut status = match body.get("status") {
        None | Some(Value::Null) => TikvClusterStatus::default(),
        Some(status) => TikvClusterStatus::deserialize(status).ok()?,
    };
    // Conditions of others stay theirs. A report does not have them, and would differ for ever.
    status.conditions.retain(|condition| conditions::TYPES.contains(&condition.type_.as_str()));
    let has = |name: &str| list(body, "/metadata/finalizers").any(|f| f.as_str() == Some(name));
    Some(ResourceFacts {
        name: text(body, "/metadata/name")?.to_owned(),
        uid: text::uid(body)?,
        generation: body.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0),
        deleting_since: time(body, "/metadata/deletionTimestamp"),
        finalizer: has(finalizer),
        orphans: has(ORPHAN),
        skip_gate: text::texts(body, "/metadata/annotations").remove(labels::SKIP_GATE),
        status,
    })
}
