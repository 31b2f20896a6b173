//! What does the store's thread have done elsewhere? Messages to other stores, and reports
//! to PD, whose answers come back to the thread.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::pd_client::Pd;
use super::store::{Errand, StoreMessage, StoreSender};
use super::wire::Wire;
use crate::proto::pdpb::RegionHeartbeatRequest;

/// Runs errands until the store's thread ends.
pub async fn run(
    mut errands: mpsc::UnboundedReceiver<Errand>,
    mut wire: Wire,
    pd: Pd,
    store: StoreSender,
) {
    let (reports, waiting) = mpsc::channel(1_024);
    tokio::spawn(report_regions(waiting, pd, store));
    while let Some(errand) = errands.recv().await {
        match errand {
            Errand::Send(to, envelope) => wire.send(to, envelope),
            // A full queue means that PD does not take reports; all are sent again when it does.
            Errand::Report(report) => drop(reports.try_send(*report)),
        }
    }
}

/// Keeps a stream of region reports open to whichever PD leads.
async fn report_regions(
    mut reports: mpsc::Receiver<RegionHeartbeatRequest>,
    pd: Pd,
    store: StoreSender,
) {
    loop {
        if let Err(reason) = report_stream(&mut reports, &pd, &store).await {
            log::warn!("region reports: {reason:#}");
        }
        pd.forget_leader().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn report_stream(
    reports: &mut mpsc::Receiver<RegionHeartbeatRequest>,
    pd: &Pd,
    store: &StoreSender,
) -> Result<()> {
    let (mut client, header) = pd.leader().await?;
    let (sender, receiver) = mpsc::channel(64);
    let _ = store.send(StoreMessage::ReportAll);
    // PD may answer the call only with its first answer, so reports must flow meanwhile.
    let opening = client.region_heartbeat(ReceiverStream::new(receiver));
    let reading = async {
        let mut answers = opening.await?.into_inner();
        while let Some(answer) = answers.next().await.transpose()? {
            if let Some(error) = answer.header.as_ref().and_then(|header| header.error.clone()) {
                bail!(error.message);
            }
            let _ = store.send(StoreMessage::Schedule(answer));
        }
        bail!("the stream ended")
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
        ended = reading => ended,
        () = writing => Ok(()),
    }
}
