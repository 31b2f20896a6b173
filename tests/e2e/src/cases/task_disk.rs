//! Does the example `scale-out-on-full-disk.yaml` make room once, and once only?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::client::hardened;
use crate::cluster::{Cluster, START, collection, summary, text};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::nodes::Place;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::task::{self, Example};
use crate::timeline::Timeline;
use crate::watchman;

/// Longest time until something follows: stores tell PD of their disks every 10 s, and the operator
/// looks once a minute when all is quiet.
const LIMIT: Duration = Duration::from_mins(4);
/// How long nothing more may be asked for.
const HELD: Duration = Duration::from_secs(20);
/// Size of a store's volume.
const SIZE: &str = "512Mi";
/// The stores whose disks get full, together.
const FULL: [&str; 2] = ["basic-tikv-0", "basic-tikv-1"];
/// How full, in percent: above the first step (80) and below the second (85).
const PERCENT: u64 = 82;

/// Two disks get full.
pub(crate) const CASE: Case = Case {
    name: "task-disk",
    lane: Lane::Side,
    long: true,
    proves: "example scale-out-on-full-disk: two disks used to 80 % call for one store together, as the account of the example",
    bound: 900,
    control: Some(Control {
        sabotage: "somebody else asks for a fifth store",
        says: "not from 3 to 4 once",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(class) = &scene.growing_class else {
        return Ok(Verdict::NotRun("no --growing-class with volumes that enforce a size".into()));
    };
    let namespace = scene.namespace("task-disk")?;
    let mut wanted = manifest::cluster(&scene.servers, "basic", 1, 3);
    manifest::set(&mut wanted, "/spec/tikv/storageClassName", json!(class));
    manifest::set(&mut wanted, "/spec/tikv/requests/storage", json!(SIZE));
    // These volumes have an end of their own.
    manifest::set(&mut wanted, "/spec/tikv/limits", json!({}));
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    let specs = scene.kube.watch(&collection(&namespace));
    cluster.wait_ready(START)?;
    task::let_act_as(scene, &namespace, "scaler")?;
    let task = Example::read(task::SCALE_OUT)?.apply(scene, &namespace)?;
    task.looked()?;
    let stores = watchman::ask(&scene.kube, &cluster)?.stores;
    let id = |pod: &str| stores.get(pod).map(|store| store.id.to_string());
    let ids: BTreeSet<String> = FULL.iter().filter_map(|pod| id(pod)).collect();
    ensure!(ids.len() == FULL.len(), "PD knows the stores {stores:?}");
    let begin = Instant::now();
    for pod in FULL {
        println!("      {pod}: {}", fill(scene, &cluster, pod)?);
    }
    let run = task.run_ends("Succeeded", LIMIT)?;
    let asked = begin.elapsed();
    is_of_a_full_disk(&run, &ids)?;
    until("both disks told of, and four stores", LIMIT, || both(&cluster, &ids))?;
    cluster.wait_ready(LIMIT)?;
    let ready = begin.elapsed();
    if scene.controlled {
        cluster.merge(&json!({ "spec": { "tikv": { "replicas": 5 } } }))?;
    }
    std::thread::sleep(HELD);
    task.run_ends("Succeeded", LIMIT)?;
    once(&specs)?;
    Ok(Verdict::Held(format!(
        "one more store asked for {:.0} s after the first disk began to fill, Ready after {:.0} s",
        asked.as_secs_f64(),
        ready.as_secs_f64()
    )))
}

/// Fills the disk of a store from a pod beside it; what `df` says then.
fn fill(scene: &Scene, cluster: &Cluster, pod: &str) -> Result<String> {
    let place = Place::of(cluster, pod)?;
    let claim = json!({ "persistentVolumeClaim": { "claimName": format!("tikv-{pod}") } });
    // Of `df`'s line: what there is, and what is left of it, in KiB.
    let script = format!(
        "set -- $(df -Pk /volume | tail -n 1)
         blocks=$(( ($4 - $2 * {} / 100) / 64 ))
         dd if=/dev/zero of=/volume/ballast bs=64k count=$blocks 2>/dev/null || exit 1
         sync
         df -Pk /volume | tail -n 1",
        100 - PERCENT
    );
    let name = format!("fill-{pod}");
    let args = ["sh".to_owned(), "-c".to_owned(), script];
    let mut filler = hardened(task::shell(scene), &name, &args, Some((claim, "/volume")));
    manifest::set(&mut filler, "/spec/nodeName", json!(place.node));
    let said = scene.client().finish(cluster, &name, &filler)?;
    Ok(said.trim().to_owned())
}

/// The run is about one of these stores.
fn is_of_a_full_disk(run: &Value, ids: &BTreeSet<String>) -> Result<()> {
    let subject = text(run, "/subject").unwrap_or_default();
    ensure!(ids.contains(subject), "the run is about store \"{subject}\", not {ids:?}: {run}");
    let percent = run.pointer("/percent").and_then(Value::as_u64);
    ensure!(percent == Some(80), "the disk is used to {percent:?} percent: {run}");
    let numbers = ["/replicasBefore", "/replicas"].map(|field| run.pointer(field).cloned());
    ensure!(numbers == [Some(json!(3)), Some(json!(4))], "it went from and to {numbers:?}");
    Ok(())
}

/// The operator knows that both disks are almost full, and four stores are ready.
fn both(cluster: &Cluster, ids: &BTreeSet<String>) -> Result<Result<(), String>> {
    let object = cluster.get()?;
    let stores = object.pointer("/status/tikv/stores").and_then(Value::as_array);
    let full = |store: &&Value| {
        let used = store.pointer("/usedPercent").and_then(Value::as_u64);
        used.is_some_and(|percent| percent >= 80)
            && text(store, "/id").is_some_and(|id| ids.contains(id))
    };
    let full = stores.into_iter().flatten().filter(full).count();
    let ready = object.pointer("/status/tikv/ready").and_then(Value::as_u64);
    let done = full == ids.len() && ready == Some(4);
    let said = || format!("{full} disks full, {ready:?} stores ready; {}", summary(&object));
    Ok(if done { Ok(()) } else { Err(said()) })
}

/// The number of stores in the spec was written once.
fn once(specs: &Timeline) -> Result<()> {
    specs.goes_on()?;
    let seen = specs.seen().into_iter();
    let mut numbers: Vec<Option<u64>> =
        seen.map(|seen| seen.object.pointer("/spec/tikv/replicas")?.as_u64()).collect();
    numbers.dedup();
    let right = numbers == [Some(3), Some(4)];
    ensure!(right, "the number of stores went {numbers:?}, not from 3 to 4 once");
    Ok(())
}
