//! How do stores send each other Raft messages? In batches, one call after the other to each
//! receiving store at its address in PD. What cannot be sent is dropped: Raft sends again. A pod
//! that is replaced takes its address with it without a word, so a dead connection is noticed within
//! 2 s, and a store that comes back is found within half a second, by a fresh look at its name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::pd_client::{Pd, connect};
use super::store::{StoreMessage, StoreSender};
use crate::proto::standinpb::raft_transport_client::RaftTransportClient;
use crate::proto::standinpb::raft_transport_server::RaftTransport;
use crate::proto::standinpb::{Done, Envelope, EnvelopeBatch};

/// Envelopes that wait for one store; more are dropped.
const QUEUE: usize = 4_096;
/// Envelopes in one message.
const BATCH: usize = 128;
/// A store is asked this often whether it lives, and must say so in the time below.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_millis(1_500);
/// Before a store that could not be reached is tried again.
const PAUSE: Duration = Duration::from_millis(300);
/// A store that nothing was to be sent to for this long is not tried any more.
const GIVE_UP_AFTER: Duration = Duration::from_mins(1);
/// Longest wait for PD's word on an address that is known already.
const ASK_LIMIT: Duration = Duration::from_secs(1);
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
            let (pd, store, cluster_id) = (self.pd.clone(), self.store.clone(), self.cluster_id);
            let link = Link { to, pd, store, cluster_id, address: None };
            tokio::spawn(link.run(receiver));
            sender
        });
        if queue.try_send(envelope).is_err() {
            // The thread is gone only when the process ends.
            let _ = self.store.send(StoreMessage::Unreachable(to));
        }
    }
}

struct Link {
    to: u64,
    pd: Pd,
    store: StoreSender,
    cluster_id: u64,
    /// PD's last word.
    address: Option<String>,
}

impl Link {
    /// Sends until the queue's end. While the store cannot be reached, what waits for it is dropped
    /// before each new try, which need not wait for something to send.
    async fn run(mut self, mut queue: mpsc::Receiver<Envelope>) {
        let (mut batch, mut wanted) = (Vec::new(), Instant::now());
        loop {
            if wanted.elapsed() > GIVE_UP_AFTER && queue.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            let Err(reason) = self.send(&mut batch, &mut queue).await else { return };
            log::warn!("store {}: {reason:#}", self.to);
            tokio::time::sleep(PAUSE).await;
            while let Ok(late) = queue.try_recv() {
                batch.push(late);
            }
            if !batch.is_empty() {
                wanted = Instant::now();
                let _ = self.store.send(StoreMessage::Unreachable(self.to));
                batch.clear();
            }
        }
    }

    /// Connects and sends until that fails, or until the queue ends.
    async fn send(
        &mut self,
        batch: &mut Vec<Envelope>,
        queue: &mut mpsc::Receiver<Envelope>,
    ) -> Result<()> {
        let mut client = self.connect().await?;
        let _ = self.store.send(StoreMessage::Reachable(self.to));
        while !batch.is_empty() || queue.recv_many(batch, BATCH).await > 0 {
            let request = EnvelopeBatch { cluster_id: self.cluster_id, envelopes: batch.clone() };
            client.send(request).await?;
            batch.clear();
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<RaftTransportClient<Channel>> {
        // PD may be away just when a store comes back; names stay.
        if let Ok(Ok(store)) = tokio::time::timeout(ASK_LIMIT, self.pd.store(self.to)).await {
            self.address = store.map(|store| store.address);
        }
        let address = self.address.as_ref().context("PD does not know it")?;
        let channel = connect(&format!("http://{address}"), KEEP_ALIVE, SILENCE).await?;
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
