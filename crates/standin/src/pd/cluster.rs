//! What does a cluster consist of? Settings, stores, regions, schedulers and running operators. Every
//! change of what must survive is persisted by [`super::lead`].

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::mpsc::Sender;

use super::balance;
use super::checkers::Checker;
use super::lead::Persisted;
use super::operators::{Kind, Operator};
use super::refusal::Refusal;
use super::region::{Region, Regions};
use super::schedulers::Schedulers;
use super::settings::Settings;
use super::store::Store;
use crate::proto::metapb::{NodeState, StoreState};
use crate::proto::pdpb::RegionHeartbeatResponse;
use crate::units;
use crate::version::Version;

/// Commands go to the region's leader over the stream that its store holds open.
pub type Stream = Sender<Result<RegionHeartbeatResponse, tonic::Status>>;

/// Leaders and peers that begin to move in one round at most.
const MOVES_A_ROUND: usize = 64;

/// The cluster as its PD leader has it.
#[derive(Debug)]
pub struct Cluster {
    /// The release that is imitated.
    pub version: Version,
    /// The persisted sections of the configuration.
    pub settings: Settings,
    /// The maintenance task that holds the lock, as it is shown.
    pub maintenance: Option<Value>,
    /// Nanoseconds since the epoch; `None` before the first store bootstraps.
    pub bootstrapped_at: Option<i64>,
    /// By id.
    pub stores: BTreeMap<u64, Store>,
    /// By id.
    pub regions: Regions,
    /// What runs.
    pub schedulers: Schedulers,
    /// By region; at most one each.
    pub operators: BTreeMap<u64, Operator>,
    /// By store.
    pub streams: BTreeMap<u64, Stream>,
    pub(super) next_id: u64,
    pub(super) reserved_id: u64,
    /// What is in etcd.
    pub(super) saved: Persisted,
}

impl Cluster {
    /// A cluster that no store has bootstrapped.
    pub fn new(version: Version, settings: Settings) -> Self {
        Self {
            version,
            settings,
            maintenance: None,
            bootstrapped_at: None,
            stores: BTreeMap::new(),
            regions: Regions::default(),
            schedulers: Schedulers::of_version(version),
            operators: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_id: 1,
            reserved_id: 0,
            saved: Persisted::new(),
        }
    }

    /// The cluster, or PD's refusal before a store has bootstrapped it.
    pub fn bootstrapped(&mut self) -> Result<&mut Self, Refusal> {
        if self.bootstrapped_at.is_some() { Ok(self) } else { Err(Refusal::not_bootstrapped()) }
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
        let arrives = |operator: &&Operator| {
            operator.kind == Kind::Leader && operator.needs().any(|needed| needed == store)
        };
        self.operators.values().filter(arrives).count() as u64
    }

    /// Takes over a region heartbeat.
    pub fn region_heartbeat(&mut self, region: Region) {
        for replaced in self.regions.put(region) {
            self.operators.remove(&replaced);
        }
    }

    /// The state changes of stores that PD looks at every ten seconds: Preparing to Serving (at once, as
    /// with fewer than 100 regions), Offline to Tombstone once no region has a peer there.
    pub fn check_stores(&mut self, now: i64) {
        for store in self.stores.values_mut() {
            let load = self.regions.load_of(store.meta.id);
            match store.meta.node_state() {
                NodeState::Preparing => {
                    store.meta.set_node_state(NodeState::Serving);
                }
                NodeState::Removing if load.regions > 0 => store.note_removing(load, now),
                NodeState::Removing => {
                    store.meta.set_state(StoreState::Tombstone);
                    store.meta.set_node_state(NodeState::Removed);
                    self.settings.set_store_limit(store.meta.id, None);
                }
                NodeState::Serving | NodeState::Removed => {}
            }
        }
    }

    /// Looks at every region: operators go on or end, repairs and moves begin.
    pub fn schedule(&mut self) {
        let now = units::now_nanos();
        let ids: Vec<u64> = self.regions.iter().map(Region::id).collect();
        for id in &ids {
            self.drive(*id, now);
        }
        if self.settings.enabled("halt-scheduling") {
            return;
        }
        // Those that said so in their last heartbeat. One that has ended says so until it is back.
        let stopping = |store: &&Store| store.counts_as_up() && store.stats.is_stopping;
        let stopping = self.stores.values().filter(stopping).map(|store| store.meta.id);
        self.schedulers.take_stopping(&stopping.collect::<Vec<_>>());
        for id in ids {
            let checker = Checker { cluster: self, now };
            let idle = self.regions.get(id).filter(|_| !self.operators.contains_key(&id));
            if let Some(operator) = idle.and_then(|region| checker.repair(region)) {
                self.start(operator, now);
            }
        }
        for _ in 0..MOVES_A_ROUND {
            let Some(operator) = balance::next(&Checker { cluster: self, now }) else { return };
            self.start(operator, now);
        }
    }

    fn start(&mut self, mut operator: Operator, now: i64) {
        let region = operator.region;
        if operator.target().is_some() {
            operator.new_peer = self.allocate();
        }
        self.operators.insert(region, operator);
        self.drive(region, now);
    }

    /// Drops the operator of a region when it is done, or when a store that it needs is lost;
    /// else sends its step to the leader.
    pub fn drive(&mut self, id: u64, now: i64) {
        let Some(region) = self.regions.get(id) else {
            self.operators.remove(&id);
            return;
        };
        let Some(operator) = self.operators.get_mut(&id) else { return };
        let lost = |id| self.stores.get(&id).is_none_or(|store| store.is_lost(now, &self.settings));
        if !operator.advance(region, now) || operator.needs().any(lost) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pd::operators::Step;
    use crate::pd::options::Options;
    use crate::proto::metapb::{self, Peer};

    #[test]
    fn an_operator_ends_when_a_store_that_it_needs_is_to_go() {
        let (now, settings) =
            (units::now_nanos(), Settings::from_options(&Options::default()).unwrap());
        let mut cluster = Cluster::new(Version::default(), settings);
        for id in 1..=3 {
            let address = format!("store-{id}");
            let meta = metapb::Store { id, address, version: "8.5.7".into(), ..Default::default() };
            cluster.put_store(meta).unwrap();
            let stats = crate::proto::pdpb::StoreStats { store_id: id, ..Default::default() };
            cluster.store_heartbeat(stats, now).unwrap();
        }
        let peer = |id, store_id| Peer { id, store_id, ..Peer::default() };
        let peers = vec![peer(11, 1), peer(12, 2), peer(13, 3)];
        let meta = metapb::Region { id: 4, peers, ..Default::default() };
        let leader = Some(peer(11, 1));
        cluster.region_heartbeat(Region { leader, ..Region::from_meta(meta) });
        let steps = vec![Step::TransferLeader(2), Step::Remove(1)];
        let operator = Operator::new(4, Kind::Region, "balance-region", steps);
        cluster.operators.insert(4, operator);
        cluster.remove_store(1, true).unwrap();
        cluster.drive(4, now);
        assert!(cluster.operators.contains_key(&4), "a peer may leave a store that goes");
        cluster.remove_store(2, true).unwrap();
        cluster.drive(4, now);
        assert!(!cluster.operators.contains_key(&4), "and none may lead there");
    }
}
