//! Does a quiet cluster cost the API server anything?

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::audit::tally;
use crate::cluster::is_ready;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

/// Time for the last changes before it to come to rest.
const SETTLE: Duration = Duration::from_secs(20);

/// Silence.
pub(crate) const CASE: Case = Case {
    name: "quiet",
    lane: Lane::Alone,
    long: false,
    proves: "while nothing happens the operator reads and writes nothing but its Lease and re-opened watches",
    bound: 900,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let cluster = &scene.basic()?.cluster;
    cluster.wait_ready(Duration::from_mins(2))?;
    scene.wait_alone()?;
    sleep(SETTLE);
    let Some(audit) = scene.audit()? else {
        return Ok(Verdict::NotRun("the API server's audit log is not at hand".to_owned()));
    };
    let quiet = Duration::from_secs(if scene.all { 600 } else { 120 });
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
    let noise = tally(calls.iter().filter(|c| c.resource != "leases" && c.verb != "watch"));
    ensure!(noise.is_empty(), "in {} quiet seconds the operator made {noise:?}", quiet.as_secs());
    ensure!(is_ready(&cluster.get()?), "the cluster did not stay Ready");
    Ok(Verdict::Held(format!(
        "0 reads and writes in {} s ({leases} calls for the Lease, {watches} watches opened again)",
        quiet.as_secs()
    )))
}
