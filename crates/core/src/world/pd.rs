//! What does PD say, and how far can it be believed?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{ClusterId, PdMemberId, StoreId};

/// The answer of PD in this pass.
#[derive(Clone, Debug, PartialEq)]
pub enum PdView {
    /// There is no PD pod to ask.
    NotCreated,
    /// PD pods exist but no answer with a leader was had. Nothing follows from it.
    Unreachable {
        /// How long this operator process has had no answer; restarts start it anew.
        seen_for: SignedDuration,
        /// Why, for people.
        reason: String,
    },
    /// PD has a leader and answers.
    Known(Box<PdFacts>),
}

/// An answer that came through a PD leader.
#[derive(Clone, Debug, PartialEq)]
pub struct PdFacts {
    /// From `/members` (`header.cluster_id`); exists before the first store does.
    pub cluster_id: ClusterId,
    /// All members in etcd's list, by id; a half-joined one has an empty name.
    pub members: BTreeMap<PdMemberId, PdMember>,
    /// The PD leader.
    pub leader: LeaderFacts,
    /// False while PD answers "not bootstrapped": no store has ever registered. Then there are no
    /// stores and no regions, which is not a failure.
    pub bootstrapped: bool,
    /// All stores, tombstones included.
    pub stores: BTreeMap<StoreId, StoreFacts>,
    /// Stores in the evict-leader scheduler.
    pub evicting: BTreeSet<StoreId>,
    /// Are all regions fully replicated?
    pub replication: Replication,
    /// The smallest number of healthy peers (neither down nor pending) that any region has. Asked
    /// only where fewer stores than `max_replicas` exist, since `replication` can then never say
    /// `Replicated`; `None` where not asked or not answered.
    pub fewest_peers: Option<u32>,
    /// Regions that PD knows; 0 just after a leader change means "not heard yet".
    pub regions: u64,
    /// `replication.max-replicas`; `None` where it could not be read.
    pub max_replicas: Option<u32>,
    /// `replication.location-labels`.
    pub location_labels: Vec<String>,
    /// `replication.isolation-level`: no two replicas of a region share a failure domain of this
    /// location label, not even where PD has no other place for one (PD `filter.NewIsolationFilter`).
    /// Empty where PD isolates nothing; `None` where it could not be read.
    pub isolation_level: Option<String>,
    /// Stores whose restart would cost some region its quorum, with the number of such regions:
    /// those with a peer here and too few healthy voters elsewhere (from the lists of regions with
    /// missing, down or pending peers). `None` where PD did not say.
    pub critical: Option<BTreeMap<StoreId, u64>>,
    /// How far PD is with emptying stores that are Offline, where it says.
    pub progress: BTreeMap<StoreId, Progress>,
    /// PD's effective configuration (`GET /config`), nested as PD answers. `None`: not answered.
    pub config: Option<Arc<Value>>,
    /// The cluster-wide lock for disruptive work.
    pub maintenance: Maintenance,
    /// An online unsafe recovery is going on. `None`: not known.
    pub unsafe_recovery: Option<bool>,
}

/// How far PD is with emptying a store (`/stores/progress`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Share done, 0 to 1.
    pub done: f64,
    /// Bytes per second; 0 where PD does not say.
    pub speed: f64,
    /// Seconds that PD expects it to take; `None` where it does not know.
    pub left_seconds: Option<u64>,
}

/// PD's lock for disruptive work (`/pd/api/v2/maintenance`, v8.5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// This PD does not have it, or it was not asked.
    Unsupported,
    /// It was asked and gave no answer that can be believed: somebody may hold the lock.
    Unknown {
        /// Why, for people.
        reason: String,
    },
    /// Nobody holds it.
    Free,
    /// Held.
    Held {
        /// Type of the task.
        kind: String,
        /// Its id; ours starts with the resource's uid.
        id: String,
    },
}

/// A new PD leader knows only the heartbeat times that were written down, every 5 minutes: it hears
/// stores within 10 s and every region within 60 s when they are idle. Before that its counts are
/// small and its lists of sick regions short because they are empty (the stand-in's `trap_02`; observed on
/// v8.5.7).
pub const LEADER_SETTLES: SignedDuration = SignedDuration::from_mins(1);

/// The PD leader, as this process has seen it.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaderFacts {
    /// Which member leads.
    pub id: PdMemberId,
    /// How long this process has seen this leader without a break.
    pub seen_for: SignedDuration,
    /// This process saw another leader, or none where there had been one, before.
    pub changed: bool,
}

impl LeaderFacts {
    /// It was seen to become the leader, and may not have heard every region since.
    pub fn is_new(&self) -> bool {
        self.changed && self.seen_for < LEADER_SETTLES
    }
}

impl PdFacts {
    /// Stores that are not tombstones.
    pub fn live_stores(&self) -> impl Iterator<Item = &StoreFacts> {
        self.stores.values().filter(|s| s.state != StoreState::Tombstone)
    }

    /// In how many failure domains, down to this isolation level, are these stores?
    pub fn domains<'a>(
        &'a self,
        stores: impl IntoIterator<Item = &'a StoreFacts>,
        level: &str,
    ) -> usize {
        let labels = &self.location_labels;
        let end = labels.iter().position(|label| label == level).map_or(labels.len(), |at| at + 1);
        let domain = |store: &'a StoreFacts| -> Vec<&str> {
            let value = |label| store.labels.get(label).map_or("", String::as_str);
            labels.iter().take(end).map(value).collect()
        };
        stores.into_iter().map(domain).collect::<BTreeSet<_>>().len()
    }

    /// The values of the widest location label, unless that tells machines apart, whose stores are
    /// several and all away.
    pub fn lost_zones(&self, now: Timestamp) -> LostZones {
        let widest = self.location_labels.first();
        let Some(label) = widest.filter(|label| !MACHINE.contains(&label.as_str())) else {
            return LostZones::default();
        };
        let mut zones: BTreeMap<&String, Vec<&StoreFacts>> = BTreeMap::new();
        for store in self.live_stores() {
            if let Some(value) = store.labels.get(label) {
                zones.entry(value).or_default().push(store);
            }
        }
        let lost = |stores: &Vec<&StoreFacts>| {
            stores.len() > 1 && stores.iter().all(|store| store.is_away(now))
        };
        let values = zones.into_iter().filter(|(_, stores)| lost(stores));
        LostZones { label: label.clone(), values: values.map(|(zone, _)| zone.clone()).collect() }
    }

    /// Every region has as many replicas as `max-replicas` and the number of stores allow. False
    /// while that is not known.
    pub fn fully_replicated(&self) -> bool {
        if self.regions == 0 {
            return false;
        }
        let stores = u32::try_from(self.live_stores().count()).unwrap_or(u32::MAX);
        let few = self.max_replicas.is_some_and(|max| stores < max);
        match self.replication {
            Replication::Replicated => true,
            Replication::InProgress | Replication::Pending | Replication::Unknown => {
                few && stores > 0 && self.fewest_peers.is_some_and(|peers| peers >= stores)
            }
        }
    }
}

/// Zones whose stores are all away at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostZones {
    /// The label that tells zones apart; empty where none does.
    label: String,
    /// Its values.
    values: BTreeSet<String>,
}

impl LostZones {
    /// The zone that the store went with: label and value.
    pub fn of<'a>(&'a self, store: &'a StoreFacts) -> Option<(&'a str, &'a str)> {
        let value = store.labels.get(&self.label)?;
        self.values.contains(value).then_some((self.label.as_str(), value.as_str()))
    }
}

/// One member in PD's list.
#[derive(Clone, Debug, PartialEq)]
pub struct PdMember {
    /// Its id.
    pub id: PdMemberId,
    /// Its name; ours are pod names. Empty for a member that has not finished joining.
    pub name: String,
    /// PD could reach it (`/health`). Says that an HTTP server answered, no more.
    pub healthy: bool,
    /// Version that it reports, e.g. `v8.5.7`; empty if unknown.
    pub version: String,
    /// Its first client URL, as PD lists it; empty for a member that has not finished joining.
    pub client_url: String,
}

/// State of a store in PD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreState {
    /// Serving or preparing, heard within 20 s.
    Up,
    /// Up in PD, silent for more than 20 s.
    Disconnected,
    /// Up in PD, silent for more than `max-store-down-time`, or never heard at all.
    Down,
    /// Being removed.
    Offline,
    /// Removed for good.
    Tombstone,
}

/// One store in PD's list.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreFacts {
    /// Its id.
    pub id: StoreId,
    /// Its state.
    pub state: StoreState,
    /// Advertised address with port, no scheme.
    pub address: String,
    /// Address of the status port, with port, no scheme; empty if not advertised.
    pub status_address: String,
    /// PD has begun to give it regions (`node_state` Serving, or a version without that field).
    pub serving: bool,
    /// Size of the store in bytes; `None` where not reported.
    pub capacity: Option<u64>,
    /// Free bytes; `None` where not reported.
    pub available: Option<u64>,
    /// Bytes of data; `None` where not reported.
    pub used: Option<u64>,
    /// Last heartbeat; `None` where PD has none (never heard, or the epoch).
    pub last_heartbeat: Option<Timestamp>,
    /// Start of the process that PD last heard.
    pub started: Option<Timestamp>,
    /// Leaders, as of the last region heartbeats: lags, starts at 0 after a PD leader change.
    pub leaders: u64,
    /// Regions, likewise.
    pub regions: u64,
    /// Version that it reports, without `v`.
    pub version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Marked destroyed with `force`: somebody gave it up for lost.
    pub physically_destroyed: bool,
}

/// PD calls a store Disconnected after this long; a store sends a heartbeat every 10 s.
const FRESH: SignedDuration = SignedDuration::from_secs(20);

/// Names of labels that tell machines apart. One of them going is not a zone going.
const MACHINE: [&str; 3] = ["host", "hostname", "kubernetes.io/hostname"];

impl StoreFacts {
    /// The store has been heard once, and not lately. One that never was heard holds nothing yet
    /// (the stand-in's `trap_01`). PD says Disconnected of Up stores only: one that is being removed reads
    /// Offline, dead or alive (the stand-in's `trap_03`).
    pub fn is_away(&self, now: Timestamp) -> bool {
        let Some(heard) = self.last_heartbeat else {
            return false;
        };
        match self.state {
            StoreState::Disconnected | StoreState::Down => true,
            StoreState::Offline => now.duration_since(heard) > FRESH,
            StoreState::Up | StoreState::Tombstone => false,
        }
    }

    /// It is Up and PD has heard it lately: after a PD leader change the state alone is old.
    pub fn serves(&self, now: Timestamp) -> bool {
        let heard = self.last_heartbeat.is_some_and(|at| now.duration_since(at) <= FRESH);
        self.state == StoreState::Up && heard
    }
}

/// PD's word on the replication of the whole key range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Every region has its peers.
    Replicated,
    /// Some region lacks peers and PD is at work.
    InProgress,
    /// Some region lacks peers.
    Pending,
    /// Not known: PD did not answer this question.
    Unknown,
}
