//! What is a piece of furniture like?

use std::sync::Arc;

use serde_json::Value;

use super::text;
use crate::world::ObjectFacts;

/// Facts about a Service, `ConfigMap` or `PodDisruptionBudget`; `None` for what was never stored.
pub fn object_facts(body: &Value) -> Option<ObjectFacts> {
    let (uid, deleting) = (text::uid(body)?, text::deleting(body));
    Some(ObjectFacts { uid, body: Arc::new(body.clone()), deleting })
}
