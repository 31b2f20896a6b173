//! What does a whole and true answer of PD come to, as the operator's types have it?
//!
//! The same as PD's HTTP answers, read one by one ([`super::Pd::answer`]), without writing and
//! reading JSON: a test compares the two in every look of many runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tikv_operator_core::world::{
    ClusterId, LeaderFacts, Maintenance, PdFacts, PdMember, PdMemberId, Progress, Replication,
    StoreFacts, StoreId, StoreState,
};

use super::cluster::{CAPACITY, Cluster, Store};
use super::region_answers::{self, down, is_silent, pending};
use super::store_answers::{self, status_address};
use super::{Ensemble, Pd, Peer, Region, cluster};
use crate::clock;
use crate::kube::{at, text};
use crate::names::Names;

impl Pd {
    /// What the process `via` says, and the leader; `None` where nothing listens or no leader is
    /// behind it. How long the leader has been seen is for the caller to know.
    pub fn facts(&self, via: &str, now: u64, names: &Names) -> Option<(u64, PdFacts)> {
        if !self.is_open(via) {
            return None;
        }
        let index = self.ensemble_of(via)?;
        let ensemble = self.ensembles.get(index)?;
        let leader = ensemble.leader.filter(|id| ensemble.members.contains_key(id))?;
        if !self.hears_leader(via, index, names) {
            return None;
        }
        let cluster = &ensemble.cluster;
        let bootstrapped = cluster.bootstrapped.is_some();
        let stores = if bootstrapped { stores(cluster, now) } else { BTreeMap::new() };
        let settings = at(cluster.settings.shown(), "/replication");
        let max_replicas = at(settings, "/max-replicas").as_u64();
        let max_replicas = max_replicas.and_then(|most| u32::try_from(most).ok());
        let labels = text(settings, "/location-labels").split(',').filter(|l| !l.is_empty());
        let regions: &[Region] = if bootstrapped { &cluster.regions } else { &[] };
        let live = stores.values().filter(|s| s.state != StoreState::Tombstone).count();
        let few = bootstrapped && max_replicas.is_some_and(|most| live < most as usize);
        let healths = Healths::of(cluster, regions, now);
        let facts = PdFacts {
            cluster_id: ClusterId(ensemble.cluster_id?),
            members: self.member_facts((via, index), names),
            leader: LeaderFacts {
                id: PdMemberId(leader),
                seen_for: SignedDuration::ZERO,
                changed: false,
            },
            bootstrapped,
            evicting: cluster.evicting.iter().copied().map(StoreId).collect(),
            replication: replication(cluster),
            fewest_peers: if few { healths.fewest() } else { None },
            regions: regions.len() as u64,
            max_replicas,
            location_labels: labels.map(str::to_owned).collect(),
            isolation_level: Some(text(settings, "/isolation-level").to_owned()),
            critical: max_replicas.filter(|_| bootstrapped).map(|_| healths.critical(&stores)),
            progress: progress(cluster),
            stores,
            config: Some(Arc::clone(cluster.settings.shown())),
            maintenance: maintenance(ensemble),
            unsafe_recovery: bootstrapped.then_some(ensemble.unsafe_recovery),
        };
        Some((leader, facts))
    }

    fn member_facts(
        &self,
        (via, index): (&str, usize),
        names: &Names,
    ) -> BTreeMap<PdMemberId, PdMember> {
        let up = self.reached_from(via, index, names);
        let members = self.ensembles.get(index).into_iter().flat_map(|e| e.members.values());
        let facts = members.map(|member| PdMember {
            id: PdMemberId(member.id),
            name: member.name.clone(),
            healthy: up.contains(&member.id) && member.client_url.is_some(),
            version: self.version_of(index, member.id).unwrap_or_default().to_owned(),
            client_url: member.client_url.clone().unwrap_or_default(),
        });
        facts.map(|member| (member.id, member)).collect()
    }
}

fn stores(cluster: &Cluster, now: u64) -> BTreeMap<StoreId, StoreFacts> {
    let facts = cluster.stores.values().map(|store| store_facts(cluster, store, now));
    facts.map(|facts| (facts.id, facts)).collect()
}

fn store_facts(cluster: &Cluster, store: &Store, now: u64) -> StoreFacts {
    let state = match store.state {
        cluster::StoreState::Tombstone => StoreState::Tombstone,
        cluster::StoreState::Offline => StoreState::Offline,
        cluster::StoreState::Up => match store.state_name(now, cluster.max_down) {
            "Down" => StoreState::Down,
            "Disconnected" => StoreState::Disconnected,
            _ => StoreState::Up,
        },
    };
    let (leaders, regions) = cluster.load(store.id);
    let sized = |gib: u64| store.reported.then_some(gib << 30);
    StoreFacts {
        id: StoreId(store.id),
        state,
        address: store.address.clone(),
        status_address: status_address(store),
        serving: store.state == cluster::StoreState::Up && store.serving,
        capacity: sized(CAPACITY),
        available: sized(cluster.free(store.id)),
        used: sized(store.used),
        last_heartbeat: store.heartbeat.map(clock::instant),
        started: Timestamp::from_second(clock::instant(store.started).as_second()).ok(),
        leaders,
        regions,
        version: store.version.clone(),
        labels: store.labels.clone(),
        physically_destroyed: store.destroyed,
    }
}

fn replication(cluster: &Cluster) -> Replication {
    if cluster.bootstrapped.is_none() {
        return Replication::Unknown;
    }
    match region_answers::replicated(cluster) {
        "REPLICATED" => Replication::Replicated,
        "INPROGRESS" => Replication::InProgress,
        _ => Replication::Pending,
    }
}

/// Of stores that are being emptied.
fn progress(cluster: &Cluster) -> BTreeMap<StoreId, Progress> {
    let leaving = cluster.stores.values().filter(|s| s.state == cluster::StoreState::Offline);
    let of = |store: &Store| {
        let (done, left) = store_answers::emptied(cluster, store);
        let speed = if left.is_some() { f64::from(store_answers::REGION_SIZE) } else { 0.0 };
        (StoreId(store.id), Progress { done, speed, left_seconds: left.map(u64::from) })
    };
    leaving.map(of).collect()
}

fn maintenance(ensemble: &Ensemble) -> Maintenance {
    match &ensemble.maintenance {
        Some((kind, id, _)) => Maintenance::Held { kind: kind.clone(), id: id.clone() },
        None => Maintenance::Free,
    }
}

/// Which peers of regions are there and well.
struct Healths {
    /// Those that lack something.
    lacking: Vec<Health>,
    /// The smallest number of peers that are well, of all.
    fewest: Option<usize>,
}

struct Health {
    peers: BTreeSet<u64>,
    well: BTreeSet<u64>,
    quorum: usize,
}

impl Healths {
    fn of(cluster: &Cluster, regions: &[Region], now: u64) -> Self {
        let lacks = |region: &&Region| {
            !region.behind.is_empty()
                || region.peers.len() < cluster.max_replicas as usize
                || region.peers.values().any(|peer| *peer != Peer::Voter)
                || region.peers.keys().any(|store| is_silent(cluster, *store, now))
        };
        let most = cluster.max_replicas as usize;
        let of = |region: &Region| {
            let (pending, down) = (pending(region), down(cluster, region, now));
            let peers: BTreeSet<u64> = region.peers.keys().copied().collect();
            let is_well = |id: &u64| !pending.contains(id) && !down.contains(id);
            let well = peers.iter().copied().filter(is_well).collect();
            Health { peers, well, quorum: region.quorum() }
        };
        let whole = regions.iter().filter(|region| !lacks(region)).map(|r| r.peers.len());
        let (mut lacking, mut fewest) = (Vec::new(), whole.min());
        for health in regions.iter().filter(lacks).map(of) {
            let well = health.well.len();
            fewest = Some(fewest.map_or(well, |least| least.min(well)));
            // Of a region that has not reported since PD's leader is new nothing is known.
            if well < health.peers.len() || health.peers.len() < most {
                lacking.push(health);
            }
        }
        Self { lacking, fewest }
    }

    /// The smallest number of peers, neither down nor pending, that a region has.
    fn fewest(&self) -> Option<u32> {
        self.fewest.and_then(|peers| u32::try_from(peers).ok())
    }

    /// Per store, how many of the regions that lack something would lose their quorum without it.
    fn critical(&self, stores: &BTreeMap<StoreId, StoreFacts>) -> BTreeMap<StoreId, u64> {
        let mut critical = BTreeMap::new();
        let up = |id: &&u64| stores.get(&StoreId(**id)).is_some_and(|s| s.state == StoreState::Up);
        for region in &self.lacking {
            let well: Vec<u64> = region.well.iter().filter(up).copied().collect();
            for store in &region.peers {
                if well.iter().filter(|other| *other != store).count() < region.quorum {
                    *critical.entry(StoreId(*store)).or_default() += 1;
                }
            }
        }
        critical
    }
}
