//! What is first planned for a cluster that TiDB Operator v1 made, after the steps of
//! `docs/adoption.md`? Whole runs are the scripts `adopt_*.txt` of the simulator.
//!
//! Objects in the shape that TiDB Operator v1.6 gives them (`pkg/label`, `pkg/manager/member`), with
//! the labels, annotations and owner that the procedure adds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::facts::{Belongings, Owner};
use crate::fixture;
use crate::world::{Component, Kind, Slot, Uid, World};

/// Labels that TiDB Operator wrote, under those that the procedure writes over them.
fn labels(slot: Slot) -> Value {
    let mut labels = json!({
        "app.kubernetes.io/component": slot.component.as_str(),
        "app.kubernetes.io/instance": "c",
        "app.kubernetes.io/managed-by": "tikv-operator",
        "app.kubernetes.io/name": "tikv",
        "tidb.pingcap.com/cluster-id": fixture::ID.to_string(),
        "tikv.org/cluster": "c",
        "tikv.org/ordinal": slot.ordinal.to_string(),
    });
    if slot.component == Component::Pd {
        labels["tikv.org/serving"] = json!("true");
    }
    labels
}

fn claim(slot: Slot) -> Value {
    json!({
        "metadata": {
            "name": slot.claim_name("c"), "uid": format!("claim-{slot}"), "labels": labels(slot),
            "annotations": {
                "tidb.pingcap.com/pod-name": slot.pod_name("c"),
                "tikv.org/cluster-id": fixture::ID.to_string(),
            },
        },
        "spec": {"resources": {"requests": {"storage": "100Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "100Gi"}},
    })
}

fn pod(slot: Slot) -> Value {
    let name = slot.component.as_str();
    json!({
        "metadata": {
            "name": slot.pod_name("c"), "uid": format!("pod-{slot}"), "labels": labels(slot),
            "creationTimestamp": "2020-11-22T12:00:00Z",
            "ownerReferences": [{
                "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster", "name": "c",
                "uid": fixture::UID, "controller": true,
            }],
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": name, "command": ["/bin/sh", "/usr/local/bin/start.sh"]}],
            "volumes": [{"name": "config", "configMap": {"name": format!("c-{name}-3765336")}}],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"},
            ],
            "containerStatuses": [
                {"name": name, "state": {"running": {"startedAt": "2020-11-22T12:00:00Z"}}},
            ],
        },
    })
}

/// The adopted cluster as it is first looked at: no status, no furniture of ours.
fn adopted(cluster: &Cluster) -> World {
    let mut world = fixture::settled(cluster);
    world.resource.status = tikv_operator_api::v1alpha1::TikvClusterStatus::default();
    world.objects = BTreeMap::new();
    let mut found = Belongings::default();
    let uid = Uid(fixture::UID.into());
    let owner = Owner { name: "c", uid: &uid };
    let slots: Vec<Slot> = world.pods.keys().copied().collect();
    for slot in slots {
        found.take(owner, Kind::Pod, &pod(slot));
        found.take(owner, Kind::PersistentVolumeClaim, &claim(slot));
    }
    assert_eq!(found.strangers, BTreeMap::new());
    (world.pods, world.volumes) = (found.pods, found.volumes);
    world
}

#[test]
fn an_adopted_cluster_is_known_and_nothing_of_it_is_made_anew_or_thrown_away() {
    let cluster = fixture::cluster(json!({}));
    let world = adopted(&cluster);
    let plan = plan(&cluster, &world);
    assert_eq!(Scene::new(&cluster, &world).identity, Identity::Known(fixture::ID));
    for step in &plan.steps {
        let harmless = match step {
            Step::Create(object) => {
                !matches!(object.key.kind, Kind::Pod | Kind::PersistentVolumeClaim)
            }
            Step::RecordBootstrap(_)
            | Step::DeleteVolume { .. }
            | Step::OfflineStore { .. }
            | Step::RemovePdMember { .. } => false,
            Step::AddFinalizer
            | Step::ReleaseFinalizer
            | Step::RecordClusterId(_)
            | Step::TryPod { .. }
            | Step::Apply { .. }
            | Step::Prune { .. }
            | Step::MarkVolume { .. }
            | Step::Mark { .. }
            | Step::SetStoreUp { .. }
            | Step::DeletePod { .. }
            | Step::ResizeVolume { .. }
            | Step::EvictLeaders { .. }
            | Step::StopEvicting { .. }
            | Step::KeepStore { .. }
            | Step::TransferPdLeader { .. }
            | Step::SetPdConfig { .. }
            | Step::SetStoreConfig { .. }
            | Step::SetStoreLabels { .. }
            | Step::LockMaintenance { .. }
            | Step::UnlockMaintenance { .. } => true,
        };
        assert!(harmless, "{step:?}");
    }
    let disruptive = plan.steps.iter().filter(|step| step.is_disruptive()).count();
    assert!(disruptive <= 1, "{:?}", plan.steps);
}

/// Without the owner that the procedure writes, a pod is a stranger's and stays untouched.
#[test]
fn nothing_is_adopted_silently() {
    let uid = Uid(fixture::UID.into());
    let mut found = Belongings::default();
    let mut body = pod(Slot::tikv(0));
    body["metadata"]["ownerReferences"] = json!([]);
    found.take(Owner { name: "c", uid: &uid }, Kind::Pod, &body);
    assert!(found.pods.is_empty());
    assert_eq!(found.strangers.len(), 1);
}
