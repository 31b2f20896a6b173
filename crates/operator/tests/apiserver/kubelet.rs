//! What a kubelet and a volume provisioner would do to the objects of one namespace.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Which pods may start; tests hold some back.
pub(crate) type MayStart = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Starts all pods of `namespace` that `may_start` allows, every 50 ms, until dropped.
pub(crate) struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Kubelet {
    pub(crate) fn run(client: &Client, namespace: &str, may_start: MayStart) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
        Self(tokio::spawn(async move {
            loop {
                for pod in pods.list(&ListParams::default()).await.unwrap().items {
                    if may_start(pod.metadata.name.as_deref().unwrap()) {
                        tend(&pods, &pod).await;
                    }
                }
                for claim in claims.list(&ListParams::default()).await.unwrap().items {
                    bind(&claims, &claim).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }))
    }
}

async fn tend(pods: &Api<Pod>, pod: &Pod) {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let is = |kind: &str| conditions.iter().any(|c| c.type_ == kind && c.status == "True");
    let spec = pod.spec.as_ref().unwrap();
    let ready = spec.readiness_gates.iter().flatten().all(|gate| is(&gate.condition_type));
    if status.phase.as_deref() == Some("Running") && is("Ready") == ready {
        return;
    }
    let started = pod.metadata.creation_timestamp.as_ref().unwrap();
    let containers: Vec<Value> = spec
        .containers
        .iter()
        .map(|container| {
            json!({ "name": container.name, "image": container.image, "imageID": "x",
                "ready": true, "started": true, "restartCount": 0,
                "state": { "running": { "startedAt": started } } })
        })
        .collect();
    let condition =
        |kind: &str, on: bool| json!({ "type": kind, "status": if on { "True" } else { "False" } });
    let patch = json!({ "status": {
        "phase": "Running",
        "containerStatuses": containers,
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", true),
            condition("ContainersReady", true), condition("Ready", ready),
        ],
    } });
    // It may have been deleted since it was listed.
    let name = pod.metadata.name.as_deref().unwrap();
    let _ = pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
}

async fn bind(claims: &Api<PersistentVolumeClaim>, claim: &PersistentVolumeClaim) {
    let name = claim.metadata.name.as_deref().unwrap();
    if claim.metadata.deletion_timestamp.is_some() {
        // What protects volumes in use would let go of it.
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        let _ = claims.patch(name, &PatchParams::default(), &patch).await;
        return;
    }
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound") {
        return;
    }
    let size = claim
        .spec
        .as_ref()
        .and_then(|s| s.resources.as_ref()?.requests.as_ref()?.get("storage").cloned());
    let patch = json!({ "status": { "phase": "Bound", "capacity": { "storage": size } } });
    let _ = claims.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
}
