//! Which node does a pod get, and when do its claims get disks?

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Disk, Nodes, Run, Stage};
use crate::beliefs;
use crate::clock;
use crate::dice::Dice;
use crate::kube::{Key, Kube, Object, at, is_deleting, labels, name_of, set, text, uid_of};

impl Nodes {
    /// Gives pods without a node one, or says why not.
    pub(super) fn schedule(&mut self, kube: &mut Kube, now: u64, dice: &mut Dice) {
        let waiting: Vec<Arc<Object>> = kube
            .list_shared("Pod")
            .filter(|pod| pod.node().is_empty() && !pod.is_deleting())
            .cloned()
            .collect();
        for pod in waiting {
            let name = name_of(&pod);
            if self.late.contains_key(name) {
                continue;
            }
            let key = Key::new("Pod", name);
            match self.place(&pod, kube, dice) {
                Ok(node) => {
                    kube.edit(&key, |pod| {
                        set(pod, &["spec", "nodeName"], json!(node));
                        set(pod, &["status", "phase"], json!("Pending"));
                        let scheduled = json!([{"type": "PodScheduled", "status": "True"}]);
                        set(pod, &["status", "conditions"], scheduled);
                    });
                    let (low, high) = beliefs::VOLUME_TAKES.value;
                    let until = now + dice.between(low, high);
                    self.runs.insert(uid_of(&pod).to_owned(), Run::new(key, node, until));
                }
                Err(words) => {
                    kube.edit(&key, |pod| {
                        set(pod, &["status", "phase"], json!("Pending"));
                        let condition = json!([{
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": words,
                        }]);
                        set(pod, &["status", "conditions"], condition);
                    });
                }
            }
        }
    }

    /// The node where the pod's disks are, else the one with the fewest pods.
    fn place(&self, pod: &Object, kube: &Kube, dice: &mut Dice) -> Result<String, String> {
        let mut pinned = None;
        for claim in pod.claims() {
            let found = kube.get("PersistentVolumeClaim", claim);
            let Some(found) = found.filter(|claim| !is_deleting(claim)) else {
                return Err(format!("persistentvolumeclaim \"{claim}\" not found"));
            };
            if text(found, "/status/phase") == "Lost" {
                return Err(format!(
                    "persistentvolumeclaim \"{claim}\" bound to non-existent volume"
                ));
            }
            pinned = pinned.or_else(|| self.disks.get(uid_of(found)).map(|d| d.node.clone()));
        }
        let up = |node: &str| {
            let open = |found: &Object| {
                at(found, "/spec/unschedulable").as_bool() != Some(true)
                    && text(found, "/status/conditions/0/status") == "True"
            };
            let fits = |found: &Object| open(found) && is_selected(pod, found);
            let known = kube.get("Node", node).is_some_and(fits);
            known && self.machines.get(node).is_some_and(super::Node::is_heard)
        };
        if let Some(node) = pinned {
            let nodes = self.machines.len();
            // The scheduler's words: the others cannot reach the volume.
            let stranded = || {
                let others = nodes - 1;
                format!(
                    "0/{nodes} nodes are available: 1 node(s) had untolerated taint(s), {others} \
                     node(s) didn't match PersistentVolume's node affinity"
                )
            };
            return if up(&node) { Ok(node) } else { Err(stranded()) };
        }
        // Members of one component spread first ([`beliefs::PODS_SPREAD`]).
        let component = |pod: &Object| {
            let part = text(pod, "/metadata/labels/app.kubernetes.io~1component").to_owned();
            (part, pod.cluster().map(str::to_owned))
        };
        let own = component(pod);
        let pods_on = |node: &str| {
            let pods = || kube.list("Pod").filter(|pod| pod.node() == node);
            (pods().filter(|pod| component(pod) == own).count(), pods().count())
        };
        let nodes: Vec<&String> = self.machines.keys().filter(|node| up(node)).collect();
        let fewest = nodes.iter().map(|node| pods_on(node)).min();
        let best: Vec<&String> =
            nodes.into_iter().filter(|node| Some(pods_on(node)) == fewest).collect();
        let best = dice.pick(&best).ok_or_else(|| "0 nodes are available".to_owned())?;
        Ok((*best).clone())
    }

    /// Provisions what a pod's claims still lack, on the pod's node.
    pub(super) fn attach(&mut self, pod: &Object, node: &str, kube: &mut Kube) {
        for claim in pod.claims() {
            let Some(found) = kube.get("PersistentVolumeClaim", claim) else { continue };
            let uid = uid_of(found).to_owned();
            if self.disks.contains_key(&uid) {
                continue;
            }
            self.next_disk += 1;
            let id = self.next_disk;
            let disk = Disk { id, node: node.to_owned(), claim: claim.clone() };
            self.disks.insert(uid, disk);
            let size = at(found, "/spec/resources/requests/storage").clone();
            kube.edit(&Key::new("PersistentVolumeClaim", claim), |claim| {
                set(claim, &["spec", "volumeName"], json!(format!("pv-{id}")));
                set(claim, &["status", "phase"], json!("Bound"));
                set(claim, &["status", "capacity", "storage"], size);
            });
        }
    }
}

/// The node has all labels that the pod asks for ([`beliefs::SELECTED_NODES`]).
fn is_selected(pod: &Object, node: &Object) -> bool {
    let mut asked = at(pod, "/spec/nodeSelector").as_object().into_iter().flatten();
    let has = labels(node);
    asked.all(|(key, value)| has.and_then(|labels| labels.get(key)) == Some(value))
}

impl Run {
    fn new(pod: Key, node: String, until: u64) -> Self {
        Self {
            pod,
            node,
            stage: Stage::Attaching { until },
            mounted: std::collections::BTreeMap::new(),
            refresh_at: None,
            lost_at: None,
            started: 0,
            ended: None,
            restarts: 0,
            shown: None,
            looked_at: None,
        }
    }
}

/// A bound claim whose request was raised gets its new size ([`beliefs::CLAIMS_GROW`]).
pub(super) fn grow_claims(kube: &mut Kube) {
    let asked = |claim: &&Object| {
        let (has, wants) = (at(claim, "/status/capacity/storage"), at(claim, REQUEST));
        text(claim, "/status/phase") == "Bound" && has != wants
    };
    let due: Vec<(Key, Value)> = kube
        .list("PersistentVolumeClaim")
        .filter(asked)
        .map(|claim| (key_of(claim), at(claim, REQUEST).clone()))
        .collect();
    for (key, size) in due {
        kube.edit(&key, |claim| set(claim, &["status", "capacity", "storage"], size));
    }
}

fn key_of(claim: &Object) -> Key {
    Key::new("PersistentVolumeClaim", claim.name())
}

const REQUEST: &str = "/spec/resources/requests/storage";

/// New claims have a phase as soon as Kubernetes has seen them.
pub(super) fn show_pending_claims(kube: &mut Kube) {
    let fresh: Vec<Key> = kube
        .list("PersistentVolumeClaim")
        .filter(|claim| text(claim, "/status/phase").is_empty())
        .map(key_of)
        .collect();
    for key in fresh {
        kube.edit(&key, |claim| set(claim, &["status", "phase"], json!("Pending")));
    }
}

/// How long a machine that is off keeps its pods' last status before they read not ready.
pub(super) const NODE_GRACE: u64 = 40 * clock::SECOND;
