//! Which cluster comes out of settings at both levels, of defaults, and of examples?

// Helpers of tests fail as tests do; clippy allows it in test functions only.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};
use tikv_operator_api::counterpart::{Fate, GROUPS};
use tikv_operator_core::check::check_value;
use tikv_operator_core::cluster::{Cluster, Quantity, ReclaimPolicy};

fn read(spec: &Value) -> Cluster {
    let mut resource = json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "u", "generation": 7},
        "spec": {"version": "v8.5.7"},
    });
    for (key, value) in spec.as_object().unwrap() {
        resource["spec"][key] = value.clone();
    }
    check_value(&resource).unwrap()
}

#[test]
fn a_version_alone_is_enough() {
    let cluster = read(&json!({}));
    assert_eq!((cluster.pd.replicas, cluster.tikv.replicas), (3, 3));
    assert_eq!(cluster.pd.common.image, "pingcap/pd:v8.5.7");
    assert_eq!(cluster.tikv.common.image, "pingcap/tikv:v8.5.7");
    assert_eq!(cluster.pd.common.storage.size.as_str(), "10Gi");
    assert_eq!(cluster.tikv.common.storage.size.as_str(), "100Gi");
    assert_eq!(cluster.tikv.common.reclaim, ReclaimPolicy::Retain);
    assert_eq!(cluster.tikv.capacity, None);
    assert!(cluster.tikv.common.config.is_empty());
    assert!(cluster.warnings.is_empty());
    assert_eq!(cluster.generation, 7);
}

#[test]
fn s18_component_wins_maps_merge_and_lists_follow_their_rule() {
    let cluster = read(&json!({
        "timezone": "UTC",
        "labels": {"a": "shared", "b": "shared"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "shared", "operator": "Exists"}],
        "env": [{"name": "A", "value": "shared"}, {"name": "B", "value": "shared"}],
        "imagePullSecrets": [{"name": "one"}],
        "podSecurityContext": {"runAsUser": 1, "fsGroup": 1},
        "podTemplate": {"spec": {"enableServiceLinks": false}},
        "storageClassName": "shared",
        "tikv": {
            "version": "v9.0.0",
            "timezone": "Asia/Tokyo",
            "labels": {"a": "own"},
            "nodeSelector": {"zone": "x"},
            "tolerations": [],
            "env": [{"name": "C", "value": "own"}, {"name": "A", "value": "own"}],
            "imagePullSecrets": [{"name": "two"}, {"name": "one"}],
            "podSecurityContext": {"runAsUser": 2},
            "podTemplate": {"spec": {"runtimeClassName": "r"}},
            "storageVolumes": [
                {"name": "raft", "storageSize": "1Gi", "mountPath": "/raft"},
                {"name": "wal", "storageSize": "1Gi", "mountPath": "/wal", "storageClassName": "own"},
            ],
        },
    }));
    let (pd, tikv) = (&cluster.pd.common, &cluster.tikv.common);
    assert_eq!((pd.version.as_str(), tikv.version.as_str()), ("v8.5.7", "v9.0.0"));
    assert_eq!((pd.timezone.as_str(), tikv.timezone.as_str()), ("UTC", "Asia/Tokyo"));
    assert_eq!((pd.labels["a"].as_str(), tikv.labels["a"].as_str()), ("shared", "own"));
    assert_eq!(tikv.labels["b"], "shared");
    assert_eq!(tikv.node_selector.len(), 2);
    assert_eq!((pd.tolerations.len(), tikv.tolerations.len()), (1, 0));
    let env: Vec<_> = tikv.env.iter().map(|e| (e["name"].as_str(), e["value"].as_str())).collect();
    assert_eq!(
        env,
        [(Some("A"), Some("own")), (Some("B"), Some("shared")), (Some("C"), Some("own"))]
    );
    assert_eq!(tikv.pull_secrets, ["one", "two"]);
    assert_eq!(Value::from(tikv.pod_security.clone()), json!({"runAsUser": 2}));
    assert_eq!((pd.overlays.len(), tikv.overlays.len()), (1, 2));
    assert_eq!(tikv.overlays[1], json!({"spec": {"runtimeClassName": "r"}}));
    let classes: Vec<_> = tikv.volumes.iter().map(|v| v.storage.class.as_deref()).collect();
    assert_eq!(classes, [Some("shared"), Some("own")]);
    assert_eq!(tikv.storage.class.as_deref(), Some("shared"));
}

#[test]
fn null_is_absent_and_a_strange_status_is_not_looked_at() {
    let resource = json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "u", "generation": 7},
        "spec": {"version": "v8.5.7", "pd": null, "labels": null, "tikv": {"config": null}},
        "status": {"conditions": "none", "pd": 7},
    });
    assert_eq!(check_value(&resource), Ok(read(&json!({}))));
}

#[test]
fn configuration_means_the_same_as_map_and_as_text() {
    let map = read(&json!({"tikv": {"config": {"server": {"grpc-concurrency": 4, "x": 1.5}}}}));
    let text = read(&json!({"tikv": {"config": "[server]\ngrpc-concurrency = 4\nx = 1.5\n"}}));
    assert_eq!(map.tikv.common.config, text.tikv.common.config);
}

#[test]
fn storage_and_capacity_are_no_resources_of_the_container() {
    let cluster = read(&json!({"tikv": {
        "requests": {"cpu": 1, "storage": "20Gi"},
        "limits": {"cpu": "2", "storage": "18Gi"},
    }}));
    let tikv = &cluster.tikv;
    assert_eq!(tikv.common.storage.size.units(), 20 << 30);
    assert_eq!(tikv.capacity.as_ref().map(Quantity::units), Some(18 << 30));
    assert!(tikv.common.resources.requests.keys().eq(["cpu"]));
    assert!(tikv.common.resources.limits.keys().eq(["cpu"]));
}

#[test]
fn what_the_page_for_users_of_tidb_operator_calls_not_there_yet_is_refused_and_nothing_else() {
    let later: Vec<&str> = GROUPS
        .iter()
        .flat_map(|group| group.fields)
        .filter(|f| matches!(f.fate, Fate::SameBut(remark) if remark.contains("Not there yet")))
        .map(|field| field.name)
        .collect();
    assert_eq!(later, ["tlsCluster.enabled", "pdAddresses"]);
    let spec =
        json!({"version": "v8.5.7", "tlsCluster": {"enabled": true}, "pdAddresses": ["a:1"]});
    let resource = json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "u", "generation": 7},
        "spec": spec,
    });
    let refused = check_value(&resource).unwrap_err().to_string();
    for field in later {
        assert!(refused.contains(&format!("spec.{field}")), "{field}: {refused}");
    }
}

#[test]
fn s55_an_even_number_of_pd_members_is_allowed_and_warned_about() {
    for (replicas, warnings) in [(1, 0), (2, 1), (3, 0), (4, 1), (5, 0)] {
        let cluster = read(&json!({"pd": {"replicas": replicas}}));
        assert_eq!(cluster.warnings.len(), warnings, "{replicas}");
    }
}

#[test]
fn examples_are_good_and_as_their_comments_say() {
    for (name, text) in [
        ("basic", include_str!("../../../examples/basic.yaml")),
        ("minimal", include_str!("../../../examples/minimal.yaml")),
        ("founding", include_str!("../../../examples/founding.yaml")),
    ] {
        let mut resource: Value = serde_saphyr::from_str(text).unwrap();
        resource["metadata"]["namespace"] = json!("default");
        resource["metadata"]["uid"] = json!("u");
        let cluster =
            check_value(&resource).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        assert_eq!((cluster.pd.replicas, cluster.tikv.replicas), (3, 3), "{name}");
        assert_eq!(cluster.warnings, [], "{name}");
    }
}
