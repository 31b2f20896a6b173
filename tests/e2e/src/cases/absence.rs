//! Is a store that comes back in time left alone?

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, label, pod_ready, same_volumes, summary, text};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::nodes::{Lab, Place, of_pod, store_apart};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::timeline::Timeline;
use crate::watchman::{Store, Watchman, Word, ask};

const LIMIT: Duration = Duration::from_mins(5);
/// Just below `failover.after`, and long enough for Kubernetes to call the node lost and for PD to
/// call the store Disconnected.
const FREEZE: Duration = Duration::from_secs(50);
/// A reboot's time without the node.
const REBOOT: Duration = Duration::from_secs(10);
/// Above `failover.after` and Kubernetes' and PD's times before it: the control's.
const TOO_LONG: Duration = Duration::from_mins(4);
/// Reboots one after the other, of two nodes in turn.
const REBOOTS: usize = 100;
/// Longest time for all of them.
const REBOOTING: Duration = Duration::from_mins(90);

/// A freeze shorter than `failover.after`.
pub(crate) const CASE: Case = Case {
    name: "absence",
    lane: Lane::Alone,
    long: true,
    proves: "a node that stands still for less than failover.after: no replacement, no store offline, nothing lost",
    bound: 600,
    control: Some(Control {
        sabotage: "the node stands still until its store is replaced",
        says: "a replacement was made",
    }),
    run: |scene| absence(scene, Absences::Freeze),
};

/// Many reboots, each shorter than `failover.after`.
pub(crate) const REBOOTS_CASE: Case = Case {
    name: "reboots",
    lane: Lane::Alone,
    long: true,
    proves: "100 reboots of two nodes in turn: no replacement, no store offline, nothing lost",
    bound: 6000,
    control: Some(Control {
        sabotage: "the third reboot takes until the store is replaced",
        says: "a replacement was made",
    }),
    run: |scene| absence(scene, Absences::Reboots),
};

/// How nodes are away.
#[derive(Clone, Copy)]
enum Absences {
    Freeze,
    Reboots,
}

/// Who is away, and who looks on.
struct Site<'a> {
    scene: &'a Scene,
    lab: &'a Lab,
    cluster: Cluster,
    places: Vec<Place>,
    /// Ids of the stores that there were.
    stores: BTreeSet<u64>,
    watchman: Watchman,
    pods: Timeline,
}

fn absence(scene: &Scene, absences: Absences) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose nodes could be broken".to_owned()));
    };
    let namespace = scene.namespace("absence")?;
    let wanted = manifest::impatient(&scene.servers, "away", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let site = Site::of(scene, lab, cluster)?;
    let (before, claims) = (site.cluster.incarnations()?, site.cluster.claims()?);
    let nodes: Vec<String> = site.places.iter().map(|place| place.node.clone()).collect();
    // A client that ends by itself notices nothing of what comes later.
    let writer = scene.writer_for(REBOOTING + 2 * LIMIT, &site.cluster, &nodes)?;
    let absent = match absences {
        Absences::Freeze => site.freeze(),
        Absences::Reboots => site.reboots(),
    };
    let report = writer.stop();
    if let Ok(report) = &report {
        println!("      {report}");
    }
    let words = absent?;
    let report = report?;
    report.nothing_lost()?;
    site.left_alone()?;
    let after = site.cluster.incarnations()?;
    let same = |(name, old): (&String, _)| after.get(name).is_some_and(|new| new.is_same_pod(old));
    ensure!(before.iter().all(same), "a pod was made anew: {before:?}, now {after:?}");
    same_volumes(&claims, &site.cluster.claims()?)?;
    Ok(Verdict::Held(format!("{words}; {report}")))
}

impl<'a> Site<'a> {
    fn of(scene: &'a Scene, lab: &'a Lab, cluster: Cluster) -> Result<Self> {
        let places = two_stores(scene, &cluster)?;
        let stores = ids(&ask(&scene.kube, &cluster)?);
        ensure!(stores.len() == 3, "PD lists the stores {stores:?}");
        let pods = scene.kube.watch(&cluster.core("pods"));
        let watchman = Watchman::start(&scene.kube, &cluster);
        Ok(Self { scene, lab, cluster, places, stores, watchman, pods })
    }
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

impl Site<'_> {
    /// Ends one node after the other as a power cut does, and starts it again.
    fn reboots(&self) -> Result<String> {
        let (begin, mut longest) = (Instant::now(), Duration::ZERO);
        for (number, place) in (1..=REBOOTS).zip(self.places.iter().cycle()) {
            let gone = Instant::now();
            let sabotaged = self.scene.controlled && number == 3;
            self.reboot(place, if sabotaged { TOO_LONG } else { REBOOT }).with_context(|| {
                let after = gone.elapsed().as_secs();
                format!("reboot {number} of {REBOOTS}, {after} s after the node went off")
            })?;
            longest = longest.max(gone.elapsed());
            let (took, most) = (begin.elapsed().as_secs(), longest.as_secs());
            if number % 10 == 0 {
                println!("      {number:3} reboots after {took:5} s, the longest of {most} s");
            }
            ensure!(begin.elapsed() < REBOOTING, "only {number} reboots of {REBOOTS} in {took} s");
        }
        self.cluster.wait_ready(LIMIT)?;
        let longest = longest.as_secs();
        let nodes = self.places.len();
        Ok(format!("{REBOOTS} reboots of {nodes} nodes in turn, the longest of {longest} s"))
    }

    /// One of them: ends when another process of the store serves.
    fn reboot(&self, Place { pod, node }: &Place, time: Duration) -> Result<()> {
        let started = self.watchman.now().stores.get(pod).context("no such store")?.started;
        let old = container(self.tikv()?.get(pod).context("no such pod")?);
        let off = self.lab.off(node)?;
        self.stays(time)?;
        off.on(&self.scene.kube)?;
        // Kubernetes and PD may go on to say for a while what was true of the process before.
        self.back(pod, |store, pod| store.started > started && container(pod) != old)?;
        self.left_alone()
    }

    /// Lets one node stand still.
    fn freeze(&self) -> Result<String> {
        let Place { pod, node } = self.places.first().context("no store to freeze")?;
        let frozen = self.lab.freeze(node)?;
        self.stays(if self.scene.controlled { TOO_LONG } else { FREEZE })?;
        let word = self.watchman.now();
        let state = word.stores.get(pod).map(|store| store.state.clone());
        drop(frozen);
        ensure!(state.as_deref() == Some("Disconnected"), "PD called the frozen store {state:?}");
        self.back(pod, |_, _| true)?;
        self.cluster.wait_ready(LIMIT)?;
        Ok(format!("a freeze of {} s", FREEZE.as_secs()))
    }

    /// For so long nobody comes in the place of who is away.
    fn stays(&self, time: Duration) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.tikv()?;
            sleep(Duration::from_secs(1).min(time.saturating_sub(begin.elapsed())));
        }
        Ok(())
    }

    /// The stores' pods, which are no others than before.
    fn tikv(&self) -> Result<BTreeMap<String, Value>> {
        let pods = self.cluster.pods(Some(Component::Tikv))?;
        ensure!(pods.len() <= self.stores.len(), "a replacement was made: {:?}", pods.keys());
        Ok(pods)
    }

    fn back(&self, name: &str, returned: impl Fn(&Store, &Value) -> bool) -> Result<()> {
        until(&format!("the store of {name} back"), LIMIT, || {
            let (store, pods) = (self.watchman.now().stores.remove(name), self.tikv()?);
            let pod = pods.get(name).context("no such pod")?;
            let serves = |store: &&Store| store.state == "Up" && pod_ready(pod);
            let back = store.as_ref().filter(serves).is_some_and(|store| returned(store, pod));
            if back {
                return Ok(Ok(()));
            }
            Ok(Err(format!("{store:?}; {}", summary(&self.cluster.get()?))))
        })
    }

    /// Nobody was in its place, and no store was asked to leave, at any moment.
    fn left_alone(&self) -> Result<()> {
        self.pods.goes_on()?;
        let component = tikv_operator_api::labels::COMPONENT;
        let seen = self.pods.seen().into_iter();
        let tikv = seen.filter(|seen| label(&seen.object, component) == Some("tikv"));
        let names: BTreeSet<String> =
            tikv.filter_map(|s| text(&s.object, "/metadata/name").map(str::to_owned)).collect();
        ensure!(names.len() == self.stores.len(), "a replacement was made: {names:?}");
        for (_, word) in self.watchman.heard() {
            let stay = word.stores.values().all(|store| store.state != "Offline");
            let alone = stay && ids(&word) == self.stores;
            ensure!(alone, "PD said in between: {:?}", word.stores);
        }
        Ok(())
    }
}

fn ids(word: &Word) -> BTreeSet<u64> {
    word.stores.values().map(|store| store.id).collect()
}

/// Which container of the pod it is: another one for each of its processes.
fn container(pod: &Value) -> Option<String> {
    text(pod, "/status/containerStatuses/0/containerID").map(str::to_owned)
}
