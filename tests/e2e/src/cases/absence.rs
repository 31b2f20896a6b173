//! Is a store that comes back in time left alone?

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, label, summary, text};
use crate::kube::until;
use crate::manifest;
use crate::nodes::{Lab, Place, of_pod, store_apart};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::timeline::Timeline;
use crate::watchman::{Store, Watchman};

const LIMIT: Duration = Duration::from_mins(5);
/// Just below `failover.after`, and long enough for Kubernetes to call the node lost and for PD to
/// call the store Disconnected.
const FREEZE: Duration = Duration::from_secs(50);
/// A reboot's time without the node.
const REBOOT: Duration = Duration::from_secs(10);
/// Reboots one after the other, of two nodes in turn.
const REBOOTS: usize = 100;

/// A freeze shorter than `failover.after`.
pub(crate) const CASE: Case = Case {
    name: "absence",
    lane: Lane::Alone,
    long: true,
    proves: "a node that stands still for less than failover.after: no replacement, no store offline, nothing lost",
    bound: 600,
    run: |scene| absence(scene, freeze),
};

/// Many reboots, each shorter than `failover.after`.
pub(crate) const REBOOTS_CASE: Case = Case {
    name: "reboots",
    lane: Lane::Alone,
    long: true,
    proves: "100 reboots of two nodes in turn: no replacement, no store offline, nothing lost",
    bound: 6000,
    run: |scene| absence(scene, reboots),
};

/// How nodes are away: ends when they are back.
type Absences = fn(&Scene, &Lab, &Cluster, (&[Place], &Watchman)) -> Result<String>;

fn absence(scene: &Scene, absences: Absences) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose nodes could be broken".to_owned()));
    };
    let namespace = scene.namespace("absence")?;
    let wanted = manifest::impatient(&scene.servers, "away", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let places = two_stores(scene, &cluster)?;
    let (before, claims) = (cluster.incarnations()?, cluster.claims()?);
    let pods = scene.kube.watch(&cluster.core("pods"));
    let watchman = Watchman::start(&scene.kube, &cluster);
    let nodes: Vec<String> = places.iter().map(|place| place.node.clone()).collect();
    let writer = scene.writer(&cluster, &nodes)?;
    let absent = absences(scene, lab, &cluster, (&places, &watchman));
    let report = writer.stop()?;
    println!("      {report}");
    let words = absent?;
    report.nothing_lost()?;
    left_alone(&pods, &watchman)?;
    let after = cluster.incarnations()?;
    let same = |(name, old): (&String, _)| after.get(name).is_some_and(|new| new.is_same_pod(old));
    ensure!(before.iter().all(same), "a pod was made anew: {before:?}, now {after:?}");
    ensure!(cluster.claims()?.keys().eq(claims.keys()), "volumes came or went");
    Ok(Verdict::Held(format!("{words}; {report}")))
}

/// One store that shares its node with neither PD nor the operator, and one that may share it with PD,
/// which is then away as well.
fn two_stores(scene: &Scene, cluster: &Cluster) -> Result<Vec<Place>> {
    let (pod, node) = store_apart(scene, cluster)?;
    let mut spared = scene.operator.pods()?.iter().map(of_pod).collect::<Result<Vec<_>>>()?;
    spared.push(node.clone());
    let stores = cluster.pods(Some(Component::Tikv))?.into_iter();
    let mut stores =
        stores.filter_map(|(pod, object)| Some(Place { pod, node: of_pod(&object).ok()? }));
    let other = stores.find(|place| !spared.contains(&place.node));
    let other = other.context("the other stores share their nodes with the operator")?;
    Ok(vec![Place { pod, node }, other])
}

/// Ends one node after the other as a power cut does, and starts it again.
fn reboots(
    scene: &Scene,
    lab: &Lab,
    cluster: &Cluster,
    (places, watchman): (&[Place], &Watchman),
) -> Result<String> {
    let mut longest = Duration::ZERO;
    for (number, Place { pod, node }) in (1..=REBOOTS).zip(places.iter().cycle()) {
        let gone = Instant::now();
        let old = watchman.now().stores.get(pod).context("no such store")?.started;
        lab.off(node)?;
        sleep(REBOOT);
        lab.on(&scene.kube, node)?;
        back(cluster, watchman, pod, |store| store.started > old)
            .with_context(|| format!("reboot {number} of {REBOOTS}"))?;
        longest = longest.max(gone.elapsed());
    }
    cluster.wait_ready(LIMIT)?;
    let longest = longest.as_secs_f64();
    Ok(format!(
        "{REBOOTS} reboots of {} nodes in turn, the longest of {longest:.0} s",
        places.len()
    ))
}

/// Lets one node stand still.
fn freeze(
    _: &Scene,
    lab: &Lab,
    cluster: &Cluster,
    (places, watchman): (&[Place], &Watchman),
) -> Result<String> {
    let Place { pod, node } = places.first().context("no store to freeze")?;
    let frozen = lab.freeze(node)?;
    sleep(FREEZE);
    let word = watchman.now();
    let state = word.stores.get(pod).map(|store| store.state.clone());
    drop(frozen);
    ensure!(state.as_deref() == Some("Disconnected"), "PD called the frozen store {state:?}");
    back(cluster, watchman, pod, |_| true)?;
    cluster.wait_ready(LIMIT)?;
    Ok(format!("a freeze of {} s", FREEZE.as_secs()))
}

fn back(
    cluster: &Cluster,
    watchman: &Watchman,
    pod: &str,
    returned: impl Fn(&Store) -> bool,
) -> Result<()> {
    until(&format!("the store of {pod} back"), LIMIT, || {
        let store = watchman.now().stores.remove(pod);
        let up = store.as_ref().is_some_and(|store| store.state == "Up" && returned(store));
        Ok(if up { Ok(()) } else { Err(format!("{store:?}; {}", summary(&cluster.get()?))) })
    })?;
    until(&format!("{pod} ready"), LIMIT, || {
        let pods = cluster.pods(Some(Component::Tikv))?;
        let ready = crate::cluster::pod_ready(pods.get(pod).context("no such pod")?);
        Ok(if ready { Ok(()) } else { Err("not ready".to_owned()) })
    })
}

/// Nobody was in its place, and no store was asked to leave, at any moment.
fn left_alone(pods: &Timeline, watchman: &Watchman) -> Result<()> {
    let component = tikv_operator_api::labels::COMPONENT;
    let tikv = pods.seen().into_iter().filter(|s| label(&s.object, component) == Some("tikv"));
    let names: BTreeSet<String> =
        tikv.filter_map(|s| text(&s.object, "/metadata/name").map(str::to_owned)).collect();
    ensure!(names.len() == 3, "a replacement was made: {names:?}");
    for (_, word) in watchman.heard() {
        let alone = word.stores.len() == 3 && word.stores.values().all(|s| s.state != "Offline");
        ensure!(alone, "PD said in between: {:?}", word.stores);
    }
    Ok(())
}
