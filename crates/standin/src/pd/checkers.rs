//! What does a region need? Repairs in PD's order: half-added learners, down peers, peers on stores
//! that are being removed, missing peers, surplus peers. Unknown leaders are left alone.

use super::cluster::Cluster;
use super::operators::{Kind, Operator, Step};
use super::region::Region;
use super::settings::Settings;
use super::store::Store;
use crate::proto::metapb::{Peer, StoreState};

/// Repairs that run at once, whatever `replica-schedule-limit` allows beyond.
const REPAIRS_AT_ONCE: usize = 16;

/// What a checker looks at.
#[derive(Debug)]
pub struct Checker<'a> {
    /// The cluster, without the operator that may come of it.
    pub cluster: &'a Cluster,
    /// Wanted replicas, limits, switches.
    pub settings: &'a Settings,
    /// Nanoseconds since the epoch.
    pub now: i64,
}

impl Checker<'_> {
    /// The repair that `region` needs, with the id that a new peer would get.
    pub fn repair(&self, region: &Region, new_peer: u64) -> Option<Operator> {
        let limit = self.settings.limit("replica-schedule-limit").min(REPAIRS_AT_ONCE);
        if region.leader.is_none() || self.cluster.running(Kind::Replica) >= limit {
            return None;
        }
        let finish = |(reason, steps)| Operator::new(region.id(), Kind::Replica, reason, steps);
        if region.learners().next().is_some() {
            return self.learner(region).map(finish);
        }
        self.down_peer(region, new_peer)
            .or_else(|| self.offline_peer(region, new_peer))
            .or_else(|| self.missing_peer(region, new_peer))
            .or_else(|| self.surplus_peer(region))
            .or_else(|| self.crowded_peer(region, new_peer))
            .map(finish)
    }

    /// A learner that an earlier PD leader left half-added.
    fn learner(&self, region: &Region) -> Option<(&'static str, Vec<Step>)> {
        let learner = region.learners().next()?;
        let store = learner.store_id;
        let usable = self.store(store).is_some_and(|store| self.is_usable(store));
        let wanted = region.voters().count() < self.settings.max_replicas();
        if usable && wanted && !region.is_pending(learner) {
            return Some(("promote-learner", vec![Step::Promote { store, peer: learner.id }]));
        }
        (!usable || !wanted).then(|| ("remove-orphan-peer", vec![Step::Remove { store }]))
    }

    /// The region's leader calls the peer down (after its own `max-peer-down-duration`, however long
    /// ago), and PD has missed its store for `max-store-down-time`.
    fn down_peer(&self, region: &Region, new_peer: u64) -> Option<(&'static str, Vec<Step>)> {
        let limit = self.settings.max_store_down_time();
        let is_down = |peer: &&Peer| {
            let store = self.store(peer.store_id);
            region.down_seconds(peer).is_some()
                && store.is_some_and(|store| store.down_time(self.now) > limit)
        };
        let peer = region.meta.peers.iter().find(is_down)?;
        if !self.settings.enabled("enable-remove-down-replica") {
            return None;
        }
        self.replace(region, peer, new_peer).map(|steps| ("replace-down-peer", steps))
    }

    fn offline_peer(&self, region: &Region, new_peer: u64) -> Option<(&'static str, Vec<Step>)> {
        let removing = |peer: &&Peer| {
            self.store(peer.store_id).is_none_or(|store| store.state() != StoreState::Up)
        };
        let peer = region.meta.peers.iter().find(removing)?;
        if !self.settings.enabled("enable-replace-offline-replica") {
            return None;
        }
        self.replace(region, peer, new_peer).map(|steps| ("replace-offline-peer", steps))
    }

    fn missing_peer(&self, region: &Region, new_peer: u64) -> Option<(&'static str, Vec<Step>)> {
        if region.voters().count() >= self.settings.max_replicas()
            || !self.settings.enabled("enable-make-up-replica")
        {
            return None;
        }
        let store = self.place(region, None)?;
        Some(("make-up-replica", add(store, new_peer)))
    }

    fn surplus_peer(&self, region: &Region) -> Option<(&'static str, Vec<Step>)> {
        if region.voters().count() <= self.settings.max_replicas()
            || !self.settings.enabled("enable-remove-extra-replica")
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

    /// Two peers in one failure domain, where another store would be in one of its own. Labels may
    /// come after the regions did.
    fn crowded_peer(&self, region: &Region, new_peer: u64) -> Option<(&'static str, Vec<Step>)> {
        let shared = |peer: &&Peer| self.shared_with_others(region, peer.store_id, peer.store_id);
        let peer = region.voters().max_by_key(shared)?;
        if !self.settings.enabled("enable-location-replacement")
            || !self.keeps_apart(region, peer.store_id, shared(&peer).checked_sub(1)?)
        {
            return None;
        }
        self.replace(region, peer, new_peer).map(|steps| ("move-to-better-location", steps))
    }

    /// Whether the best store for the peer on `leaving` shares at most `limit` location labels with
    /// the peers that stay.
    fn keeps_apart(&self, region: &Region, leaving: u64, limit: usize) -> bool {
        let target = self.place(region, Some(leaving));
        target.is_some_and(|target| self.shared_with_others(region, target, leaving) <= limit)
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
    pub fn replace(&self, region: &Region, peer: &Peer, new_peer: u64) -> Option<Vec<Step>> {
        let removal = self.removal(region, peer.store_id);
        if region.voters().count() > self.settings.max_replicas() {
            return removal;
        }
        let store = self.place(region, Some(peer.store_id))?;
        let mut steps = add(store, new_peer);
        if region.leader_store() == peer.store_id {
            steps.push(Step::TransferLeader { to: self.successor(region).unwrap_or(store) });
        }
        steps.push(Step::Remove { store: peer.store_id });
        Some(steps)
    }

    /// The peer on `store` goes; the leader never without a successor.
    fn removal(&self, region: &Region, store: u64) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        if region.leader_store() == store {
            steps.push(Step::TransferLeader { to: self.successor(region)? });
        }
        steps.push(Step::Remove { store });
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
                && !store.is_low_on_space(self.settings)
        };
        let order = |store: &&Store| {
            let id = store.meta.id;
            let load = self.cluster.regions.load_of(id).regions + self.cluster.arriving_at(id);
            (self.shared_with_others(region, id, leaving.unwrap_or(0)), load)
        };
        self.cluster.stores.values().filter(fit).min_by_key(order).map(|store| store.meta.id)
    }

    /// How many leading location labels two stores share: 0 means other domains throughout.
    fn shared_domains(&self, one: &Store, other: &Store) -> usize {
        let labels = self.settings.location_labels();
        let same = |key: &&&str| !one.label(key).is_empty() && one.label(key) == other.label(key);
        labels.iter().take_while(same).count()
    }

    /// Whether PD may place peers and leaders on a store: Up, and heard of lately.
    pub fn is_usable(&self, store: &Store) -> bool {
        store.is_connected(self.now) && !store.is_lost(self.now, self.settings)
    }

    fn store(&self, id: u64) -> Option<&Store> {
        self.cluster.stores.get(&id)
    }
}

fn add(store: u64, peer: u64) -> Vec<Step> {
    vec![Step::AddLearner { store, peer }, Step::Promote { store, peer }]
}

/// Whether a region has the wanted voters and nothing else, as `/regions/replicated` asks.
pub fn is_replicated(region: &Region, max_replicas: usize) -> bool {
    region.voters().count() == max_replicas && region.learners().next().is_none()
}
