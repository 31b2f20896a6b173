//! Objects as a real API server stores them, and what they say.

use serde_json::{Value, json};

use super::*;
use crate::world::{Component, Kind, ObjectKey, PodPhase, Slot, Uid};

fn uid() -> Uid {
    Uid("owner-1".to_owned())
}

fn owner(uid: &Uid) -> Owner<'_> {
    Owner { name: "a", uid }
}

fn owned(mut body: Value, by: &str) -> Value {
    body["metadata"]["ownerReferences"] = json!([
        {"kind": "Other", "name": "x", "uid": "not-a-controller", "controller": false},
        {"apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster", "name": "a", "uid": by, "controller": true},
    ]);
    body
}

fn running_pod() -> Value {
    json!({
        "metadata": {
            "name": "a-tikv-0", "namespace": "ns", "uid": "p-1",
            "creationTimestamp": "2026-11-22T22:00:00Z",
            "labels": {"tikv.org/cluster": "a"},
            "annotations": {"tikv.org/revision": "r1", "theirs": "x"},
            "managedFields": [{"manager": "x"}],
        },
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "sidecar", "image": "s", "volumeMounts": [{"name": "other", "mountPath": "/etc/tikv"}]},
                {"name": "tikv", "image": "i", "volumeMounts": [
                    {"name": "data", "mountPath": "/var/lib/tikv"},
                    {"name": "config", "mountPath": "/etc/tikv", "readOnly": true},
                ]},
            ],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "tikv-a-tikv-0"}},
                {"name": "other", "configMap": {"name": "users-own"}},
                {"name": "config", "configMap": {"name": "a-tikv-12ab", "defaultMode": 420}},
            ],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "ContainersReady", "status": "True"},
                {"type": "Ready", "status": "False"},
                {"type": "tikv.org/store-up", "status": "False"},
                {"type": "PodScheduled", "status": "True"},
            ],
            "containerStatuses": [
                {"name": "sidecar", "restartCount": 7, "state": {"running": {"startedAt": "2026-11-22T21:00:00Z"}}},
                {"name": "tikv", "restartCount": 2, "started": true, "image": "i",
                 "state": {"running": {"startedAt": "2026-11-22T22:00:05Z"}},
                 "lastState": {"terminated": {"exitCode": 1}}},
            ],
        },
    })
}

#[test]
fn a_running_pod() {
    let facts = pod_facts(Component::Tikv, &running_pod()).unwrap();
    assert_eq!(facts.uid, Uid("p-1".to_owned()));
    assert_eq!(facts.revision.unwrap().0, "r1");
    assert_eq!(facts.phase, PodPhase::Running);
    assert!(facts.containers_ready && !facts.ready && facts.has_run);
    assert_eq!(facts.store_up_gate, Some(false));
    assert_eq!(facts.node.as_deref(), Some("n1"));
    assert_eq!(facts.started.unwrap().to_string(), "2026-11-22T22:00:05Z");
    assert_eq!(facts.restarts, 2);
    assert_eq!(facts.config_map.as_deref(), Some("a-tikv-12ab"));
    assert_eq!(facts.annotations.len(), 1);
    assert_eq!(facts.trouble, None);
}

#[test]
fn a_pod_that_nobody_looked_at_yet_is_pending_and_holds_nothing_up() {
    let body = json!({"metadata": {"name": "a-pd-0", "uid": "u"}, "status": {}});
    let facts = pod_facts(Component::Pd, &body).unwrap();
    assert_eq!(facts.phase, PodPhase::Pending);
    assert!(!facts.has_run && !facts.ready);
    assert_eq!(facts.store_up_gate, None);
}

#[test]
fn the_reason_why_a_pod_does_not_run_is_kubernetes_own() {
    let cases = [
        (
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/3 nodes are available"}]}),
            "Unschedulable: 0/3 nodes are available",
        ),
        (
            json!({"containerStatuses": [{"name": "pd", "state": {"waiting": {"reason": "ImagePullBackOff",
                "message": "no such image"}}}]}),
            "pd: ImagePullBackOff: no such image",
        ),
        (
            json!({"containerStatuses": [{"name": "pd", "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"exitCode": 137}}}]}),
            "pd: CrashLoopBackOff: back-off 40s (last exit code 137)",
        ),
        (
            json!({"initContainerStatuses": [{"name": "init", "state": {"waiting": {"reason": "ErrImagePull"}}}],
                "containerStatuses": [{"name": "pd", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
            "init: ErrImagePull",
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "disk pressure"}),
            "Evicted: disk pressure",
        ),
    ];
    for (status, want) in cases {
        let body = json!({"metadata": {"uid": "u"}, "status": status});
        let facts = pod_facts(Component::Pd, &body).unwrap();
        assert_eq!(facts.trouble.as_deref(), Some(want));
    }
    let starting = json!({"metadata": {"uid": "u"}, "status": {"containerStatuses": [
        {"name": "pd", "state": {"waiting": {"reason": "ContainerCreating"}}}]}});
    assert_eq!(pod_facts(Component::Pd, &starting).unwrap().trouble, None);
}

fn claim(name: &str, tags: Value) -> Value {
    let mut body = json!({
        "metadata": {"name": name, "uid": "v-1",
            "annotations": {"tikv.org/cluster-id": "7711106130007928711"}},
        "spec": {"resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "fast",
            "volumeName": "pv-1"},
        "status": {"phase": "Bound", "capacity": {"storage": "12Gi"}, "accessModes": ["ReadWriteOnce"]},
    });
    body["metadata"]["labels"] = tags;
    body
}

fn tags(component: &str, ordinal: &str) -> Value {
    json!({"tikv.org/cluster": "a", "app.kubernetes.io/component": component, "tikv.org/ordinal": ordinal})
}

#[test]
fn a_claim_belongs_by_labels_and_name_together() {
    let facts = volume_facts("a", &claim("pd-a-pd-0", tags("pd", "0"))).unwrap();
    assert_eq!(facts.slot, Slot::pd(0));
    assert!(facts.main);
    assert_eq!((facts.requested, facts.capacity), (10 << 30, 12 << 30));
    assert_eq!(facts.storage_class.as_deref(), Some("fast"));
    assert_eq!(facts.marks.cluster.unwrap().0, 7_711_106_130_007_928_711);

    assert_eq!(facts.replace, None);
    let mut asked = claim("tikv-a-tikv-0", tags("tikv", "0"));
    asked["metadata"]["annotations"]["tikv.org/replace"] = json!("true");
    assert_eq!(volume_facts("a", &asked).unwrap().replace.as_deref(), Some("true"));

    let mut extra = tags("tikv", "2");
    extra["tikv.org/volume"] = json!("raft");
    let facts = volume_facts("a", &claim("tikv-raft-a-tikv-2", extra)).unwrap();
    assert!(!facts.main);
    assert_eq!(facts.slot, Slot::tikv(2));

    for odd in [
        claim("pd-a-pd-1", tags("pd", "0")),
        claim("pd-a-pd-0", tags("tikv", "0")),
        claim("pd-a-pd-0", tags("pd", "x")),
        claim(
            "pd-a-pd-0",
            json!({"tikv.org/cluster": "b", "app.kubernetes.io/component": "pd", "tikv.org/ordinal": "0"}),
        ),
        claim("pd-a-pd-0", json!({})),
    ] {
        assert!(volume_facts("a", &odd).is_none(), "{odd}");
    }
}

#[test]
fn what_bears_the_labels_but_another_owner_is_a_stranger() {
    let uid = uid();
    let mut found = Belongings::default();
    found.take(owner(&uid), Kind::Pod, &owned(running_pod(), "owner-1"));
    let mut earlier = running_pod();
    earlier["metadata"]["name"] = json!("a-tikv-1");
    found.take(owner(&uid), Kind::Pod, &owned(earlier, "owner-0"));
    let service = json!({"metadata": {"name": "a-pd", "uid": "s"}, "spec": {}});
    found.take(owner(&uid), Kind::Service, &service);
    found.take(owner(&uid), Kind::PersistentVolumeClaim, &claim("pd-a-pd-0", tags("pd", "0")));
    found.take(owner(&uid), Kind::PersistentVolumeClaim, &claim("pd-a-pd-1", json!({})));

    assert_eq!(found.pods.keys().copied().collect::<Vec<_>>(), [Slot::tikv(0)]);
    assert_eq!(found.volumes.len(), 1);
    assert!(found.objects.is_empty());
    let stranger = |kind, name: &str| found.strangers.get(&ObjectKey::new(kind, name)).cloned();
    assert_eq!(
        stranger(Kind::Pod, "a-tikv-1").unwrap(),
        "controlled by TikvCluster a (uid owner-0)"
    );
    assert_eq!(stranger(Kind::Service, "a-pd").unwrap(), "without a controller");
    assert!(stranger(Kind::PersistentVolumeClaim, "pd-a-pd-1").is_some());
}

#[test]
fn an_owner_that_is_not_the_controller_does_not_count() {
    let mut body = owned(running_pod(), "owner-1");
    body["metadata"]["ownerReferences"][1]["controller"] = json!(false);
    let uid = uid();
    assert!(!owner(&uid).controls(&body));
}

#[test]
fn trimming_loses_no_fact() {
    let uid = uid();
    let service = json!({
        "metadata": {"name": "a-pd", "uid": "s", "managedFields": [{}], "labels": {"x": "y"}},
        "spec": {"ports": [{"port": 2379}]}, "status": {"loadBalancer": {}},
    });
    let map = json!({"metadata": {"name": "a-pd-1", "uid": "c"}, "data": {"pd.toml": "x"}});
    let objects = [
        (Kind::Pod, owned(running_pod(), "owner-1")),
        (Kind::PersistentVolumeClaim, claim("pd-a-pd-0", tags("pd", "0"))),
        (Kind::Service, owned(service, "owner-1")),
        (Kind::ConfigMap, owned(map, "owner-1")),
    ];
    for (kind, body) in objects {
        let small = trim(kind, &body);
        assert!(small.pointer("/metadata/managedFields").is_none());
        let (mut whole, mut trimmed) = (Belongings::default(), Belongings::default());
        whole.take(owner(&uid), kind, &body);
        trimmed.take(owner(&uid), kind, &small);
        assert!(trimmed.strangers.is_empty(), "{kind}");
        for facts in whole.objects.values_mut().chain(trimmed.objects.values_mut()) {
            let parts = [
                "/metadata/labels",
                "/metadata/annotations",
                "/metadata/ownerReferences",
                "/spec",
                "/data",
            ];
            let kept = parts.iter().map(|p| facts.body.pointer(p).cloned().unwrap_or_default());
            facts.body = kept.collect::<serde_json::Value>().into();
        }
        assert_eq!(whole, trimmed, "{kind}");
    }
}

#[test]
fn a_trimmed_pod_is_small() {
    let mut body = running_pod();
    body["spec"]["affinity"] = json!({"x": "y".repeat(10_000)});
    body["spec"]["containers"][1]["env"] = json!([{"name": "X", "value": "y".repeat(10_000)}]);
    assert!(trim(Kind::Pod, &body).to_string().len() < 2_000);
}

#[test]
fn a_resource_is_read_without_its_spec() {
    let body = json!({
        "metadata": {"name": "a", "uid": "u", "generation": 4, "finalizers": ["x", "ours"],
            "deletionTimestamp": "2026-11-22T22:00:00Z"},
        "spec": {"version": 12},
        "status": {"clusterId": "7711106130007928711", "conditions": []},
    });
    let facts = resource_facts(&body, "ours").unwrap();
    assert_eq!((facts.name.as_str(), facts.generation, facts.finalizer), ("a", 4, true));
    assert!(facts.deleting_since.is_some());
    assert_eq!(facts.status.cluster_id.as_deref(), Some("7711106130007928711"));
    assert!(!resource_facts(&body, "other").unwrap().finalizer);
}

#[test]
fn a_status_that_cannot_be_read_is_not_an_empty_one() {
    let body = json!({"metadata": {"name": "a", "uid": "u"}, "status": {"bootstrap": 3}});
    assert!(resource_facts(&body, "ours").is_none());
}

/// A report never has them: it would differ from the status for ever, and be written at every pass.
#[test]
fn conditions_of_others_are_not_read() {
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "R", "message": "",
            "lastTransitionTime": "2026-11-22T22:00:00Z"})
    };
    let body = |ours: &str| {
        json!({"metadata": {"name": "a", "namespace": "ns", "uid": "u"},
            "status": {"conditions": [condition("Theirs"), condition(ours)]}})
    };
    let cluster = resource_facts(&body("Degraded"), "ours").unwrap().status.conditions;
    let task = crate::task::task_facts(&body("Failed")).unwrap().status.conditions;
    for (conditions, ours) in [(cluster, "Degraded"), (task, "Failed")] {
        let types: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, [ours]);
    }
}
