//! How do stores send each other Raft messages? In batches, one call after the other to each
//! receiving store at its address in PD. What cannot be sent is dropped: Raft sends again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::pd_client::{Pd, connect};
use super::store::{StoreMessage, StoreSender};
use crate::log;
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
        let (mut client, mut batch) = (None, Vec::new());
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            if let Err(reason) = self.deliver(&mut client, &batch).await {
                log::warn(&format!("store {} cannot be reached: {reason}", self.to));
                client = None;
                while let Ok(late) = queue.try_recv() {
                    batch.push(late);
                }
                dropped(&self.store, self.to, &batch);
                tokio::time::sleep(PAUSE).await;
            }
            batch.clear();
        }
    }

    async fn deliver(
        &self,
        client: &mut Option<RaftTransportClient<Channel>>,
        batch: &[Envelope],
    ) -> Result<(), String> {
        let client = match client {
            Some(client) => client,
            None => client.insert(self.connect().await?),
        };
        let request = EnvelopeBatch { cluster_id: self.cluster_id, envelopes: batch.to_vec() };
        client.send(request).await.map_err(|status| status.message().to_owned())?;
        tell_of_snapshots(&self.store, batch, true);
        Ok(())
    }

    async fn connect(&self) -> Result<RaftTransportClient<Channel>, String> {
        let store = self.pd.store(self.to).await.map_err(|error| error.to_string())?;
        let address = store.ok_or("PD does not know it")?.address;
        let channel = connect(&format!("http://{address}")).await?;
        Ok(RaftTransportClient::new(channel).max_encoding_message_size(MESSAGE_BYTES))
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
    async fn send(&self, request: Request<EnvelopeBatch>) -> Result<Response<Done>, Status> {
        let EnvelopeBatch { cluster_id, envelopes } = request.into_inner();
        if cluster_id != self.cluster_id {
            return Err(Status::failed_precondition("of another cluster"));
        }
        let taken = self.store.send(StoreMessage::Raft(envelopes));
        taken.map_err(|_| Status::unavailable("the store ends"))?;
        Ok(Response::new(Done {}))
    }
}
