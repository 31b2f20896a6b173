//! What does PD know about one store, and how does it show it? Zero values are left out of the
//! answers, and Down or Disconnected exist only for stores that are Up (traps 1 and 3).

use prost::Message as _;
use serde_json::{Value, json};

use super::settings::Settings;
use super::shown::{extend, without_zeros};
use crate::proto::metapb::{self, NodeState, StoreState};
use crate::proto::pdpb::StoreStats;
use crate::units;

/// PD's `InitClusterRegionThreshold`.
const FEW_REGIONS: u32 = 100;

/// PD's `initialMinSpace`, 8 GiB.
const ENOUGH_BYTES: u64 = 8 << 30;

/// Nanoseconds without a heartbeat after which a store is Disconnected; hard-coded in PD.
pub const DISCONNECTED_AFTER: i64 = 20_000_000_000;

/// A store as PD keeps it.
#[derive(Clone, Debug)]
pub struct Store {
    /// What is persisted.
    pub meta: metapb::Store,
    /// The last heartbeat's figures; nothing before the first one to this PD leader.
    pub stats: StoreStats,
    /// Time of the heartbeat that was persisted last, nanoseconds since the epoch; 0 never.
    pub heartbeat_persisted: i64,
    /// Since when this PD leader has watched the removal, nanoseconds since the epoch, and the size
    /// (MiB) of the regions that the store held then.
    pub removing_from: Option<(i64, u64)>,
}

/// What the regions say about a store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Regions whose leader is on the store.
    pub leaders: u64,
    /// Size of these, MiB.
    pub leader_size: u64,
    /// Regions with a peer on the store.
    pub regions: u64,
    /// Size of these, MiB.
    pub region_size: u64,
    /// Regions whose peer on the store lags behind.
    pub pending: u64,
    /// Regions whose peer on the store is a learner.
    pub learners: u64,
}

impl Store {
    /// A store that registers, or was read back.
    pub fn new(meta: metapb::Store) -> Self {
        let heartbeat_persisted = meta.last_heartbeat;
        Self { meta, stats: StoreStats::default(), heartbeat_persisted, removing_from: None }
    }

    /// What survives: everything but heartbeats since the last that was persisted.
    pub fn persisted(&self) -> Vec<u8> {
        let last_heartbeat = self.heartbeat_persisted;
        metapb::Store { last_heartbeat, ..self.meta.clone() }.encode_to_vec()
    }

    /// Up, Offline (being removed) or Tombstone (removed).
    pub fn state(&self) -> StoreState {
        self.meta.state()
    }

    /// Nanoseconds since the last heartbeat; since 1970 when there was none.
    pub fn down_time(&self, now: i64) -> i64 {
        now.saturating_sub(self.meta.last_heartbeat)
    }

    /// Whether no operator may go on that brings something here: it is not Up, or was not heard of
    /// for `max-store-down-time`.
    pub fn is_lost(&self, now: i64, settings: &Settings) -> bool {
        self.state() != StoreState::Up || self.down_time(now) > settings.max_store_down_time()
    }

    /// Whether the store is Up and was heard of lately.
    pub fn is_connected(&self, now: i64) -> bool {
        self.state() == StoreState::Up && self.down_time(now) < DISCONNECTED_AFTER
    }

    /// Whether the disk is fuller than peers may be placed on. A store with few regions and some
    /// GiB left never is, as in PD (`IsLowSpace`), so that small clusters start on full machines.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of bytes")]
    pub fn is_low_on_space(&self, settings: &Settings) -> bool {
        let StoreStats { capacity, available, region_count, .. } = self.stats;
        if region_count < FEW_REGIONS && available > ENOUGH_BYTES {
            return false;
        }
        capacity > 0 && (available as f64) < (capacity as f64) * (1.0 - settings.low_space_ratio())
    }

    /// The value of a label, empty when the store has none of that name.
    pub fn label(&self, key: &str) -> &str {
        let same = |label: &&metapb::StoreLabel| label.key.eq_ignore_ascii_case(key);
        self.meta.labels.iter().find(same).map_or("", |label| label.value.as_str())
    }

    /// Merges labels: a key that comes again gets the new value. An empty value removes the label.
    pub fn merge_labels(&mut self, labels: impl IntoIterator<Item = metapb::StoreLabel>) {
        for label in labels {
            let same = |known: &&mut metapb::StoreLabel| known.key.eq_ignore_ascii_case(&label.key);
            match self.meta.labels.iter_mut().find(same) {
                Some(known) => known.value = label.value,
                None => self.meta.labels.push(label),
            }
        }
        self.meta.labels.retain(|label| !label.value.is_empty());
    }

    /// `state_name`: Down and Disconnected only while the state is Up.
    pub fn state_name(&self, now: i64, settings: &Settings) -> &'static str {
        match self.state() {
            StoreState::Offline => "Offline",
            StoreState::Tombstone => "Tombstone",
            StoreState::Up if self.down_time(now) > settings.max_store_down_time() => "Down",
            StoreState::Up if self.down_time(now) > DISCONNECTED_AFTER => "Disconnected",
            StoreState::Up => "Up",
        }
    }

    /// The object that `/stores` lists.
    pub fn show(&self, now: i64, settings: &Settings, load: Load) -> Value {
        let mut meta = without_zeros(&self.meta);
        extend(&mut meta, json!({"state_name": self.state_name(now, settings)}));
        json!({"store": meta, "status": self.show_status(load)})
    }

    fn show_status(&self, load: Load) -> Value {
        let stats = &self.stats;
        let start = self.meta.start_timestamp.saturating_mul(1_000_000_000);
        let seen = self.meta.last_heartbeat;
        let mut shown = json!({
            "capacity": units::go_size(stats.capacity),
            "available": units::go_size(stats.available),
            "used_size": units::go_size(stats.used_size),
            "leader_count": load.leaders,
            "leader_weight": 1,
            "leader_score": load.leaders,
            "leader_size": load.leader_size,
            "region_count": load.regions,
            "region_weight": 1,
            "region_score": load.region_size,
            "region_size": load.region_size,
            "start_ts": units::rfc3339(start),
            "last_heartbeat_ts": units::rfc3339(seen),
        });
        let optional = without_zeros(&json!({
            "learner_count": load.learners,
            "pending_peer_count": load.pending,
            "slow_score": stats.slow_score,
            "sending_snap_count": stats.sending_snap_count,
            "receiving_snap_count": stats.receiving_snap_count,
            "is_busy": stats.is_busy,
            "uptime": (seen > start).then(|| units::go_duration(seen - start)),
        }));
        extend(&mut shown, optional);
        if let Some(trend) = &stats.slow_trend {
            extend(&mut shown, json!({"slow_trend": trend}));
        }
        shown
    }

    /// Notes what the store holds when this PD leader first sees its removal. A new leader counts
    /// from what is left then.
    pub fn note_removing(&mut self, load: Load, now: i64) {
        self.removing_from.get_or_insert((now, load.region_size));
    }

    /// How far the removal is: the share that is done, its speed (MiB/s) and the seconds left, which
    /// nobody knows while nothing moves.
    #[expect(clippy::cast_precision_loss, reason = "shares of sizes and times")]
    pub fn removal_progress(&self, load: Load, now: i64) -> (f64, f64, f64) {
        let left = load.region_size as f64;
        let (since, from) = self.removing_from.unwrap_or((now, load.region_size));
        let done = (from as f64 - left).max(0.0);
        let speed = done / ((now - since) as f64 / 1e9).max(1.0);
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let left_seconds = if done > 0.0 { rounded(left / speed) } else { f64::MAX };
        (rounded(done / (done + left).max(1.0)), rounded(speed), left_seconds)
    }

    /// Whether the store counts for PD's check before a removal: Preparing and Serving, dead or not.
    pub fn counts_as_up(&self) -> bool {
        matches!(self.meta.node_state(), NodeState::Preparing | NodeState::Serving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_knows_its_speed_once_something_has_moved() {
        let mut store = Store::new(metapb::Store::default());
        let load = |region_size| Load { region_size, ..Load::default() };
        let at = |seconds: i64| seconds * 1_000_000_000;
        store.note_removing(load(100), at(50));
        store.note_removing(load(70), at(60));
        assert_eq!(store.removal_progress(load(100), at(70)), (0.0, 0.0, f64::MAX));
        assert_eq!(store.removal_progress(load(40), at(80)), (0.6, 2.0, 20.0));
        assert_eq!(store.removal_progress(load(0), at(100)), (1.0, 2.0, 0.0));
    }
}
