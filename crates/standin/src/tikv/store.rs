//! Who runs the regions' peers of a store? One thread that owns all of them and the log. Each round
//! it takes what came in, lets every peer collect, writes one frame to disk for all regions, and
//! lets them finish. So one `fsync` serves all that happened meanwhile.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use protobuf::Message as _;
use raft::SnapshotStatus;
use raft::eraftpb::{Message, MessageType};
use tokio::sync::oneshot;

use super::call::Call;
use super::disk_log::DiskLog;
use super::peer::{Peer, RaftTiming};
use super::peer_ready::{Batch, Unfinished};
use super::region::RegionState;
use super::region_error as refuse;
use crate::log;
use crate::proto::metapb::{self, Region};
use crate::proto::pdpb::{RegionHeartbeatRequest, RegionHeartbeatResponse};
use crate::proto::standinpb::{Destroyed, Envelope, Record, Split};

/// Messages taken in one round, so that a flood does not keep the log from the disk.
const MESSAGES_PER_ROUND: usize = 4_096;
/// A peer without a leader for this long asks PD whether it is still a member.
const ASK_PD_AFTER: Duration = Duration::from_mins(1);

/// What the store's thread is told.
pub enum StoreMessage {
    /// From other stores.
    Raft(Vec<Envelope>),
    /// From a client.
    Call(Call),
    /// PD's answer to a region's report.
    Schedule(RegionHeartbeatResponse),
    /// PD gave the ids: split the region, if it is still at this version.
    Split {
        /// Which region.
        region_id: u64,
        /// Its version when PD was asked.
        version: u64,
        /// The new regions.
        split: Split,
    },
    /// What PD knows of a region whose peer here has no leader.
    Verified(Region),
    /// PD was lost and found: report every led region again.
    ReportAll,
    /// The store cannot be reached.
    Unreachable(u64),
    /// A snapshot left for a peer, or failed to.
    SnapshotSent {
        /// Which region.
        region_id: u64,
        /// To which peer.
        peer_id: u64,
        /// Whether it left.
        sent: bool,
    },
    /// What the store has, for the status port.
    Inspect(oneshot::Sender<Inspection>),
    /// End the thread.
    Stop,
}

/// What a store has.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Each region with whether this store leads it, its term and its applied index.
    pub regions: Vec<(Region, bool, u64, u64)>,
    /// Keys and values, in bytes.
    pub kv_bytes: u64,
    /// The log file, in bytes.
    pub log_bytes: u64,
}

impl Inspection {
    /// How many regions the store leads.
    pub fn led(&self) -> usize {
        self.regions.iter().filter(|(_, leads, _, _)| *leads).count()
    }
}

/// What the thread asks of others.
#[derive(Debug)]
pub enum Errand {
    /// To another store.
    Send(u64, Envelope),
    /// To PD.
    Report(Box<RegionHeartbeatRequest>),
    /// Ask PD for the ids to split this region, which spans all keys.
    AskSplit(Region),
    /// Ask PD whether this region still has us.
    Verify(u64),
}

/// What a store's thread is started with.
pub struct StoreSetup {
    /// This store.
    pub store_id: u64,
    /// Raft's clock.
    pub timing: RaftTiming,
    /// `raftstore.pd-heartbeat-tick-interval`.
    pub report_every: Duration,
    /// `raftstore.max-peer-down-duration`.
    pub down_after: Duration,
    /// The open log.
    pub log: DiskLog,
    /// Where errands go.
    pub errands: tokio::sync::mpsc::UnboundedSender<Errand>,
}

/// The regions of one store; see the module's words.
pub struct Store {
    pub(super) setup: StoreSetup,
    pub(super) peers: BTreeMap<u64, Peer>,
    /// The highest peer id that was ever destroyed here, by region.
    pub(super) destroyed: BTreeMap<u64, u64>,
    /// What was last reported of each led region, and when.
    reported: BTreeMap<u64, (RegionHeartbeatRequest, Instant)>,
    records: Vec<Record>,
    next_tick: Instant,
    next_slow_tick: Instant,
}

impl Store {
    /// A store without regions.
    pub fn new(setup: StoreSetup) -> Self {
        let now = Instant::now();
        Self {
            setup,
            peers: BTreeMap::new(),
            destroyed: BTreeMap::new(),
            reported: BTreeMap::new(),
            records: Vec::new(),
            next_tick: now,
            next_slow_tick: now,
        }
    }

    /// Runs until told to stop. An error means that the store must not go on: what it would
    /// acknowledge might not be on disk.
    pub fn run(mut self, inbox: &Receiver<StoreMessage>) -> Result<(), String> {
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
            self.round()?;
            self.destroy_removed()?;
            self.report();
            self.rewrite_log()?;
        }
    }

    fn take(&mut self, message: StoreMessage) -> Result<(), String> {
        match message {
            StoreMessage::Raft(envelopes) => {
                for envelope in &envelopes {
                    self.receive(envelope)?;
                }
            }
            StoreMessage::Call(call) => self.call(call),
            StoreMessage::Schedule(answer) => self.schedule(&answer),
            StoreMessage::Split { region_id, version, split } => {
                self.propose_split(region_id, version, &split);
            }
            StoreMessage::Verified(region) => self.verified(&region),
            StoreMessage::ReportAll => self.reported.clear(),
            StoreMessage::Unreachable(store_id) => self.unreachable(store_id),
            StoreMessage::SnapshotSent { region_id, peer_id, sent } => {
                let status = if sent { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                if let Some(peer) = self.peers.get_mut(&region_id) {
                    peer.node.report_snapshot(peer_id, status);
                }
            }
            StoreMessage::Inspect(reply) => {
                let _ = reply.send(self.inspect());
            }
            StoreMessage::Stop => {}
        }
        Ok(())
    }

    fn call(&mut self, call: Call) {
        let region_id = call.context.region_id;
        match self.peers.get_mut(&region_id).filter(|peer| peer.state().is_initialized()) {
            Some(peer) => peer.call(call),
            None => {
                let _ = call.reply.send(Err(refuse::region_not_found(region_id)));
            }
        }
    }

    fn schedule(&mut self, answer: &RegionHeartbeatResponse) {
        let region_id = answer.region_id;
        let scheduled = self.peers.get_mut(&region_id).map_or(Ok(()), |peer| peer.schedule(answer));
        if let Err(reason) = scheduled {
            let text =
                format!("region {region_id}: PD's answer {answer:?} is not followed: {reason}");
            log::info(&text);
        }
    }

    fn unreachable(&mut self, store_id: u64) {
        for peer in self.peers.values_mut() {
            let there = peer.state().region.peers.iter().find(|there| there.store_id == store_id);
            if let Some(id) = there.map(|there| there.id) {
                peer.node.report_unreachable(id);
            }
        }
    }

    fn inspect(&self) -> Inspection {
        let regions = self.peers.values().filter(|peer| peer.state().is_initialized());
        let row = |peer: &Peer| {
            let state = peer.state();
            (state.region.clone(), peer.is_leader(), peer.node.raft.term, state.applied_index)
        };
        Inspection {
            regions: regions.map(row).collect(),
            kv_bytes: self.peers.values().map(|peer| peer.state().bytes).sum(),
            log_bytes: self.setup.log.bytes(),
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.next_tick {
            return;
        }
        // After a pause (a stopped process) the missed ticks are gone: time that this process did
        // not see is no reason for an election.
        self.next_tick = now + self.setup.timing.tick;
        self.peers.values_mut().for_each(Peer::tick);
        if now < self.next_slow_tick {
            return;
        }
        self.next_slow_tick = now + ASK_PD_AFTER / 2;
        for (region_id, peer) in &self.peers {
            if peer.leaderless_since.is_some_and(|since| since.elapsed() >= ASK_PD_AFTER) {
                self.errand(Errand::Verify(*region_id));
            }
        }
    }

    /// Lets all peers do what Raft asks until none has anything left.
    fn round(&mut self) -> Result<(), String> {
        loop {
            let mut batch =
                Batch { records: std::mem::take(&mut self.records), ..Batch::default() };
            batch.sync = !batch.records.is_empty();
            let mut unfinished: Vec<(u64, Unfinished)> = Vec::new();
            for (region_id, peer) in &mut self.peers {
                if let Some(ready) = peer.prepare(&mut batch)? {
                    unfinished.push((*region_id, ready));
                }
            }
            self.send(&mut batch);
            let records = std::mem::take(&mut batch.records);
            let written = self.setup.log.append(records, batch.sync);
            written.map_err(|error| format!("the region log cannot be written: {error}"))?;
            if unfinished.is_empty() {
                return Ok(());
            }
            for (region_id, ready) in unfinished {
                let Some(peer) = self.peers.get_mut(&region_id) else { continue };
                let created = peer.finish(ready, &mut batch)?;
                if !created.is_empty() {
                    self.start_parts(region_id, created)?;
                }
            }
            self.send(&mut batch);
        }
    }

    fn send(&mut self, batch: &mut Batch) {
        for envelope in batch.envelopes.drain(..) {
            let to = envelope.to.unwrap_or_default().store_id;
            self.errand(Errand::Send(to, envelope));
        }
    }

    pub(super) fn errand(&self, errand: Errand) {
        // Nobody runs errands any more only when the process ends.
        let _ = self.setup.errands.send(errand);
    }

    /// Notes something for the log; it is on disk before the next round goes on.
    pub(super) fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Puts on disk what was noted, before the thread runs.
    pub fn flush(&mut self) -> Result<(), String> {
        self.round()
    }

    /// Starts a peer over `state`.
    pub fn start_peer(&mut self, state: RegionState) -> Result<(), String> {
        let region_id = state.region.id;
        let peer = Peer::new(state, self.setup.store_id, &self.setup.timing)
            .map_err(|error| format!("region {region_id}: {error}"))?;
        self.peers.insert(region_id, peer);
        Ok(())
    }

    fn destroy_removed(&mut self) -> Result<(), String> {
        let removed = self.peers.iter().filter(|(_, peer)| peer.removed);
        let removed: Vec<u64> = removed.map(|(region_id, _)| *region_id).collect();
        if removed.is_empty() {
            return Ok(());
        }
        for region_id in removed {
            let Some(peer) = self.peers.remove(&region_id) else { continue };
            log::info(&format!("region {region_id}: peer {} is destroyed", peer.id()));
            self.note_destroyed(region_id, peer.id());
            self.record(Record {
                destroyed: Some(Destroyed { region_id, peer_id: peer.id() }),
                ..Record::default()
            });
        }
        self.round()
    }

    pub(super) fn note_destroyed(&mut self, region_id: u64, peer_id: u64) {
        self.reported.remove(&region_id);
        let highest = self.destroyed.entry(region_id).or_default();
        *highest = peer_id.max(*highest);
    }

    /// Reports led regions that changed or were not reported for a while, and asks for the first
    /// split.
    fn report(&mut self) {
        let now = Instant::now();
        let mut errands = Vec::new();
        for (region_id, peer) in &self.peers {
            if !peer.is_leader() {
                self.reported.remove(region_id);
                continue;
            }
            let report = peer.report(self.setup.down_after);
            let last = self.reported.get(region_id);
            let changed = last.is_none_or(|(last, _)| differs(last, &report));
            if changed || last.is_some_and(|(_, at)| now - *at >= self.setup.report_every) {
                if peer.state().region.start_key.is_empty()
                    && peer.state().region.end_key.is_empty()
                {
                    errands.push(Errand::AskSplit(peer.state().region.clone()));
                }
                errands.push(Errand::Report(Box::new(report.clone())));
                self.reported.insert(*region_id, (report, now));
            }
        }
        for errand in errands {
            self.errand(errand);
        }
    }

    fn rewrite_log(&mut self) -> Result<(), String> {
        if !self.setup.log.wants_rewrite() {
            return Ok(());
        }
        for peer in self.peers.values_mut() {
            peer.node.mut_store().truncate_log();
        }
        let images = self
            .peers
            .values()
            .map(|peer| Record { image: Some(peer.state().image()), ..Record::default() });
        let tombstones = self.destroyed.iter().map(|(region_id, peer_id)| Record {
            destroyed: Some(Destroyed { region_id: *region_id, peer_id: *peer_id }),
            ..Record::default()
        });
        // Tombstones first: a peer that came back after one has a higher id and stays.
        let records: Vec<Record> = tombstones.chain(images).collect();
        let written = self.setup.log.rewrite(&records);
        written.map_err(|error| format!("the region log cannot be rewritten: {error}"))
    }

    /// PD's word on a region whose peer here has no leader: a newer membership without this peer
    /// means that it was removed while it was away.
    fn verified(&mut self, region: &Region) {
        if let Some(peer) = self.peers.get_mut(&region.id) {
            let newer = region.region_epoch.unwrap_or_default().conf_ver > peer.epoch().conf_ver;
            let member = region.peers.iter().any(|member| member.id == peer.id());
            peer.removed |= newer && !member && peer.leaderless_since.is_some();
        }
    }
}

/// Whether two reports of a region differ in what PD should hear of at once.
fn differs(last: &RegionHeartbeatRequest, now: &RegionHeartbeatRequest) -> bool {
    let ids = |report: &RegionHeartbeatRequest| -> Vec<Option<metapb::Peer>> {
        report.down_peers.iter().map(|down| down.peer).collect()
    };
    last.region != now.region
        || last.term != now.term
        || last.pending_peers != now.pending_peers
        || ids(last) != ids(now)
}

/// The kind of a Raft message, for those that decide about it before Raft does.
pub(super) fn decode(bytes: &[u8]) -> Result<(Message, MessageType), String> {
    let message = Message::parse_from_bytes(bytes).map_err(|error| format!("message: {error}"))?;
    let kind = message.get_msg_type();
    Ok((message, kind))
}

/// The store's address for those that give it work.
pub type StoreSender = Sender<StoreMessage>;

/// Asks the store's thread what it has; `None` when it has ended.
pub async fn inspect(store: &StoreSender) -> Option<Inspection> {
    let (reply, inspection) = oneshot::channel();
    store.send(StoreMessage::Inspect(reply)).ok()?;
    inspection.await.ok()
}
