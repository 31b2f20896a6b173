//! Does a cluster live on while Kubernetes' API server does not answer?

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cases::standby::restored;
use crate::cluster::{Cluster, START, same_volumes, unchanged};
use crate::control::Control;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(5);
/// Far above every Lease, and above `failover.after` of this cluster.
const FROZEN: Duration = Duration::from_mins(10);

/// Without an operator nothing depends on how long.
const SHORT: Duration = Duration::from_secs(30);

/// The API server stands still for ten minutes.
pub(crate) const CASE: Case = Case {
    name: "api-frozen",
    lane: Lane::Alone,
    long: true,
    proves: "the API server frozen for ten minutes: clients notice nothing, nothing restarts or is replaced, then the operator acts again",
    bound: 1_200,
    control: Some(Control {
        sabotage: "the operator stopped before a shorter freeze",
        says: "the budget made again: not within",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose API server could be frozen".to_owned()));
    };
    let namespace = scene.namespace("api-frozen")?;
    let wanted = manifest::impatient(&scene.servers, "frozen", 3, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let (before, claims) = (cluster.incarnations()?, cluster.claims()?);
    let writer = scene.writer(&cluster, &[])?;
    let _stopped = scene.without_operator()?;
    let frozen = lab.freeze("api-server")?;
    // Nobody can be asked meanwhile; the client keeps its books.
    sleep(if scene.controlled { SHORT } else { FROZEN });
    drop(frozen);
    let thawed = Instant::now();
    cluster.wait_ready(LIMIT).context("after the thaw")?;
    let acted = restored(scene, &cluster, thawed)?;
    let report = writer.stop()?;
    println!("      {report}");
    // A controller that believes its old news would act within these seconds.
    cluster.wait_ready(LIMIT)?;
    unchanged(&before, &cluster.incarnations()?)?;
    same_volumes(&claims, &cluster.claims()?)?;
    report.unnoticed(scene.all)?;
    Ok(Verdict::Held(format!(
        "frozen for {} s, the operator acted {:.0} s after the thaw; {report}",
        FROZEN.as_secs(),
        acted.as_secs_f64()
    )))
}
