//! Was something taken for proof that is none?

use super::Auditor;
use super::removal::note;
use crate::kube::{Object, at, is_deleting, name_of, text};
use crate::node::OUT_OF_SERVICE;
use crate::pd::Store;
use crate::universe::Universe;

const FENCE: &str = "F40 no pod is made where an earlier process may still write";
const BLAME: &str = "F36 what crashes of its spec is not replaced";

impl Auditor {
    /// A pod is made on a claim that was last used on a machine which nobody hears and nobody
    /// vouches for.
    pub(super) fn judge_fence(&mut self, universe: &Universe, pod: &Object, claim: &Object) {
        let last = note(claim, "node");
        if last.is_empty() {
            return;
        }
        let Some(node) = universe.kube.get("Node", last) else {
            let what = format!("{} after {last} was deleted", name_of(pod));
            return self.find(FENCE, what);
        };
        let conditions = at(node, "/status/conditions").as_array().into_iter().flatten();
        let ready = conditions.into_iter().any(|condition| {
            text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
        });
        let taints = at(node, "/spec/taints").as_array().into_iter().flatten();
        let off = taints.into_iter().any(|taint| text(taint, "/key") == OUT_OF_SERVICE);
        if !ready && !off {
            self.find(FENCE, format!("{} while {last} is not heard", name_of(pod)));
        }
    }

    /// A store whose process never came up in its present pod, on a machine that is there, is not
    /// lost unless others run with the same configuration.
    pub(super) fn judge_blame(&mut self, universe: &Universe, store: &Store, what: &str) {
        let name = super::loss::pod_of(store);
        let Some(pod) = universe.kube.get("Pod", name).filter(|pod| !is_deleting(pod)) else {
            return;
        };
        let node = universe.nodes.machines.get(text(pod, "/spec/nodeName"));
        let crashes = text(pod, "/status/phase") == "Running" && !is_ready(pod);
        if !crashes || node.is_none_or(|machine| !machine.up) || kept_nothing(universe, name) {
            return;
        }
        let created = text(pod, "/metadata/creationTimestamp").to_owned();
        let heard = store.heartbeat.map(crate::clock::rfc3339).unwrap_or_default();
        let well = universe.kube.list("Pod").any(|other| {
            name_of(other).contains("-tikv-")
                && is_ready(other)
                && mounted(other) == mounted(pod)
                && note(other, "revision") == note(pod, "revision")
        });
        if heard <= created && !well {
            self.find(BLAME, what.to_owned());
        }
    }
}

fn kept_nothing(universe: &Universe, pod: &str) -> bool {
    let disk = universe.nodes.disk_of_claim(&format!("tikv-{pod}"));
    disk.is_none_or(|disk| !universe.tikv.disks.contains_key(&disk.id))
}

fn is_ready(pod: &Object) -> bool {
    at(pod, "/status/containerStatuses/0/ready").as_bool() == Some(true)
}

/// The configuration that a pod mounts.
fn mounted(pod: &Object) -> Vec<&str> {
    let volumes = at(pod, "/spec/volumes").as_array().into_iter().flatten();
    volumes.map(|volume| text(volume, "/configMap/name")).filter(|name| !name.is_empty()).collect()
}
