//! Was an upgrade held by the tasks that are to run before it?

use serde_json::{Value, json};

use super::Auditor;
use super::removal::note;
use crate::kube::{Object, at, is_deleting, text};
use crate::operator::Write;
use crate::universe::Universe;

const GATE: &str = "design 6: nothing that serves is restarted for an image before its gate opens";

impl Auditor {
    /// A pod that serves was taken down, and the next one will run another version.
    pub(super) fn judge_gates(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let Some(pod) = write.before.as_deref() else { return };
        let version = text(resource, "/spec/version");
        if text(pod, "/spec/containers/0/image").ends_with(&format!(":{version}")) {
            return;
        }
        let id = text(resource, "/status/upgrade/id");
        if !id.is_empty() && note(resource, "skip-gate") == id {
            return;
        }
        let mut gates = universe.kube.list("TikvTask").filter(|task| is_gate(task, cluster));
        if let Some(gate) = gates.find(|task| !is_open(task, cluster, id)) {
            let name = text(gate, "/metadata/name").to_owned();
            self.find(GATE, format!("{} before {name} said so", write.key));
        }
    }
}

fn is_gate(task: &Object, cluster: &str) -> bool {
    let asks = |event: &Value| *event == json!("UpgradeStarting");
    text(task, "/spec/cluster") == cluster
        && text(task, "/spec/gate") == "before"
        && at(task, "/spec/suspend").as_bool() != Some(true)
        && at(task, "/spec/events").as_array().is_some_and(|events| events.iter().any(asks))
        && !is_deleting(task)
}

/// It has run well for the upgrade of this id.
fn is_open(task: &Object, cluster: &str, id: &str) -> bool {
    let mut seen = at(task, "/status/clusters").as_array().into_iter().flatten();
    seen.any(|seen| {
        text(seen, "/name") == cluster
            && text(seen, "/gate/id") == id
            && matches!(text(seen, "/gate/outcome"), "Succeeded" | "Skipped")
    })
}
