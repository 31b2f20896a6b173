//! Do the commands of `docs/adoption.md`, as they stand there, take over a cluster that TiDB Operator
//! v1 made, and nothing else?
//!
//! There are no servers and no kubelets: what becomes of data and of clients is a matter of the
//! simulator's scripts `adopt_*.txt`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kube::{
    Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    PATIENCE,
    earlier::{Collector, tidb_cluster},
    operator::manifest,
    server::{api, apply, program},
    stage::Stage,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/adoption.md");
const ID: u64 = 7_711_106_130_007_928_711;
const MEMBERS: [&str; 6] = ["pd-0", "pd-1", "pd-2", "tikv-0", "tikv-1", "tikv-2"];

/// The blocks of commands on the page, in order.
fn blocks() -> Vec<String> {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (mut blocks, mut lines) = (Vec::new(), page.lines());
    while let Some(line) = lines.next() {
        if line.trim() == "```sh" {
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            let block: Vec<&str> = block.map(str::trim_start).collect();
            blocks.push(block.join("\n") + "\n");
        }
    }
    blocks
}

/// What the first block says, for this test.
fn values(first: &str, namespace: &str) -> String {
    let names: Vec<&str> = first.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(names, ["N", "OLD", "MEMBERS"], "{first}");
    format!("N={namespace} C=c\nOLD=tidbcluster\nMEMBERS=\"{}\"\n", MEMBERS.join(" "))
}

/// Runs commands in one shell that has `kubectl`; what they print.
async fn run(commands: String, directory: &Path, kubeconfig: &Path) -> String {
    let kubectl = program("TEST_KUBECTL");
    let path = std::env::join_paths(
        [kubectl.parent().unwrap().to_path_buf()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut shell = Command::new("sh");
    shell.args(["-euxc", &commands]).current_dir(directory).env("PATH", path.unwrap());
    shell.env("KUBECONFIG", kubeconfig).env("HOME", directory);
    let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// An address of this machine to which the API server passes requests on: not a loopback one.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("a route to other machines");
    socket.local_addr().unwrap().ip()
}

/// Which pods there have been, by name, in the order in which they were first seen.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, String)>>>);

struct Watch {
    seen: Seen,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    fn begin(client: &Client, namespace: &str) -> Self {
        let (pods, seen) = (api(client, "", "Pod", namespace), Seen::default());
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                for pod in pods.list(&ListParams::default()).await.unwrap() {
                    let pod = (pod.name_any(), pod.uid().unwrap());
                    let mut seen = noted.0.lock().unwrap();
                    if !seen.contains(&pod) {
                        seen.push(pod);
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { seen, task }
    }

    /// How many pods of each name there have been.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (name, _) in &*self.seen.0.lock().unwrap() {
            *counts.entry(name.clone()).or_default() += 1;
        }
        counts
    }

    /// Names of pods in the order in which they were made anew.
    fn renewed(&self) -> Vec<String> {
        let seen = self.seen.0.lock().unwrap();
        let again = |n: usize, name: &String| seen[..n].iter().any(|(earlier, _)| earlier == name);
        let renewed = seen.iter().enumerate().filter(|(n, (name, _))| again(*n, name));
        renewed.map(|(_, (name, _))| name.clone()).collect()
    }
}

/// What a namespace has of a kind, by name.
async fn all(admin: &Client, kind: &str, namespace: &str) -> BTreeMap<String, Value> {
    let list = api(admin, "", kind, namespace).list(&ListParams::default()).await.unwrap();
    list.into_iter().map(|o| (o.name_any(), serde_json::to_value(o).unwrap())).collect()
}

fn uids(objects: &BTreeMap<String, Value>) -> BTreeMap<&str, &Value> {
    objects.iter().map(|(name, object)| (name.as_str(), &object["metadata"]["uid"])).collect()
}

/// Objects that are none of the cluster's: a claim that a user mounts into its pods, and another
/// cluster's.
async fn bystanders(stage: &Stage) {
    let claim = |name: &str| {
        json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": name, "namespace": stage.namespace },
            "spec": { "accessModes": ["ReadWriteMany"],
                "resources": { "requests": { "storage": "1Gi" } } } })
    };
    apply(&stage.admin, &claim("scratch")).await;
    apply(&stage.admin, &claim("tikv-d-tikv-0")).await;
    let pod = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "d-tikv-0", "namespace": stage.namespace,
            "labels": { "app.kubernetes.io/managed-by": "tidb-operator",
                "app.kubernetes.io/instance": "d", "app.kubernetes.io/component": "tikv" } },
        "spec": { "containers": [{ "name": "tikv", "image": "x" }] } });
    apply(&stage.admin, &pod).await;
}

/// An old cluster with its PD, which is to be reached through the API server; the port of PD.
async fn old_cluster(stage: &mut Stage) -> u16 {
    // Pods of the old operator run as root.
    let open = json!({ "pod-security.kubernetes.io/enforce": "privileged" });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": stage.namespace, "labels": open } });
    apply(&stage.admin, &namespace).await;
    stage.pd.remembers(ID, &["c-pd-0", "c-pd-1", "c-pd-2"]);
    bystanders(stage).await;
    tidb_cluster(&stage.admin, &stage.namespace, "c").await;
    let address = own_address();
    let status = json!({ "status": { "podIP": address, "podIPs": [{ "ip": address }] } });
    let pods = api(&stage.admin, "", "Pod", &stage.namespace);
    let (params, status) = (PatchParams::default(), Patch::Merge(status));
    pods.patch_status("c-pd-0", &params, &status).await.unwrap();
    stage.pd.serve_at(address).await
}

/// The manifest that the page asks for.
fn paused(namespace: &str) -> Value {
    let mut cluster = manifest(namespace, "c");
    cluster["spec"] = json!({
        "version": "v8.5.7", "paused": true,
        "podSecurityContext": { "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false },
        "pd": { "requests": { "storage": "1Gi" } },
        "tikv": { "requests": { "storage": "1Gi" },
            "storageVolumes": [{ "name": "raft", "mountPath": "/raft", "storageSize": "1Gi" }] },
    });
    cluster
}

/// Runs the page's commands: all but those that end the pause, a look at what they did, then these.
async fn follow_the_page(stage: &Stage, port: u16, check: impl AsyncFnOnce()) {
    let directory = std::env::temp_dir().join(format!("adoption-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let cluster = paused(&stage.namespace).to_string();
    std::fs::write(directory.join("cluster.yaml"), cluster).unwrap();
    let kubeconfig = stage.server.admin_kubeconfig();
    let mut blocks = blocks();
    let (first, last) = (values(&blocks.remove(0), &stage.namespace), blocks.pop().unwrap());
    assert!(last.contains(r#""paused":false"#), "{last}");
    let rest = blocks.concat();
    assert_eq!(rest.matches("c-pd-0:2379/proxy").count(), 0);
    assert_eq!(rest.matches("-pd-0:2379/proxy").count(), 1, "{rest}");
    let rest = rest.replace("-pd-0:2379/proxy", &format!("-pd-0:{port}/proxy"));
    let said = run(format!("{first}{rest}"), &directory, &kubeconfig).await;
    assert!(said.contains(&format!("cluster id {ID}")), "{said}");
    check().await;
    run(format!("{first}{last}"), &directory, &kubeconfig).await;
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_tidb_operator_is_taken_over_by_the_commands_of_the_page() {
    let mut stage = Stage::new("adoption", "c").await;
    let port = old_cluster(&mut stage).await;
    let Stage { admin, namespace, .. } = &stage;
    let claims = all(admin, "PersistentVolumeClaim", namespace).await;
    assert_eq!(claims.len(), 11);
    let _collector = Collector::run(admin, namespace);
    let watch = Watch::begin(admin, namespace);
    let _operator = stage.operator();
    follow_the_page(&stage, port, async || {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(watch.renewed(), [""; 0], "nothing is done while it is paused");
        let pods = all(admin, "Pod", namespace).await;
        let owner = |m: &str| &pods[&format!("c-{m}")]["metadata"]["ownerReferences"][0]["kind"];
        assert!(MEMBERS.iter().all(|m| owner(m) == "TikvCluster"));
    })
    .await;

    let start = Instant::now();
    while watch.renewed().len() < MEMBERS.len() {
        let status = status_of(&stage).await;
        assert!(start.elapsed() < 2 * PATIENCE, "{:?}: {status:#}", watch.renewed());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let resource = stage.ready("c").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(resource["status"]["clusterId"], ID.to_string());
    assert_eq!(stage.pd.founded(), [ID.to_string()]);
    let renewed = watch.renewed();
    assert!(renewed[..3].iter().all(|name| name.starts_with("c-pd-")), "{renewed:?}");
    let mut twice: BTreeMap<String, usize> = MEMBERS.map(|m| (format!("c-{m}"), 2)).into();
    twice.insert("d-tikv-0".to_owned(), 1);
    assert_eq!(watch.counts(), twice);
    taken_over(&stage, &claims).await;
}

async fn status_of(stage: &Stage) -> Value {
    let clusters = crate::server::clusters(&stage.admin, &stage.namespace);
    serde_json::to_value(clusters.get("c").await.unwrap()).unwrap()["status"].clone()
}

/// The claims that there were are marked, the others are not touched; Services are the new ones.
async fn taken_over(stage: &Stage, before: &BTreeMap<String, Value>) {
    let Stage { admin, namespace, .. } = stage;
    let claims = all(admin, "PersistentVolumeClaim", namespace).await;
    assert_eq!(uids(&claims), uids(before));
    let uid = stage.ready("c").await["metadata"]["uid"].clone();
    for (name, claim) in &claims {
        let of_another = name == "scratch" || name == "tikv-d-tikv-0";
        let annotation = |mark: &str| &claim["metadata"]["annotations"][mark];
        if of_another {
            assert_eq!(claim["metadata"]["labels"], before[name]["metadata"]["labels"], "{name}");
            assert!(annotation("tikv.org/resource-uid").is_null(), "{name}");
        } else {
            assert_eq!(annotation("tikv.org/resource-uid"), &uid, "{name}");
            assert_eq!(annotation("tikv.org/cluster-id"), &json!(ID.to_string()), "{name}");
        }
        let volume = &claim["metadata"]["labels"]["tikv.org/volume"];
        let raft = name.starts_with("tikv-raft-");
        assert_eq!(volume, &if raft { json!("raft") } else { Value::Null }, "{name}");
    }
    for (name, service) in all(admin, "Service", namespace).await {
        assert_eq!(service["metadata"]["ownerReferences"][0]["uid"], uid, "{name}");
    }
}
