//! What does a region need? Repairs in PD's order: half-added learners, down peers, peers on stores
//! that are being removed, missing peers, surplus peers. Unknown leaders are left alone.

use super::cluster::Cluster;
use super::operators::{Kind, Operator, Step};
use super::region::Region;
use super::store::Store;
use crate::proto::metapb::{Peer, StoreState};

/// Repairs that run at once, whatever `replica-schedule-limit` allows beyond.
const REPAIRS_AT_ONCE: usize = 16;

/// What a checker looks at.
#[derive(Debug)]
pub struct Checker<'a> {
    /// The cluster, without the operator that may come of it.
    pub cluster: &'a Cluster,
    /// Nanoseconds since the epoch.
    pub now: i64,
}

impl Checker<'_> {
    /// The repair that `region` needs.
    pub fn repair(&self, region: &Region) -> Option<Operator> {
        let limit = self.cluster.settings.limit("replica-schedule-limit").min(REPAIRS_AT_ONCE);
        if region.leader.is_none() || self.cluster.running(Kind::Replica) >= limit {
            return None;
        }
        let found = if region.learners().next().is_some() {
            self.learner(region)
        } else {
            let peers = || region.meta.peers.iter();
            let down = peers().find(|peer| self.is_down(region, peer));
            let removing = peers().find(|peer| self.is_removing(peer));
            self.replacement(region, down, ("enable-remove-down-replica", "replace-down-peer"))
                .or_else(|| {
                    let why = ("enable-replace-offline-replica", "replace-offline-peer");
                    self.replacement(region, removing, why)
                })
                .or_else(|| self.missing_peer(region))
                .or_else(|| self.surplus_peer(region))
                .or_else(|| {
                    let why = ("enable-location-replacement", "move-to-better-location");
                    self.replacement(region, self.crowded_peer(region), why)
                })
        };
        found.map(|(reason, steps)| Operator::new(region.id(), Kind::Replica, reason, steps))
    }

    /// Steps that replace `peer`, if there is one and the switch is on.
    fn replacement(
        &self,
        region: &Region,
        peer: Option<&Peer>,
        (switch, reason): (&str, &'static str),
    ) -> Option<(&'static str, Vec<Step>)> {
        let peer = peer.filter(|_| self.cluster.settings.enabled(switch))?;
        Some((reason, self.replace(region, peer)?))
    }

    /// A learner that an earlier PD leader left half-added.
    fn learner(&self, region: &Region) -> Option<(&'static str, Vec<Step>)> {
        let learner = region.learners().next()?;
        let store = learner.store_id;
        let usable = self.store(store).is_some_and(|store| self.is_usable(store));
        let wanted = region.voters().count() < self.cluster.settings.max_replicas();
        if usable && wanted && !region.is_pending(learner) {
            return Some(("promote-learner", vec![Step::Promote(store)]));
        }
        (!usable || !wanted).then(|| ("remove-orphan-peer", vec![Step::Remove(store)]))
    }

    /// The region's leader calls the peer down (after its own `max-peer-down-duration`, however long
    /// ago), and PD has missed its store for `max-store-down-time`.
    fn is_down(&self, region: &Region, peer: &Peer) -> bool {
        let limit = self.cluster.settings.max_store_down_time();
        let store = self.store(peer.store_id);
        region.down_seconds(peer).is_some()
            && store.is_some_and(|store| store.down_time(self.now) > limit)
    }

    fn is_removing(&self, peer: &Peer) -> bool {
        self.store(peer.store_id).is_none_or(|store| store.state() != StoreState::Up)
    }

    fn missing_peer(&self, region: &Region) -> Option<(&'static str, Vec<Step>)> {
        if region.voters().count() >= self.cluster.settings.max_replicas()
            || !self.cluster.settings.enabled("enable-make-up-replica")
        {
            return None;
        }
        let store = self.place(region, None)?;
        Some(("make-up-replica", add(store)))
    }

    fn surplus_peer(&self, region: &Region) -> Option<(&'static str, Vec<Step>)> {
        if region.voters().count() <= self.cluster.settings.max_replicas()
            || !self.cluster.settings.enabled("enable-remove-extra-replica")
        {
            return None;
        }
        let badness = |peer: &&Peer| {
            let unusable = self.store(peer.store_id).is_none_or(|s| !self.is_usable(s));
            let leads = region.leader_store() == peer.store_id;
            (unusable, !leads, self.cluster.regions.load_of(peer.store_id).regions)
        };
        let peer = region.voters().max_by_key(badness)?;
        Some(("remove-extra-replica", self.removal(region, peer.store_id)?))
    }

    /// One of two peers in one failure domain, where another store would be in one of its own. Labels
    /// may come after the regions did.
    fn crowded_peer<'r>(&self, region: &'r Region) -> Option<&'r Peer> {
        let shared = |peer: &&Peer| self.shared_with_others(region, peer.store_id, peer.store_id);
        let peer = region.voters().max_by_key(shared)?;
        let target = self.place(region, Some(peer.store_id))?;
        let better = self.shared_with_others(region, target, peer.store_id) < shared(&peer);
        better.then_some(peer)
    }

    /// The most leading location labels that `store` shares with a peer that stays when the one on
    /// `leaving` goes: 0 means a failure domain of its own.
    pub fn shared_with_others(&self, region: &Region, store: u64, leaving: u64) -> usize {
        let staying = region.meta.peers.iter().filter(|peer| peer.store_id != leaving);
        let others = staying.filter_map(|peer| self.store(peer.store_id));
        let Some(store) = self.store(store) else { return 0 };
        others.map(|other| self.shared_domains(store, other)).max().unwrap_or(0)
    }

    /// A new peer elsewhere, then the old one goes; only the latter where there are enough.
    pub fn replace(&self, region: &Region, peer: &Peer) -> Option<Vec<Step>> {
        let removal = self.removal(region, peer.store_id);
        if region.voters().count() > self.cluster.settings.max_replicas() {
            return removal;
        }
        let store = self.place(region, Some(peer.store_id))?;
        let mut steps = add(store);
        if region.leader_store() == peer.store_id {
            steps.push(Step::TransferLeader(self.successor(region).unwrap_or(store)));
        }
        steps.push(Step::Remove(peer.store_id));
        Some(steps)
    }

    /// The peer on `store` goes; the leader never without a successor.
    fn removal(&self, region: &Region, store: u64) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        if region.leader_store() == store {
            steps.push(Step::TransferLeader(self.successor(region)?));
        }
        steps.push(Step::Remove(store));
        Some(steps)
    }

    /// The store that should lead after the present leader: a voter that has caught up, on a store
    /// that is Up, heard of and not being evicted; the one with the fewest leaders.
    pub fn successor(&self, region: &Region) -> Option<u64> {
        let fit = |peer: &&Peer| {
            peer.store_id != region.leader_store()
                && !region.is_pending(peer)
                && region.down_seconds(peer).is_none()
                && !self.cluster.schedulers.refuses_leaders(peer.store_id)
                && self.store(peer.store_id).is_some_and(|store| self.is_usable(store))
        };
        let leaders = |peer: &&Peer| self.cluster.regions.load_of(peer.store_id).leaders;
        region.voters().filter(fit).min_by_key(leaders).map(|peer| peer.store_id)
    }

    /// The best store for a new peer: in a failure domain that the region does not use yet if there
    /// is one, then with the fewest regions and operators on the way. `leaving` is about to go.
    pub fn place(&self, region: &Region, leaving: Option<u64>) -> Option<u64> {
        let fit = |store: &&Store| {
            self.is_usable(store)
                && region.peer_on(store.meta.id).is_none()
                && !store.is_low_on_space(&self.cluster.settings)
                && self.is_isolated(region, store, leaving)
        };
        let order = |store: &&Store| {
            let id = store.meta.id;
            let load = self.cluster.regions.load_of(id).regions + self.cluster.arriving_at(id);
            (self.shared_with_others(region, id, leaving.unwrap_or(0)), load)
        };
        self.cluster.stores.values().filter(fit).min_by_key(order).map(|store| store.meta.id)
    }

    /// Whether the store is in another failure domain, down to the isolation level, than every peer
    /// that stays. Stores without labels are in one domain.
    fn is_isolated(&self, region: &Region, store: &Store, leaving: Option<u64>) -> bool {
        let settings = &self.cluster.settings;
        let labels = settings.location_labels();
        let level = labels.iter().position(|label| *label == settings.isolation_level());
        let Some(level) = level else { return true };
        let peers = region.meta.peers.iter().filter(|peer| Some(peer.store_id) != leaving);
        let alike = |other: &Store| {
            labels.iter().take(level + 1).all(|key| other.label(key) == store.label(key))
        };
        !peers.filter_map(|peer| self.store(peer.store_id)).any(alike)
    }

    /// How many leading location labels two stores share: 0 means other domains throughout.
    fn shared_domains(&self, one: &Store, other: &Store) -> usize {
        let labels = self.cluster.settings.location_labels();
        let same = |key: &&&str| !one.label(key).is_empty() && one.label(key) == other.label(key);
        labels.iter().take_while(same).count()
    }

    /// Whether PD may place peers and leaders on a store: Up, and heard of lately.
    pub fn is_usable(&self, store: &Store) -> bool {
        store.is_connected(self.now) && !store.is_lost(self.now, &self.cluster.settings)
    }

    fn store(&self, id: u64) -> Option<&Store> {
        self.cluster.stores.get(&id)
    }
}

fn add(store: u64) -> Vec<Step> {
    vec![Step::AddLearner(store), Step::Promote(store)]
}
