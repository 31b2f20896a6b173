//! Who runs the regions' peers of a store? One thread that owns all of them. Each round it takes
//! what came in, lets every peer write into one transaction, and lets them finish when that is on
//! disk. So one `fsync` serves all that happened meanwhile.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use anyhow::Result;
use raft::SnapshotStatus;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::call::Call;
use super::disk::Disk;
use super::peer::{Peer, RaftTiming};
use super::peer_storage::PeerStorage;
use super::region_error as refuse;
use crate::proto::pdpb::{RegionHeartbeatRequest, RegionHeartbeatResponse};
use crate::proto::standinpb::Envelope;

/// Messages taken in one round, so that a flood does not keep the peers from the disk.
const MESSAGES_PER_ROUND: usize = 4_096;

/// What the store's thread is told.
pub enum StoreMessage {
    /// From other stores.
    Raft(Vec<Envelope>),
    /// From a client.
    Call(Call),
    /// PD's answer to a region's report.
    Schedule(RegionHeartbeatResponse),
    /// PD was lost and found: report every led region again.
    ReportAll,
    /// Messages to the store were lost, perhaps a snapshot among them.
    Unreachable(u64),
    /// The store can be reached, for the first time or again.
    Reachable(u64),
    /// What the store has, for the status port.
    Inspect(oneshot::Sender<Inspection>),
    /// End the thread.
    Stop,
}

/// What a store has.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Each region, and whether this store leads it.
    pub regions: Vec<(PeerStorage, bool)>,
    /// Keys and values, in bytes.
    pub kv_bytes: u64,
    /// The database's file, in bytes.
    pub disk_bytes: u64,
}

impl Inspection {
    /// How many regions the store leads.
    pub fn led(&self) -> usize {
        self.regions.iter().filter(|(_, leads)| *leads).count()
    }
}

/// What the thread asks of others.
#[derive(Debug)]
pub enum Errand {
    /// To another store.
    Send(u64, Envelope),
    /// To PD.
    Report(Box<RegionHeartbeatRequest>),
}

/// The regions of one store; see the module's words.
pub struct Store {
    pub(super) id: u64,
    pub(super) timing: RaftTiming,
    pub(super) disk: Disk,
    /// Where errands go.
    errands: UnboundedSender<Errand>,
    pub(super) peers: BTreeMap<u64, Peer>,
    /// The highest peer id that was ever destroyed here, by region.
    pub(super) destroyed: BTreeMap<u64, u64>,
    /// What was last reported of each led region, and when.
    reported: BTreeMap<u64, (RegionHeartbeatRequest, Instant)>,
    next_tick: Instant,
}

impl Store {
    /// A store with the peers that its disk has.
    pub fn new(
        id: u64,
        timing: RaftTiming,
        disk: Disk,
        errands: UnboundedSender<Errand>,
    ) -> Result<Self> {
        let destroyed = disk.destroyed()?;
        let (peers, reported, next_tick) = (BTreeMap::new(), BTreeMap::new(), Instant::now());
        let mut store = Self { id, timing, disk, errands, peers, destroyed, reported, next_tick };
        for state in store.disk.peers()? {
            store.start_peer(PeerStorage::saved(store.disk.clone(), state))?;
        }
        Ok(store)
    }

    /// Runs until told to stop. An error means that the store must not go on: what it would
    /// acknowledge might not be on disk.
    pub fn run(mut self, inbox: &Receiver<StoreMessage>) -> Result<()> {
        loop {
            let patience = self.next_tick.saturating_duration_since(Instant::now());
            let mut next = match inbox.recv_timeout(patience) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let mut taken = 0;
            while let Some(message) = next.take() {
                if matches!(message, StoreMessage::Stop) {
                    return Ok(());
                }
                self.take(message)?;
                taken += 1;
                next = if taken < MESSAGES_PER_ROUND { inbox.try_recv().ok() } else { None };
            }
            self.tick();
            while self.round()? {}
            self.destroy_removed()?;
            self.report();
        }
    }

    fn take(&mut self, message: StoreMessage) -> Result<()> {
        match message {
            StoreMessage::Raft(envelopes) => {
                envelopes.iter().try_for_each(|envelope| self.receive(envelope))?;
            }
            StoreMessage::Call(call) => self.call(call),
            StoreMessage::Schedule(answer) => self.schedule(&answer),
            StoreMessage::ReportAll => self.reported.clear(),
            StoreMessage::Unreachable(store) => {
                for (peer, there) in self.peers_with(store) {
                    peer.node.report_unreachable(there);
                    peer.node.report_snapshot(there, SnapshotStatus::Failure);
                }
            }
            StoreMessage::Reachable(store) => {
                // A follower that missed messages catches up once it answers a heartbeat, which
                // must not wait for the time of the next one.
                self.peers_with(store).for_each(|(peer, _)| peer.node.ping());
            }
            StoreMessage::Inspect(reply) => drop(reply.send(self.inspect())),
            StoreMessage::Stop => {}
        }
        Ok(())
    }

    /// The peers here that have a peer on another store, with that one's id.
    fn peers_with(&mut self, store_id: u64) -> impl Iterator<Item = (&mut Peer, u64)> {
        let with = move |peer: &Peer| peer.peer_on(store_id);
        self.peers.values_mut().filter_map(move |peer| with(peer).map(|there| (peer, there)))
    }

    fn call(&mut self, call: Call) {
        let region_id = call.context.region_id;
        match self.peers.get_mut(&region_id).filter(|peer| peer.storage().is_initialized()) {
            Some(peer) => peer.call(call),
            None => drop(call.reply.send(Err(refuse::region_not_found(region_id)))),
        }
    }

    fn schedule(&mut self, answer: &RegionHeartbeatResponse) {
        let id = answer.region_id;
        let scheduled = self.peers.get_mut(&id).map_or(Ok(()), |peer| peer.schedule(answer));
        if let Err(reason) = scheduled {
            log::info!("region {id}: PD's answer {answer:?} is not followed: {reason}");
        }
    }

    fn inspect(&self) -> Inspection {
        let regions = self.peers.values().filter(|peer| peer.storage().is_initialized());
        let regions = regions.map(|peer| (peer.storage().clone(), peer.is_leader()));
        Inspection {
            regions: regions.collect(),
            kv_bytes: self.peers.values().map(|peer| peer.storage().state.bytes).sum(),
            disk_bytes: self.disk.bytes(),
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_tick {
            // After a pause (a stopped process) the missed ticks are gone: time that this process
            // did not see is no reason for an election.
            self.next_tick = now + self.timing.tick;
            for peer in self.peers.values_mut() {
                peer.node.tick();
            }
        }
    }

    /// Lets all peers do what Raft asks for now; `false` when that is nothing.
    fn round(&mut self) -> Result<bool> {
        let (mut is_busy, mut early) = (false, Vec::new());
        for peer in self.peers.values_mut() {
            is_busy |= peer.begin_round(&mut early)?;
        }
        self.send(early);
        let mut writing: Vec<&mut Peer> =
            self.peers.values_mut().filter(|peer| peer.must_write()).collect();
        if !writing.is_empty() {
            let must_sync = writing.iter().any(|peer| peer.must_sync());
            let transaction = self.disk.begin(must_sync)?;
            writing.iter_mut().try_for_each(|peer| peer.write(&transaction))?;
            transaction.commit()?;
        }
        let mut late = Vec::new();
        self.peers.values_mut().try_for_each(|peer| peer.end_round(&mut late))?;
        self.send(late);
        Ok(is_busy)
    }

    fn send(&self, envelopes: Vec<Envelope>) {
        for envelope in envelopes {
            let to = envelope.to.unwrap_or_default().store_id;
            self.errand(Errand::Send(to, envelope));
        }
    }

    pub(super) fn errand(&self, errand: Errand) {
        // Nobody runs errands any more only when the process ends.
        let _ = self.errands.send(errand);
    }

    pub(super) fn start_peer(&mut self, storage: PeerStorage) -> Result<()> {
        let region_id = storage.region.id;
        let peer = Peer::new(storage, self.id, &self.timing)?;
        self.peers.insert(region_id, peer);
        Ok(())
    }

    fn destroy_removed(&mut self) -> Result<()> {
        let removed = self.peers.extract_if(.., |_, peer| peer.removed);
        let removed: Vec<(u64, Peer)> = removed.collect();
        if removed.is_empty() {
            return Ok(());
        }
        let transaction = self.disk.begin(true)?;
        for (region_id, peer) in removed {
            log::info!("region {region_id}: peer {} is destroyed", peer.id());
            peer.storage().destroy(&transaction)?;
            self.destroyed.insert(region_id, peer.id());
            self.reported.remove(&region_id);
        }
        Ok(transaction.commit()?)
    }

    /// Reports led regions that changed or were not reported for a while.
    fn report(&mut self) {
        let now = Instant::now();
        self.reported.retain(|id, _| self.peers.get(id).is_some_and(Peer::is_leader));
        for (region_id, peer) in self.peers.iter().filter(|(_, peer)| peer.is_leader()) {
            let report = peer.report();
            let is_fresh = |(last, at): &(RegionHeartbeatRequest, Instant)| {
                !differs(last, &report) && now - *at < self.timing.report_every
            };
            if !self.reported.get(region_id).is_some_and(is_fresh) {
                self.errand(Errand::Report(Box::new(report.clone())));
                self.reported.insert(*region_id, (report, now));
            }
        }
    }
}

/// Whether two reports of a region differ in what PD should hear of at once.
fn differs(last: &RegionHeartbeatRequest, now: &RegionHeartbeatRequest) -> bool {
    let down = |report: &RegionHeartbeatRequest| -> Vec<_> {
        report.down_peers.iter().map(|down| down.peer).collect()
    };
    (&last.region, last.term, &last.pending_peers) != (&now.region, now.term, &now.pending_peers)
        || down(last) != down(now)
}

/// The store's address for those that give it work.
pub type StoreSender = Sender<StoreMessage>;

/// Asks the store's thread what it has; `None` when it has ended.
pub async fn inspect(store: &StoreSender) -> Option<Inspection> {
    let (reply, inspection) = oneshot::channel();
    store.send(StoreMessage::Inspect(reply)).ok()?;
    inspection.await.ok()
}
