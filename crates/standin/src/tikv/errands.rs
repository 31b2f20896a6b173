//! What does the store's thread have done elsewhere? Messages to other stores, reports to PD and
//! questions to it; PD's answers come back to the thread. The store's own heartbeat is sent here too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::disk_space;
use super::log::{self, Level};
use super::pd_client::{Pd, PdError};
use super::store::{Errand, StoreMessage, StoreSender};
use super::wire::Wire;
use crate::proto::metapb::Region;
use crate::proto::pdpb::{ErrorType, RegionHeartbeatRequest, SlowTrend, StoreStats, TimeInterval};
use crate::proto::standinpb::{Split, SplitPart};

/// Where the first region, which spans all keys, is split: five regions, as a fresh real cluster
/// of three stores has. The test client spreads its keys over the letters.
const SPLIT_KEYS: [&str; 4] = ["f", "k", "p", "u"];

/// Runs errands until the store's thread ends.
pub async fn run(
    mut errands: mpsc::UnboundedReceiver<Errand>,
    mut wire: Wire,
    pd: Pd,
    store: StoreSender,
) {
    let (reports, waiting) = mpsc::channel(1_024);
    tokio::spawn(report_regions(waiting, pd.clone(), store.clone()));
    while let Some(errand) = errands.recv().await {
        match errand {
            Errand::Send(to, envelope) => wire.send(to, envelope),
            // A full queue means that PD does not take reports; all are sent again when it does.
            Errand::Report(report) => drop(reports.try_send(*report)),
            Errand::AskSplit(region) => {
                tokio::spawn(ask_split(region, pd.clone(), store.clone()));
            }
            Errand::ReportSplit(regions) => {
                let pd = pd.clone();
                tokio::spawn(async move {
                    if let Err(error) = pd.report_split(&regions).await {
                        log::line(Level::Warn, &format!("the split is not reported: {error}"));
                    }
                });
            }
            Errand::Verify(region_id) => {
                let (pd, store) = (pd.clone(), store.clone());
                tokio::spawn(async move {
                    if let Ok(Some(region)) = pd.region(region_id).await {
                        let _ = store.send(StoreMessage::Verified(region));
                    }
                });
            }
        }
    }
}

async fn ask_split(region: Region, pd: Pd, store: StoreSender) {
    let count = u32::try_from(SPLIT_KEYS.len()).unwrap_or(0);
    let ids = match pd.ask_split(&region, count).await {
        Ok(ids) => ids,
        Err(error) => {
            log::line(Level::Warn, &format!("PD gives no ids for a split: {error}"));
            return;
        }
    };
    let part = |(key, ids): (&&str, crate::proto::pdpb::SplitId)| SplitPart {
        key: key.as_bytes().to_vec(),
        region_id: ids.new_region_id,
        peer_ids: ids.new_peer_ids,
    };
    let split = Split { parts: SPLIT_KEYS.iter().zip(ids).map(part).collect() };
    let version = region.region_epoch.unwrap_or_default().version;
    let _ = store.send(StoreMessage::Split { region_id: region.id, version, split });
}

/// Keeps a stream of region reports open to whichever PD leads.
async fn report_regions(
    mut reports: mpsc::Receiver<RegionHeartbeatRequest>,
    pd: Pd,
    store: StoreSender,
) {
    loop {
        if let Err(reason) = report_stream(&mut reports, &pd, &store).await {
            log::line(Level::Warn, &format!("region reports: {reason}"));
        }
        pd.forget_leader().await;
        if reports.is_closed() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn report_stream(
    reports: &mut mpsc::Receiver<RegionHeartbeatRequest>,
    pd: &Pd,
    store: &StoreSender,
) -> Result<(), String> {
    let (mut client, header) = pd.leader().await.map_err(|error| error.to_string())?;
    let (sender, receiver) = mpsc::channel(64);
    let _ = store.send(StoreMessage::ReportAll);
    // Some PDs answer the call only with the first answer, so reports must flow meanwhile.
    let opened =
        tokio::spawn(async move { client.region_heartbeat(ReceiverStream::new(receiver)).await });
    let (answers_in, mut answers) = mpsc::channel(64);
    let reader = tokio::spawn(async move {
        let mut stream = match opened.await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return status.message().to_owned(),
            Err(error) => return error.to_string(),
        };
        while let Some(answer) = stream.next().await {
            match answer {
                Err(status) => return status.message().to_owned(),
                Ok(answer) => {
                    if answers_in.send(answer).await.is_err() {
                        break;
                    }
                }
            }
        }
        "the stream ended".to_owned()
    });
    loop {
        tokio::select! {
            report = reports.recv() => match report {
                None => return Ok(()),
                Some(report) => {
                    let report = RegionHeartbeatRequest { header: Some(header), ..report };
                    sender.send(report).await.map_err(|_| "the stream ended")?;
                }
            },
            answer = answers.recv() => match answer {
                None => return Err(reader.await.map_err(|error| error.to_string())?),
                Some(answer) => match answer.header.as_ref().and_then(|header| header.error.clone()) {
                    Some(error) => return Err(error.message),
                    None => drop(store.send(StoreMessage::Schedule(answer))),
                },
            },
        }
    }
}

/// What the store's heartbeats say and find out.
pub struct Heartbeat {
    /// This store.
    pub store_id: u64,
    /// Unix seconds.
    pub started: u32,
    /// `raftstore.capacity`, 0 for the whole filesystem.
    pub capacity: u64,
    /// `raftstore.pd-store-heartbeat-tick-interval`.
    pub every: Duration,
    /// `storage.data-dir`.
    pub data_dir: std::path::PathBuf,
    /// PD removed the store.
    pub tombstone: Arc<AtomicBool>,
    /// The store evicts its leaders and ends.
    pub stopping: Arc<tokio::sync::Notify>,
    /// Whether it said that it is stopping.
    pub is_stopping: Arc<AtomicBool>,
}

impl Heartbeat {
    /// Sends heartbeats until the process ends; at once when the store starts to stop.
    pub async fn run(self, pd: Pd, store: StoreSender) {
        let mut since = self.started;
        loop {
            let (reply, inspection) = oneshot::channel();
            if store.send(StoreMessage::Inspect(reply)).is_err() {
                return;
            }
            let now = super::process::unix_seconds();
            let stats = self.stats(&inspection.await.unwrap_or_default(), (since, now));
            since = now;
            match pd.store_heartbeat(stats).await {
                Ok(()) => {}
                Err(PdError::Refused(ErrorType::StoreTombstone, message)) => {
                    // As the real one: it keeps running and refuses its clients.
                    if !self.tombstone.swap(true, Ordering::Relaxed) {
                        log::line(Level::Error, &format!("PD removed this store: {message}"));
                    }
                }
                Err(error) => log::line(Level::Warn, &format!("store heartbeat: {error}")),
            }
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = self.stopping.notified() => {}
            }
        }
    }

    fn stats(&self, has: &super::store::Inspection, interval: (u32, u32)) -> StoreStats {
        let (total, free) = disk_space::of(&self.data_dir);
        let used_size = has.kv_bytes + has.log_bytes;
        let capacity = if self.capacity == 0 { total } else { self.capacity.min(total) };
        StoreStats {
            store_id: self.store_id,
            capacity,
            available: free.min(capacity.saturating_sub(used_size)),
            used_size,
            region_count: u32::try_from(has.regions.len()).unwrap_or(u32::MAX),
            start_time: self.started,
            slow_score: 1,
            // A healthy store's; a real one shows a trend too.
            slow_trend: Some(SlowTrend::default()),
            interval: Some(TimeInterval {
                start_timestamp: interval.0.into(),
                end_timestamp: interval.1.into(),
            }),
            is_stopping: self.is_stopping.load(Ordering::Relaxed),
            ..StoreStats::default()
        }
    }
}
