//! Which regions are there, and who holds them? What the leaders' heartbeats said last, ordered by
//! key. A heartbeat that is older than what is known is left out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::shown::{extend, hex, without_zeros};
use super::store::Load;
use crate::proto::metapb::{self, Peer, PeerRole};
use crate::proto::pdpb::{self, PeerStats};
use crate::version::{Feature, Version};

/// A region as PD knows it.
#[derive(Clone, Debug, Default)]
pub struct Region {
    /// Range, epoch and peers; persisted.
    pub meta: metapb::Region,
    /// Known only after a heartbeat to this PD leader.
    pub leader: Option<Peer>,
    /// Peers that the leader has not heard of for long.
    pub down: Vec<PeerStats>,
    /// Peers that lag behind.
    pub pending: Vec<Peer>,
    /// Raft term of the last heartbeat.
    pub term: u64,
    /// MiB; at least 1 once a heartbeat came, as PD counts.
    pub size: u64,
    /// Approximate number of keys.
    pub keys: u64,
}

impl Region {
    /// What a heartbeat says.
    pub fn from_heartbeat(beat: pdpb::RegionHeartbeatRequest) -> Self {
        Self {
            meta: beat.region.unwrap_or_default(),
            leader: beat.leader,
            down: beat.down_peers,
            pending: beat.pending_peers,
            term: beat.term,
            size: beat.approximate_size.div_ceil(1 << 20).max(1),
            keys: beat.approximate_keys,
        }
    }

    /// A region that was read back, or that a store bootstrapped: no leader known.
    pub fn from_meta(meta: metapb::Region) -> Self {
        Self { meta, size: 1, ..Self::default() }
    }

    /// The region's id.
    pub fn id(&self) -> u64 {
        self.meta.id
    }

    /// (version, `conf_ver`).
    pub fn epoch(&self) -> (u64, u64) {
        self.meta.region_epoch.as_ref().map_or((0, 0), |epoch| (epoch.version, epoch.conf_ver))
    }

    /// The store of the leader, 0 when unknown.
    pub fn leader_store(&self) -> u64 {
        self.leader.as_ref().map_or(0, |leader| leader.store_id)
    }

    /// The region's peer on a store.
    pub fn peer_on(&self, store: u64) -> Option<&Peer> {
        self.meta.peers.iter().find(|peer| peer.store_id == store)
    }

    /// Peers that vote.
    pub fn voters(&self) -> impl Iterator<Item = &Peer> {
        self.meta.peers.iter().filter(|peer| peer.role() != PeerRole::Learner)
    }

    /// Peers that only learn.
    pub fn learners(&self) -> impl Iterator<Item = &Peer> {
        self.meta.peers.iter().filter(|peer| peer.role() == PeerRole::Learner)
    }

    /// Whether a peer lags behind.
    pub fn is_pending(&self, peer: &Peer) -> bool {
        self.pending.iter().any(|pending| pending.id == peer.id)
    }

    /// Seconds that a peer is down for, as the leader says.
    pub fn down_seconds(&self, peer: &Peer) -> Option<u64> {
        let same = |down: &&PeerStats| down.peer.as_ref().is_some_and(|p| p.id == peer.id);
        self.down.iter().find(same).map(|down| down.down_seconds)
    }

    fn overlaps(&self, other: &metapb::Region) -> bool {
        let before = |end: &[u8], start: &[u8]| !end.is_empty() && end <= start;
        !before(&self.meta.end_key, &other.start_key)
            && !before(&other.end_key, &self.meta.start_key)
    }

    /// The object that `/regions` lists.
    pub fn show(&self, release: Version) -> Value {
        let (version, conf_ver) = self.epoch();
        let show_peer = |peer: &Peer| show_peer(peer, release);
        let peers = |peers: &[Peer]| peers.iter().map(show_peer).collect::<Vec<_>>();
        let down = self.down.iter().filter_map(|stats| {
            let peer = show_peer(stats.peer.as_ref()?);
            Some(json!({"down_seconds": stats.down_seconds, "peer": peer}))
        });
        let mut shown = json!({
            "id": self.id(),
            "start_key": hex(&self.meta.start_key),
            "end_key": hex(&self.meta.end_key),
            "epoch": {"conf_ver": conf_ver, "version": version},
            "peers": peers(&self.meta.peers),
            "leader": self.leader.as_ref().map_or_else(|| json!({}), show_peer),
            "approximate_size": self.size,
            "approximate_keys": self.keys,
        });
        let (down, pending) = (down.collect::<Vec<_>>(), peers(&self.pending));
        extend(&mut shown, without_zeros(&json!({"down_peers": down, "pending_peers": pending})));
        shown
    }
}

fn show_peer(peer: &Peer, release: Version) -> Value {
    let is_learner = peer.role() == PeerRole::Learner;
    if !release.has(Feature::PEER_ROLES) {
        let Peer { id, store_id, .. } = peer;
        return without_zeros(&json!({"id": id, "store_id": store_id, "is_learner": is_learner}));
    }
    let (mut shown, role) = (without_zeros(peer), peer.role().as_str_name());
    extend(&mut shown, without_zeros(&json!({"role_name": role, "is_learner": is_learner})));
    shown
}

/// All regions by id.
#[derive(Debug, Default)]
pub struct Regions(BTreeMap<u64, Region>);

impl Regions {
    /// Takes over a heartbeat, unless something newer is known; the regions that this one replaced.
    pub fn put(&mut self, region: Region) -> Vec<u64> {
        let (version, conf_ver) = region.epoch();
        let is_newer = |known: &Region| {
            let (known_version, known_conf_ver) = known.epoch();
            let older_term = region.term > 0 && region.term < known.term;
            version < known_version || conf_ver < known_conf_ver || older_term
        };
        let others = self.0.values().filter(|other| other.id() != region.id());
        let overlapping: Vec<&Region> =
            others.filter(|other| other.overlaps(&region.meta)).collect();
        if self.get(region.id()).is_some_and(is_newer)
            || overlapping.iter().any(|other| other.epoch().0 > version)
        {
            return Vec::new();
        }
        let replaced: Vec<u64> = overlapping.into_iter().map(Region::id).collect();
        self.0.retain(|id, _| !replaced.contains(id));
        self.0.insert(region.id(), region);
        replaced
    }

    /// A region by id.
    pub fn get(&self, id: u64) -> Option<&Region> {
        self.0.get(&id)
    }

    /// All regions.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.values()
    }

    /// The region that holds `key`.
    pub fn at(&self, key: &[u8]) -> Option<&Region> {
        self.iter().find(|region| {
            let Region { meta: metapb::Region { start_key, end_key, .. }, .. } = region;
            **start_key <= *key && (end_key.is_empty() || *key < **end_key)
        })
    }

    /// What the regions say about one store.
    pub fn load_of(&self, store: u64) -> Load {
        let mut load = Load::default();
        for region in self.iter() {
            let Some(peer) = region.peer_on(store) else { continue };
            load.regions += 1;
            load.region_size += region.size;
            load.pending += u64::from(region.is_pending(peer));
            load.learners += u64::from(peer.role() == PeerRole::Learner);
            if region.leader_store() == store {
                load.leaders += 1;
                load.leader_size += region.size;
            }
        }
        load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(id: u64, start: &str, end: &str, version: u64) -> Region {
        let region_epoch = Some(metapb::RegionEpoch { conf_ver: 1, version });
        Region::from_meta(metapb::Region {
            id,
            start_key: start.into(),
            end_key: end.into(),
            region_epoch,
            peers: Vec::new(),
        })
    }

    #[test]
    fn a_split_replaces_the_range_and_an_older_heartbeat_is_left_out() {
        let mut regions = Regions::default();
        regions.put(region(1, "", "", 1));
        regions.put(region(2, "", "m", 2));
        assert!(regions.put(region(1, "m", "", 2)).is_empty());
        assert_eq!(regions.at(b"a").unwrap().id(), 2);
        assert_eq!(regions.at(b"m").unwrap().id(), 1);
        regions.put(region(1, "", "", 1));
        regions.put(region(3, "", "", 1));
        assert_eq!(regions.at(b"a").unwrap().id(), 2, "the old range must not come back");
        assert_eq!(regions.iter().count(), 2);
        let mut after_change = region(2, "", "m", 2);
        after_change.meta.region_epoch = Some(metapb::RegionEpoch { conf_ver: 5, version: 2 });
        regions.put(after_change);
        regions.put(region(2, "", "m", 2));
        assert_eq!(regions.get(2).unwrap().epoch().1, 5, "the old peers must not come back");
    }
}
