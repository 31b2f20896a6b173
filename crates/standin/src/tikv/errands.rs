//! What does the store's thread have done elsewhere? Messages to other stores, reports to PD and
//! questions to it; PD's answers come back to the thread.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::pd_client::Pd;
use super::store::{Errand, StoreMessage, StoreSender};
use super::wire::Wire;
use crate::log;
use crate::proto::metapb::Region;
use crate::proto::pdpb::RegionHeartbeatRequest;
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
            log::warn(&format!("PD gives no ids for a split: {error}"));
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
            log::warn(&format!("region reports: {reason}"));
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
    // PD may answer the call only with its first answer, so reports must flow meanwhile.
    let opening = client.region_heartbeat(ReceiverStream::new(receiver));
    let reading = async {
        let mut answers = opening.await?.into_inner();
        while let Some(answer) = answers.next().await.transpose()? {
            if let Some(error) = answer.header.as_ref().and_then(|header| header.error.clone()) {
                return Err(Status::unknown(error.message));
            }
            drop(store.send(StoreMessage::Schedule(answer)));
        }
        Err(Status::cancelled("the stream ended"))
    };
    let writing = async {
        while let Some(report) = reports.recv().await {
            let report = RegionHeartbeatRequest { header: Some(header), ..report };
            if sender.send(report).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        ended = reading => ended.map_err(|status: Status| status.message().to_owned()),
        () = writing => Ok(()),
    }
}
