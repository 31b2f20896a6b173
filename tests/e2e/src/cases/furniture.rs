//! Is what people delete or change by hand put back, and are pods left alone meanwhile?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, by_name, pod_ready, text, unchanged};
use crate::kube::{Kube, until};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

/// Also for a PD leader that changed a moment ago: it calls stores Up when it has heard them, and its
/// word on replication is believed after a minute.
const LIMIT: Duration = Duration::from_mins(3);

/// Furniture and a pod.
pub(crate) const CASE: Case = Case {
    name: "furniture",
    lane: Lane::Alone,
    long: false,
    proves: "deleted or changed objects are restored without touching pods; a deleted pod keeps its store id",
    bound: 360,
    control: None,
    run,
};

/// A Service, a ConfigMap and a budget: what was there, and where.
struct Piece {
    path: String,
    uid: String,
}

fn run(scene: &Scene) -> Result<Verdict> {
    let cluster = &scene.basic()?.cluster;
    cluster.wait_ready(LIMIT)?;
    let before = cluster.incarnations()?;
    let pieces = pieces(&scene.kube, cluster)?;
    let count = pieces.len();
    change_service(&scene.kube, cluster)?;
    for piece in &pieces {
        scene.kube.delete(&piece.path, None)?;
    }
    for piece in &pieces {
        until(&format!("{} made again", piece.path), LIMIT, || {
            let uid = scene.kube.find(&piece.path)?;
            let uid = uid.as_ref().and_then(|o| text(o, "/metadata/uid"));
            Ok(match uid {
                Some(uid) if uid != piece.uid => Ok(()),
                _ => Err("not yet".to_owned()),
            })
        })?;
    }
    unchanged(&before, &cluster.incarnations()?)?;
    let seconds = pod_comes_back(scene, cluster)?;
    Ok(Verdict::Held(format!(
        "{count} objects restored, 1 changed Service restored, a deleted pod's store Up again after {seconds} s"
    )))
}

/// Everything that the cluster owns and that is neither pod nor volume.
fn pieces(kube: &Kube, cluster: &Cluster) -> Result<Vec<Piece>> {
    let uid = cluster.get()?;
    let owner = text(&uid, "/metadata/uid").context("the cluster has no uid")?;
    let lists = [
        cluster.core("services"),
        cluster.core("configmaps"),
        format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", cluster.namespace),
    ];
    let mut pieces = Vec::new();
    for list in lists {
        let found = pieces.len();
        for (name, object) in by_name(kube.list(&list)?) {
            if text(&object, "/metadata/ownerReferences/0/uid") == Some(owner) {
                let uid = text(&object, "/metadata/uid").unwrap_or_default().to_owned();
                pieces.push(Piece { path: format!("{list}/{name}"), uid });
            }
        }
        ensure!(pieces.len() > found, "the cluster owns nothing in {list}");
    }
    Ok(pieces)
}

/// Changes the client Service's selector, so that it leads nowhere, and waits for it to be undone.
fn change_service(kube: &Kube, cluster: &Cluster) -> Result<()> {
    let path = format!("{}/{}-pd", cluster.core("services"), cluster.name);
    let wanted = kube.get(&path)?.pointer("/spec/selector").cloned().context("no selector")?;
    kube.merge(&path, &json!({ "spec": { "selector": { "tikv.org/cluster": "nobody" } } }))?;
    until("selector of the client Service restored", LIMIT, || {
        let now = kube.get(&path)?.pointer("/spec/selector").cloned().unwrap_or(Value::Null);
        Ok(if now == wanted { Ok(()) } else { Err(now.to_string()) })
    })
}

/// Deletes one TiKV pod: a pod of the same name and the same store id follows.
fn pod_comes_back(scene: &Scene, cluster: &Cluster) -> Result<u64> {
    let pd_pod = format!("{}-pd-0", cluster.name);
    let victim = format!("{}-tikv-1", cluster.name);
    let path = format!("{}/{victim}", cluster.core("pods"));
    let pd = scene.pd(cluster);
    let id =
        |stores: &[(String, u64)]| stores.iter().find(|(h, _)| *h == victim).map(|(_, id)| *id);
    let store = until("the store of the pod to delete", LIMIT, || {
        let stores = pd.up_stores(&pd_pod)?;
        Ok(id(&stores).ok_or_else(|| format!("not Up; {stores:?}")))
    })?;
    let old = scene.kube.get(&path)?;
    let started = std::time::Instant::now();
    scene.kube.delete(&path, None)?;
    until(&format!("{victim} replaced and ready"), LIMIT, || {
        let Some(new) = scene.kube.find(&path)? else {
            return Ok(Err("no pod".to_owned()));
        };
        let replaced = text(&new, "/metadata/uid") != text(&old, "/metadata/uid");
        Ok(if replaced && pod_ready(&new) { Ok(()) } else { Err("not ready".to_owned()) })
    })?;
    // Not Ready: PD's word on replication is believed a minute after the operator's own start.
    until(&format!("the store of {victim} Up"), LIMIT, || {
        let now = id(&pd.up_stores(&pd_pod)?);
        ensure!(now.is_none_or(|now| now == store), "store {store} came back as {now:?}");
        Ok(now.map(drop).ok_or_else(|| "not Up".to_owned()))
    })?;
    Ok(started.elapsed().as_secs())
}
