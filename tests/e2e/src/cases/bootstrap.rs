//! Is a cluster founded exactly once, whatever happens meanwhile and afterwards?

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, condition, is_ready, summary, text};
use crate::kube::until;
use crate::manifest::{self, set};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(5);
/// No scheduler has this name: the case places the pods itself, when it wants to.
const BY_HAND: &str = "e2e-by-hand";

/// A slow and disturbed start.
pub(crate) const LATE_MEMBER: Case = Case {
    name: "late-member",
    lane: Lane::Alone,
    long: false,
    proves: "one PD late, spec edited, operator killed three times during the start: one cluster id, 5 members",
    bound: 1_200,
    control: None,
    run: late_member,
};

/// Everything that PD knew is gone.
pub(crate) const VOLUMES_LOST: Case = Case {
    name: "volumes-lost",
    lane: Lane::Alone,
    long: false,
    proves: "all PD volumes lost after the start: no new cluster, Degraded says so",
    bound: 900,
    control: None,
    run: volumes_lost,
};

fn late_member(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("late-member")?;
    let mut wanted = manifest::cluster(&scene.servers, "late", 3, 1);
    set(&mut wanted, "/spec/pd/schedulerName", json!(BY_HAND));
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    until("3 PD pods", LIMIT, || {
        let pods = cluster.pods(Some(Component::Pd))?.len();
        Ok(if pods == 3 { Ok(()) } else { Err(format!("{pods} pods")) })
    })?;
    scene.kill_operator()?;
    place(scene, &cluster, "late-pd-2", 0)?;
    place(scene, &cluster, "late-pd-1", 1)?;
    let edit = json!({ "metadata": { "labels": { "edited": "yes" } }, "spec": { "pd": { "replicas": 5 } } });
    cluster.merge(&edit)?;
    sleep(Duration::from_secs(3));
    scene.kill_operator()?;
    sleep(Duration::from_secs(if scene.all { 180 } else { 15 }));
    place(scene, &cluster, "late-pd-0", 2)?;
    until("PD leader", LIMIT, || {
        let leader = scene.pd(&cluster).leader("late-pd-0")?;
        Ok(leader.ok_or_else(|| "none".to_owned()))
    })?;
    scene.kill_operator()?;
    five_members(scene, &cluster)?;
    let id = cluster.recorded_id()?.context("no cluster id in status")?;
    scene.pd(&cluster).is_all_of(Some(&id), LIMIT)?;
    Ok(Verdict::Held(format!("cluster id {id}; 5 members")))
}

/// The edit takes effect, with a store that is Up.
fn five_members(scene: &Scene, cluster: &Cluster) -> Result<()> {
    until("5 PD members, a store Up, and Ready", LIMIT, || {
        for (index, name) in cluster.pods(Some(Component::Pd))?.into_keys().enumerate() {
            place(scene, cluster, &name, index)?;
        }
        let (pd, object) = (scene.pd(cluster), cluster.get()?);
        let (up, members) = (pd.up_stores("late-pd-0")?.len(), pd.members("late-pd-0")?.len());
        let done = up == 1 && members == 5 && is_ready(&object);
        let words = || format!("{up} stores Up, {members} members; {}", summary(&object));
        Ok(if done { Ok(()) } else { Err(words()) })
    })
}

/// Does the scheduler's work for one pod: its volume's node, then its own.
fn place(scene: &Scene, cluster: &Cluster, pod: &str, index: usize) -> Result<()> {
    let path = format!("{}/{pod}", cluster.core("pods"));
    let object = scene.kube.get(&path)?;
    if text(&object, "/spec/nodeName").is_some() {
        return Ok(());
    }
    let node = node(scene, index)?;
    let volumes = object.pointer("/spec/volumes").and_then(Value::as_array);
    for volume in volumes.into_iter().flatten() {
        let Some(claim) = text(volume, "/persistentVolumeClaim/claimName") else {
            continue;
        };
        let claim = format!("{}/{claim}", cluster.core("persistentvolumeclaims"));
        let annotations = json!({ "volume.kubernetes.io/selected-node": node });
        scene.kube.merge(&claim, &json!({ "metadata": { "annotations": annotations } }))?;
        until(&format!("{claim} bound"), Duration::from_mins(1), || {
            let claim = scene.kube.get(&claim)?;
            let bound = text(&claim, "/status/phase") == Some("Bound");
            Ok(if bound {
                Ok(())
            } else {
                Err(claim.pointer("/status").cloned().unwrap_or_default().to_string())
            })
        })?;
    }
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": pod },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    scene.kube.create(&format!("{path}/binding"), &binding).map(drop)
}

/// Some node that takes pods; different ones for different numbers, as far as there are any.
fn node(scene: &Scene, index: usize) -> Result<String> {
    let nodes = scene.kube.list("/api/v1/nodes")?;
    let usable: Vec<_> = nodes
        .iter()
        .filter(|n| {
            n.pointer("/spec/unschedulable").is_none() && n.pointer("/spec/taints").is_none()
        })
        .filter(|n| condition(n, "Ready").and_then(|c| text(c, "/status")) == Some("True"))
        .filter_map(|n| text(n, "/metadata/name"))
        .collect();
    let chosen = index.checked_rem(usable.len()).and_then(|i| usable.get(i));
    Ok((*chosen.context("no node takes pods")?).to_owned())
}

fn volumes_lost(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("volumes-lost")?;
    let wanted = manifest::cluster(&scene.servers, "lost", 3, 1);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(LIMIT)?;
    let id = cluster.recorded_id()?.context("no cluster id in status")?;
    lose_volumes(scene, &cluster)?;
    // While the claims are only marked for deletion the cluster still serves, and may say Ready.
    let lost = ["PD", "not bootstrapped again"];
    let message = cluster.wait_condition("Degraded", "True", &lost, LIMIT)?;
    scene.kill_operator()?;
    // Long enough for containers to be restarted a few times, and to read a changed ConfigMap.
    let watch = Duration::from_secs(if scene.all { 300 } else { 40 });
    let start = Instant::now();
    while start.elapsed() < watch {
        for pod in cluster.pods(Some(Component::Pd))?.keys() {
            if let Some(other) = scene.pd(&cluster).cluster_id(pod)? {
                bail!("{pod} answers for cluster {other}: a new one was founded");
            }
        }
        let object = cluster.get()?;
        ensure!(!is_ready(&object), "Ready without any PD data");
        let now = text(&object, "/status/clusterId");
        ensure!(now == Some(id.as_str()), "cluster id {id} became {now:?}");
        sleep(Duration::from_secs(1));
    }
    cluster.wait_condition("Degraded", "True", &["PD"], LIMIT)?;
    Ok(Verdict::Held(message))
}

/// Deletes all PD volumes under their pods, as an administrator's mistake would.
fn lose_volumes(scene: &Scene, cluster: &Cluster) -> Result<()> {
    let claims = cluster.claims()?;
    let mut lost = Vec::new();
    for (name, claim) in claims.iter().filter(|(name, _)| name.starts_with("pd-")) {
        let path = format!("{}/{name}", cluster.core("persistentvolumeclaims"));
        scene.kube.delete(&path, None)?;
        lost.push((path, text(claim, "/metadata/uid").unwrap_or_default().to_owned()));
    }
    ensure!(lost.len() == 3, "3 PD volumes expected, found {lost:?}");
    until("all PD volumes gone", LIMIT, || {
        // A claim in use goes with its pod; pods that were made again meanwhile hold the old one.
        for pod in cluster.pods(Some(Component::Pd))?.keys() {
            scene.kube.delete(&format!("{}/{pod}", cluster.core("pods")), Some(0))?;
        }
        sleep(Duration::from_secs(1));
        for (path, uid) in &lost {
            let found = scene.kube.find(path)?;
            if found.as_ref().and_then(|c| text(c, "/metadata/uid")) == Some(uid) {
                return Ok(Err(format!("{path} is still there")));
            }
        }
        Ok(Ok(()))
    })
}
