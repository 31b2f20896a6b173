//! How does PD know that the store lives? It sends what it has every ten seconds, and at once when
//! it is asked to stop. PD's answer may be that the store was removed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::config::Config;
use super::pd_client::{Pd, PdError};
use super::status_server::disk_space;
use super::store::{Inspection, StoreSender, inspect};
use crate::proto::pdpb::{ErrorType, SlowTrend, StoreStats, TimeInterval};
use crate::units;

/// What the store's heartbeats say and find out.
pub struct Heartbeat {
    stats: StoreStats,
    /// `raftstore.capacity`, 0 for the whole filesystem.
    capacity: u64,
    every: Duration,
    data_dir: PathBuf,
    /// PD removed the store.
    pub tombstone: Arc<AtomicBool>,
    /// Told once when the store begins to stop.
    pub stopping: Arc<Notify>,
}

impl Heartbeat {
    /// Heartbeats of a store that started at this Unix time.
    pub fn new(store_id: u64, start_time: u32, config: &Config) -> Self {
        // A healthy store's score; a real one shows a trend too.
        let slow_trend = Some(SlowTrend::default());
        let stats =
            StoreStats { store_id, start_time, slow_trend, slow_score: 1, ..StoreStats::default() };
        Self {
            stats,
            capacity: config.bytes("raftstore.capacity"),
            every: config.duration("raftstore.pd-store-heartbeat-tick-interval"),
            data_dir: config.text("storage.data-dir").into(),
            tombstone: Arc::default(),
            stopping: Arc::default(),
        }
    }

    /// Sends heartbeats until the store's thread ends.
    pub async fn run(mut self, pd: Pd, store: StoreSender) {
        let mut since = self.stats.start_time.into();
        while let Some(has) = inspect(&store).await {
            let now = (units::now_nanos() / units::SECOND).unsigned_abs();
            self.look(&has, TimeInterval { start_timestamp: since, end_timestamp: now });
            since = now;
            match pd.store_heartbeat(self.stats).await {
                Ok(()) => {}
                Err(PdError::Refused(ErrorType::StoreTombstone, message)) => {
                    // As the real one: it keeps running and refuses its clients.
                    if !self.tombstone.swap(true, Ordering::Relaxed) {
                        log::error!("PD removed this store: {message}");
                    }
                }
                Err(error) => log::warn!("store heartbeat: {error}"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = self.stopping.notified() => self.stats.is_stopping = true,
            }
        }
    }

    fn look(&mut self, has: &Inspection, interval: TimeInterval) {
        let (total, free) = disk_space(&self.data_dir);
        let stats = &mut self.stats;
        stats.capacity = if self.capacity == 0 { total } else { self.capacity.min(total) };
        stats.used_size = has.disk_bytes;
        stats.available = free.min(stats.capacity.saturating_sub(stats.used_size));
        stats.region_count = u32::try_from(has.regions.len()).unwrap_or(u32::MAX);
        stats.interval = Some(interval);
    }
}
