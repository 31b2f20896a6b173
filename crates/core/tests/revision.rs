//! What changes a pod's revision, and what never does?

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test binary: a panic is a failed test"
)]

mod fixture;

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tikv_operator_core::build::{config_map_name, is_current, revision};
use tikv_operator_core::world::{Component, Revision};

fn revisions(manifest: &Value) -> [Revision; 2] {
    let cluster = fixture::checked(manifest);
    Component::ALL.map(|component| revision(&cluster, component))
}

/// `version-only`, with these fields of the spec set.
fn with(fields: &Value) -> Value {
    let mut manifest = fixture::manifest("version-only");
    for (key, value) in fields.as_object().expect("fields") {
        manifest["spec"][key] = value.clone();
    }
    manifest
}

/// Revisions are a promise across releases: one that changes restarts every pod of every cluster on
/// the operator's next upgrade. Lines are added here with new fixtures and never changed.
#[test]
fn revisions_do_not_change_between_versions_of_the_operator() {
    let mut now = String::new();
    for name in fixture::ALL {
        for (component, revision) in
            Component::ALL.into_iter().zip(revisions(&fixture::manifest(name)))
        {
            writeln!(now, "{name} {component} {revision}").expect("written");
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/revisions.txt");
    let promised = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        promised, now,
        "a revision changed: every pod of such a cluster would restart. Undo the change of the \
         inputs, or leave unset inputs out of the hash"
    );
}

#[test]
fn formatting_order_and_spelling_are_no_inputs() {
    let one = with(&json!({
        "tikv": {
            "config": {"storage": {"reserve-space": "0MB"}, "log": {"level": "warn", "max-days": 3}},
            "requests": {"cpu": "1", "memory": "1Gi"},
            "labels": {"a": "1", "b": "2"},
            "affinity": {"nodeAffinity": {"x": 1, "y": 2}},
        },
    }));
    let two = with(&json!({
        "tikv": {
            "affinity": {"nodeAffinity": {"y": 2, "x": 1}},
            "labels": {"b": "2", "a": "1"},
            "requests": {"memory": "1024Mi", "cpu": "1000m"},
            "config": "# A comment.\nlog.max-days = 3\nlog.level = 'warn'\n\n[storage]\nreserve-space=\"0MB\"",
        },
    }));
    assert_eq!(revisions(&one), revisions(&two));
    let names =
        [&one, &two].map(|m| config_map_name(&fixture::checked(m), Component::Tikv).to_owned());
    assert_eq!(names[0], names[1]);
}

#[test]
fn what_shapes_no_pod_is_no_input() {
    let base = revisions(&fixture::manifest("version-only"));
    for fields in [
        json!({"pd": {"replicas": 5}, "tikv": {"replicas": 7}}),
        json!({"pd": {"requests": {"storage": "99Gi"}}, "tikv": {"requests": {"storage": "999Gi"}}}),
        json!({"storageClassName": "fast", "pvReclaimPolicy": "Delete", "paused": true}),
        json!({"pd": {"service": {"type": "NodePort", "annotations": {"a": "b"}}}}),
        json!({"configUpdateStrategy": "InPlace", "maxFailoverCount": 1, "failover": {"after": "5m"}}),
        json!({"tikv": {"evictLeaderTimeout": "1m", "storeLabels": ["zone"], "scalePolicy": {}}}),
        json!({"tikv": {"config": {}}, "pd": {"config": ""}}),
        json!({"env": [], "labels": {}, "tolerations": [], "podSecurityContext": {}}),
    ] {
        assert_eq!(revisions(&with(&fields)), base, "{fields}");
    }
}

#[test]
fn each_setting_that_shapes_a_pod_is_an_input() {
    let base = revisions(&fixture::manifest("version-only"));
    for fields in [
        json!({"version": "v8.5.6"}),
        json!({"clusterDomain": "cluster.local"}),
        json!({"preferIPv6": true}),
        json!({"imagePullPolicy": "Always"}),
        json!({"imagePullSecrets": [{"name": "registry"}]}),
        json!({"hostNetwork": true}),
        json!({"affinity": {}}),
        json!({"priorityClassName": "important"}),
        json!({"schedulerName": "other"}),
        json!({"nodeSelector": {"disk": "ssd"}}),
        json!({"annotations": {"a": "b"}}),
        json!({"labels": {"a": "b"}}),
        json!({"tolerations": [{"operator": "Exists"}]}),
        json!({"topologySpreadConstraints": [{"topologyKey": "z", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]}),
        json!({"podSecurityContext": {"fsGroup": 2000}}),
        json!({"securityContext": {"readOnlyRootFilesystem": false}}),
        json!({"terminationGracePeriodSeconds": 77}),
        json!({"env": [{"name": "A", "value": "1"}]}),
        json!({"envFrom": [{"secretRef": {"name": "a"}}]}),
        json!({"initContainers": [{"name": "a", "image": "a"}]}),
        json!({"additionalContainers": [{"name": "a", "image": "a"}]}),
        json!({"additionalVolumes": [{"name": "a", "emptyDir": {}}]}),
        json!({"additionalVolumes": [{"name": "a", "emptyDir": {}}], "additionalVolumeMounts": [{"name": "a", "mountPath": "/a"}]}),
        json!({"dnsConfig": {"searches": ["a"]}}),
        json!({"dnsPolicy": "Default"}),
        json!({"serviceAccount": "a"}),
        json!({"automountServiceAccountToken": true}),
        json!({"readinessProbe": {"periodSeconds": 9}}),
        json!({"readinessProbe": {"initialDelaySeconds": 9}}),
        json!({"timezone": "Asia/Tokyo"}),
        json!({"podTemplate": {"spec": {"shareProcessNamespace": true}}}),
    ] {
        let changed = revisions(&with(&fields));
        for (component, (old, new)) in Component::ALL.into_iter().zip(base.iter().zip(&changed)) {
            assert_ne!(old, new, "{component}: {fields}");
        }
    }
    for settings in [
        json!({"version": "v8.5.6"}),
        json!({"baseImage": "example.com/image"}),
        json!({"requests": {"cpu": "1"}}),
        json!({"limits": {"cpu": "1"}}),
        json!({"config": {"log": {"format": "json"}}}),
        json!({"storageVolumes": [{"name": "a", "storageSize": "1Gi", "mountPath": "/a"}]}),
        json!({"dataSubDir": "a"}),
    ] {
        for (index, path) in ["pd", "tikv"].into_iter().enumerate() {
            let changed = revisions(&with(&json!({ path: settings })));
            assert_ne!(changed[index], base[index], "{path}: {settings}");
            assert_eq!(changed[1 - index], base[1 - index], "{path} is no input of the other");
        }
    }
    let capacity = revisions(&with(&json!({"tikv": {"limits": {"storage": "50Gi"}}})));
    assert_ne!(capacity[1], base[1]);
}

/// A newer operator may have another default. The revision must not follow, so it cannot depend on
/// what a left-out value resolves to.
#[test]
fn a_default_that_is_written_out_counts_as_written_and_a_resolved_one_does_not_count() {
    let mut cluster = fixture::checked(&fixture::manifest("version-only"));
    let before = revision(&cluster, Component::Tikv);
    cluster.tikv.common.grace_seconds += 30;
    cluster.tikv.common.probe.period_seconds += 1;
    cluster.tikv.common.timezone = "Asia/Tokyo".into();
    cluster.tikv.common.image = "elsewhere.example.com/tikv:v8.5.7".into();
    assert_eq!(revision(&cluster, Component::Tikv), before);
    let written = with(&json!({"terminationGracePeriodSeconds": 120}));
    assert_ne!(revisions(&written)[1], before);
}

#[test]
fn with_in_place_updates_a_pod_with_another_configuration_is_current() {
    let config = |format: &str, strategy: &str| {
        let tikv = json!({"config": {"log": {"format": format}}, "configUpdateStrategy": strategy});
        fixture::checked(&with(&json!({ "tikv": tikv })))
    };
    let old = revision(&config("text", "RollingUpdate"), Component::Tikv);
    assert!(is_current(&config("text", "RollingUpdate"), Component::Tikv, &old));
    assert!(!is_current(&config("json", "RollingUpdate"), Component::Tikv, &old));
    assert!(is_current(&config("json", "InPlace"), Component::Tikv, &old));
    let mut other = config("json", "InPlace");
    other.tikv.common.labels.insert("a".into(), "b".into());
    assert!(!is_current(&other, Component::Tikv, &old));
}

#[test]
fn s37_an_item_that_changes_online_is_no_input_and_is_in_the_file_of_new_pods() {
    let config = |fields: Value| fixture::checked(&with(&fields));
    let base = config(json!({}));
    for (component, fields) in [
        (Component::Pd, json!({"schedule": {"leader-schedule-limit": 8}})),
        (Component::Pd, json!({"replication": {"location-labels": ["zone"]}})),
        (Component::Pd, json!("[log]\nlevel = 'warn'")),
        (Component::Tikv, json!({"raftstore": {"raft-log-gc-threshold": 9}})),
        (Component::Tikv, json!({"rocksdb": {"defaultcf": {"write-buffer-size": "1GiB"}}})),
        (Component::Tikv, json!("log.level = 'warn'")),
    ] {
        let edited = config(json!({ component.as_str(): {"config": fields} }));
        assert_eq!(revision(&edited, component), revision(&base, component), "{fields}");
        assert_ne!(config_map_name(&edited, component), config_map_name(&base, component));
    }
    // v6.1 takes the log level at start only.
    let old = |level: &str| {
        config(json!({"version": "v6.1.0", "tikv": {"config": {"log": {"level": level}}}}))
    };
    let [info, warn] = ["info", "warn"].map(|level| revision(&old(level), Component::Tikv));
    assert_ne!(info, warn);
}
