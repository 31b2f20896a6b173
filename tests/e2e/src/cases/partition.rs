//! What happens when machines run and cannot reach each other?

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tikv_operator_api::names::Component;

use crate::cases::standby::restored;
use crate::cluster::{Cluster, START, same_volumes, summary, text};
use crate::control::Control;
use crate::kube::until;
use crate::links::{BadLinks, End, Harm};
use crate::manifest;
use crate::nodes::{Lab, of_pod};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::watchman::Watchman;

const LIMIT: Duration = Duration::from_mins(5);
/// Well above `failover.after` and PD's time until it calls a store Down, which are a minute here.
const LONG: Duration = Duration::from_secs(100);
/// Above PD's time until it calls a store Disconnected, and a Lease's time.
const SHORT: Duration = Duration::from_secs(40);
/// A link that carries nothing.
const CUT: Harm = Harm::Lost(100);
/// A bad one: of a hundred packets so many get lost.
const BAD: Harm = Harm::Lost(30);
/// A slow one: as long as from one continent to another, each way.
const SLOW: Harm = Harm::Late(Duration::from_millis(200));

/// Every kind of link, one after the other.
pub(crate) const CASE: Case = Case {
    name: "partition",
    lane: Lane::Alone,
    long: true,
    proves: "PD/TiKV, TiKV/TiKV, PD/PD, operator/API server cut, one-way, lossy and slow links: one signal alone replaces nothing, all is well afterwards",
    bound: 1_200,
    control: Some(Control {
        sabotage: "the link between a store and PD is never healed",
        says: "all Up after the store that had no PD: not within",
    }),
    run,
};

/// What is cut, and the pods between which.
struct Site<'a> {
    scene: &'a Scene,
    lab: &'a Lab,
    cluster: &'a Cluster,
    watchman: &'a Watchman,
}

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose links could be cut".to_owned()));
    };
    let namespace = scene.namespace("partition")?;
    let wanted = manifest::impatient(&scene.servers, "parted", 3, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let (before, claims) = (cluster.incarnations()?, cluster.claims()?);
    let watchman = Watchman::start(&scene.kube, &cluster);
    let pods = scene.kube.watch(&cluster.core("pods"));
    let writer = scene.writer(&cluster, &[])?;
    let site = Site { scene, lab, cluster: &cluster, watchman: &watchman };
    let done = site.all();
    let report = writer.stop()?;
    println!("      {report}");
    let words = done?;
    report.nothing_lost()?;
    cluster.wait_ready(LIMIT)?;
    let after = cluster.incarnations()?;
    let same = |(name, old): (&String, _)| after.get(name).is_some_and(|new| new.is_same_pod(old));
    ensure!(before.iter().all(same), "a pod was made anew: {before:?}, now {after:?}");
    same_volumes(&claims, &cluster.claims()?)?;
    for seen in pods.seen() {
        let name = text(&seen.object, "/metadata/name").unwrap_or_default();
        let known = before.contains_key(name) || name.starts_with("writer-");
        ensure!(known, "{name} was made in between");
    }
    for (_, word) in watchman.heard() {
        let kept = word.stores.len() == 3 && word.stores.values().all(|s| s.state != "Offline");
        ensure!(kept && word.members.len() == 3, "PD said in between: {word:?}");
    }
    Ok(Verdict::Held(format!("{words}; {report}")))
}

impl Site<'_> {
    fn all(&self) -> Result<String> {
        let held = self.store_without_pd()?;
        self.stores_without_each_other()?;
        let alone = self.member_alone()?;
        self.bad_links()?;
        let late = self.slow_links()?;
        let acted = self.operator_without_api_server()?;
        Ok(format!(
            "a store without PD: \"{held}\"; a PD member alone: \"{alone}\"; {late} packets 200 ms late; \
             the operator acted {:.0} s after its return",
            acted.as_secs_f64()
        ))
    }

    /// PD calls the store Down; Kubernetes sees nothing.
    fn store_without_pd(&self) -> Result<String> {
        let pd = self.cluster.pods(Some(Component::Pd))?;
        let leader = self.watchman.now().leader;
        let near = of_pod(pd.get(&leader).with_context(|| format!("no pod {leader}"))?)?;
        let stores = self.cluster.pods(Some(Component::Tikv))?;
        let far = stores.iter().find(|(_, pod)| of_pod(pod).is_ok_and(|node| node != near));
        let (name, pod) = far.context("all stores are on the PD leader's node")?;
        let mut links = BadLinks::new(self.lab);
        links.between(&End::pod(pod)?, &ends(&pd)?, CUT)?;
        let said = self.waits_for(LONG, name)?;
        let state = self.watchman.now().stores.get(name).map(|store| store.state.clone());
        // Dropped here, but for the control.
        let _cut = self.scene.controlled.then_some(links);
        ensure!(state.as_deref() == Some("Down"), "PD called {name} {state:?}");
        self.well("the store that had no PD")?;
        Ok(said)
    }

    /// Each store still reaches PD, and the third one reaches both.
    fn stores_without_each_other(&self) -> Result<()> {
        let stores = ends(&self.cluster.pods(Some(Component::Tikv))?)?;
        let [first, second, ..] = stores.as_slice() else { anyhow::bail!("no two stores") };
        let mut links = BadLinks::new(self.lab);
        links.between(first, std::slice::from_ref(second), CUT)?;
        sleep(SHORT);
        drop(links);
        self.well("two stores without each other")
    }

    /// A PD member that is not the leader reaches no other member; its clients still reach it.
    fn member_alone(&self) -> Result<String> {
        let leader = self.watchman.now().leader;
        let (alone, others): (BTreeMap<_, _>, BTreeMap<_, _>) = {
            let pods = self.cluster.pods(Some(Component::Pd))?;
            let chosen =
                pods.keys().find(|name| **name != leader).cloned().context("no follower")?;
            pods.into_iter().partition(|(name, _)| *name == chosen)
        };
        let (name, pod) = alone.first_key_value().context("no follower")?;
        let mut links = BadLinks::new(self.lab);
        links.between(&End::pod(pod)?, &ends(&others)?, CUT)?;
        let said = self.waits_for(LONG, name)?;
        drop(links);
        self.well("the PD member that was alone")?;
        Ok(said)
    }

    /// A third of the packets between stores is lost, and one direction to PD.
    fn bad_links(&self) -> Result<()> {
        let stores = ends(&self.cluster.pods(Some(Component::Tikv))?)?;
        let pd = ends(&self.cluster.pods(Some(Component::Pd))?)?;
        let [first, rest @ ..] = stores.as_slice() else { anyhow::bail!("no stores") };
        let mut links = BadLinks::new(self.lab);
        links.between(first, rest, BAD)?;
        sleep(SHORT);
        drop(links);
        let mut links = BadLinks::new(self.lab);
        let mut parted = false;
        for member in &pd {
            parted |= links.one_way(first, member, CUT)?;
        }
        ensure!(parted, "{first:?} is on the node of all PD members");
        sleep(SHORT);
        drop(links);
        self.well("bad links")
    }

    /// A store whose packets are late, to and from everybody; how many were.
    fn slow_links(&self) -> Result<u64> {
        let stores = ends(&self.cluster.pods(Some(Component::Tikv))?)?;
        let [first, rest @ ..] = stores.as_slice() else { anyhow::bail!("no stores") };
        let others = [rest, &ends(&self.cluster.pods(Some(Component::Pd))?)?].concat();
        let mut links = BadLinks::new(self.lab);
        links.between(first, &others, SLOW)?;
        sleep(SHORT);
        let late = links.mend()?;
        // A link that carried nothing would prove nothing.
        ensure!(late > 100, "{late} packets were late");
        self.well("slow links")?;
        Ok(late)
    }

    /// The operator cannot hold its Lease; it acts again when it can.
    fn operator_without_api_server(&self) -> Result<Duration> {
        let endpoints = self.scene.kube.get("/api/v1/namespaces/default/endpoints/kubernetes")?;
        let address = text(&endpoints, "/subsets/0/addresses/0/ip");
        let server = End::outside(address.context("no address of the API server")?);
        let operator = self.scene.operator.leader()?;
        let mut links = BadLinks::new(self.lab);
        links.between(&End::pod(&operator)?, std::slice::from_ref(&server), CUT)?;
        sleep(SHORT);
        drop(links);
        let since = Instant::now();
        self.scene.operator.wait_ready()?;
        restored(self.scene, self.cluster, since)
    }

    /// For so long the cluster is left as it is; then what the operator says, which names the pod.
    fn waits_for(&self, time: Duration, pod: &str) -> Result<String> {
        sleep(time);
        let object = self.cluster.get()?;
        let waits = object.pointer("/status/waits").and_then(Value::as_array);
        let said = waits.into_iter().flatten().find_map(|wait| {
            let detail = text(wait, "/detail").filter(|detail| detail.contains(pod))?;
            Some(format!("{}: {detail}", text(wait, "/rule").unwrap_or_default()))
        });
        println!("      {pod}: {}", said.as_deref().unwrap_or("nothing is said"));
        said.with_context(|| format!("no wait names {pod}: {}", summary(&object)))
    }

    fn well(&self, after: &str) -> Result<()> {
        until(&format!("all Up after {after}"), self.scene.patience(LIMIT), || {
            let word = self.watchman.now();
            let up = word.stores.values().filter(|store| store.state == "Up").count();
            let well = up == 3 && word.healthy.len() == 3;
            Ok(if well { Ok(()) } else { Err(format!("{word:?}")) })
        })?;
        self.cluster.wait_ready(LIMIT).map(drop)
    }
}

fn ends(pods: &BTreeMap<String, Value>) -> Result<Vec<End>> {
    pods.values().map(End::pod).collect()
}
