//! What does kubelet write into a pod's status?

use serde_json::{Value, json};

use crate::clock;
use crate::kube::{Key, Kube, at, set, text};

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
    /// All readiness gates are true.
    pub(super) gates: bool,
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
        for (kind, holds) in [
            ("Initialized", true),
            ("ContainersReady", shown.ready),
            ("Ready", shown.ready && shown.gates),
        ] {
            set_condition(pod, kind, holds);
        }
    });
}

fn set_condition(pod: &mut Value, kind: &str, holds: bool) {
    let mut conditions = at(pod, "/status/conditions").as_array().cloned().unwrap_or_default();
    let new = json!({"type": kind, "status": if holds { "True" } else { "False" }});
    match conditions.iter_mut().find(|c| text(c, "/type") == kind) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
    set(pod, &["status", "conditions"], Value::Array(conditions));
}
