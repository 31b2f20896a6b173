//! How does one peer of a region take requests? A [`RawNode`] of the `raft` crate with the
//! proposals and reads that wait on it. Writes answer when committed and applied; reads answer when
//! a majority has confirmed, after the read came in, that this peer still leads (`ReadIndex`), so
//! neither a partition nor a pause lets an old leader answer.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Result;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, Entry, Message, MessageType};
use raft::{Config, RawNode, Ready, StateRole};

use super::call::{self, Answered, Call, Operation, Read, Reply};
use super::peer_storage::PeerStorage;
use super::region_error as refuse;
use crate::proto::errorpb;
use crate::proto::kvrpcpb::Context;
use crate::proto::metapb::{self, RegionEpoch};
use crate::proto::standinpb::{Command, Envelope};

/// Raft's clock and limits; the keys are TiKV's.
#[derive(Clone, Debug)]
pub struct RaftTiming {
    /// `raftstore.raft-base-tick-interval`, 1 s.
    pub tick: Duration,
    /// `raftstore.raft-heartbeat-ticks`, 2.
    pub heartbeat_ticks: usize,
    /// `raftstore.raft-election-timeout-ticks`, 10; a real one is between this and twice this.
    pub election_ticks: usize,
    /// `raftstore.raft-log-gc-count-limit`: applied entries kept for followers that lag.
    pub kept_entries: u64,
    /// `raftstore.pd-heartbeat-tick-interval`: between two reports to PD.
    pub report_every: Duration,
    /// `raftstore.max-peer-down-duration`: a peer is down that was not heard for this long.
    pub down_after: Duration,
}

pub(super) struct Proposal {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) reply: Reply,
}

/// A read and who waits for it.
pub(super) type WaitingRead = (Read, Reply);

/// One peer of one region on this store.
pub struct Peer {
    pub(super) node: RawNode<PeerStorage>,
    pub(super) store_id: u64,
    pub(super) timing: RaftTiming,
    pub(super) proposals: VecDeque<Proposal>,
    /// Reads that no `ReadIndex` round covers yet.
    pub(super) reads: Vec<WaitingRead>,
    /// Reads of a round under way, by its context.
    pub(super) asked: BTreeMap<u64, Vec<WaitingRead>>,
    /// Reads that only wait for the pairs to reach an index.
    pub(super) confirmed: Vec<(u64, Vec<WaitingRead>)>,
    next_round: u64,
    /// What Raft asked for in the round under way.
    pub(super) ready: Option<Ready>,
    /// Committed entries to apply; some become known only at the end of a round.
    pub(super) committed: Vec<Entry>,
    /// Answers, and changes of the membership, that count once the round is on disk.
    pub(super) answers: Vec<(Reply, Answered)>,
    pub(super) changes: Vec<(ConfChange, metapb::Peer)>,
    /// Peers heard from that this one does not know as members: it may lag.
    strangers: BTreeMap<u64, metapb::Peer>,
    /// When each other peer was last heard.
    pub(super) heard: BTreeMap<u64, Instant>,
    /// The region removed this peer; it must be destroyed.
    pub removed: bool,
}

impl Peer {
    /// Starts the peer over what the store has of the region.
    pub fn new(storage: PeerStorage, store_id: u64, timing: &RaftTiming) -> Result<Self> {
        let config = Config {
            id: storage.state.peer_id,
            election_tick: timing.election_ticks,
            heartbeat_tick: timing.heartbeat_ticks,
            applied: storage.state.applied_index,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let alone = storage.region.peers.len() == 1;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut node = RawNode::new(&config, storage, &logger)?;
        if alone {
            // Nobody else can lead: no need to wait for an election timeout.
            node.campaign()?;
        }
        Ok(Self {
            node,
            store_id,
            timing: timing.clone(),
            proposals: VecDeque::new(),
            reads: Vec::new(),
            asked: BTreeMap::new(),
            confirmed: Vec::new(),
            next_round: 0,
            ready: None,
            committed: Vec::new(),
            answers: Vec::new(),
            changes: Vec::new(),
            strangers: BTreeMap::new(),
            heard: BTreeMap::new(),
            removed: false,
        })
    }

    /// What the store has of the region.
    pub fn storage(&self) -> &PeerStorage {
        self.node.store()
    }

    /// This peer's id.
    pub fn id(&self) -> u64 {
        self.node.raft.id
    }

    /// The region as this peer knows it.
    pub fn region(&self) -> &metapb::Region {
        &self.storage().region
    }

    /// The region's epoch.
    pub fn epoch(&self) -> RegionEpoch {
        self.storage().epoch()
    }

    /// Whether this peer leads.
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Takes a message from another peer.
    pub fn step(&mut self, from: metapb::Peer, message: Message) {
        self.heard.insert(from.id, Instant::now());
        if self.storage().peer(from.id).is_none() {
            self.strangers.insert(from.id, from);
        }
        let is_wish = message.get_msg_type() == MessageType::MsgTransferLeader;
        if is_wish && message.from != self.id() && !self.hands_over_to(message.from) {
            return;
        }
        // Messages of peers that left are refused by Raft, which is what should happen to them.
        let _ = self.node.step(message);
    }

    /// The region's peer on a store.
    pub fn peer_on(&self, store_id: u64) -> Option<u64> {
        self.region().peers.iter().find(|peer| peer.store_id == store_id).map(|peer| peer.id)
    }

    /// Takes a client's request.
    pub fn call(&mut self, call: Call) {
        match (self.check(&call.context), call.operation) {
            (Err(error), _) => drop(call.reply.send(Err(error))),
            (Ok(()), Operation::Read(read)) => self.reads.push((read, call.reply)),
            (Ok(()), Operation::Write(command)) => self.propose(&command, call.reply),
        }
    }

    fn check(&self, context: &Context) -> Result<(), errorpb::Error> {
        let requested = context.peer.unwrap_or_default();
        if requested.id != 0 && requested.id != self.id() {
            return Err(refuse::mismatched_peer(requested.id, self.id()));
        }
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        let version = context.region_epoch.unwrap_or_default().version;
        if version != self.epoch().version {
            return Err(refuse::epoch_not_match(self.region()));
        }
        Ok(())
    }

    fn not_leader(&self) -> errorpb::Error {
        let leader = self.storage().peer(self.node.raft.leader_id);
        refuse::not_leader(self.region().id, leader.copied())
    }

    /// Puts a command into the log.
    fn propose(&mut self, command: &Command, reply: Reply) {
        let refused = self.refused(command);
        let outcome = refused.map_or(Ok(()), Err).and_then(|()| {
            let proposed = self.node.propose(Vec::new(), command.encode_to_vec());
            proposed.map_err(|_| refuse::proposal_dropped())
        });
        match outcome {
            Err(error) => {
                let _ = reply.send(Err(error));
            }
            Ok(()) => self.proposals.push_back(Proposal {
                index: self.node.raft.raft_log.last_index(),
                term: self.node.raft.term,
                reply,
            }),
        }
    }

    fn refused(&self, command: &Command) -> Option<errorpb::Error> {
        if self.node.raft.lead_transferee.is_some() {
            return Some(refuse::proposal_dropped());
        }
        let mut keys = command.mutations.iter().map(|mutation| &mutation.key);
        keys.find_map(|key| call::within(key, self.storage()).err())
    }

    /// Starts one `ReadIndex` round for all reads that came in since the last. A leader that has
    /// committed nothing in its term does not know the commit index yet; its reads wait for that.
    pub(super) fn ask_reads(&mut self) {
        if !self.reads.is_empty() && self.node.raft.commit_to_current_term() {
            self.next_round += 1;
            self.asked.insert(self.next_round, std::mem::take(&mut self.reads));
            self.node.read_index(self.next_round.to_be_bytes().to_vec());
        }
    }

    /// Answers the reads whose index the pairs have reached.
    pub(super) fn serve_reads(&mut self) -> Result<()> {
        let applied = self.storage().state.applied_index;
        let due = self.confirmed.extract_if(.., |(index, _)| *index <= applied);
        for (read, reply) in due.flat_map(|(_, reads)| reads).collect::<Vec<_>>() {
            let _ = reply.send(call::read(&read, self.storage())?);
        }
        Ok(())
    }

    /// Sends every waiting read elsewhere: this peer does not lead any more.
    pub(super) fn refuse_reads(&mut self) {
        let error = self.not_leader();
        let asked = std::mem::take(&mut self.asked).into_values().flatten();
        let confirmed = self.confirmed.drain(..).flat_map(|(_, reads)| reads);
        for (_, reply) in self.reads.drain(..).chain(asked).chain(confirmed) {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// Notes the answer to the proposal of this index, if it is this peer's and of this term.
    pub(super) fn settle(&mut self, index: u64, term: u64, answer: Answered) {
        while self.proposals.front().is_some_and(|waiting| waiting.index < index) {
            // Skipped by a snapshot: whether it was applied is unknown, so nobody is told anything.
            self.proposals.pop_front();
        }
        if let Some(waiting) = self.proposals.pop_front_if(|waiting| waiting.index == index) {
            let lost = waiting.term != term;
            let answer = if lost { Err(refuse::stale_command()) } else { answer };
            self.answers.push((waiting.reply, answer));
        }
    }

    /// Wraps Raft's messages for their stores. One for a peer whose store is unknown is dropped;
    /// Raft sends again.
    pub(super) fn envelopes(&self, messages: Vec<Message>) -> Result<Vec<Envelope>> {
        let wrap = |message: Message| {
            let to = self.storage().peer(message.to).or_else(|| self.strangers.get(&message.to))?;
            let encoded = message.write_to_bytes();
            Some(encoded.map(|encoded| self.envelope(*to, encoded)).map_err(anyhow::Error::from))
        };
        messages.into_iter().filter_map(wrap).collect()
    }

    /// An envelope from this peer; without a message it tells `to` that the region removed it.
    pub fn envelope(&self, to: metapb::Peer, message: Vec<u8>) -> Envelope {
        let unknown = metapb::Peer { id: self.id(), store_id: self.store_id, ..to };
        Envelope {
            region_id: self.region().id,
            from: Some(self.storage().peer(self.id()).copied().unwrap_or(unknown)),
            to: Some(to),
            epoch: Some(self.epoch()),
            removed: message.is_empty(),
            message,
        }
    }
}
