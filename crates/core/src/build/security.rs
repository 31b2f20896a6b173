//! With which rights do the servers run?
//!
//! "Restricted" of the Pod Security Standards, by default: PD and TiKV need no more.

use serde_json::{Map, Value, json};

use super::overlay;

/// User and group of the processes, and of the files on the volumes.
const NOBODY_SPECIAL: i64 = 1000;

/// The pod's security context, with the user's merged over it.
///
/// `OnRootMismatch`: changing the owner of millions of files on each start would take minutes.
pub(super) fn of_pod(wanted: &Map<String, Value>) -> Value {
    let default = json!({
        "runAsNonRoot": true,
        "runAsUser": NOBODY_SPECIAL,
        "runAsGroup": NOBODY_SPECIAL,
        "fsGroup": NOBODY_SPECIAL,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    overlay::merge(default, &Value::Object(wanted.clone()))
}

/// Our container's security context, with the user's merged over it.
pub(super) fn of_container(wanted: &Map<String, Value>) -> Value {
    let default = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    });
    overlay::merge(default, &Value::Object(wanted.clone()))
}
