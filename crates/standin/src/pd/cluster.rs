//! What does a bootstrapped cluster consist of? Stores, regions, schedulers and running operators,
//! and where each is persisted. Every change that must survive is handed back as writes.

use std::collections::BTreeMap;

use prost::Message;
use tokio::sync::mpsc::Sender;

use super::balance;
use super::checkers::Checker;
use super::operators::{Kind, Operator};
use super::region::{Region, Regions};
use super::schedulers::Schedulers;
use super::settings::Settings;
use super::store::Store;
use crate::proto::metapb::{self, NodeState, StoreState};
use crate::proto::pdpb::RegionHeartbeatResponse;
use crate::units;

/// Commands go to the region's leader over the stream that its store holds open.
pub type Stream = Sender<Result<RegionHeartbeatResponse, tonic::Status>>;

/// Below this many regions a new store serves at once.
const INITIAL_REGIONS: usize = 100;

/// Nanoseconds since its last heartbeat after which a tombstone is forgotten: 30 days.
const TOMBSTONE_KEPT: i64 = 30 * 86_400 * 1_000_000_000;

/// Leaders and peers that begin to move in one round at most.
const MOVES_A_ROUND: usize = 64;

/// A cluster that a store has bootstrapped.
#[derive(Debug)]
pub struct Cluster {
    /// Nanoseconds since the epoch.
    pub bootstrapped_at: i64,
    /// By id.
    pub stores: BTreeMap<u64, Store>,
    /// By id and by key.
    pub regions: Regions,
    /// What runs.
    pub schedulers: Schedulers,
    /// By region; at most one each.
    pub operators: BTreeMap<u64, Operator>,
    /// By store.
    pub streams: BTreeMap<u64, Stream>,
    /// The id of the next new peer: kept until an operator needs it, so that rest costs no ids.
    new_peer: Option<u64>,
}

/// Names of the persisted parts, below `/pd/{cluster id}/`.
pub mod keys {
    /// Time of the bootstrap.
    pub const BOOTSTRAPPED: &str = "raft/status/raft_bootstrap_time";
    /// One key per store.
    pub const STORES: &str = "raft/s/";
    /// One key per region.
    pub const REGIONS: &str = "raft/r/";
    /// The schedulers.
    pub const SCHEDULERS: &str = "scheduler_config";
}

impl Cluster {
    /// A cluster that begins now.
    pub fn new(bootstrapped_at: i64, schedulers: Schedulers) -> Self {
        Self {
            bootstrapped_at,
            stores: BTreeMap::new(),
            regions: Regions::default(),
            schedulers,
            operators: BTreeMap::new(),
            streams: BTreeMap::new(),
            new_peer: None,
        }
    }

    /// Reads back what was persisted; `None` before the bootstrap.
    pub fn load(
        pairs: &BTreeMap<String, Vec<u8>>,
        fallback: Schedulers,
    ) -> Result<Option<Self>, String> {
        let Some(time) = pairs.get(keys::BOOTSTRAPPED) else { return Ok(None) };
        let time = String::from_utf8_lossy(time).parse().unwrap_or_default();
        let schedulers = pairs.get(keys::SCHEDULERS).map(|value| serde_json::from_slice(value));
        let schedulers = schedulers.transpose().map_err(|error| error.to_string())?;
        let mut cluster = Self::new(time, schedulers.unwrap_or(fallback));
        for (key, value) in pairs {
            if key.starts_with(keys::STORES) {
                let meta = metapb::Store::decode(value.as_slice()).map_err(|e| e.to_string())?;
                cluster.stores.insert(meta.id, Store::new(meta));
            } else if key.starts_with(keys::REGIONS) {
                let meta = metapb::Region::decode(value.as_slice()).map_err(|e| e.to_string())?;
                cluster.regions.put(Region::from_meta(meta));
            }
        }
        Ok(Some(cluster))
    }

    /// What must survive, by its key.
    pub fn persisted(&self) -> Vec<(String, Vec<u8>)> {
        let schedulers = serde_json::to_vec(&self.schedulers).unwrap_or_default();
        let mut all = vec![
            (keys::BOOTSTRAPPED.to_owned(), self.bootstrapped_at.to_string().into_bytes()),
            (keys::SCHEDULERS.to_owned(), schedulers),
        ];
        let store =
            |(id, store): (&u64, &Store)| (format!("{}{id:020}", keys::STORES), store.persisted());
        all.extend(self.stores.iter().map(store));
        let region = |region: &Region| {
            (format!("{}{:020}", keys::REGIONS, region.id()), region.meta.encode_to_vec())
        };
        all.extend(self.regions.iter().map(region));
        all
    }

    /// Running operators of a kind.
    pub fn running(&self, kind: Kind) -> usize {
        self.operators.values().filter(|operator| operator.kind == kind).count()
    }

    /// Peers on their way to a store.
    pub fn arriving_at(&self, store: u64) -> u64 {
        let arriving = self.operators.values().filter(|operator| {
            let there = self.regions.get(operator.region).and_then(|r| r.peer_on(store));
            operator.target() == Some(store) && there.is_none()
        });
        arriving.count() as u64
    }

    /// Leaders that are about to leave a store.
    pub fn leaders_leaving(&self, store: u64) -> usize {
        let leaving = self.operators.values().filter(|operator| {
            let region = self.regions.get(operator.region);
            operator.kind == Kind::Leader && region.is_some_and(|r| r.leader_store() == store)
        });
        leaving.count()
    }

    /// Leaders on their way to a store.
    pub fn leaders_arriving(&self, store: u64) -> u64 {
        self.operators.values().filter(|operator| operator.new_leader() == Some(store)).count()
            as u64
    }

    /// Takes over a region heartbeat.
    pub fn region_heartbeat(&mut self, region: Region) {
        for replaced in self.regions.put(region) {
            self.operators.remove(&replaced);
        }
    }

    /// The state changes of stores that PD looks at every ten seconds: Preparing to Serving,
    /// Offline to Tombstone once no region has a peer there, tombstones forgotten after 30 days.
    pub fn check_stores(&mut self, settings: &mut Settings, now: i64) {
        let few_regions = self.regions.len() < INITIAL_REGIONS;
        let share = self.regions.len() * settings.max_replicas() / self.stores.len().max(1);
        for store in self.stores.values_mut() {
            let load = self.regions.load_of(store.meta.id);
            let has_share = load.regions * 10 >= share as u64 * 9;
            match store.meta.node_state() {
                NodeState::Preparing if few_regions || has_share => {
                    store.meta.set_node_state(NodeState::Serving);
                }
                NodeState::Removing if load.regions > 0 => store.note_removing(load, now),
                NodeState::Removing => {
                    store.meta.set_state(StoreState::Tombstone);
                    store.meta.set_node_state(NodeState::Removed);
                    settings.set_store_limit(store.meta.id, None);
                }
                NodeState::Preparing | NodeState::Serving | NodeState::Removed => {}
            }
        }
        let is_old = |store: &Store| {
            store.state() == StoreState::Tombstone && store.down_time(now) > TOMBSTONE_KEPT
        };
        self.stores.retain(|_, store| !is_old(store));
    }

    /// Looks at every region: operators go on or end, repairs and moves begin. `allocate` gives the
    /// ids of new peers.
    pub fn schedule(&mut self, settings: &Settings, allocate: &mut dyn FnMut() -> u64) {
        let now = units::now_nanos();
        let ids: Vec<u64> = self.regions.iter().map(Region::id).collect();
        for id in &ids {
            self.drive(*id, settings, now);
        }
        if settings.enabled("halt-scheduling") {
            return;
        }
        self.schedulers.take_stopping(&self.stopping_stores());
        for id in ids {
            let new_peer = *self.new_peer.get_or_insert_with(&mut *allocate);
            let checker = Checker { cluster: self, settings, now };
            let idle = self.regions.get(id).filter(|_| !self.operators.contains_key(&id));
            if let Some(operator) = idle.and_then(|region| checker.repair(region, new_peer)) {
                self.start(operator, settings, now);
            }
        }
        for _ in 0..MOVES_A_ROUND {
            let new_peer = *self.new_peer.get_or_insert_with(&mut *allocate);
            let checker = Checker { cluster: self, settings, now };
            let Some(operator) = balance::next(&checker, new_peer) else { return };
            self.start(operator, settings, now);
        }
    }

    /// Stores that said in their last heartbeat that they are stopping. One that has ended says so
    /// until it is back.
    fn stopping_stores(&self) -> Vec<u64> {
        let stopping = |store: &&Store| store.counts_as_up() && store.stats.is_stopping;
        self.stores.values().filter(stopping).map(|store| store.meta.id).collect()
    }

    fn start(&mut self, operator: Operator, settings: &Settings, now: i64) {
        let region = operator.region;
        if operator.target().is_some() {
            self.new_peer = None;
        }
        self.operators.insert(region, operator);
        self.drive(region, settings, now);
    }

    /// Drops the operator of a region when it is done, or when the store that it goes to is lost;
    /// else sends its step to the leader.
    pub fn drive(&mut self, id: u64, settings: &Settings, now: i64) {
        let Some(region) = self.regions.get(id) else {
            self.operators.remove(&id);
            return;
        };
        let Some(operator) = self.operators.get_mut(&id) else { return };
        let target = operator.target().and_then(|target| self.stores.get(&target));
        let target_lost = target.is_some_and(|store| store.is_lost(now, settings));
        if target_lost || !operator.advance(region, now) {
            self.operators.remove(&id);
            return;
        }
        let Some(stream) = self.streams.get(&region.leader_store()) else { return };
        if let Some(command) = operator.command(region, now) {
            // A full stream means a store that does not read: the step is sent again later.
            drop(stream.try_send(Ok(command)));
        }
    }
}
