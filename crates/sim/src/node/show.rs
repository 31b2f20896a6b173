//! What does kubelet write into a pod's status?

use serde_json::{Value, json};

use crate::clock;
use crate::kube::{Key, Kube, set, text};

/// What a pod's status is made from. Written only when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Start of the container that runs, in milliseconds.
    pub(super) running: Option<u64>,
    /// Its readiness probe passes.
    pub(super) ready: bool,
    /// Why it waits: reason and message.
    pub(super) waiting: Option<(&'static str, String)>,
    /// Restarts.
    pub(super) restarts: u32,
    /// What else makes a pod Ready: all readiness gates are true, and its node was heard lately.
    /// Otherwise the node controller takes `Ready` away, and leaves what was said of its containers.
    pub(super) rest: bool,
    /// It has run before in this pod.
    pub(super) has_run: bool,
}

/// Writes the status.
pub(super) fn write(kube: &mut Kube, key: &Key, container: &str, shown: &Shown) {
    kube.edit(key, |pod| {
        let phase = if shown.running.is_some() || shown.has_run { "Running" } else { "Pending" };
        set(pod, &["status", "phase"], json!(phase));
        let state = match (&shown.running, &shown.waiting) {
            (Some(since), _) => json!({"running": {"startedAt": clock::rfc3339(*since)}}),
            (None, Some((reason, message))) => {
                json!({"waiting": {"reason": reason, "message": message}})
            }
            (None, None) => json!({"waiting": {"reason": "ContainerCreating"}}),
        };
        let ended = (shown.restarts > 0 || shown.running.is_none()) && shown.has_run;
        let last = if ended { json!({"terminated": {"exitCode": 1}}) } else { json!({}) };
        let status = json!([{
            "name": container,
            "ready": shown.ready,
            "started": shown.running.is_some(),
            "restartCount": shown.restarts,
            "state": state,
            "lastState": last,
        }]);
        set(pod, &["status", "containerStatuses"], status);
        let mut conditions = taken(pod);
        for (kind, holds) in [
            ("Initialized", true),
            ("ContainersReady", shown.ready),
            ("Ready", shown.ready && shown.rest),
        ] {
            set_condition(&mut conditions, kind, holds);
        }
        set(pod, &["status", "conditions"], Value::Array(conditions));
    });
}

/// The conditions, out of the pod.
fn taken(pod: &mut Value) -> Vec<Value> {
    let conditions = pod.pointer_mut("/status/conditions").map(Value::take);
    match conditions {
        Some(Value::Array(conditions)) => conditions,
        Some(_) | None => Vec::new(),
    }
}

fn set_condition(conditions: &mut Vec<Value>, kind: &str, holds: bool) {
    let new = json!({"type": kind, "status": if holds { "True" } else { "False" }});
    match conditions.iter_mut().find(|c| text(c, "/type") == kind) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}
