//! How is the readiness gate written?

use serde_json::{Value, json};
use tikv_operator_api::labels::STORE_UP_GATE;
use tikv_operator_core::world::{Uid, World};

/// A patch of the pod's status that sets the gate. The uid refuses a pod made again under the same
/// name.
pub(super) fn store_up(world: &World, pod: &str, uid: &Uid, up: bool) -> Value {
    let (status, reason, message) = if up {
        ("True", "StoreUp", "the store is Up in PD")
    } else {
        ("False", "StoreNotUp", "the store is not Up in PD")
    };
    json!({
        "metadata": { "name": pod, "uid": uid },
        "status": { "conditions": [{
            "type": STORE_UP_GATE, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": format!("{:.0}", world.now),
        }] },
    })
}
