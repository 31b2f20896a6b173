//! Do the examples whose work is a Job do what their files say?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::labels;

use crate::cases::tasks::{upgrade, upgraded};
use crate::cluster::{Cluster, START, condition, label, text};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::nodes::store_apart;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::task::{self, Example};
use crate::timeline::Timeline;
use crate::watchman;

/// Longest time until a Job has done its work.
const LIMIT: Duration = Duration::from_mins(4);
/// Longest time until a schedule of every minute has made a Job.
const DUE: Duration = Duration::from_secs(90);
/// Longest time until a lost store has been replaced.
const REPLACED: Duration = Duration::from_mins(10);
/// Seconds that the backup takes. Restarts wait for a minute in any case when PD's leader is new, as it
/// is here: what is not held begins before the backup has ended.
const BACKUP_TAKES: u32 = 70;

/// `backup-before-upgrade.yaml`.
pub(crate) const BACKUP: Case = Case {
    name: "task-backup",
    lane: Lane::Side,
    long: true,
    proves: "example backup-before-upgrade: no store restarts for another version before the Job, which is told of it, has ended",
    bound: 900,
    control: Some(Control {
        sabotage: "gate: after in the example",
        says: "before the backup had ended",
    }),
    run: backup,
};

/// `nightly-compaction.yaml`, every minute.
pub(crate) const COMPACTION: Case = Case {
    name: "task-compaction",
    lane: Lane::Side,
    long: true,
    proves: "example nightly-compaction: when it is due a Job compacts every column family of every store with the cluster's own image",
    bound: 400,
    control: Some(Control {
        sabotage: "the example names another image",
        says: "not the cluster's image",
    }),
    run: compaction,
};

/// `verify-after-failover.yaml`.
pub(crate) const VERIFY: Case = Case {
    name: "task-verify",
    lane: Lane::Alone,
    long: true,
    proves: "example verify-after-failover: when a store on a dead node was replaced its Job runs once, and is told of both",
    bound: 900,
    control: Some(Control {
        sabotage: "the operator stopped before the node goes off",
        says: "the run of verify-after-failover to have Succeeded: not within",
    }),
    run: verify,
};

/// A cluster of the name that the examples are about.
fn start(scene: &Scene, case: &str, wanted: &Value) -> Result<Cluster> {
    let namespace = scene.namespace(case)?;
    let cluster = Cluster::create(&scene.kube, &namespace, wanted)?;
    cluster.wait_ready(START)?;
    Ok(cluster)
}

fn backup(scene: &Scene) -> Result<Verdict> {
    let Some(next) = &scene.servers.next_version else {
        return Ok(Verdict::NotRun("no second version of the images is named".to_owned()));
    };
    let wanted = manifest::cluster(&scene.servers, "basic", 1, 3);
    let cluster = start(scene, "task-backup", &wanted)?;
    let pods = scene.kube.watch(&cluster.core("pods"));
    let jobs = scene.kube.watch(&task::jobs(&cluster.namespace));
    let mut example = Example::read(task::BACKUP)?;
    example.with_shell(scene)?;
    lasting(&mut example)?;
    if scene.controlled {
        manifest::set(example.task()?, "/spec/gate", json!("after"));
    }
    let task = example.apply(scene, &cluster.namespace)?;
    task.looked()?;
    let begin = Instant::now();
    upgrade(&cluster, next)?;
    let run = task.run_ends("Succeeded", LIMIT)?;
    is_told(&task.written()?, &run, (&cluster, next))?;
    upgraded(&cluster)?;
    let made = task.jobs()?.len();
    ensure!(made == 1, "{made} Jobs were made for one upgrade");
    let (done, restart) = moments(&pods, &jobs)?;
    let early = done.saturating_duration_since(restart).as_secs_f64();
    ensure!(restart >= done, "a store was restarted {early:.1} s before the backup had ended");
    Ok(Verdict::Held(format!(
        "the backup ended {:.1} s after the edit, the first store was restarted {:.1} s after that",
        done.saturating_duration_since(begin).as_secs_f64(),
        restart.saturating_duration_since(done).as_secs_f64()
    )))
}

/// Puts a pause before what the example's Job does: backups take their time.
fn lasting(example: &mut Example) -> Result<()> {
    let script = "/spec/run/job/template/spec/template/spec/containers/0/command/2";
    let script = example.task()?.pointer_mut(script).context("the example runs no script")?;
    let does = script.as_str().context("the example's script is no text")?;
    *script = json!(format!("sleep {BACKUP_TAKES}; {does}"));
    Ok(())
}

/// The Job was told of the upgrade, in variables and in a file: its script writes both.
fn is_told(written: &str, run: &Value, (cluster, next): (&Cluster, &str)) -> Result<()> {
    let pd = format!("{}-pd.{}.svc:2379", cluster.name, cluster.namespace);
    let words = format!("back up {} by {pd}", cluster.name);
    let (first, file) = written.split_once('\n').context("the backup wrote no second line")?;
    ensure!(first == words, "the backup wrote \"{first}\", not \"{words}\"");
    let event: Value =
        serde_json::from_str(file).with_context(|| format!("event.json holds {file}"))?;
    let kind = text(&event, "/type");
    ensure!(kind == Some("org.tikv.cluster.UpgradeStarting"), "event.json tells of {kind:?}");
    let (id, key) = (text(&event, "/id"), text(run, "/key"));
    ensure!(id.is_some() && id == key, "event.json has the id {id:?}, the run the key {key:?}");
    let to = text(&event, "/data/to").unwrap_or_default();
    ensure!(to.contains(next), "event.json tells of an upgrade to \"{to}\", not to {next}");
    Ok(())
}

/// When the Job had ended, and when the first store was taken down.
fn moments(pods: &Timeline, jobs: &Timeline) -> Result<(Instant, Instant)> {
    pods.goes_on()?;
    jobs.goes_on()?;
    let done = jobs
        .when(1, |job| condition(job, "Complete").and_then(|c| text(c, "/status")) == Some("True"));
    let restart = pods.when(1, |pod| {
        label(pod, labels::COMPONENT) == Some("tikv")
            && pod.pointer("/metadata/deletionTimestamp").is_some()
    });
    let done = done.context("the Job was never seen to be complete")?;
    Ok((done, restart.context("no store was seen to be restarted")?))
}

fn compaction(scene: &Scene) -> Result<Verdict> {
    let wanted = manifest::cluster(&scene.servers, "basic", 1, 3);
    let cluster = start(scene, "task-compaction", &wanted)?;
    let mut example = Example::read(task::COMPACTION)?;
    manifest::set(example.task()?, "/spec/schedule", json!("* * * * *"));
    if scene.controlled {
        manifest::set(example.task()?, "/spec/run/compact/image", json!("example.org/tikv:other"));
    }
    let task = example.apply(scene, &cluster.namespace)?;
    task.looked()?;
    let begin = Instant::now();
    let job = until("a Job of nightly-compaction", DUE, || {
        let runs = Value::from(task.runs()?);
        Ok(task.jobs()?.into_iter().next().ok_or(format!("runs: {runs}")))
    })?;
    let took = begin.elapsed();
    let image = format!("{}:{}", scene.servers.tikv.base, scene.servers.tikv.tag);
    compacts(&job, &image, &format!("basic-pd.{}.svc:2379", cluster.namespace))?;
    // The next minute is not waited for; a run that goes on is not stopped by this.
    task.merge(&json!({ "suspend": true }))?;
    let run = task.run_ends("Succeeded", LIMIT)?;
    let written = task.written()?;
    let stores = written.lines().filter(|line| line.contains("success")).count();
    ensure!(stores == 3, "{stores} stores were compacted, not 3: {written}");
    let due = text(&run, "/since").unwrap_or_default();
    ensure!(due.ends_with(":00Z"), "it was due at {due}, which is no minute of the schedule");
    Ok(Verdict::Held(format!(
        "due at {due}, a Job {:.0} s after the task was made; {stores} stores compacted",
        took.as_secs_f64()
    )))
}

/// The Job's containers run `tikv-ctl` of this image, one for each column family.
fn compacts(job: &Value, image: &str, pd: &str) -> Result<()> {
    let list = |field: &str| {
        let list = job.pointer(&format!("/spec/template/spec/{field}")).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let containers = [list("initContainers"), list("containers")].concat();
    let families = ["default", "write", "lock"];
    let found: Vec<_> = containers.iter().map(|c| text(c, "/name")).collect();
    ensure!(containers.len() == families.len(), "its containers are {found:?}");
    for (container, family) in containers.iter().zip(families) {
        let runs = text(container, "/image");
        ensure!(runs == Some(image), "{family} runs {runs:?}, not the cluster's image {image}");
        let args = format!("--pd {pd} compact-cluster -d kv -c {family} -b default -n 2");
        let args: Vec<&str> = args.split(' ').collect();
        for (field, wanted) in [("command", json!(["/tikv-ctl"])), ("args", json!(args))] {
            let has = container.get(field).cloned().unwrap_or_default();
            ensure!(has == wanted, "{family}: {field} is {has}, not {wanted}");
        }
    }
    Ok(())
}

fn verify(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose nodes could be broken".to_owned()));
    };
    let wanted = manifest::impatient(&scene.servers, "basic", 1, 3);
    let cluster = start(scene, "task-verify", &wanted)?;
    let (victim, node) = store_apart(scene, &cluster)?;
    let stores = watchman::ask(&scene.kube, &cluster)?.stores;
    let lost = stores.get(&victim).with_context(|| format!("no store {victim}: {stores:?}"))?.id;
    let mut example = Example::read(task::VERIFY)?;
    example.with_shell(scene)?;
    let task = example.apply(scene, &cluster.namespace)?;
    task.looked()?;
    let _stopped = scene.without_operator()?;
    let begin = Instant::now();
    let off = lab.off(&node)?;
    let run = task.run_ends("Succeeded", scene.patience(REPLACED));
    let took = begin.elapsed();
    off.on(&scene.kube)?;
    let run = run?;
    let new = text(&run, "/pod").context("the run names no pod")?;
    let words = format!("{lost} was replaced by {new} in basic");
    let written = task.written()?;
    ensure!(written.trim_end() == words, "the Job wrote \"{written}\", not \"{words}\"");
    cluster.wait_ready(LIMIT)?;
    let stores = watchman::ask(&scene.kube, &cluster)?.stores;
    let up = stores.get(new).is_some_and(|store| store.state == "Up" && store.id != lost);
    ensure!(up && new != victim, "{new} is no new store: {stores:?}");
    // The node's return is no further loss.
    task.run_ends("Succeeded", LIMIT)?;
    let made = task.jobs()?.len();
    ensure!(made == 1, "{made} Jobs were made for one lost store");
    Ok(Verdict::Held(format!(
        "store {lost} on {node} replaced and looked at {:.0} s after the node went off",
        took.as_secs_f64()
    )))
}
