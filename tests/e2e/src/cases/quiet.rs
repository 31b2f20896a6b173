//! Does a quiet cluster cost the API server anything?

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::audit::tally;
use crate::cluster::{Cluster, is_ready};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::{Watchman, Word};

/// Time for the last changes before it to come to rest.
const SETTLE: Duration = Duration::from_secs(20);

/// Watches that may be opened again in five minutes: the API server ends each after five to ten, and the
/// operator has one for each kind of object.
const REOPENED: u64 = 14;

/// How often to listen, where something happened meanwhile.
const TIMES: u32 = 3;

/// Silence.
pub(crate) const CASE: Case = Case {
    name: "quiet",
    lane: Lane::Alone,
    long: false,
    proves: "while nothing happens the operator reads and writes nothing but its Lease and re-opened watches",
    bound: 2_400,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let cluster = &scene.basic()?.cluster;
    let quiet = Duration::from_secs(if scene.all { 600 } else { 120 });
    for _ in 0..TIMES {
        cluster.wait_ready(Duration::from_mins(3))?;
        scene.wait_alone()?;
        sleep(SETTLE);
        match listen(scene, cluster, quiet)? {
            Ok(verdict) => return Ok(verdict),
            Err(what) => println!("      it was not quiet, once more: {what}"),
        }
    }
    bail!("the cluster itself was never quiet for {} s", quiet.as_secs())
}

/// Listens for this time; an error says what happened in it that was not the operator's doing.
fn listen(scene: &Scene, cluster: &Cluster, quiet: Duration) -> Result<Result<Verdict, String>> {
    let Some(audit) = scene.audit()? else {
        return Ok(Ok(Verdict::NotRun("the API server's audit log is not at hand".to_owned())));
    };
    let pods = scene.kube.watch(&cluster.core("pods"));
    let watchman = Watchman::every(Duration::from_secs(1), &scene.kube, cluster);
    sleep(quiet);
    let calls = audit.calls(&scene.operator.user)?;
    let leases = calls.iter().filter(|c| c.resource == "leases").count();
    // Silence must be the operator's choice, not its absence: it renews its Lease all the time.
    ensure!(
        leases > 0,
        "the operator did not even renew its Lease: is it alive, is it {}?",
        scene.operator.user
    );
    let watches = calls.iter().filter(|c| c.verb == "watch").count();
    let most = usize::try_from(REOPENED * (1 + quiet.as_secs() / 300))?;
    ensure!(watches <= most, "{watches} watches were opened again in {} s", quiet.as_secs());
    let noise = tally(calls.iter().filter(|c| c.resource != "leases" && c.verb != "watch"));
    if noise.is_empty() {
        ensure!(is_ready(&cluster.get()?), "the cluster did not stay Ready");
        return Ok(Ok(Verdict::Held(format!(
            "0 reads and writes in {} s ({leases} calls for the Lease, {watches} watches opened again)",
            quiet.as_secs()
        ))));
    }
    let noise = format!("in {} quiet seconds the operator made {noise:?}", quiet.as_secs());
    // A machine that stands still for seconds changes PD's leader, or makes a probe fail.
    let states: BTreeSet<_> = watchman.heard().iter().map(|(_, word)| state(word)).collect();
    let changed = pods.seen().iter().any(|event| event.kind != "ADDED");
    if states.len() > 1 || changed {
        return Ok(Err(format!("{noise}; pods changed: {changed}, PD said {states:?}")));
    }
    bail!("{noise}")
}

/// What of PD's word an operator may have to act on.
fn state(word: &Word) -> (String, Vec<String>, Vec<(String, String)>) {
    let stores = word.stores.iter().map(|(pod, store)| (pod.clone(), store.state.clone()));
    (word.leader.clone(), word.healthy.iter().cloned().collect(), stores.collect())
}
