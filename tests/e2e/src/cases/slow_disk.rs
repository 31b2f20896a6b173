//! Is a store whose disk is slow left alone?

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, START, same_volumes, unchanged};
use crate::control::Control;
use crate::manifest;
use crate::nodes::{Lab, Place};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::Watchman;

const LIMIT: Duration = Duration::from_mins(5);
/// Well above `failover.after`, and PD's and Kubernetes' times before it.
const SLOW: Duration = Duration::from_mins(3);
/// Writes a second: a store does hundreds.
const IOPS: u32 = 10;
/// What a client waits for answers of the slow store, which it does a third of the time: others take
/// hundredths of a second.
const NOTICED: Duration = Duration::from_millis(200);
const VICTIM: &str = "slow-tikv-1";

/// One store waits for its disk.
pub(crate) const CASE: Case = Case {
    name: "slow-disk",
    lane: Lane::Alone,
    long: true,
    proves: "a store whose disk takes ten writes a second for longer than failover.after: no restart, no replacement, none of the others taken, nothing lost",
    bound: 900,
    control: Some(Control {
        sabotage: "the store's pod is deleted meanwhile, as one would who believes it dead",
        says: "restarted, replaced or gone",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose disks could be made slow".to_owned()));
    };
    let namespace = scene.namespace("slow-disk")?;
    let wanted = manifest::impatient(&scene.servers, "slow", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let (before, claims) = (cluster.incarnations()?, cluster.claims()?);
    let watchman = Watchman::start(&scene.kube, &cluster);
    let writer = scene.writer(&cluster, &[])?;
    let slow = stays_slow(scene, lab, &cluster);
    let report = writer.stop()?;
    println!("      {report}");
    slow?;
    let begin = Instant::now();
    cluster.wait_ready(LIMIT)?;
    let back = begin.elapsed().as_secs_f64();
    report.nothing_lost()?;
    ensure!(report.waited(NOTICED), "nobody waited for the slow disk: {report}");
    unchanged(&before, &cluster.incarnations()?)?;
    same_volumes(&claims, &cluster.claims()?)?;
    for (_, word) in watchman.heard() {
        let stay = word.stores.values().all(|store| store.state != "Offline");
        let calm = stay && word.stores.len() == 3 && word.evicting.is_empty();
        ensure!(calm, "PD said in between: {:?}, evicting {:?}", word.stores, word.evicting);
    }
    Ok(Verdict::Held(format!("left alone, Ready {back:.1} s after; {report}")))
}

/// The disk is slow for a while, and nobody does anything about it.
fn stays_slow(scene: &Scene, lab: &Lab, cluster: &Cluster) -> Result<()> {
    let place = Place::of(cluster, VICTIM)?;
    let before = cluster.incarnations()?;
    let slow = lab.slow_disk(&place, cluster, IOPS)?;
    let begin = Instant::now();
    let mut sabotaged = !scene.controlled;
    while begin.elapsed() < SLOW {
        unchanged(&before, &cluster.incarnations()?)?;
        if !sabotaged && begin.elapsed() > SLOW / 6 {
            scene.kube.delete(&format!("{}/{VICTIM}", cluster.core("pods")), None)?;
            sabotaged = true;
        }
        sleep(Duration::from_secs(2));
    }
    drop(slow);
    Ok(())
}
