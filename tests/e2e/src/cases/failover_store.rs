//! Does a cluster get over the death of a node by itself?

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::labels;
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, is_ready, label, pod_ready, summary, text};
use crate::control::Control;
use crate::delay::{AFTER, Delay};
use crate::kube::until;
use crate::manifest;
use crate::nodes::{Lab, Place, of_pod, store_apart};
use crate::promise;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::timeline::Timeline;
use crate::watchman::{self, Watchman};

const LIMIT: Duration = Duration::from_mins(10);
/// Promise: from the end of the delay until the replacement runs.
const RUNNING: Duration = Duration::from_secs(20);
/// What no busy machine explains.
const FAULT: Duration = Duration::from_mins(2);
/// So long nobody looks: longer than anything has to be waited for.
const ABSENCE: Duration = Duration::from_mins(3);
/// TiKV's item, which stores take over while they run, and what it is set to while nobody looks.
const ITEM: &str = "raft-log-gc-threshold";
const EDITS: [u32; 2] = [77, 78];

/// A node with a store, and its disk, are gone for good.
pub(crate) const CASE: Case = Case {
    name: "failover-store",
    lane: Lane::Alone,
    long: true,
    proves: "a store whose node is dead is replaced, then removed from PD; the cluster is Ready again by itself",
    bound: 900,
    control: Some(Control {
        sabotage: "the operator stopped before the node goes off",
        says: "a replacement made: not within",
    }),
    run: |scene| failover(scene, Dead::Store),
};

/// PD's leader is on that node too.
pub(crate) const LEADER_CASE: Case = Case {
    name: "failover-leader",
    lane: Lane::Alone,
    long: true,
    proves: "a node dies with a store and PD's leader: one replacement each, none within a minute of the election",
    bound: 900,
    control: Some(Control {
        sabotage: "a further store is asked for meanwhile",
        says: "not one replacement",
    }),
    run: |scene| failover(scene, Dead::StoreAndLeader),
};

/// Nobody looks while it happens.
pub(crate) const UNSEEN_CASE: Case = Case {
    name: "failover-unseen",
    lane: Lane::Alone,
    long: true,
    proves: "a node dies with a store and a PD member, and the spec changes twice, while there is no operator for minutes: back, it makes one replacement each",
    bound: 1_200,
    control: Some(Control {
        sabotage: "the operator does not come back",
        says: "a replacement made: not within",
    }),
    run: |scene| failover(scene, Dead::Unseen),
};

/// What dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dead {
    /// A store, apart from PD.
    Store,
    /// A store and the leader of three PD members.
    StoreAndLeader,
    /// A store and one of three PD members, while there is no operator.
    Unseen,
}

/// The cluster, and who looks on.
struct Site<'a> {
    scene: &'a Scene,
    cluster: Cluster,
    watchman: Watchman,
    pods: Timeline,
    nodes: Timeline,
    store: Place,
    /// Its id.
    id: u64,
    /// The PD member on the same node, if one is to die.
    member: Option<String>,
}

fn failover(scene: &Scene, dead: Dead) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab whose nodes could be broken".to_owned()));
    };
    let namespace = scene.namespace("failover-store")?;
    let members = if dead == Dead::Store { 1 } else { 3 };
    let wanted = manifest::impatient(&scene.servers, "dead", members, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let site = Site::of(scene, cluster, dead)?;
    let writer = scene.writer(&site.cluster, std::slice::from_ref(&site.store.node))?;
    let replaced = site.dies(lab, dead);
    let report = writer.stop()?;
    println!("      {report}");
    let words = replaced?;
    report.nothing_lost()?;
    let (pod, node) = (&site.store.pod, &site.store.node);
    Ok(Verdict::Held(format!("{pod} on {node} replaced: {words}; {report}")))
}

impl<'a> Site<'a> {
    fn of(scene: &'a Scene, cluster: Cluster, dead: Dead) -> Result<Self> {
        let watchman = Watchman::start(&scene.kube, &cluster);
        let (store, member) = match dead {
            Dead::Store => {
                let (pod, node) = store_apart(scene, &cluster)?;
                (Place { pod, node }, None)
            }
            Dead::StoreAndLeader | Dead::Unseen => with_a_member(scene, &cluster)?,
        };
        if let Some(member) = &member {
            let lead = |other: &str| scene.pd(&cluster).give_leadership(other);
            let others = cluster.pods(Some(Component::Pd))?.into_keys();
            let follower = others.into_iter().find(|pod| pod != member).context("no other")?;
            let leader = if dead == Dead::StoreAndLeader { member } else { &follower };
            until("PD's leader where it is wanted", START, || {
                let now = watchman.now().leader;
                if now != *leader {
                    lead(leader)?;
                }
                Ok(if now == *leader { Ok(()) } else { Err(format!("{now} leads")) })
            })?;
        }
        let known = until("PD's word on the store", START, || {
            Ok(watchman.now().stores.remove(&store.pod).ok_or_else(|| "none".to_owned()))
        })?;
        let pods = scene.kube.watch(&cluster.core("pods"));
        let nodes = scene.kube.watch("/api/v1/nodes");
        Ok(Self { scene, cluster, watchman, pods, nodes, store, id: known.id, member })
    }

    /// The node dies, for good as far as anybody knows, and is started again at the end.
    fn dies(&self, lab: &Lab, dead: Dead) -> Result<String> {
        let sabotaged = self.scene.controlled && dead == Dead::Store;
        let gone = (sabotaged || dead == Dead::Unseen).then(|| self.scene.operator.stopped());
        let gone = gone.transpose()?;
        let begin = Instant::now();
        let off = lab.off(&self.store.node)?;
        let mut back = begin;
        if dead == Dead::Unseen {
            self.unseen()?;
            if !self.scene.controlled {
                drop(gone);
                println!("      the operator is back      {:6.1} s", begin.elapsed().as_secs_f64());
            }
            back = Instant::now();
        }
        if self.scene.controlled && dead == Dead::StoreAndLeader {
            self.cluster.merge(&json!({ "spec": { "tikv": { "replicas": 4 } } }))?;
        }
        let replaced = self.replaced(begin, back, dead);
        let ended = replaced.and_then(|words| self.removed().map(|()| words));
        off.on(&self.scene.kube)?;
        let words = ended?;
        if dead == Dead::Unseen {
            self.last_edit_in_force()?;
        }
        Ok(words)
    }

    /// Two edits, one after the other, and nobody who reads them.
    fn unseen(&self) -> Result<()> {
        for value in EDITS {
            sleep(ABSENCE / 3);
            let config = json!({ "raftstore": { ITEM: value } });
            self.cluster.merge(&json!({ "spec": { "tikv": { "config": config } } }))?;
        }
        sleep(ABSENCE / 3);
        Ok(())
    }

    /// Waits until others carry everything. `back`: since when there is an operator.
    fn replaced(&self, begin: Instant, back: Instant, dead: Dead) -> Result<String> {
        let since = |at: Instant| at.saturating_duration_since(begin).as_secs_f64();
        let limit = self.scene.patience(LIMIT);
        let (made, running) = self.replacement(limit)?;
        let heard = self.watchman.heard();
        let place = (&self.store.pod, &self.store.node);
        let delay = Delay::read(begin, (&heard, place.0), (&self.nodes.seen(), place.1))?;
        println!("      {delay}");
        delay.was_kept_by(made)?;
        // A process knows of what it has seen itself.
        let due = if dead == Dead::Unseen { delay.end().max(back + AFTER) } else { delay.end() };
        println!("      replacement made          {:6.1} s", since(made));
        println!("      replacement running       {:6.1} s", since(running));
        let up = until("the replacement Up", LIMIT, || {
            let store = self.watchman.now().stores.remove("dead-tikv-3");
            let up = store.as_ref().is_some_and(|store| store.state == "Up");
            Ok(if up { Ok(Instant::now()) } else { Err(format!("{store:?}")) })
        })?;
        println!("      replacement Up            {:6.1} s", since(up));
        let whole = self.whole()?;
        println!("      full redundancy           {:6.1} s", since(whole));
        let gone = self.surplus_gone()?;
        println!("      surplus gone, Ready       {:6.1} s", since(gone));
        self.one_replacement_each()?;
        let took = running.saturating_duration_since(due);
        let words = format!("running {:.1} s after the delay", took.as_secs_f64());
        let promised = format!("{words}, promised {RUNNING:?}");
        promise::judge(self.scene.all, (took <= RUNNING, took <= FAULT), &promised)?;
        let (whole, gone) = (since(whole), since(gone));
        Ok(format!(
            "{words}, full redundancy {whole:.1} s, surplus gone {gone:.1} s after the death"
        ))
    }

    /// When its pod was made, and when its containers ran.
    fn replacement(&self, limit: Duration) -> Result<(Instant, Instant)> {
        let named = |pod: &Value| text(pod, "/metadata/name") == Some("dead-tikv-3");
        let said = || summary(&self.cluster.get().unwrap_or_default());
        let made =
            until("a replacement made", limit, || Ok(self.pods.when(1, named).ok_or_else(said)))?;
        let runs = |pod: &Value| {
            let state = pod.pointer("/status/containerStatuses/0/state/running");
            named(pod) && state.is_some()
        };
        let running = until("the replacement to run", LIMIT, || {
            Ok(self.pods.when(1, runs).ok_or_else(said))
        })?;
        Ok((made, running))
    }

    /// When no region misses anything any more: PD's lists, not the operator's word.
    fn whole(&self) -> Result<Instant> {
        until("full redundancy", LIMIT, || {
            let pods = self.cluster.pods(Some(Component::Pd))?;
            let pd = pods.iter().find(|(_, pod)| pod_ready(pod)).map(|(name, _)| name.clone());
            let whole = pd.map(|pd| self.scene.pd(&self.cluster).fully_replicated(&pd));
            let whole = whole.transpose()?.flatten();
            let carry = self
                .watchman
                .now()
                .stores
                .values()
                .filter(|s| s.regions > 0 && s.state == "Up")
                .count();
            let done = whole == Some(true) && carry == 3;
            Ok(if done { Ok(Instant::now()) } else { Err(format!("{carry} stores, {whole:?}")) })
        })
    }

    /// When the dead have left PD, the numbers are those that are wanted, and it is Ready.
    fn surplus_gone(&self) -> Result<Instant> {
        until("3 stores Up with all regions, and Ready", LIMIT, || {
            let (object, word) = (self.cluster.get()?, self.watchman.now());
            let up = word.stores.values().filter(|store| store.state == "Up").count();
            let out = word.stores.values().all(|store| store.id != self.id);
            let member = self.member.as_ref().is_none_or(|member| {
                !word.members.contains(member) && word.healthy.len() == 3 && word.members.len() == 3
            });
            let done = up == 3 && out && member && is_ready(&object);
            Ok(if done {
                Ok(Instant::now())
            } else {
                Err(format!("{word:?}; {}", summary(&object)))
            })
        })
    }

    /// Whoever died has one successor, and nobody else has any.
    fn one_replacement_each(&self) -> Result<()> {
        self.pods.goes_on()?;
        let seen = self.pods.seen();
        for (component, died) in [(Component::Tikv, true), (Component::Pd, self.member.is_some())] {
            let of = |pod: &&Value| label(pod, labels::COMPONENT) == Some(component.as_str());
            let names: BTreeSet<&str> = seen
                .iter()
                .map(|event| &event.object)
                .filter(of)
                .filter_map(|pod| text(pod, "/metadata/name"))
                .collect();
            let before = if component == Component::Pd && !died { 1 } else { 3 };
            let expected: BTreeSet<String> = (0..before + usize::from(died))
                .map(|n| format!("dead-{}-{n}", component.as_str()))
                .collect();
            ensure!(
                names.iter().copied().eq(expected.iter().map(String::as_str)),
                "not one replacement: {names:?}"
            );
        }
        Ok(())
    }

    /// PD has removed the store, and remembers it.
    fn removed(&self) -> Result<()> {
        tombstone(self.scene, &self.cluster, self.id)
    }

    fn last_edit_in_force(&self) -> Result<()> {
        until("the last edit in force", LIMIT, || {
            let mut wrong = Vec::new();
            for pod in self.cluster.pods(Some(Component::Tikv))?.keys() {
                let path = format!("{}/{pod}:20180/proxy/config", self.cluster.core("pods"));
                let config = self.scene.kube.get(&path).unwrap_or_default();
                let value = config.pointer(&format!("/raftstore/{ITEM}")).cloned();
                if value != Some(json!(EDITS[1])) {
                    wrong.push(format!("{pod} {value:?}"));
                }
            }
            Ok(if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) })
        })
    }
}

/// A store and a PD member on one node, on which the operator is not.
fn with_a_member(scene: &Scene, cluster: &Cluster) -> Result<(Place, Option<String>)> {
    let spared = scene.operator.pods()?.iter().map(of_pod).collect::<Result<BTreeSet<_>>>()?;
    let members = cluster.pods(Some(Component::Pd))?;
    for (pod, object) in cluster.pods(Some(Component::Tikv))? {
        let node = of_pod(&object)?;
        let here = members.iter().find(|(_, pod)| of_pod(pod).is_ok_and(|on| on == node));
        if let Some((member, _)) = here.filter(|_| !spared.contains(&node)) {
            return Ok((Place { pod, node }, Some(member.clone())));
        }
    }
    anyhow::bail!("no store shares its node with PD and not with the operator")
}

/// PD has removed the store, and remembers it.
pub(crate) fn tombstone(scene: &Scene, cluster: &Cluster, dead: u64) -> Result<()> {
    let store = until("PD's word on the dead store", LIMIT, || {
        watchman::get(&scene.kube, cluster, &format!("store/{dead}")).map(Ok)
    })?;
    let state = text(&store, "/store/state_name");
    ensure!(state == Some("Tombstone"), "PD says of the dead store {dead}: {state:?}");
    Ok(())
}
