//! What does PD know of stores and regions, and what does it do by itself?

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::region::{Peer, Region};
use super::settings::Settings;
use crate::beliefs;
use crate::clock::SECOND;

/// State of a store as PD keeps it. What clients see as Disconnected and Down is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Its sizes as this leader knows them: those of a heartbeat that it has heard itself.
    pub reported: bool,
    /// Start of its process.
    pub started: u64,
    /// Removed with `force`.
    pub destroyed: bool,
    /// Regions that it had when its removal began.
    pub had: usize,
    /// Data on it, in GiB of the capacity that every store has.
    pub used: u64,
}

/// Size of every store, in GiB.
pub(super) const CAPACITY: u64 = 100;
/// What else is on every volume, in GiB.
const OVERHEAD: u64 = 9;

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

    pub(super) fn is_heard(&self, now: u64) -> bool {
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
    /// Stores whose process is shutting down, as they say ([`beliefs::GRACEFUL_SHUTDOWN`]).
    pub stopping: BTreeSet<u64>,
    /// Stores whose leaders do not move: a hot region, a gap in the logs
    /// ([`beliefs::SOME_LEADERS_STAY`]).
    pub held: BTreeSet<u64>,
    /// All settings.
    pub settings: Settings,
    /// The least version that a store may have, as major and minor
    /// ([`beliefs::CLUSTER_VERSION_RISES`]).
    pub(super) version: (u64, u64),
    pub(super) ids: u64,
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
            stopping: BTreeSet::new(),
            held: BTreeSet::new(),
            settings: Settings::default(),
            version: (0, 0),
            ids: 0,
        }
    }
}

impl Cluster {
    /// Settings of the first configuration file; later files change nothing.
    pub fn first_settings(&mut self, file: &Value) {
        self.settings.first(file);
        self.obey_settings();
    }

    /// What the settings say is in force.
    pub(super) fn obey_settings(&mut self) {
        self.max_replicas = self.settings.max_replicas();
        self.location_labels = self.settings.location_labels();
        self.max_down = self.settings.max_down();
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
        let number = major_minor(version);
        if number.is_some_and(|number| number < self.version) {
            let (major, minor) = self.version;
            return Err(format!(
                "version should compatible with version {major}.{minor}, got {version}"
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
            reported: false,
            started: now,
            destroyed: false,
            had: 0,
            used: 1,
        });
        if store.state == StoreState::Tombstone {
            return Err("store is tombstone".to_owned());
        }
        store.started = now;
        address.clone_into(&mut store.address);
        version.clone_into(&mut store.version);
        let present = self.stores.values().filter(|s| s.state != StoreState::Tombstone);
        let least = present.filter_map(|store| major_minor(&store.version)).min();
        self.version = self.version.max(least.unwrap_or_default());
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
        (store.heartbeat, store.reported) = (Some(now), true);
        let due = beliefs::HEARTBEAT_PERSISTED_EVERY.value;
        if store.persisted.is_none_or(|written| now.saturating_sub(written) >= due) {
            store.persisted = Some(now);
        }
        Ok(())
    }

    /// Online unsafe recovery gives stores up: tombstones at once, and regions go on with what is
    /// left of them.
    pub fn give_up(&mut self, stores: &[u64]) {
        for id in stores {
            if let Some(store) = self.stores.get_mut(id) {
                store.state = StoreState::Tombstone;
            }
            for region in &mut self.regions {
                region.peers.remove(id);
                region.leader = region.leader.filter(|leader| leader != id);
            }
        }
    }

    /// A new leader knows the heartbeats that are in etcd ([`beliefs::HEARTBEATS_FORGOTTEN`]).
    pub fn forget_heartbeats(&mut self) {
        for store in self.stores.values_mut() {
            (store.heartbeat, store.reported) = (store.persisted, false);
        }
        for region in &mut self.regions {
            region.reported = None;
        }
    }

    /// Lets one moment pass: states settle, replicas and leaders move.
    pub fn tick(&mut self, now: u64) {
        if now.is_multiple_of(10 * SECOND) {
            self.settle_states(now);
        }
        self.move_replicas(now);
        self.move_leaders(now);
        self.hear_regions(now);
    }

    /// The next moment in which PD thinks otherwise of a store, if no store is heard meanwhile that
    /// was not heard before.
    pub(super) fn next_due(&self, now: u64) -> u64 {
        let stores = self.stores.values().filter(|store| store.state != StoreState::Tombstone);
        let times = stores.filter_map(|store| store.heartbeat).flat_map(|heard| {
            let limits = [beliefs::DISCONNECTED_AFTER.value, self.max_down];
            limits.map(|limit| heard + limit + SECOND)
        });
        let peers_down = self.stores.values().filter_map(|store| store.heartbeat);
        let peers_down = peers_down.map(|heard| heard + beliefs::PEER_DOWN_AFTER.value + SECOND);
        let unreported = self.regions.iter().filter(|r| r.leader.is_some() && r.reported.is_none());
        let reports = unreported.map(|region| {
            let every = beliefs::REGION_HEARTBEATS.value;
            let turn = region.id * SECOND % every;
            now + 1 + (turn + every - (now + 1) % every) % every
        });
        times.chain(peers_down).chain(reports).filter(|due| *due > now).min().unwrap_or(u64::MAX)
    }

    /// Stores whose heartbeats are not late.
    pub(crate) fn heard(&self, now: u64) -> impl Iterator<Item = u64> {
        self.stores.values().filter(move |store| store.is_heard(now)).map(|store| store.id)
    }

    /// Everything that moves by itself has its place: this changes only with the shape.
    pub fn is_at_rest(&self) -> bool {
        self.regions.iter().all(|region| {
            let learns = region.peers.values().any(|peer| *peer != Peer::Voter);
            // The first report has its time ([`Cluster::next_due`]), those of changes come at once.
            let reported = region.reported.is_none() || region.reported == region.leader;
            !learns && (region.leader.is_none() || reported)
        })
    }

    /// Is everything as in this earlier shape, times and the progress of writes apart?
    pub fn has_shape(&self, shape: &Self) -> bool {
        let same_stores = self.stores.len() == shape.stores.len()
            && self.stores.values().zip(shape.stores.values()).all(|(a, b)| {
                (a.id, a.state, a.serving, a.reported, a.started)
                    == (b.id, b.state, b.serving, b.reported, b.started)
            });
        let same_regions = self.regions.len() == shape.regions.len()
            && self.regions.iter().zip(&shape.regions).all(|(a, b)| {
                (&a.peers, a.leader, &a.behind, a.reported)
                    == (&b.peers, b.leader, &b.behind, b.reported)
            });
        same_stores && same_regions && self.stopping == shape.stopping
    }

    /// Every 10 s: new stores serve, emptied ones are tombstones ([`beliefs::TOMBSTONE_WHEN_EMPTY`]).
    fn settle_states(&mut self, now: u64) {
        for store in self.stores.values_mut() {
            store.serving |= store.state == StoreState::Up && store.is_heard(now);
        }
        if self.stores.values().all(|store| store.state != StoreState::Offline) {
            return;
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
    }

    /// A region's leader reports at once when it is new, and otherwise every minute.
    fn hear_regions(&mut self, now: u64) {
        let every = beliefs::REGION_HEARTBEATS.value;
        for region in &mut self.regions {
            let due = now % every == region.id * SECOND % every;
            if region.leader.is_some() && (due || region.reported.is_some()) {
                region.reported = region.leader;
            }
        }
    }

    /// How many replicas a region should have as things are.
    pub fn full_replication(&self) -> usize {
        let there = self.stores.values().filter(|store| store.state == StoreState::Up).count();
        there.min(self.max_replicas as usize)
    }

    /// Free space of a store, in GiB.
    pub fn free(&self, store: u64) -> u64 {
        let used = self.stores.get(&store).map_or(0, |store| store.used);
        CAPACITY.saturating_sub(OVERHEAD + used)
    }

    /// Leaders and regions of a store, as PD has heard.
    pub fn load(&self, store: u64) -> (u64, u64) {
        let leaders = self.regions.iter().filter(|region| region.reported == Some(store)).count();
        let regions =
            self.regions.iter().filter(|region| region.peers.contains_key(&store)).count();
        (leaders as u64, regions as u64)
    }
}

/// `8.5.7` as (8, 5); `None` for a word.
fn major_minor(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
