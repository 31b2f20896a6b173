//! What is measured, and what is it to be?

use std::hint::black_box;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::plan;
use tikv_operator_core::report::report;
use tikv_operator_core::world::{NodeView, Slot, StoreState, Symptom, World};

use crate::{fixture, settled};

/// One measurement.
pub(crate) struct Case {
    /// For people.
    pub(crate) name: String,
    /// One run.
    pub(crate) run: Box<dyn Fn()>,
    /// What it is to reach.
    pub(crate) required: Required,
}

/// The least that a case is to reach.
#[derive(Clone, Copy)]
pub(crate) enum Required {
    /// Runs a second.
    PerSecond(f64),
    /// Milliseconds a run.
    Within(f64),
    /// Shown all the same, and why nothing is required.
    Nothing(&'static str),
}

impl Required {
    /// Measured, required, and how much better the first is, as words.
    pub(crate) fn words(self, nanoseconds: f64) -> (String, String, String) {
        let (rate, millis) = (1e9 / nanoseconds, nanoseconds / 1e6);
        match self {
            Self::PerSecond(least) => {
                (format!("{rate:.0} /s"), format!(">= {least:.0} /s"), ratio(rate / least))
            }
            Self::Within(most) => {
                (format!("{millis:.3} ms"), format!("< {most} ms"), ratio(most / millis))
            }
            Self::Nothing(_) => (format!("{millis:.3} ms"), "-".to_owned(), "-".to_owned()),
        }
    }

    /// Why nothing is required, where nothing is.
    pub(crate) fn why_not(self) -> Option<&'static str> {
        match self {
            Self::Nothing(why) => Some(why),
            Self::PerSecond(_) | Self::Within(_) => None,
        }
    }

    /// It is worse than required.
    pub(crate) fn is_missed(self, nanoseconds: f64) -> bool {
        match self {
            Self::PerSecond(least) => 1e9 / nanoseconds < least,
            Self::Within(most) => nanoseconds / 1e6 >= most,
            Self::Nothing(_) => false,
        }
    }
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

/// Why nothing is required of the plan that makes every store.
const BIRTH: &str = "2,000 whole objects are written out, each of which is a call to the API server and takes \
                     longer there; it happens once in a cluster's life, and no decision waits for it";
/// Why nothing is required of a first plan.
const ONCE: &str = "it happens once per edit";

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let small = sized(3, 3, &json!({}));
    let large = sized(100, 1_000, &json!({}));
    let quiet = Required::PerSecond(20_000.0);
    let within = Required::Within(5.0);
    let settled = |cluster: &Cluster| fixture::settled(cluster);
    let mut cases = vec![
        idle("nothing to do, 3 PD + 3 TiKV", &small, quiet),
        idle("nothing to do, 3 + 3, 20 settings", &sized(3, 3, &settings()), quiet),
        first_pass(&small),
        idle("nothing to do, 100 PD + 1,000 TiKV", &large, within),
        idle("nothing to do, 100 + 1,000, 20 settings", &sized(100, 1_000, &settings()), within),
    ];
    let mut newer = large.clone();
    newer.pd.common = sized(3, 3, &json!({"version": "v8.5.8"})).pd.common.clone();
    newer.tikv.common = sized(3, 3, &json!({"version": "v8.5.8"})).tikv.common.clone();
    let mut outdated = settled(&large);
    fixture::accept(&newer, &mut outdated);
    cases.push(planned("100 + 1,000: every pod outdated", &newer, outdated, within));
    let mut fewer = large.clone();
    fewer.tikv.replicas = 500;
    cases.push(planned("100 + 1,000: 500 stores too many", &fewer, settled(&large), within));
    let mut more = large.clone();
    more.tikv.replicas = 2_000;
    cases.push(planned("100 + 1,000: 1,000 stores to add", &more, settled(&large), within));
    cases.push(planned("100 + 1,000: a node with 300 stores lost", &large, lost(&large), within));
    let born = Required::Nothing(BIRTH);
    cases.push(planned(
        "100 + 1,000: every store to be made at once",
        &large,
        born_now(&large),
        born,
    ));
    let (cluster, world) = (large.clone(), settled(&large));
    let planned = plan(&cluster, &world);
    cases.push(Case {
        name: "report on 100 + 1,000, nothing to do".to_owned(),
        run: Box::new(move || drop(black_box(report(&cluster, &world, &planned, &[])))),
        required: Required::Nothing("it is no plan"),
    });
    cases
}

/// A checked cluster of a size that `check` lets nobody ask for.
fn sized(pd: u32, tikv: u32, spec: &Value) -> Cluster {
    let mut cluster = fixture::cluster(spec.clone());
    cluster.pd.replicas = pd;
    cluster.tikv.replicas = tikv;
    cluster
}

/// Ten settings of each component, online ones and others.
fn settings() -> Value {
    json!({
        "pd": {"config": {"lease": 5, "schedule": {
            "leader-schedule-limit": 4, "region-schedule-limit": 2048, "replica-schedule-limit": 64,
            "hot-region-schedule-limit": 4, "merge-schedule-limit": 8, "max-snapshot-count": 64,
            "max-pending-peer-count": 64, "low-space-ratio": 0.8, "high-space-ratio": 0.7,
        }}},
        "tikv": {"config": {
            "raftstore": {"raft-log-gc-threshold": 50, "sync-log": true, "messages-per-tick": 4096},
            "storage": {"reserve-space": "5GiB", "block-cache": {"capacity": "8GiB"}},
            "rocksdb": {"max-open-files": 4096, "defaultcf": {"write-buffer-size": "128MiB"}},
            "server": {"grpc-concurrency": 5}, "gc": {"batch-keys": 512}, "log": {"level": "info"},
        }},
    })
}

fn planned(name: &str, cluster: &Cluster, world: World, required: Required) -> Case {
    let plan_of = plan(cluster, &world);
    let name = format!("{name} ({} steps, {} waits)", plan_of.steps.len(), plan_of.waits.len());
    let cluster = cluster.clone();
    let run = move || drop(black_box(plan(black_box(&cluster), black_box(&world))));
    Case { name, run: Box::new(run), required }
}

fn idle(name: &str, cluster: &Cluster, required: Required) -> Case {
    let mut world = fixture::settled(cluster);
    settled::configure(cluster, &mut world);
    let plan = plan(cluster, &world);
    assert!(plan.steps.is_empty() && plan.waits.is_empty(), "{:?} {:?}", plan.steps, plan.waits);
    Case { name: name.to_owned(), ..planned(name, cluster, world, required) }
}

/// A spec that was never planned with.
fn first_pass(cluster: &Cluster) -> Case {
    let (cluster, world) = (cluster.clone(), fixture::settled(cluster));
    let run = move || {
        let mut fresh = cluster.clone();
        fresh.generation += 1;
        drop(black_box(plan(&fresh, black_box(&world))));
    };
    let name = "the first plan of a spec, 3 + 3".to_owned();
    Case { name, run: Box::new(run), required: Required::Nothing(ONCE) }
}

/// 300 stores are silent on a node that is gone.
fn lost(cluster: &Cluster) -> World {
    let mut world = fixture::settled(cluster);
    world.nodes.insert("node-1".to_owned(), NodeView::Gone);
    let long = SignedDuration::from_hours(1);
    for ordinal in 0..300 {
        let slot = Slot::tikv(ordinal);
        let id = fixture::store(cluster, ordinal).id;
        if let Some(store) = fixture::pd_of(&mut world).stores.get_mut(&id) {
            store.state = StoreState::Down;
            store.last_heartbeat = Some(fixture::now() - long);
        }
        if let Some(pod) = world.pods.get_mut(&slot) {
            (pod.containers_ready, pod.ready) = (false, false);
        }
        for symptom in [
            Symptom::StoreSilent(id),
            Symptom::NodeLost(slot),
            Symptom::PodNotRunning(slot),
            Symptom::PodFailing(slot),
        ] {
            world.seen_for.insert(symptom, long);
        }
    }
    world
}

/// PD runs, and no store was ever made.
fn born_now(cluster: &Cluster) -> World {
    let mut world = fixture::settled(cluster);
    world.pods.retain(|slot, _| *slot < Slot::tikv(0));
    world.volumes.retain(|_, volume| volume.slot < Slot::tikv(0));
    let pd = fixture::pd_of(&mut world);
    pd.stores.clear();
    pd.bootstrapped = false;
    pd.regions = 0;
    world
}
