//! What does Kubernetes do about a machine that is silent, cordoned, drained or gone?

use serde_json::json;

use super::{Node, Nodes, OUT_OF_SERVICE};
use crate::beliefs;
use crate::clock;
use crate::kube::{Key, Kube, Object, at, is_deleting, name_of, set, text, uid_of};

impl Nodes {
    /// The node objects of machines, as their kubelets make them.
    pub fn register(&self, kube: &mut Kube) {
        for name in self.machines.keys() {
            kube.place(json!({
                "kind": "Node",
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                "spec": {},
                "status": {"conditions": [{
                    "type": "Ready", "status": "True", "lastTransitionTime": clock::rfc3339(0),
                }]},
            }));
        }
    }

    /// The node controllers' view of every machine, and what follows for its pods.
    ///
    /// Where nothing has changed there is nothing to see on machines that run.
    pub(super) fn follow_machines(&mut self, kube: &mut Kube, now: u64, changed: bool) {
        let due = now.is_multiple_of(beliefs::DRAIN_TRIES_EVERY.value);
        if due && !self.draining.is_empty() {
            self.drain(kube);
        }
        if !changed && self.machines.values().all(Node::is_heard) {
            return;
        }
        let mut unreachable = Vec::new();
        for (name, machine) in &mut self.machines {
            if machine.is_heard() {
                machine.silent_since = None;
                show_ready(kube, name, "True", now);
                continue;
            }
            let silent = now.saturating_sub(*machine.silent_since.get_or_insert(now));
            if silent >= super::schedule::NODE_GRACE {
                show_ready(kube, name, "Unknown", now);
            }
            if silent >= super::schedule::NODE_GRACE + beliefs::UNREACHABLE_TOLERATED.value {
                unreachable.push(name.clone());
            }
        }
        for node in unreachable {
            // beliefs::LOST_PODS_STAY: they are marked, and nobody confirms.
            for key in pods_on(kube, &node) {
                let _ = kube.delete(&key, None);
            }
        }
        self.collect_lost_pods(kube);
    }

    /// Pods of a node object that is gone, or of a machine that someone vouches is off, are taken
    /// away without its kubelet.
    fn collect_lost_pods(&mut self, kube: &mut Kube) {
        let lost = |kube: &Kube, node: &str| match kube.get("Node", node) {
            None => true,
            Some(found) => {
                let taints = at(found, "/spec/taints").as_array().into_iter().flatten();
                taints.into_iter().any(|taint| text(taint, "/key") == OUT_OF_SERVICE)
            }
        };
        let off = self.machines.iter().filter(|(name, m)| !m.up && lost(kube, name));
        let names: Vec<String> = off.map(|(name, _)| name.clone()).collect();
        for node in names {
            for key in pods_on(kube, &node) {
                if let Some(uid) = kube.get("Pod", &key.name).map(|pod| uid_of(pod).to_owned()) {
                    self.runs.remove(&uid);
                }
                kube.vanish(&key);
            }
        }
    }

    fn drain(&self, kube: &mut Kube) {
        for node in &self.draining {
            for key in pods_on(kube, node) {
                let going = kube.get("Pod", &key.name).is_none_or(is_deleting);
                if !going {
                    let _ = kube.evict(&key.name);
                }
            }
        }
    }
}

fn show_ready(kube: &mut Kube, node: &str, status: &str, now: u64) {
    let key = Key::new("Node", node);
    let is = |node: &Object| text(node, "/status/conditions/0/status") == status;
    if kube.get("Node", node).is_none_or(is) {
        return;
    }
    kube.edit(&key, |node| {
        let since = clock::rfc3339(now);
        let ready = json!([{"type": "Ready", "status": status, "lastTransitionTime": since}]);
        set(node, &["status", "conditions"], ready);
    });
}

fn pods_on(kube: &Kube, node: &str) -> Vec<Key> {
    let pods = kube.list("Pod").filter(|pod| pod.node() == node);
    pods.map(|pod| Key::new("Pod", name_of(pod))).collect()
}
