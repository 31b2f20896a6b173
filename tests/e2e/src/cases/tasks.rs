//! Do tasks keep their promises on real kubelets: a gate that fails stops an upgrade, an account's
//! rights are a verb's?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, START, text, unchanged};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::task::{self, Task};

const LIMIT: Duration = Duration::from_mins(4);
/// How long an upgrade that is held is watched: well above the minute for which restarts wait in any
/// case when PD's leader is new, as it is here.
const HELD: Duration = Duration::from_secs(80);

/// A Job before an upgrade.
pub(crate) const GATE: Case = Case {
    name: "task-gate",
    lane: Lane::Side,
    long: true,
    proves: "an upgrade waits for the Job before it, stops where that fails, and goes on when the task is corrected",
    bound: 900,
    control: Some(Control {
        sabotage: "the task suspended when its run has failed",
        says: "the gate was jumped",
    }),
    run: gate,
};

/// A verb with the rights of its account.
pub(crate) const VERB: Case = Case {
    name: "task-scale",
    lane: Lane::Side,
    long: true,
    proves: "a task scales out through the scale subresource with the rights of its service account, and not without",
    bound: 900,
    control: Some(Control {
        sabotage: "the account has its role from the start",
        says: "the run of without has Succeeded",
    }),
    run: verb,
};

/// Work of a task: a Job of the test client with these arguments.
pub(crate) fn job(image: &str, args: &[&str]) -> Value {
    json!({ "job": { "template": { "spec": { "backoffLimit": 0, "template": { "spec": {
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1000,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "work", "image": image, "imagePullPolicy": "IfNotPresent", "args": args,
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
            },
        }],
    } } } } } })
}

/// Asks for another version of the stores.
pub(crate) fn upgrade(cluster: &Cluster, version: &str) -> Result<()> {
    cluster.merge(&json!({ "spec": { "version": version } }))
}

/// Waits until the upgrade has ended, and the cluster is Ready.
pub(crate) fn upgraded(cluster: &Cluster) -> Result<()> {
    until("the upgrade to end", LIMIT, || {
        let upgrade = cluster.get()?.pointer("/status/upgrade").cloned().unwrap_or_default();
        Ok(if upgrade.get("finished").is_some() { Ok(()) } else { Err(upgrade.to_string()) })
    })?;
    cluster.wait_ready(LIMIT).map(drop)
}

fn gate(scene: &Scene) -> Result<Verdict> {
    let Some(next) = &scene.servers.next_version else {
        return Ok(Verdict::NotRun("no second version of the images is named".to_owned()));
    };
    let namespace = scene.namespace("gate")?;
    let wanted = manifest::cluster(&scene.servers, "gate", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let before = cluster.incarnations()?;
    let spec = |args: &[&str]| {
        json!({
            "cluster": "gate", "events": ["UpgradeStarting"], "gate": "before",
            "timeout": "3m", "backoffLimit": 0, "run": job(scene.client_image(), args),
        })
    };
    let task = Task::create(scene, &namespace, "backup", &spec(&["no-such-command"]))?;
    task.looked()?;
    let begin = Instant::now();
    upgrade(&cluster, next)?;
    until("the gate to have failed", LIMIT, || {
        let waits = cluster.get()?.pointer("/status/waits").map(Value::to_string);
        let waits = waits.unwrap_or_default();
        Ok(if waits.contains("gate-failed") { Ok(()) } else { Err(waits) })
    })?;
    let failed = begin.elapsed();
    if scene.controlled {
        task.merge(&json!({ "suspend": true }))?;
    }
    std::thread::sleep(HELD);
    unchanged(&before, &cluster.incarnations()?).context("the gate was jumped")?;
    // Kubernetes puts the address of PD, which the Job is told, in the place of its name.
    task.merge(&spec(&["write", "--pd=$(TIKV_PD)", "--prefix=backup", "--count=10"]))?;
    upgraded(&cluster)?;
    let last = task.last_outcome()?;
    ensure!(last.as_deref() == Some("Succeeded"), "the last run: {last:?}");
    Ok(Verdict::Held(format!(
        "held after {:.1} s, upgraded after the task was corrected",
        failed.as_secs_f64()
    )))
}

fn verb(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("verb")?;
    let wanted = manifest::cluster(&scene.servers, "verb", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    task::let_act_as(scene, &namespace, "scaler")?;
    let account =
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "scaler" } });
    scene.kube.create(&cluster.core("serviceaccounts"), &account)?;
    let may_scale = json!([{
        "apiGroups": ["tikv.org"], "resources": ["tikvclusters/scale"], "verbs": ["patch"],
    }]);
    if scene.controlled {
        task::allow(scene, &namespace, "scaler", &may_scale)?;
    }
    let spec = |again: u32| {
        json!({
            "cluster": "verb", "immediately": true, "serviceAccountName": "scaler",
            "backoffLimit": again, "run": { "scale": { "by": 1 } },
        })
    };
    // At the second attempt whoever decides about rights has heard of those that were just given.
    let without = Task::create(scene, &namespace, "without", &spec(1))?;
    let refused = without.run_ends("Failed", LIMIT)?;
    let said = text(&refused, "/message").unwrap_or_default();
    let of_scale = said.contains("service account scaler") && said.contains("tikvclusters/scale");
    ensure!(of_scale, "it was not refused for want of the role: {said}");
    task::allow(scene, &namespace, "scaler", &may_scale)?;
    let with = Task::create(scene, &namespace, "with", &spec(3))?;
    with.run_ends("Succeeded", LIMIT)?;
    until("four stores", LIMIT, || {
        let ready = cluster.get()?.pointer("/status/tikv/ready").and_then(Value::as_i64);
        Ok(if ready == Some(4) { Ok(()) } else { Err(format!("{ready:?} are ready")) })
    })?;
    Ok(Verdict::Held("refused without the role, four stores with it".to_owned()))
}
