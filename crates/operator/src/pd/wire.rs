//! What do PD's answers look like?
//!
//! Shapes as recorded from v8.5.7. Fields with zero values are omitted by PD, so each has a
//! default; what must be there for the answer to be believed is checked in `facts`. Ids are u64:
//! they exceed 2^53.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// `GET /members`.
#[derive(Deserialize)]
pub(super) struct Members {
    pub(super) header: Option<Header>,
    #[serde(rename = "members")]
    pub(super) list: Option<Vec<Member>>,
    pub(super) leader: Option<Member>,
}

/// The header of `GET /members`.
#[derive(Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    pub(super) cluster_id: u64,
}

/// A member; one that has not finished joining has no name.
#[derive(Deserialize)]
pub(super) struct Member {
    #[serde(default)]
    pub(super) name: String,
    #[serde(rename = "member_id", default)]
    pub(super) id: u64,
    #[serde(default)]
    pub(super) binary_version: String,
    pub(super) client_urls: Option<Vec<String>>,
}

/// One entry of `GET /health`.
#[derive(Deserialize)]
pub(super) struct Health {
    #[serde(default)]
    pub(super) member_id: u64,
    #[serde(default)]
    pub(super) health: bool,
}

/// `GET /stores/check` and `GET /stores`.
#[derive(Deserialize)]
pub(super) struct Stores {
    pub(super) count: Option<u64>,
    pub(super) stores: Option<Vec<StoreInfo>>,
}

/// One store.
#[derive(Deserialize)]
pub(super) struct StoreInfo {
    pub(super) store: Store,
    #[serde(default)]
    pub(super) status: StoreStatus,
}

/// What a store said about itself, and its state.
#[derive(Deserialize)]
pub(super) struct Store {
    #[serde(default)]
    pub(super) id: u64,
    #[serde(default)]
    pub(super) address: String,
    /// 0 (omitted) Up, 1 Offline, 2 Tombstone.
    #[serde(default)]
    pub(super) state: u64,
    #[serde(default)]
    pub(super) state_name: String,
    #[serde(default)]
    pub(super) version: String,
    pub(super) labels: Option<Vec<Label>>,
    #[serde(default)]
    pub(super) start_timestamp: i64,
    #[serde(default)]
    pub(super) physically_destroyed: bool,
    #[serde(default)]
    pub(super) status_address: String,
    /// 0 (omitted) Preparing, 1 Serving, 2 Removing, 3 Removed.
    #[serde(default)]
    pub(super) node_state: u64,
}

/// A store label.
#[derive(Deserialize)]
pub(super) struct Label {
    #[serde(default)]
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

/// What PD counted about a store.
#[derive(Deserialize, Default)]
pub(super) struct StoreStatus {
    #[serde(default)]
    pub(super) leader_count: u64,
    #[serde(default)]
    pub(super) region_count: u64,
    pub(super) last_heartbeat_ts: Option<String>,
    /// Sizes as `100GiB`.
    pub(super) capacity: Option<String>,
    pub(super) available: Option<String>,
    pub(super) used_size: Option<String>,
}

/// `GET /scheduler-config/evict-leader-scheduler/list`.
#[derive(Deserialize)]
pub(super) struct Evicting {
    #[serde(rename = "store-id-ranges")]
    pub(super) ranges: Option<BTreeMap<String, Value>>,
}

/// `GET /regions/count` and `GET /regions/check/miss-peer` (whose regions are not read).
#[derive(Deserialize)]
pub(super) struct Count {
    pub(super) count: u64,
}

/// `GET /regions` and `GET /regions/check/…`.
#[derive(Deserialize)]
pub(super) struct Regions {
    pub(super) count: u64,
    pub(super) regions: Option<Vec<Region>>,
}

/// One region: its peers, and those of them that are not well.
#[derive(Deserialize)]
pub(super) struct Region {
    #[serde(default)]
    pub(super) id: u64,
    pub(super) peers: Option<Vec<Peer>>,
    pub(super) down_peers: Option<Vec<DownPeer>>,
    pub(super) pending_peers: Option<Vec<Peer>>,
}

/// One peer.
#[derive(Deserialize)]
pub(super) struct Peer {
    #[serde(default)]
    pub(super) id: u64,
    #[serde(default)]
    pub(super) store_id: u64,
    #[serde(default)]
    pub(super) is_learner: bool,
    /// `Voter`, `Learner`, `IncomingVoter`, `DemotingVoter`; empty before v5.0.
    #[serde(default)]
    pub(super) role_name: String,
}

/// A peer that the leader has not heard for long.
#[derive(Deserialize)]
pub(super) struct DownPeer {
    pub(super) peer: Peer,
}

/// `GET /config/replicate`.
#[derive(Deserialize)]
pub(super) struct Replicate {
    #[serde(rename = "max-replicas")]
    pub(super) max_replicas: u32,
    /// One comma string.
    #[serde(rename = "location-labels", default)]
    pub(super) location_labels: String,
    /// Not in the first releases of v4.0, which isolate nothing.
    #[serde(rename = "isolation-level", default)]
    pub(super) isolation_level: String,
}

/// `GET /regions/replicated`: a word; early versions answered a boolean.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Replicated {
    Word(String),
    Flag(bool),
}

/// `GET /cluster/status`.
#[derive(Deserialize)]
pub(super) struct ClusterStatus {
    pub(super) is_initialized: bool,
}

/// One task of `GET /pd/api/v2/maintenance`.
#[derive(Deserialize)]
pub(super) struct Task {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) id: String,
}

/// One line of `GET /admin/unsafe/remove-failed-stores/show`: a stage; before v6.1 a text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RecoveryLine {
    Stage {
        #[serde(default)]
        info: String,
    },
    Text(String),
}

/// `GET /stores/progress?id=…`.
#[derive(Deserialize)]
pub(super) struct Progress {
    #[serde(rename = "progress", default)]
    pub(super) done: f64,
    /// Megabytes per second.
    #[serde(default)]
    pub(super) current_speed: f64,
    /// The largest double where PD does not know.
    pub(super) left_seconds: Option<f64>,
}
