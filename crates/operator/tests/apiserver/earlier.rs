//! What TiDB Operator v1.6 makes of a `TidbCluster` without TiDB, and what becomes of it when its
//! controllers are taken away.
//!
//! Shapes are those of its `pkg/apis/label` and `pkg/manager/member`; the claims are those that its
//! StatefulSets make.

use std::time::Duration;

use kube::{
    Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::server::{api, apply};

/// Components with the names of their volumes: that of the data bears the component's name.
const PARTS: [(&str, &[&str]); 2] = [("pd", &["pd"]), ("tikv", &["tikv", "tikv-raft"])];

/// Makes a cluster of three and three: the resource, what it owns, and what its StatefulSets make.
pub(crate) async fn tidb_cluster(admin: &Client, namespace: &str, name: &str) {
    apply(admin, &definition()).await;
    let old = Old { admin, namespace, name };
    let resource = json!({ "apiVersion": "pingcap.com/v1alpha1", "kind": "TidbCluster",
        "metadata": { "name": name }, "spec": { "version": "v8.5.7" } });
    let owner = old.make("pingcap.com", resource).await;
    for (component, volumes) in PARTS {
        for object in old.furniture(component, &owner) {
            let apps = object["apiVersion"] == "apps/v1";
            old.make(if apps { "apps" } else { "" }, object).await;
        }
        let set = old.make("apps", old.stateful_set(component, &owner)).await;
        for ordinal in 0..3 {
            for volume in volumes {
                old.make("", old.claim(component, volume, ordinal)).await;
            }
            old.make("", old.pod(component, volumes, ordinal, &set)).await;
        }
    }
}

/// The definition of `TidbCluster`, of which only the name matters here.
fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "tidbclusters.pingcap.com" },
        "spec": {
            "group": "pingcap.com", "scope": "Namespaced",
            "names": { "kind": "TidbCluster", "plural": "tidbclusters", "singular": "tidbcluster" },
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    })
}

struct Old<'a> {
    admin: &'a Client,
    namespace: &'a str,
    name: &'a str,
}

impl Old<'_> {
    /// Makes an object; a reference to it as owner.
    async fn make(&self, group: &str, mut object: Value) -> Value {
        object["metadata"]["namespace"] = self.namespace.into();
        let objects = api(self.admin, group, object["kind"].as_str().unwrap(), self.namespace);
        let body = serde_json::from_value(object.clone()).unwrap();
        let start = std::time::Instant::now();
        // The definition may not be served yet.
        let made = loop {
            match objects.create(&kube::api::PostParams::default(), &body).await {
                Ok(made) => break made,
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    assert!(start.elapsed() < crate::PATIENCE, "{status:?}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => panic!("{error}\n{object:#}"),
            }
        };
        json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "name": made.name_any(),
            "uid": made.uid(), "controller": true, "blockOwnerDeletion": true })
    }

    fn labels(&self, component: &str) -> Value {
        json!({
            "app.kubernetes.io/component": component,
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/managed-by": "tidb-operator",
            "app.kubernetes.io/name": "tidb-cluster",
        })
    }

    fn metadata(&self, name: &str, component: &str, owner: &Value) -> Value {
        json!({ "name": name, "labels": self.labels(component), "ownerReferences": [owner] })
    }

    /// Services, the ConfigMap, and the discovery service with PD.
    fn furniture(&self, component: &str, owner: &Value) -> Vec<Value> {
        let service = |name: String, port: u16, headless: bool| {
            let mut spec = json!({ "selector": self.labels(component),
                "ports": [{ "name": "peer", "port": port }] });
            if headless {
                spec["clusterIP"] = "None".into();
                spec["publishNotReadyAddresses"] = true.into();
            }
            json!({ "apiVersion": "v1", "kind": "Service", "spec": spec,
                "metadata": self.metadata(&name, component, owner) })
        };
        let data = json!({ "config-file": "", "startup-script": "#!/bin/sh\n" });
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": self.metadata(&self.map(component), component, owner) });
        let peer = |port| service(format!("{}-{component}-peer", self.name), port, true);
        if component == "tikv" {
            return vec![map, peer(20160)];
        }
        let labels = self.labels("discovery");
        let discovery = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": self.metadata(&format!("{}-discovery", self.name), "discovery", owner),
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "discovery", "image": "x" }] } },
            },
        });
        vec![map, peer(2380), service(format!("{}-pd", self.name), 2379, false), discovery]
    }

    fn map(&self, component: &str) -> String {
        format!("{}-{component}-6330376", self.name)
    }

    fn stateful_set(&self, component: &str, owner: &Value) -> Value {
        let labels = self.labels(component);
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": self.metadata(&format!("{}-{component}", self.name), component, owner),
            "spec": {
                "replicas": 3,
                "serviceName": format!("{}-{component}-peer", self.name),
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": component, "image": "x" }] } },
            },
        })
    }

    fn claim(&self, component: &str, volume: &str, ordinal: u32) -> Value {
        let pod = format!("{}-{component}-{ordinal}", self.name);
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": format!("{volume}-{pod}"), "labels": self.labels(component),
                "annotations": { "tidb.pingcap.com/pod-name": pod },
            },
            "spec": { "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "1Gi" } } },
        })
    }

    /// A pod with a claim of the user's own beside those of its StatefulSet.
    fn pod(&self, component: &str, claims: &[&str], ordinal: u32, set: &Value) -> Value {
        let name = format!("{}-{component}-{ordinal}", self.name);
        let script = format!("{component}_start_script.sh");
        let item = |volume: &str, key: &str, path: &str| {
            json!({ "name": volume, "configMap": { "name": self.map(component),
                "items": [{ "key": key, "path": path }] } })
        };
        let mut volumes = vec![
            item("config", "config-file", &format!("{component}.toml")),
            item("startup-script", "startup-script", &script),
            json!({ "name": "scratch", "persistentVolumeClaim": { "claimName": "scratch" } }),
        ];
        volumes.extend(claims.iter().map(|volume| {
            let claim = format!("{volume}-{name}");
            json!({ "name": volume, "persistentVolumeClaim": { "claimName": claim } })
        }));
        let mut labels = self.labels(component);
        labels["statefulset.kubernetes.io/pod-name"] = name.clone().into();
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": labels, "ownerReferences": [set] },
            "spec": {
                "hostname": name,
                "subdomain": format!("{}-{component}-peer", self.name),
                "containers": [{
                    "name": component, "image": "x",
                    "command": ["/bin/sh", format!("/usr/local/bin/{script}")],
                }],
                "volumes": volumes,
            },
        })
    }
}

/// What the garbage collector does for owners that go and leave theirs behind, until dropped.
pub(crate) struct Collector(JoinHandle<()>);

impl Drop for Collector {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Collector {
    pub(crate) fn run(client: &Client, namespace: &str) -> Self {
        let (client, namespace) = (client.clone(), namespace.to_owned());
        Self(tokio::spawn(async move {
            loop {
                for (group, kind) in [("apps", "StatefulSet"), ("pingcap.com", "TidbCluster")] {
                    let owners = api(&client, group, kind, &namespace);
                    for owner in owners.list(&ListParams::default()).await.unwrap() {
                        if owner.finalizers().iter().any(|finalizer| finalizer == "orphan") {
                            disown(&client, &namespace, &owner.uid().unwrap()).await;
                            let patch = json!({ "metadata": { "finalizers": null } });
                            let patch = Patch::Merge(patch);
                            let params = PatchParams::default();
                            owners.patch(&owner.name_any(), &params, &patch).await.unwrap();
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }))
    }
}

/// Takes an owner's reference off all that it owns.
async fn disown(client: &Client, namespace: &str, uid: &str) {
    let kinds = [
        ("", "Pod"),
        ("", "Service"),
        ("", "ConfigMap"),
        ("apps", "StatefulSet"),
        ("apps", "Deployment"),
    ];
    for (group, kind) in kinds {
        let objects = api(client, group, kind, namespace);
        for mut object in objects.list(&ListParams::default()).await.unwrap() {
            let before = object.owner_references().len();
            object.owner_references_mut().retain(|owner| owner.uid != uid);
            if object.owner_references().len() < before {
                let owners = object.owner_references();
                let patch = json!({ "metadata": { "ownerReferences": owners } });
                let patch = Patch::Merge(patch);
                let name = object.name_any();
                objects.patch(&name, &PatchParams::default(), &patch).await.unwrap();
            }
        }
    }
}
