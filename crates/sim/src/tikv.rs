//! How does a TiKV process behave: which store is it, what does it refuse, what has it on disk?

mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
pub use status::{StatusAnswer, change, effective, leaders};

use crate::beliefs;
use crate::clock::SECOND;
use crate::dice::Dice;
use crate::names::Names;
use crate::pd::{Cluster, DiskId, Ensemble, Pd, Peer, Region};

/// What is on a TiKV volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreData {
    /// The cluster that the store belongs to.
    pub cluster_id: u64,
    /// The store.
    pub store: u64,
    /// How far each region's log is on this disk.
    pub applied: BTreeMap<u64, u64>,
}

/// How far a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Opening its engine, looking for PD.
    Starting {
        /// When it turns to PD.
        ready_at: u64,
    },
    /// Registered; serves.
    Serving {
        /// As this store.
        store: u64,
        /// Last heartbeat sent.
        heartbeat: u64,
    },
}

/// One TiKV process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its advertised address.
    pub address: String,
    /// Where it looks for PD.
    pub pd: String,
    /// The volume under its data directory.
    pub disk: DiskId,
    /// Version that it reports, without `v`.
    pub version: String,
    /// How far it is.
    pub stage: Stage,
    /// From when on its replicas have what was written while it was away.
    pub caught_up_at: u64,
    /// It has had its signal to end.
    pub stopping: bool,
    /// Its effective configuration. What is changed online is not persisted and lost with the
    /// process ([`beliefs::ONLINE_IS_LOST`]).
    pub config: Arc<Value>,
}

/// Every TiKV process and every store's data.
#[derive(Clone, Debug, Default)]
pub struct Tikv {
    /// Data by volume.
    pub disks: BTreeMap<DiskId, StoreData>,
    /// Processes by the uid of their pod.
    pub processes: BTreeMap<String, Process>,
    /// Processes that ended by themselves since the last look, with their last words.
    pub exited: Vec<(String, String)>,
}

/// Where a process is and what it may use, for one moment.
pub struct Moment<'a> {
    /// Now.
    pub now: u64,
    /// DNS.
    pub names: &'a Names,
    /// Chance.
    pub dice: &'a mut Dice,
}

impl Tikv {
    /// Starts a process on a volume.
    pub fn spawn(&mut self, uid: &str, mut process: Process, moment: &mut Moment<'_>) {
        let (low, high) = beliefs::REGISTER_TAKES.value;
        process.stage = Stage::Starting { ready_at: moment.now + moment.dice.between(low, high) };
        self.processes.insert(uid.to_owned(), process);
    }

    /// Its service port accepts connections.
    pub fn is_open(&self, uid: &str) -> bool {
        self.processes.get(uid).is_some_and(|p| matches!(p.stage, Stage::Serving { .. }))
    }

    /// Lets one moment pass.
    pub fn tick(&mut self, pd: &mut Pd, moment: &mut Moment<'_>) {
        self.beat(pd, moment);
        for ensemble in &mut pd.ensembles {
            self.follow_logs(ensemble, moment.now);
        }
    }

    /// What processes do by themselves in one moment: they start and send heartbeats.
    pub(crate) fn beat(&mut self, pd: &mut Pd, moment: &mut Moment<'_>) {
        let mut processes = std::mem::take(&mut self.processes);
        processes.retain(|uid, process| match self.go_on((uid.as_str(), process), pd, moment) {
            Ok(()) => true,
            Err(words) => {
                self.exited.push((uid.clone(), words));
                false
            }
        });
        self.processes = processes;
    }

    /// The next moment in which something else than a heartbeat is due, if nothing else changes;
    /// `now` where that is the next one.
    pub fn next_due(&self, pd: &Pd, names: &Names, now: u64) -> u64 {
        let due = self.processes.iter().map(|(uid, process)| match process.stage {
            // Without PD it keeps trying, and PD does not come by itself.
            Stage::Starting { ready_at } if pd.led_by(uid, &process.pd, names).is_some() => {
                ready_at.max(now)
            }
            Stage::Serving { store, heartbeat } => {
                let caught_up = Some(process.caught_up_at).filter(|at| *at > now);
                let heard = || {
                    let index = pd.led_by(uid, &process.pd, names);
                    let cluster =
                        index.and_then(|index| pd.ensembles.get(index)).map(|e| &e.cluster);
                    // Its next heartbeat is news.
                    let unheard = cluster.is_some_and(|c| c.heard(now).all(|id| id != store));
                    unheard.then_some(heartbeat + beliefs::HEARTBEAT_EVERY.value)
                };
                caught_up.or_else(heard).map_or(u64::MAX, |due| due.max(now))
            }
            Stage::Starting { .. } => u64::MAX,
        });
        due.min().unwrap_or(u64::MAX)
    }

    /// When the next heartbeat is due.
    pub(crate) fn next_heartbeat(&self) -> u64 {
        let due = self.processes.values().map(|process| match process.stage {
            Stage::Serving { heartbeat, .. } => heartbeat + beliefs::HEARTBEAT_EVERY.value,
            Stage::Starting { .. } => u64::MAX,
        });
        due.min().unwrap_or(u64::MAX)
    }

    fn go_on(
        &mut self,
        (uid, process): (&str, &mut Process),
        pd: &mut Pd,
        moment: &Moment<'_>,
    ) -> Result<(), String> {
        let now = moment.now;
        match process.stage {
            Stage::Starting { ready_at } if now < ready_at => Ok(()),
            Stage::Starting { .. } => {
                // Without PD it keeps trying.
                let Some(index) = pd.led_by(uid, &process.pd, moment.names) else { return Ok(()) };
                let Some(ensemble) = pd.ensembles.get_mut(index) else { return Ok(()) };
                let store = self.register(process, ensemble, now)?;
                process.stage = Stage::Serving { store, heartbeat: now };
                process.caught_up_at = now + beliefs::CATCH_UP_TAKES.value;
                Ok(())
            }
            Stage::Serving { store, heartbeat } => {
                self.say_stopping(process, store, pd);
                if now.saturating_sub(heartbeat) < beliefs::HEARTBEAT_EVERY.value {
                    return Ok(());
                }
                let Some(index) = pd.led_by(uid, &process.pd, moment.names) else { return Ok(()) };
                let Some(ensemble) = pd.ensembles.get_mut(index) else { return Ok(()) };
                process.stage = Stage::Serving { store, heartbeat: now };
                match ensemble.cluster.heartbeat(store, now) {
                    Err(words) if words.contains("tombstone") => Err(words.to_owned()),
                    Err(_) | Ok(()) => Ok(()),
                }
            }
        }
    }

    /// A process that is to end says so in an extra heartbeat, so that PD moves its leaders.
    fn say_stopping(&self, process: &Process, store: u64, pd: &mut Pd) {
        let Some(data) = self.disks.get(&process.disk) else { return };
        let mut ensembles = pd.ensembles.iter_mut();
        let ensemble = ensembles.rfind(|e| e.cluster_id == Some(data.cluster_id));
        let Some(ensemble) = ensemble.filter(|e| e.leader.is_some()) else { return };
        if process.stopping {
            ensemble.cluster.stopping.insert(store);
        } else {
            ensemble.cluster.stopping.remove(&store);
        }
    }

    /// Identity first: an empty volume is a new store, a store of another cluster refuses.
    fn register(
        &mut self,
        process: &Process,
        ensemble: &mut Ensemble,
        now: u64,
    ) -> Result<u64, String> {
        let Some(cluster_id) = ensemble.cluster_id else { return Err("no cluster id".to_owned()) };
        let data = self.disks.entry(process.disk).or_insert_with(|| StoreData {
            cluster_id,
            store: ensemble.cluster.allocate(),
            applied: BTreeMap::new(),
        });
        if data.cluster_id != cluster_id {
            return Err(format!(
                "cluster ID mismatch, local {} != remote {cluster_id}",
                data.cluster_id
            ));
        }
        let id = data.store;
        ensemble.cluster.put_store(id, &process.address, &process.version, now)?;
        let _ = ensemble.cluster.heartbeat(id, now);
        Ok(id)
    }

    /// The process that serves as this store, by the uid of its pod.
    pub fn process_of(&self, cluster_id: Option<u64>, store: u64) -> Option<&str> {
        let mut processes = self.processes.iter().filter(|(_, process)| {
            let data = self.disks.get(&process.disk);
            let serves = matches!(process.stage, Stage::Serving { .. });
            serves && data.is_some_and(|d| Some(d.cluster_id) == cluster_id && d.store == store)
        });
        processes.next().map(|(uid, _)| uid.as_str())
    }

    /// Stores of a cluster that serve now.
    pub fn serving(&self, cluster_id: u64) -> Vec<u64> {
        let serving = self.processes.values().filter_map(|process| {
            let data = self.disks.get(&process.disk)?;
            let serves = matches!(process.stage, Stage::Serving { .. });
            (serves && data.cluster_id == cluster_id).then_some(data.store)
        });
        serving.collect()
    }

    /// Those among them whose replicas have everything.
    pub fn current(&self, cluster_id: u64, now: u64) -> Vec<u64> {
        let ready = self.processes.values().filter(|process| now >= process.caught_up_at);
        let stores = ready.filter_map(|process| {
            let data = self.disks.get(&process.disk)?;
            let serves = matches!(process.stage, Stage::Serving { .. });
            (serves && data.cluster_id == cluster_id).then_some(data.store)
        });
        stores.collect()
    }

    fn disk_of(&mut self, cluster_id: u64, store: u64) -> Option<&mut StoreData> {
        let mut disks = self.disks.values_mut();
        disks.find(|data| data.cluster_id == cluster_id && data.store == store)
    }

    /// Leaders are elected, followers catch up, learners become voters, removed replicas go.
    fn follow_logs(&mut self, ensemble: &mut Ensemble, now: u64) {
        let Some(cluster_id) = ensemble.cluster_id else { return };
        let up = self.serving(cluster_id);
        let current = self.current(cluster_id, now);
        self.split(&mut ensemble.cluster, (cluster_id, &up), now);
        for region in &mut ensemble.cluster.regions {
            follow_peers(region, &current);
            let votes = || region.voters().filter(|store| up.contains(store));
            if votes().count() < region.quorum() {
                region.leader = None;
                continue;
            }
            if region.leader.is_none_or(|leader| votes().all(|vote| vote != leader)) {
                // The log that is furthest wins the election.
                let furthest = |store: &u64| self.applied(cluster_id, *store, region.id);
                region.leader = votes().max_by_key(furthest);
            }
            let Some(leader) = region.leader else { continue };
            let index = self.applied(cluster_id, leader, region.id);
            self.copy(cluster_id, region, (&current, index, now));
        }
    }

    fn applied(&self, cluster_id: u64, store: u64, region: u64) -> u64 {
        let mut disks = self.disks.values();
        let data = disks.find(|data| data.cluster_id == cluster_id && data.store == store);
        data.and_then(|data| data.applied.get(&region)).copied().unwrap_or_default()
    }

    fn copy(&mut self, cluster_id: u64, region: &mut Region, (up, index, now): (&[u64], u64, u64)) {
        for (store, peer) in &mut region.peers {
            if !up.contains(store) {
                continue;
            }
            match *peer {
                Peer::Learner { ready_at } if now < ready_at => continue,
                Peer::Learner { .. } => *peer = Peer::Voter,
                Peer::Voter => {}
            }
            if let Some(data) = self.disk_of(cluster_id, *store) {
                data.applied.insert(region.id, index);
            }
        }
    }

    /// A client writes once to every region of a cluster. Returns how many were acknowledged.
    pub fn write_everywhere(&mut self, ensemble: &mut Ensemble, now: u64) -> usize {
        let Some(cluster_id) = ensemble.cluster_id else { return 0 };
        let up = self.current(cluster_id, now);
        let mut acknowledged = 0;
        for region in &mut ensemble.cluster.regions {
            let Some(leader) = region.leader.filter(|leader| up.contains(leader)) else { continue };
            let index = self.applied(cluster_id, leader, region.id) + 1;
            let votes: Vec<u64> = region.voters().filter(|store| up.contains(store)).collect();
            if votes.len() < region.quorum() {
                continue;
            }
            for store in votes {
                if let Some(data) = self.disk_of(cluster_id, store) {
                    data.applied.insert(region.id, index);
                }
            }
            region.acknowledged = index;
            acknowledged += 1;
        }
        acknowledged
    }

    /// The first region is split by its leader as data grows ([`beliefs::REGIONS`]): each replica
    /// of the new one begins with what the old one has.
    fn split(&mut self, cluster: &mut Cluster, (id, up): (u64, &[u64]), now: u64) {
        let Some(begun) = cluster.bootstrapped else { return };
        let due = now.saturating_sub(begun) > 10 * SECOND && now.is_multiple_of(5 * SECOND);
        if !due || cluster.regions.len() >= beliefs::REGIONS.value {
            return;
        }
        let Some(first) = cluster.regions.first().cloned() else { return };
        let led = first.leader.is_some_and(|leader| up.contains(&leader));
        if led && first.voters().count() == first.peers.len() {
            let new = cluster.allocate();
            for data in self.disks.values_mut().filter(|data| data.cluster_id == id) {
                if let Some(applied) = data.applied.get(&first.id).copied() {
                    data.applied.insert(new, applied);
                }
            }
            cluster.regions.push(Region { id: new, ..first });
        }
    }

    /// Regions of which no disk has the last acknowledged write any more.
    pub fn lost(&self, ensemble: &Ensemble) -> Vec<u64> {
        let Some(cluster_id) = ensemble.cluster_id else { return Vec::new() };
        let kept = |region: &&Region| {
            let mut disks = self.disks.values().filter(|data| data.cluster_id == cluster_id);
            let has = |data: &StoreData| data.applied.get(&region.id) >= Some(&region.acknowledged);
            region.acknowledged > 0 && !disks.any(has)
        };
        ensemble.cluster.regions.iter().filter(kept).map(|region| region.id).collect()
    }
}

/// Notes which replicas are behind.
fn follow_peers(region: &mut Region, current: &[u64]) {
    let is_behind = |id: &u64| !current.contains(id);
    let known = region.peers.keys().filter(|id| is_behind(id));
    if !known.eq(region.behind.iter()) {
        region.behind = region.peers.keys().copied().filter(|id| is_behind(id)).collect();
    }
}

/// How long a client waits between two rounds of writes.
pub const WRITE_EVERY: u64 = 5 * SECOND;
