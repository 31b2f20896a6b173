//! What does an operator do that slept through the end of its lease?

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::audit::{Audit, Call};
use crate::cases::standby::restored;
use crate::cluster::{text, unchanged};
use crate::control::Control;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(3);
/// Past the lease's end, and before the kubelet starts a silent operator again.
const SLEEP: Duration = Duration::from_secs(20);
/// Time for a woken operator to do harm, if it does any.
const AWAKE: Duration = Duration::from_secs(20);

/// SIGSTOP to the operator that acts, and SIGCONT when another one does.
pub(crate) const CASE: Case = Case {
    name: "woken",
    lane: Lane::Alone,
    long: true,
    proves: "an operator stopped past its lease and woken again writes nothing; the other one acts on",
    bound: 600,
    control: Some(Control {
        sabotage: "the Lease is given back to the stopped operator before it wakes",
        says: "the woken operator wrote",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let (Some(lab), Some(audit)) = (&scene.lab, scene.audit()?) else {
        let why = "no lab that could stop a process, or no audit log";
        return Ok(Verdict::NotRun(why.to_owned()));
    };
    let cluster = &scene.basic()?.cluster;
    cluster.wait_ready(LIMIT)?;
    let before = cluster.incarnations()?;
    let pair = scene.operator.with_standby()?;
    let leader = scene.operator.leader()?;
    let name = text(&leader, "/metadata/name").context("a pod without a name")?;
    let asleep = scene.operator.holder()?;
    let began = Instant::now();
    lab.signal("SIGSTOP", &leader)?;
    let acted = restored(scene, cluster, began);
    sleep(SLEEP.saturating_sub(began.elapsed()));
    let holder = scene.operator.holder()?;
    let since = scene.audit()?.context("the audit log is gone")?;
    if scene.controlled {
        scene.operator.lend(&asleep, SLEEP)?;
    }
    lab.signal("SIGCONT", &leader)?;
    let acted = acted?;
    ensure!(!holder.starts_with(name), "nobody took the Lease from the stopped {name}");
    sleep(AWAKE / 2);
    // Something to do for whoever thinks that it is to act; the log has time to tell of it.
    restored(scene, cluster, Instant::now())?;
    sleep(AWAKE / 2);
    let woken = writes(scene, &since, name)?;
    ensure!(woken.is_empty(), "the woken operator wrote: {woken:?}");
    let still = scene.operator.holder()?;
    ensure!(still == holder, "the Lease went from {holder} to {still}");
    // The log must be one in which its writes would have been seen.
    let calls = audit.calls(&scene.operator.user)?;
    let known = calls.iter().any(|call| call.pod == name);
    ensure!(known, "the audit log names no call of {name}, not even for its Lease");
    drop(pair);
    unchanged(&before, &cluster.incarnations()?)?;
    Ok(Verdict::Held(format!(
        "the other one acted after {:.1} s; woken after {} s, it wrote nothing",
        acted.as_secs_f64(),
        SLEEP.as_secs()
    )))
}

fn writes(scene: &Scene, audit: &Audit, pod: &str) -> Result<Vec<Call>> {
    let mut calls = audit.calls(&scene.operator.user)?;
    // What the API server refused did no harm.
    calls.retain(|call| call.pod == pod && call.counts_as_write() && call.code < 400);
    Ok(calls)
}
