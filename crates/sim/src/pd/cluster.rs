//! What does PD know of stores and regions, and what does it do by itself?

use std::collections::{BTreeMap, BTreeSet};

use super::region::{Peer, Region};
use crate::beliefs;
use crate::clock::SECOND;

/// State of a store as PD keeps it. What clients see as Disconnected and Down is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// Registered.
    Up,
    /// Being removed.
    Offline,
    /// Removed.
    Tombstone,
}

/// One store in PD's list.
#[derive(Clone, Debug)]
pub struct Store {
    /// Its id.
    pub id: u64,
    /// Advertised address.
    pub address: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Reported version, without `v`.
    pub version: String,
    /// Its state.
    pub state: StoreState,
    /// It left Preparing.
    pub serving: bool,
    /// Last heartbeat as this leader knows it.
    pub heartbeat: Option<u64>,
    /// Last heartbeat that was written to etcd.
    pub persisted: Option<u64>,
    /// Start of its process.
    pub started: u64,
    /// Removed with `force`.
    pub destroyed: bool,
}

impl Store {
    /// `state_name` as PD computes it ([`beliefs::DOWN_WITHOUT_HEARTBEAT`]).
    pub fn state_name(&self, now: u64, max_down: u64) -> &'static str {
        let silence = self.heartbeat.map_or(u64::MAX, |heard| now.saturating_sub(heard));
        match self.state {
            StoreState::Tombstone => "Tombstone",
            StoreState::Offline => "Offline",
            StoreState::Up if silence > max_down => "Down",
            StoreState::Up if silence > beliefs::DISCONNECTED_AFTER.value => "Disconnected",
            StoreState::Up => "Up",
        }
    }

    fn is_heard(&self, now: u64) -> bool {
        let limit = beliefs::DISCONNECTED_AFTER.value;
        self.heartbeat.is_some_and(|heard| now.saturating_sub(heard) <= limit)
    }
}

/// Stores, regions and settings of one TiKV cluster, as its PD set keeps them.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// When the first store registered.
    pub bootstrapped: Option<u64>,
    /// All stores that are not purged.
    pub stores: BTreeMap<u64, Store>,
    /// All regions.
    pub regions: Vec<Region>,
    /// Stores in the evict-leader scheduler.
    pub evicting: BTreeSet<u64>,
    /// `replication.max-replicas`.
    pub max_replicas: u32,
    /// `replication.location-labels`.
    pub location_labels: Vec<String>,
    /// `schedule.max-store-down-time`, in milliseconds.
    pub max_down: u64,
    /// Settings were persisted: configuration files count no more.
    settled: bool,
    ids: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            bootstrapped: None,
            stores: BTreeMap::new(),
            regions: Vec::new(),
            evicting: BTreeSet::new(),
            max_replicas: beliefs::MAX_REPLICAS.value,
            location_labels: Vec::new(),
            max_down: beliefs::MAX_DOWN.value,
            settled: false,
            ids: 0,
        }
    }
}

impl Cluster {
    /// Settings of the first configuration file; later files change nothing
    /// ([`beliefs::SETTINGS_PERSIST`]).
    pub fn first_settings(&mut self, max_replicas: Option<u32>) {
        if !self.settled {
            self.max_replicas = max_replicas.unwrap_or(self.max_replicas);
            self.settled = true;
        }
    }

    /// A new id, for a store, a region or a peer.
    pub fn allocate(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Registers a store, or renews its entry. Refuses what PD refuses.
    pub fn put_store(
        &mut self,
        id: u64,
        address: &str,
        version: &str,
        now: u64,
    ) -> Result<(), String> {
        let other = self.stores.values().find(|s| {
            s.address == address && s.id != id && s.state != StoreState::Tombstone && !s.destroyed
        });
        if let Some(other) = other {
            return Err(format!(
                "duplicated store address: {id}, already registered by {}",
                other.id
            ));
        }
        let store = self.stores.entry(id).or_insert_with(|| Store {
            id,
            address: address.to_owned(),
            labels: BTreeMap::new(),
            version: version.to_owned(),
            state: StoreState::Up,
            serving: false,
            heartbeat: None,
            persisted: None,
            started: now,
            destroyed: false,
        });
        if store.state == StoreState::Tombstone {
            return Err("store is tombstone".to_owned());
        }
        store.started = now;
        address.clone_into(&mut store.address);
        version.clone_into(&mut store.version);
        if self.bootstrapped.is_none() {
            self.bootstrapped = Some(now);
            let region = self.allocate();
            self.regions.push(Region::on(region, id));
        }
        Ok(())
    }

    /// A store heartbeat. An unknown or removed store is told so.
    pub fn heartbeat(&mut self, id: u64, now: u64) -> Result<(), &'static str> {
        let store = self.stores.get_mut(&id).ok_or("store not found")?;
        if store.state == StoreState::Tombstone {
            return Err("store is tombstone");
        }
        store.heartbeat = Some(now);
        let due = beliefs::HEARTBEAT_PERSISTED_EVERY.value;
        if store.persisted.is_none_or(|written| now.saturating_sub(written) >= due) {
            store.persisted = Some(now);
        }
        Ok(())
    }

    /// A new leader knows the heartbeats that are in etcd ([`beliefs::HEARTBEATS_FORGOTTEN`]).
    pub fn forget_heartbeats(&mut self) {
        for store in self.stores.values_mut() {
            store.heartbeat = store.persisted;
        }
    }

    /// Lets one moment pass: states settle, replicas are repaired.
    pub fn tick(&mut self, now: u64) {
        if !now.is_multiple_of(10 * SECOND) {
            self.grow_replicas(now);
            return;
        }
        for store in self.stores.values_mut() {
            store.serving |= store.state == StoreState::Up && store.is_heard(now);
        }
        let emptied: Vec<u64> = self
            .stores
            .values()
            .filter(|store| store.state == StoreState::Offline)
            .map(|store| store.id)
            .filter(|id| !self.regions.iter().any(|region| region.peers.contains_key(id)))
            .collect();
        for id in emptied {
            if let Some(store) = self.stores.get_mut(&id) {
                store.state = StoreState::Tombstone;
            }
        }
        self.grow_replicas(now);
    }

    /// Adds missing replicas and moves those of leaving or dead stores, one at a time per region.
    fn grow_replicas(&mut self, now: u64) {
        let max_down = self.max_down;
        let fit = |s: &Store| s.state == StoreState::Up && s.is_heard(now);
        let fit: BTreeSet<u64> = self.stores.values().filter(|s| fit(s)).map(|s| s.id).collect();
        let leaving = |id: &u64| {
            self.stores.get(id).is_none_or(|store| {
                store.state != StoreState::Up || store.state_name(now, max_down) == "Down"
            })
        };
        let wanted = self.max_replicas as usize;
        for region in &mut self.regions {
            let filling = region.peers.values().any(|peer| *peer != Peer::Voter);
            if filling {
                continue;
            }
            let surplus = region.peers.keys().copied().find(|id| leaving(id));
            let spare = fit.iter().copied().find(|id| !region.peers.contains_key(id));
            let staying = region.peers.keys().filter(|id| !leaving(id)).count();
            match (surplus, spare) {
                (_, Some(spare)) if staying < wanted => {
                    let ready_at = now + beliefs::CATCH_UP_TAKES.value;
                    region.peers.insert(spare, Peer::Learner { ready_at });
                }
                (Some(surplus), _) if staying >= wanted => {
                    region.peers.remove(&surplus);
                    region.leader = region.leader.filter(|leader| *leader != surplus);
                }
                _ => {}
            }
        }
    }

    /// How many replicas a region should have as things are.
    pub fn full_replication(&self) -> usize {
        let there = self.stores.values().filter(|store| store.state == StoreState::Up).count();
        there.min(self.max_replicas as usize)
    }

    /// Leaders and regions of a store.
    pub fn load(&self, store: u64) -> (u64, u64) {
        let leaders = self.regions.iter().filter(|region| region.leader == Some(store)).count();
        let regions =
            self.regions.iter().filter(|region| region.peers.contains_key(&store)).count();
        (leaders as u64, regions as u64)
    }
}
