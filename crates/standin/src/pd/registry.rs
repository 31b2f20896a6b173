//! How does a store's life go? Registration, heartbeats, removal and its cancellation, with the
//! checks and messages of PD v8.5.7.

use super::cluster::Cluster;
use super::refusal::Refusal;
use super::settings::Settings;
use super::store::Store;
use crate::proto::metapb::{self, NodeState, StoreState};
use crate::proto::pdpb::{ErrorType, StoreStats};
use crate::units;
use crate::version::{Feature, Version};

/// Nanoseconds between two writes of one store's heartbeat time: 5 minutes (trap 2).
const HEARTBEAT_PERSISTED_EVERY: i64 = 300_000_000_000;

/// An error in the header of a gRPC answer.
pub type HeaderError = (ErrorType, String);

impl Cluster {
    /// A store registers, or registers again after a restart.
    pub fn put_store(&mut self, mut meta: metapb::Store) -> Result<(), HeaderError> {
        let unknown = |message: String| (ErrorType::Unknown, message);
        if meta.id == 0 {
            return Err(unknown(format!("invalid put store {meta:?}")));
        }
        let known = self.stores.get(&meta.id);
        if known.is_some_and(|store| store.state() == StoreState::Tombstone) {
            return Err((ErrorType::StoreTombstone, "store is tombstone".into()));
        }
        check_version(&meta, &self.settings).map_err(unknown)?;
        self.check_address(&meta).map_err(unknown)?;
        let id = meta.id;
        let fresh = || Store::new(metapb::Store { id, ..metapb::Store::default() });
        let store = self.stores.entry(id).or_insert_with(fresh);
        store.merge_labels(std::mem::take(&mut meta.labels));
        // State, heartbeat and the mark of destruction are PD's own; the rest is the store's word.
        store.meta = metapb::Store {
            state: store.meta.state,
            node_state: store.meta.node_state,
            last_heartbeat: store.meta.last_heartbeat,
            physically_destroyed: store.meta.physically_destroyed,
            labels: std::mem::take(&mut store.meta.labels),
            ..meta
        };
        self.settings.set_store_limit(id, Some(15));
        self.raise_cluster_version();
        Ok(())
    }

    /// No other store that is neither a tombstone nor destroyed may have the address.
    fn check_address(&self, meta: &metapb::Store) -> Result<(), String> {
        let same = |other: &&Store| {
            other.meta.id != meta.id
                && other.state() != StoreState::Tombstone
                && !other.meta.physically_destroyed
                && other.meta.address == meta.address
        };
        match self.stores.values().find(same) {
            None => Ok(()),
            Some(Store { meta: other, .. }) => {
                Err(format!("duplicated store address: {meta:?}, already registered by {other:?}"))
            }
        }
    }

    /// The cluster's version is the lowest of the stores that are no tombstones; it never falls.
    fn raise_cluster_version(&mut self) {
        let living = self.stores.values().filter(|store| store.state() != StoreState::Tombstone);
        let lowest = living.filter_map(|store| Version::parse(&store.meta.version)).min();
        let current = Version::parse(self.settings.cluster_version());
        if let Some(lowest) = lowest.filter(|lowest| current.is_none_or(|c| *lowest > c)) {
            self.settings.set_cluster_version(&lowest.bare());
        }
    }

    /// A store's heartbeat. The time is persisted at most every five minutes.
    pub fn store_heartbeat(&mut self, stats: StoreStats, now: i64) -> Result<(), HeaderError> {
        let id = stats.store_id;
        let missing = || (ErrorType::Unknown, format!("store {id} not found"));
        let store = self.stores.get_mut(&id).ok_or_else(missing)?;
        if store.state() == StoreState::Tombstone {
            return Err((ErrorType::StoreTombstone, "store is tombstone".into()));
        }
        store.stats = stats;
        store.meta.last_heartbeat = now;
        if now - store.heartbeat_persisted >= HEARTBEAT_PERSISTED_EVERY {
            store.heartbeat_persisted = now;
        }
        Ok(())
    }

    /// The store, or 404.
    pub fn store_mut(&mut self, id: u64) -> Result<&mut Store, Refusal> {
        self.stores.get_mut(&id).ok_or_else(|| Refusal::store_not_found(id))
    }

    /// DELETE `/store/{id}`: the store is to go. `force` says that its data is gone already.
    pub fn remove_store(&mut self, id: u64, force: bool) -> Result<(), Refusal> {
        if !force && self.version.has(Feature::ENOUGH_STORES) {
            self.check_enough_stores(id)?;
        }
        let load = self.regions.load_of(id);
        let store = self.store_mut(id)?;
        let destroyed = store.meta.physically_destroyed;
        match store.state() {
            StoreState::Tombstone => return Err(Refusal::store_removed(id)),
            StoreState::Offline if destroyed == force => return Ok(()),
            StoreState::Offline | StoreState::Up if destroyed && !force => {
                return Err(Refusal::store_destroyed(id));
            }
            StoreState::Offline | StoreState::Up => {}
        }
        let buries = force && !self.version.has(Feature::DESTROYED);
        let store = self.store_mut(id)?;
        if buries {
            store.meta.set_state(StoreState::Tombstone);
            store.meta.set_node_state(NodeState::Removed);
            return Ok(());
        }
        store.note_removing(load, units::now_nanos());
        store.meta.set_state(StoreState::Offline);
        store.meta.set_node_state(NodeState::Removing);
        store.meta.physically_destroyed = force;
        // A removal is not held back.
        self.settings.set_store_limit(id, Some(100_000_000));
        Ok(())
    }

    /// Enough other stores must be left, dead ones counted in (trap 4), and one that takes leaders.
    /// Only a store that is Up is asked about: others are on their way out already, or unknown.
    fn check_enough_stores(&self, id: u64) -> Result<(), Refusal> {
        if self.stores.get(&id).is_none_or(|store| store.state() != StoreState::Up) {
            return Ok(());
        }
        let others = || self.stores.values().filter(|s| s.counts_as_up() && s.meta.id != id);
        let left = others().count();
        let need = self.settings.max_replicas();
        if left < need {
            return Err(Refusal::bad(format!(
                "[PD:core:ErrStoresNotEnough]can not remove store {id} since the number of up \
                 stores would be {left} while need {need}"
            )));
        }
        if others().all(|store| self.schedulers.refuses_leaders(store.meta.id)) {
            return Err(Refusal::bad(format!(
                "[PD:core:ErrNoStoreForRegionLeader]can not remove store {id} since there are no \
                 extra up store to store the leader"
            )));
        }
        Ok(())
    }

    /// POST `/store/{id}/state?state=Up`: the removal is off. Before v5.0 also that of a tombstone.
    pub fn cancel_removal(&mut self, id: u64) -> Result<(), Refusal> {
        let is_final = self.version.has(Feature::DESTROYED);
        let store = self.store_mut(id)?;
        match store.state() {
            StoreState::Tombstone if is_final => return Err(Refusal::store_removed(id)),
            StoreState::Offline | StoreState::Up if store.meta.physically_destroyed => {
                return Err(Refusal::store_destroyed(id));
            }
            StoreState::Up => return Ok(()),
            StoreState::Offline | StoreState::Tombstone => {}
        }
        store.meta.set_state(StoreState::Up);
        store.meta.set_node_state(NodeState::Serving);
        store.removing_from = None;
        self.settings.set_store_limit(id, Some(15));
        Ok(())
    }
}

/// A store below the cluster's major.minor may not come in.
fn check_version(meta: &metapb::Store, settings: &Settings) -> Result<(), String> {
    let cluster = settings.cluster_version();
    let invalid = || format!("{:?} is not a valid version of a store", meta.version);
    let store = Version::parse(&meta.version).ok_or_else(invalid)?;
    if Version::parse(cluster).is_none_or(|cluster| store.compatible_with(cluster)) {
        return Ok(());
    }
    Err(format!("version should compatible with version  {cluster}, got {}", meta.version))
}
