//! How does a cluster look that an earlier operator made?
//!
//! Shapes are those of TiDB Operator v1.6 (`pkg/apis/label`, `pkg/manager/member`) and of the
//! tikv-operator of 2020 (`pkg/label`, `pkg/manager/member`). There is no StatefulSet controller here:
//! nobody makes a pod again that goes while its StatefulSet is still there.

use serde_json::{Map, Value, json};

use super::Play;
use super::commands::Printed;
use crate::kube::{Key, Object, at, set, text};
use crate::universe::NAMESPACE;

/// How long servers take until all is well after they were started.
const START: u64 = 240;

/// An earlier operator.
#[derive(Clone, Copy)]
enum Earlier {
    /// TiDB Operator v1, with a `TidbCluster` that has no TiDB.
    TidbOperator,
    /// The tikv-operator of 2020, whose resource is a `TikvCluster` as well.
    TikvOperator,
}

impl Earlier {
    fn of(word: &str) -> Result<Self, String> {
        match word {
            "tidb-operator" => Ok(Self::TidbOperator),
            "tikv-operator-2020" => Ok(Self::TikvOperator),
            _ => Err(format!("no such operator: {word}")),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::TidbOperator => "TidbCluster",
            Self::TikvOperator => "TikvCluster",
        }
    }

    /// Labels by which its StatefulSets and Services select pods, and which its claims carry too.
    fn labels(self, cluster: &str, component: &str) -> Map<String, Value> {
        let (name, manager) = match self {
            Self::TidbOperator => ("tidb-cluster", "tidb-operator"),
            Self::TikvOperator => ("tikv-cluster", "tikv-operator"),
        };
        let labels = [
            ("app.kubernetes.io/name", name),
            ("app.kubernetes.io/managed-by", manager),
            ("app.kubernetes.io/instance", cluster),
            ("app.kubernetes.io/component", component),
        ];
        labels.map(|(key, value)| (key.to_owned(), json!(value))).into_iter().collect()
    }

    /// Prefix of its own labels and annotations.
    fn prefix(self) -> &'static str {
        match self {
            Self::TidbOperator => "tidb.pingcap.com",
            Self::TikvOperator => "tikv.org",
        }
    }
}

impl Play {
    /// Turns a settled cluster into one that an earlier operator made: its servers are started anew
    /// from that one's pods, on the same claims, and nothing of ours is left but the data.
    pub(super) fn made_by(&mut self, operator: &str, cluster: &str) -> Printed {
        let earlier = Earlier::of(operator)?;
        self.harness.operators.retain(|operator| operator.cluster != cluster);
        let (pods, claims) = self.take_down(cluster);
        let id = self.harness.universe.pd.ensembles.iter().find_map(|e| e.cluster_id);
        let id = id.ok_or("no cluster")?.to_string();
        for claim in claims {
            self.harness.universe.kube.edit(&Key::of(&claim), |claim| {
                reshape_claim(claim, (earlier, cluster), &id);
            });
        }
        let owner = self.put_up(json!({
            "apiVersion": "v1alpha1", "kind": earlier.kind(), "metadata": {"name": cluster}, "spec": {},
        }))?;
        for component in ["pd", "tikv"] {
            let controller = self.put_up(json!({
                "kind": "StatefulSet",
                "metadata": {
                    "name": format!("{cluster}-{component}"),
                    "labels": earlier.labels(cluster, component),
                    "ownerReferences": [owner],
                },
            }))?;
            for mut object in furniture((earlier, cluster), component) {
                set(&mut object, &["metadata", "ownerReferences"], json!([owner]));
                self.put_up(object)?;
            }
            let of_set = |pod: &&Object| component_of(pod) == component;
            for pod in pods.iter().filter(of_set) {
                self.put_up(self::pod((earlier, cluster), pod, &controller))?;
            }
        }
        self.harness.run(START);
        Ok(String::new())
    }

    /// Takes all but the claims away: the pods and claims that there were.
    fn take_down(&mut self, cluster: &str) -> (Vec<Object>, Vec<Object>) {
        let universe = &mut self.harness.universe;
        let of = |kind: &str| {
            let objects = universe.kube.list(kind);
            let ours = objects.filter(|object| object.cluster() == Some(cluster));
            ours.cloned().collect::<Vec<Object>>()
        };
        let (pods, claims) = (of("Pod"), of("PersistentVolumeClaim"));
        let furniture = ["Service", "ConfigMap", "PodDisruptionBudget"].map(of).concat();
        for pod in &pods {
            universe.kill_process(pod.name());
        }
        for object in furniture.iter().chain(&pods) {
            universe.kube.vanish(&Key::of(object));
        }
        universe.kube.vanish(&Key::new("TikvCluster", cluster));
        (pods, claims)
    }

    /// Makes an object; a reference to it as controller.
    fn put_up(&mut self, mut object: Value) -> Result<Value, String> {
        set(&mut object, &["metadata", "namespace"], json!(NAMESPACE));
        let made = self.harness.universe.kube.create(object).map_err(|r| r.to_string())?;
        let (kind, name, uid) = (text(&made, "/kind"), made.name(), made.uid());
        Ok(json!({"kind": kind, "name": name, "uid": uid, "controller": true}))
    }
}

fn component_of(object: &Object) -> &str {
    text(object, "/metadata/labels/app.kubernetes.io~1component")
}

/// A claim as a StatefulSet makes it, with the notes of its operator.
fn reshape_claim(claim: &mut Value, (earlier, cluster): (Earlier, &str), id: &str) {
    let mark =
        |name: &str| text(claim, &format!("/metadata/annotations/tikv.org~1{name}")).to_owned();
    let component = text(claim, "/metadata/labels/app.kubernetes.io~1component").to_owned();
    let ordinal = text(claim, "/metadata/labels/tikv.org~1ordinal").to_owned();
    let pod = format!("{cluster}-{component}-{ordinal}");
    let mut labels = earlier.labels(cluster, &component);
    let (prefix, notes) = (earlier.prefix(), ["store-id", "member-id"]);
    for (note, value) in
        notes.map(|note| (note, mark(note))).into_iter().chain([("cluster-id", id.to_owned())])
    {
        if !value.is_empty() {
            labels.insert(format!("{prefix}/{note}"), json!(value));
        }
    }
    set(claim, &["metadata", "labels"], Value::Object(labels));
    set(claim, &["metadata", "annotations"], json!({format!("{prefix}/pod-name"): pod}));
}

/// Services and the ConfigMap of a component.
fn furniture((earlier, cluster): (Earlier, &str), component: &str) -> Vec<Value> {
    let labels = earlier.labels(cluster, component);
    let service = |name: String, spec: Value| {
        let mut service = json!({
            "kind": "Service", "metadata": {"name": name, "labels": labels}, "spec": spec,
        });
        set(&mut service, &["spec", "selector"], json!(labels));
        service
    };
    let peer = json!({"clusterIP": "None", "publishNotReadyAddresses": true});
    let mut made = vec![
        service(format!("{cluster}-{component}-peer"), peer),
        json!({
            "kind": "ConfigMap", "metadata": {"name": config_map(cluster, component), "labels": labels},
            "data": {"config-file": "", "startup-script": "#!/bin/sh"},
        }),
    ];
    if component == "pd" {
        made.push(service(format!("{cluster}-pd"), json!({"type": "ClusterIP"})));
    }
    made
}

/// By content, with seven digits.
fn config_map(cluster: &str, component: &str) -> String {
    format!("{cluster}-{component}-6330376")
}

/// The pod in place of one of ours: the same name, image and claims, a start script instead of
/// arguments, no readiness gate.
fn pod((earlier, cluster): (Earlier, &str), ours: &Object, controller: &Value) -> Value {
    let (name, component) = (ours.name(), component_of(ours));
    let service = format!("{cluster}-{component}-peer");
    let mut labels = earlier.labels(cluster, component);
    labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), json!(name));
    labels
        .insert("controller-revision-hash".to_owned(), json!(format!("{cluster}-{component}-7d4")));
    let script = format!("{component}_start_script.sh");
    let map = config_map(cluster, component);
    let item = |volume: &str, key: &str, path: &str| json!({"name": volume, "configMap": {"name": map, "items": [{"key": key, "path": path}]}});
    let mut volumes = vec![
        item("config", "config-file", &format!("{component}.toml")),
        item("startup-script", "startup-script", &script),
    ];
    let mut mounts = vec![
        json!({"name": "config", "mountPath": format!("/etc/{component}"), "readOnly": true}),
        json!({"name": "startup-script", "mountPath": "/usr/local/bin", "readOnly": true}),
    ];
    for volume in at(ours, "/spec/volumes").as_array().into_iter().flatten() {
        if at(volume, "/persistentVolumeClaim").is_object() {
            volumes.push(volume.clone());
            mounts.extend(mount_of(ours, text(volume, "/name")).cloned());
        }
    }
    let env = [
        ("PEER_SERVICE_NAME", service.clone()),
        ("HEADLESS_SERVICE_NAME", service.clone()),
        ("SERVICE_NAME", format!("{cluster}-pd")),
        ("CLUSTER_NAME", cluster.to_owned()),
    ];
    json!({
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [controller]},
        "spec": {
            "hostname": name,
            "subdomain": service,
            "containers": [{
                "name": component,
                "image": at(ours, "/spec/containers/0/image"),
                "command": ["/bin/sh", format!("/usr/local/bin/{script}")],
                "env": env.map(|(name, value)| json!({"name": name, "value": value})),
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    })
}

fn mount_of<'a>(pod: &'a Object, volume: &str) -> Option<&'a Value> {
    let mut mounts = at(pod, "/spec/containers/0/volumeMounts").as_array()?.iter();
    mounts.find(|mount| text(mount, "/name") == volume)
}
