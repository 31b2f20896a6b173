//! How do stores send each other Raft messages? One client stream per receiving store, opened at
//! its address in PD. Nothing is acknowledged and what cannot be sent is dropped: Raft sends again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::pd_client::{Pd, connect};
use super::store::{StoreMessage, StoreSender};
use crate::proto::standinpb::raft_transport_client::RaftTransportClient;
use crate::proto::standinpb::raft_transport_server::RaftTransport;
use crate::proto::standinpb::{Done, Envelope, EnvelopeBatch};

/// Envelopes that wait for one store; more are dropped.
const QUEUE: usize = 4_096;
/// Envelopes in one message.
const BATCH: usize = 128;
/// Before a store that could not be reached is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// A message holds at most one snapshot of a region.
pub const MESSAGE_BYTES: usize = 1 << 30;

/// Sends to other stores.
pub struct Wire {
    pd: Pd,
    store: StoreSender,
    cluster_id: u64,
    queues: BTreeMap<u64, mpsc::Sender<Envelope>>,
}

impl Wire {
    /// Finds stores through `pd` and tells `store` of failures.
    pub fn new(pd: Pd, store: StoreSender, cluster_id: u64) -> Self {
        Self { pd, store, cluster_id, queues: BTreeMap::new() }
    }

    /// Queues an envelope for a store.
    pub fn send(&mut self, to: u64, envelope: Envelope) {
        let queue = self.queues.entry(to).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let link = Link {
                to,
                pd: self.pd.clone(),
                store: self.store.clone(),
                cluster_id: self.cluster_id,
            };
            tokio::spawn(link.run(receiver));
            sender
        });
        if let Err(error) = queue.try_send(envelope) {
            dropped(&self.store, to, &[error.into_inner()]);
        }
    }
}

/// Tells the store's thread that envelopes did not leave.
fn dropped(store: &StoreSender, to: u64, envelopes: &[Envelope]) {
    // The thread is gone only when the process ends.
    let _ = store.send(StoreMessage::Unreachable(to));
    tell_of_snapshots(store, envelopes, false);
}

fn tell_of_snapshots(store: &StoreSender, envelopes: &[Envelope], sent: bool) {
    for (region_id, peer_id) in envelopes.iter().filter_map(StoreMessage::snapshot_target) {
        let _ = store.send(StoreMessage::SnapshotSent { region_id, peer_id, sent });
    }
}

struct Link {
    to: u64,
    pd: Pd,
    store: StoreSender,
    cluster_id: u64,
}

impl Link {
    async fn run(self, mut queue: mpsc::Receiver<Envelope>) {
        while let Some(first) = queue.recv().await {
            let mut waiting = vec![first];
            if let Err(reason) = self.stream(&mut queue, &mut waiting).await {
                super::log::line(
                    super::log::Level::Warn,
                    &format!("store {} cannot be reached: {reason}", self.to),
                );
            }
            while let Ok(late) = queue.try_recv() {
                waiting.push(late);
            }
            dropped(&self.store, self.to, &waiting);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Streams until the connection breaks.
    async fn stream(
        &self,
        queue: &mut mpsc::Receiver<Envelope>,
        waiting: &mut Vec<Envelope>,
    ) -> Result<(), String> {
        let store = self.pd.store(self.to).await.map_err(|error| error.to_string())?;
        let address = store.ok_or("PD does not know it")?.address;
        let channel = connect(&format!("http://{address}")).await?;
        let mut client = RaftTransportClient::new(channel).max_encoding_message_size(MESSAGE_BYTES);
        let (sender, receiver) = mpsc::channel::<EnvelopeBatch>(16);
        let mut call =
            tokio::spawn(async move { client.send(ReceiverStream::new(receiver)).await });
        loop {
            let batch =
                EnvelopeBatch { cluster_id: self.cluster_id, envelopes: std::mem::take(waiting) };
            tell_of_snapshots(&self.store, &batch.envelopes, true);
            tokio::select! {
                sent = sender.send(batch) => sent.map_err(|_| "the stream ended")?,
                ended = &mut call => return Err(format!("the stream ended: {ended:?}")),
            }
            tokio::select! {
                next = queue.recv() => match next {
                    Some(envelope) => waiting.push(envelope),
                    None => return Ok(()),
                },
                ended = &mut call => return Err(format!("the stream ended: {ended:?}")),
            }
            while waiting.len() < BATCH {
                let Ok(envelope) = queue.try_recv() else { break };
                waiting.push(envelope);
            }
        }
    }
}

/// Receives from other stores.
pub struct Receiving {
    /// The store's thread.
    pub store: StoreSender,
    /// Messages of another cluster are refused.
    pub cluster_id: u64,
}

#[tonic::async_trait]
impl RaftTransport for Receiving {
    async fn send(
        &self,
        request: Request<Streaming<EnvelopeBatch>>,
    ) -> Result<Response<Done>, Status> {
        let mut batches = request.into_inner();
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            if batch.cluster_id != self.cluster_id {
                return Err(Status::failed_precondition("of another cluster"));
            }
            let taken = self.store.send(StoreMessage::Raft(batch.envelopes));
            taken.map_err(|_| Status::unavailable("the store ends"))?;
        }
        Ok(Response::new(Done {}))
    }
}
