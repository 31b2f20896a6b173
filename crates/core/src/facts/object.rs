//! What is a piece of furniture like?

use serde_json::Value;

use super::text;
use crate::world::ObjectFacts;

/// Facts about a Service, `ConfigMap` or `PodDisruptionBudget`; `None` for what was never stored.
pub fn object_facts(body: &Value) -> Option<ObjectFacts> {
    Some(ObjectFacts { uid: text::uid(body)?, body: body.clone(), deleting: text::deleting(body) })
}
