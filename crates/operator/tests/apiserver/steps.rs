//! Each step on real objects: what it does, and what refuses it.

use std::collections::BTreeMap;

use kube::api::PostParams;
use serde_json::{Value, json};
use tikv_operator::{act::FINALIZER, kubernetes::Kubernetes, lease::Fence, metrics::Metrics};
use tikv_operator_core::{
    plan::Step,
    report::FailureKind,
    world::{
        BootstrapRecord, ClusterId, Component, Kind, Object, ObjectKey, Revision, StoreId, Uid,
        VolumeMarks,
    },
};

use crate::{
    bench::{Bench, OTHER, look},
    operator::manifest,
    server::{api, clusters},
};

#[tokio::test]
async fn create_makes_an_object_and_is_done_when_ours_is_there_already() {
    let bench = Bench::new("step-create").await;
    for object in [bench.map(&json!({ "a": "1" })), bench.claim(), bench.pod()] {
        assert_eq!(bench.one(Step::Create(object.clone())).await, Ok(()));
        let uid = bench.uid(object.key.kind.as_str(), &object.key.name).await;
        assert_eq!(bench.one(Step::Create(object.clone())).await, Ok(()));
        assert_eq!(bench.uid(object.key.kind.as_str(), &object.key.name).await, uid);
    }
}

#[tokio::test]
async fn a_pod_is_shown_to_the_api_server_and_not_made() {
    let bench = Bench::new("step-try").await;
    let try_pod = |pod: Object| Step::TryPod {
        component: Component::Pd,
        revision: Revision("r".to_owned()),
        pod,
    };
    assert_eq!(bench.one(try_pod(bench.pod())).await, Ok(()));
    assert!(bench.get("Pod", "c-pd-0").await.is_none());
    let changed = |pointer: &str, value: Value| {
        let mut pod = bench.pod();
        pod.body["spec"][pointer] = value;
        pod
    };
    for (pod, field) in [
        (changed("nodeSelektor", json!({ "a": "b" })), "nodeSelektor"),
        (changed("dnsPolicy", json!("Perhaps")), "spec.dnsPolicy"),
        (changed("priorityClassName", json!("none-of-this-name")), "none-of-this-name"),
        (changed("hostNetwork", json!(true)), "hostNetwork"),
    ] {
        let acted = bench.act(&[try_pod(pod)]).await;
        let failure = acted.failure().unwrap();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains(field), "{field}: {}", failure.message);
    }
    // The pod that it is to replace stands: what is wrong is found all the same.
    bench.one(Step::Create(bench.pod())).await.unwrap();
    assert_eq!(bench.one(try_pod(bench.pod())).await, Ok(()));
    let wrong = changed("nodeSelektor", json!({ "a": "b" }));
    assert_eq!(bench.one(try_pod(wrong)).await, Err(FailureKind::Refused));
    let wrong = changed("dnsPolicy", json!("Perhaps"));
    assert_eq!(bench.one(try_pod(wrong)).await, Err(FailureKind::Refused));
    // A quota is used up by the pod that goes before the new one is made.
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": { "name": "one", "namespace": bench.namespace },
        "spec": { "hard": { "pods": "1" } }, "status": { "hard": { "pods": "1" },
            "used": { "pods": "1" } } });
    crate::server::apply(&bench.admin, &quota).await;
    let quotas = api(&bench.admin, "", "ResourceQuota", &bench.namespace);
    let used = json!({ "status": { "hard": { "pods": "1" }, "used": { "pods": "1" } } });
    let used = kube::api::Patch::Merge(used);
    quotas.patch_status("one", &kube::api::PatchParams::default(), &used).await.unwrap();
    let mut other = bench.pod();
    other.key.name = "c-pd-1".to_owned();
    other.body["metadata"]["name"] = json!("c-pd-1");
    assert_eq!(bench.one(try_pod(other.clone())).await, Ok(()));
    assert_eq!(bench.one(Step::Create(other)).await, Err(FailureKind::Refused), "no quota");
}

#[tokio::test]
async fn create_leaves_a_strangers_object_alone_and_names_it() {
    let bench = Bench::new("step-stranger").await;
    for object in [bench.map(&json!({ "a": "ours" })), bench.claim()] {
        let (kind, name) = (object.key.kind.as_str(), object.key.name.clone());
        let mut theirs = object.body.clone();
        theirs["metadata"] = json!({ "name": name, "namespace": bench.namespace });
        if kind == "ConfigMap" {
            theirs["data"]["a"] = json!("theirs");
        }
        let body = serde_json::from_value(theirs).unwrap();
        let api = api(&bench.admin, "", kind, &bench.namespace);
        let before = api.create(&PostParams::default(), &body).await.unwrap();
        let acted = bench.act(&[Step::Create(object.clone())]).await;
        assert_eq!(acted.failure().unwrap().kind, FailureKind::Foreign);
        assert_eq!(acted.strangers, [(object.key, "without a controller".to_owned())]);
        let after = bench.get(kind, &name).await.unwrap();
        assert_eq!(after["metadata"]["resourceVersion"], json!(before.metadata.resource_version));
    }
}

#[tokio::test]
async fn create_puts_back_labels_that_were_taken_off_our_own() {
    let bench = Bench::new("step-stripped").await;
    let mut claim = bench.claim();
    claim.body["metadata"]["annotations"] =
        json!({ "tikv.org/resource-uid": bench.look.world.resource.uid });
    for object in [bench.pod(), claim] {
        let mut stripped = object.body.clone();
        stripped["metadata"].as_object_mut().unwrap().remove("labels");
        let (kind, name) = (object.key.kind.as_str(), object.key.name.clone());
        let body = serde_json::from_value(stripped).unwrap();
        let api = api(&bench.admin, "", kind, &bench.namespace);
        api.create(&PostParams::default(), &body).await.unwrap();
        assert_eq!(bench.one(Step::Create(object.clone())).await, Ok(()));
        let after = bench.get(kind, &name).await.unwrap();
        assert_eq!(after["metadata"]["labels"], object.body["metadata"]["labels"]);
    }
}

#[tokio::test]
async fn apply_changes_adds_and_takes_away() {
    let bench = Bench::new("step-apply").await;
    bench
        .one(Step::Create(bench.map(&json!({ "keep": "1", "change": "1", "drop": "1" }))))
        .await
        .unwrap();
    let uid = bench.uid("ConfigMap", "c-map").await;
    let theirs = kube::api::Patch::Merge(json!({ "data": { "theirs": "1" } }));
    let maps = api(&bench.admin, "", "ConfigMap", &bench.namespace);
    maps.patch("c-map", &kube::api::PatchParams::default(), &theirs).await.unwrap();

    let object = bench.map(&json!({ "keep": "1", "change": "2", "new": "1" }));
    assert_eq!(bench.one(Step::Apply { object: object.clone(), uid: uid.clone() }).await, Ok(()));
    let after = bench.get("ConfigMap", "c-map").await.unwrap();
    assert_eq!(after["data"], json!({ "keep": "1", "change": "2", "new": "1", "theirs": "1" }));

    // Once more, without anything to do: no new version.
    assert_eq!(bench.one(Step::Apply { object, uid }).await, Ok(()));
    let again = bench.get("ConfigMap", "c-map").await.unwrap();
    assert_eq!(again["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn apply_neither_makes_nor_touches_another_object_of_the_name() {
    let bench = Bench::new("step-apply-uid").await;
    let object = bench.map(&json!({ "a": "new" }));
    let absent = Step::Apply { object: object.clone(), uid: Uid(OTHER.to_owned()) };
    assert_eq!(bench.one(absent).await, Err(FailureKind::Stale));
    assert!(bench.get("ConfigMap", "c-map").await.is_none());

    bench.one(Step::Create(bench.map(&json!({ "a": "old" })))).await.unwrap();
    let other = Step::Apply { object, uid: Uid(OTHER.to_owned()) };
    assert_eq!(bench.one(other).await, Err(FailureKind::Stale));
    assert_eq!(bench.get("ConfigMap", "c-map").await.unwrap()["data"]["a"], "old");
}

#[tokio::test]
async fn s14_a_service_is_changed_in_place_and_keeps_its_port_and_address() {
    let bench = Bench::new("step-service").await;
    let service = |selector: &str, kind: &str, note: &str| {
        let ports = json!([{ "name": "client", "port": 2379, "targetPort": 2379 }]);
        let spec = json!({ "type": kind, "selector": { "x": selector }, "ports": ports });
        let mut object = bench.object(Kind::Service, "c-pd", &json!({ "spec": spec }));
        object.body["metadata"]["annotations"] = json!({ "example.org/note": note });
        object
    };
    bench.one(Step::Create(service("a", "NodePort", "one"))).await.unwrap();
    let before = bench.get("Service", "c-pd").await.unwrap();
    assert!(before["spec"]["ports"][0]["nodePort"].is_u64());
    for (selector, kind, note) in
        [("b", "NodePort", "one"), ("b", "NodePort", "two"), ("b", "LoadBalancer", "two")]
    {
        let uid = bench.uid("Service", "c-pd").await;
        let object = service(selector, kind, note);
        assert_eq!(bench.one(Step::Apply { object, uid }).await, Ok(()));
        let after = bench.get("Service", "c-pd").await.unwrap();
        assert_eq!(after["spec"]["selector"]["x"], selector);
        assert_eq!(after["spec"]["type"], kind);
        assert_eq!(after["metadata"]["annotations"]["example.org/note"], note);
        assert_eq!(after["spec"]["ports"], before["spec"]["ports"]);
        assert_eq!(after["spec"]["clusterIP"], before["spec"]["clusterIP"]);
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    }
}

fn version_of(object: &serde_json::Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn deletes_take_exactly_the_object_that_was_meant() {
    let mut bench = Bench::new("step-delete").await;
    // PD is not asked about volumes when the whole cluster goes.
    bench.look.world.resource.deleting_since = Some(bench.look.world.now);
    for object in [bench.map(&json!({})), bench.claim(), bench.pod()] {
        let (kind, name) = (object.key.kind, object.key.name.clone());
        let step = |uid: Uid, version: &str| match kind {
            Kind::Pod => Step::DeletePod { name: name.clone(), uid, reason: "test".to_owned() },
            Kind::PersistentVolumeClaim => {
                Step::DeleteVolume { name: name.clone(), uid, version: version.to_owned() }
            }
            _ => Step::Prune { key: ObjectKey::new(kind, name.clone()), uid },
        };
        bench.one(Step::Create(object)).await.unwrap();
        let version = version_of(&bench.get(kind.as_str(), &name).await.unwrap());
        let other = step(Uid(OTHER.to_owned()), &version);
        assert_eq!(bench.one(other).await, Err(FailureKind::Stale));
        let uid = bench.uid(kind.as_str(), &name).await;
        if kind == Kind::PersistentVolumeClaim {
            let earlier = step(uid.clone(), "1");
            assert_eq!(bench.one(earlier).await, Err(FailureKind::Stale), "another version");
        }
        let found = bench.get(kind.as_str(), &name).await.unwrap();
        assert!(found["metadata"].get("deletionTimestamp").is_none());
        assert_eq!(bench.one(step(uid.clone(), &version)).await, Ok(()));
        let after = bench.get(kind.as_str(), &name).await;
        assert!(after.as_ref().is_none_or(|o| o["metadata"].get("deletionTimestamp").is_some()));
        let version = after.as_ref().map(version_of).unwrap_or_default();
        assert_eq!(bench.one(step(uid, &version)).await, Ok(()), "gone already");
    }
}

#[tokio::test]
async fn a_volume_is_marked_without_losing_other_marks() {
    let bench = Bench::new("step-mark").await;
    bench.one(Step::Create(bench.claim())).await.unwrap();
    let uid = bench.uid("PersistentVolumeClaim", "pd-c-pd-0").await;
    let mark = |uid: &Uid, marks| Step::MarkVolume {
        name: "pd-c-pd-0".to_owned(),
        uid: uid.clone(),
        marks,
    };
    let cluster = VolumeMarks { cluster: Some(ClusterId(u64::MAX)), ..VolumeMarks::default() };
    let store = VolumeMarks { store: Some(StoreId(4)), ..VolumeMarks::default() };
    assert_eq!(bench.one(mark(&uid, cluster.clone())).await, Ok(()));
    assert_eq!(bench.one(mark(&uid, store)).await, Ok(()));
    let other = Uid(OTHER.to_owned());
    let wrong = VolumeMarks { store: Some(StoreId(9)), ..VolumeMarks::default() };
    assert_eq!(bench.one(mark(&other, wrong)).await, Err(FailureKind::Stale));
    let claim = bench.get("PersistentVolumeClaim", "pd-c-pd-0").await.unwrap();
    let annotations = &claim["metadata"]["annotations"];
    assert_eq!(annotations["tikv.org/cluster-id"], u64::MAX.to_string());
    assert_eq!(annotations["tikv.org/store-id"], "4");
}

#[tokio::test]
async fn marks_are_set_and_taken_away_beside_those_of_others() {
    let bench = Bench::new("step-marks").await;
    bench.one(Step::Create(bench.pod())).await.unwrap();
    let pods = api(&bench.admin, "", "Pod", &bench.namespace);
    let theirs = json!({ "metadata": { "annotations": { "theirs": "1", "tikv.org/old": "1" } } });
    let theirs = kube::api::Patch::Merge(theirs);
    pods.patch("c-pd-0", &kube::api::PatchParams::default(), &theirs).await.unwrap();
    let uid = bench.uid("Pod", "c-pd-0").await;
    let mark = |uid: &Uid| Step::Mark {
        key: ObjectKey::new(Kind::Pod, "c-pd-0"),
        uid: uid.clone(),
        annotations: [
            ("tikv.org/new".to_owned(), Some("2".to_owned())),
            ("tikv.org/old".to_owned(), None),
            ("tikv.org/never".to_owned(), None),
        ]
        .into(),
        labels: [("tikv.org/ordinal".to_owned(), None)].into(),
    };
    assert_eq!(bench.one(mark(&Uid(OTHER.to_owned()))).await, Err(FailureKind::Stale));
    assert_eq!(bench.one(mark(&uid)).await, Ok(()));
    assert_eq!(bench.one(mark(&uid)).await, Ok(()), "again");
    let pod = bench.get("Pod", "c-pd-0").await.unwrap();
    assert_eq!(pod["metadata"]["annotations"], json!({ "theirs": "1", "tikv.org/new": "2" }));
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels.get("tikv.org/ordinal"), None);
    assert_eq!(labels["tikv.org/cluster"], "c");
    let gone = Step::Mark {
        key: ObjectKey::new(Kind::Pod, "c-pd-7"),
        uid,
        annotations: BTreeMap::new(),
        labels: [("a".to_owned(), None)].into(),
    };
    assert_eq!(bench.one(gone).await, Err(FailureKind::Stale));
}

#[tokio::test]
async fn a_volume_grows_where_its_class_allows_it_and_a_refusal_is_told() {
    let bench = Bench::new("step-resize").await;
    for (class, grows) in [("step-resize-grows", true), ("step-resize-fixed", false)] {
        let body = json!({ "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": { "name": class }, "provisioner": "example.org/none",
            "allowVolumeExpansion": grows });
        crate::server::apply(&bench.admin, &body).await;
        let mut claim = bench.claim();
        claim.key.name = format!("pd-{class}");
        claim.body["metadata"]["name"] = json!(claim.key.name);
        claim.body["spec"]["storageClassName"] = json!(class);
        let name = claim.key.name.clone();
        bench.one(Step::Create(claim)).await.unwrap();
        let claims = api(&bench.admin, "", "PersistentVolumeClaim", &bench.namespace);
        let bound = json!({ "status": { "phase": "Bound", "capacity": { "storage": "1Gi" } } });
        let bound = kube::api::Patch::Merge(bound);
        claims.patch_status(&name, &kube::api::PatchParams::default(), &bound).await.unwrap();
        let uid = bench.uid("PersistentVolumeClaim", &name).await;
        let resize = |uid: &Uid, size: &str| Step::ResizeVolume {
            name: name.clone(),
            uid: uid.clone(),
            size: size.to_owned(),
        };
        let other = bench.one(resize(&Uid(OTHER.to_owned()), "3Gi")).await;
        assert_eq!(other, Err(FailureKind::Stale));
        let want = if grows { Ok(()) } else { Err(FailureKind::Refused) };
        assert_eq!(bench.one(resize(&uid, "2Gi")).await, want, "{class}");
        let claim = bench.get("PersistentVolumeClaim", &name).await.unwrap();
        let size = &claim["spec"]["resources"]["requests"]["storage"];
        assert_eq!(size, if grows { "2Gi" } else { "1Gi" });
        assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteOnce"]));
        let smaller = bench.one(resize(&uid, "512Mi")).await;
        assert_eq!(smaller, Err(FailureKind::Refused), "never smaller");
    }
}

#[tokio::test]
async fn the_gate_is_set_beside_the_conditions_of_others_and_on_the_pod_that_was_meant() {
    let bench = Bench::new("step-gate").await;
    bench.one(Step::Create(bench.pod())).await.unwrap();
    let pods = api(&bench.admin, "", "Pod", &bench.namespace);
    let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    let status = kube::api::Patch::Strategic(status);
    pods.patch_status("c-pd-0", &kube::api::PatchParams::default(), &status).await.unwrap();
    let uid = bench.uid("Pod", "c-pd-0").await;
    let set = |uid: &Uid, up| Step::SetStoreUp { pod: "c-pd-0".to_owned(), uid: uid.clone(), up };
    assert_eq!(bench.one(set(&Uid(OTHER.to_owned()), false)).await, Err(FailureKind::Stale));
    assert_eq!(bench.one(set(&uid, true)).await, Ok(()));
    let pod = bench.get("Pod", "c-pd-0").await.unwrap();
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let kinds: Vec<_> =
        conditions.iter().map(|c| (c["type"].as_str(), c["status"].as_str())).collect();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.contains(&(Some("tikv.org/store-up"), Some("True"))));
}

#[tokio::test]
async fn the_finalizer_comes_and_goes_beside_those_of_others() {
    let bench = Bench::new("step-finalizer").await;
    let clusters = clusters(&bench.admin, &bench.namespace);
    let theirs = kube::api::Patch::Merge(json!({ "metadata": { "finalizers": ["x.org/theirs"] } }));
    clusters.patch("c", &kube::api::PatchParams::default(), &theirs).await.unwrap();
    // Planned on the state before: somebody else's finalizer must not get lost.
    assert_eq!(bench.one(Step::AddFinalizer).await, Err(FailureKind::Stale));

    let bench = Bench { look: look(&bench.admin, &bench.namespace).await, ..bench };
    let acted = bench.act(&[Step::AddFinalizer, Step::ReleaseFinalizer, Step::AddFinalizer]).await;
    assert_eq!(acted.outcomes.iter().filter(|o| o.result.is_ok()).count(), 3);
    assert_eq!(bench.cluster().await["metadata"]["finalizers"], json!(["x.org/theirs", FINALIZER]));
}

#[tokio::test]
async fn of_two_decisions_to_bootstrap_one_is_written() {
    let bench = Bench::new("step-record").await;
    let record = |token: &str| {
        let members = vec![0, 1, 2];
        Step::RecordBootstrap(BootstrapRecord { token: token.to_owned(), members })
    };
    assert_eq!(bench.one(record("one")).await, Ok(()));
    assert_eq!(bench.one(record("two")).await, Err(FailureKind::Stale));
    assert_eq!(bench.cluster().await["status"]["bootstrap"]["token"], "one");
}

#[tokio::test]
async fn conditions_of_others_do_not_keep_a_record_back_and_any_other_change_does() {
    let mut bench = Bench::new("step-beside").await;
    let clusters = clusters(&bench.admin, &bench.namespace);
    let theirs = json!({ "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
        "metadata": { "name": "c" }, "status": { "conditions": [{ "type": "Theirs",
        "status": "True", "reason": "Counted", "message": "", "lastTransitionTime":
        "2026-01-01T00:00:00Z" }] } });
    let params = kube::api::PatchParams::apply("theirs").force();
    clusters.patch_status("c", &params, &kube::api::Patch::Apply(theirs)).await.unwrap();
    assert_eq!(bench.one(Step::RecordClusterId(ClusterId(7))).await, Ok(()));
    let status = bench.cluster().await["status"].clone();
    assert_eq!(status["clusterId"], "7");
    assert_eq!(status["conditions"][0]["type"], "Theirs");

    for change in [
        json!({ "spec": { "pd": { "replicas": 5 } } }),
        json!({ "metadata": { "annotations": { "x.org/theirs": "1" } } }),
    ] {
        bench = Bench { look: look(&bench.admin, &bench.namespace).await, ..bench };
        let merge = kube::api::Patch::Merge(change);
        clusters.patch("c", &kube::api::PatchParams::default(), &merge).await.unwrap();
        assert_eq!(bench.one(Step::RecordClusterId(ClusterId(7))).await, Err(FailureKind::Stale));
    }
}

#[tokio::test]
async fn a_record_is_not_written_to_a_resource_made_again_under_the_name() {
    let bench = Bench::new("step-reborn").await;
    let clusters = clusters(&bench.admin, &bench.namespace);
    clusters.delete("c", &kube::api::DeleteParams::default()).await.unwrap();
    assert_eq!(bench.one(Step::RecordClusterId(ClusterId(7))).await, Err(FailureKind::Stale));
    assert!(clusters.get_opt("c").await.unwrap().is_none());
    let body = serde_json::from_value(manifest(&bench.namespace, "c")).unwrap();
    clusters.create(&PostParams::default(), &body).await.unwrap();
    assert_eq!(bench.one(Step::RecordClusterId(ClusterId(7))).await, Err(FailureKind::Stale));
    assert!(bench.cluster().await.get("status").is_none());
}

#[tokio::test]
async fn a_refusal_holds_up_what_builds_on_it() {
    let bench = Bench::new("step-refused").await;
    let map = |name: &str, data: Value| {
        let mut map = bench.map(&data);
        map.key.name = name.to_owned();
        map.body["metadata"]["name"] = json!(name);
        map
    };
    let refused = map("c-pd-1", json!({ "not a key": "1" }));
    let acted = bench
        .act(&[
            Step::Create(refused),
            Step::Create(bench.pod()),
            Step::Create(map("c-other", json!({ "a": "1" }))),
        ])
        .await;
    assert_eq!(acted.outcomes.len(), 2, "the pod that mounts it is not made");
    assert_eq!(acted.failure().unwrap().kind, FailureKind::Refused);
    assert!(bench.get("Pod", "c-pd-0").await.is_none());
    assert!(bench.get("ConfigMap", "c-other").await.is_some());
}

#[tokio::test]
async fn another_failure_ends_the_pass() {
    let bench = Bench::new("step-order").await;
    let missing = Step::MarkVolume {
        name: "missing".to_owned(),
        uid: Uid(OTHER.to_owned()),
        marks: VolumeMarks { retired: true, ..VolumeMarks::default() },
    };
    let acted = bench.act(&[missing, Step::Create(bench.map(&json!({})))]).await;
    assert_eq!(acted.outcomes.len(), 1);
    assert!(bench.get("ConfigMap", "c-map").await.is_none());
}

#[tokio::test]
async fn without_the_lease_nothing_is_sent() {
    let bench = Bench::new("step-fenced").await;
    let client = bench.kubernetes.client().clone();
    let kubernetes = Kubernetes::new(client, Fence::new(), Metrics::new());
    let bench = Bench { kubernetes, ..bench };
    let step = Step::Create(bench.map(&json!({})));
    assert_eq!(bench.one(step).await, Err(FailureKind::Unavailable));
    assert!(bench.get("ConfigMap", "c-map").await.is_none());
}
