//! How does one peer of a region take requests? A [`RawNode`] of the `raft` crate with the
//! proposals and reads that wait on it. Writes answer when committed and applied; reads answer when
//! a majority has confirmed, after the read came in, that this peer still leads (`ReadIndex`), so
//! neither a partition nor a pause lets an old leader answer.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use prost::Message as _;
use raft::eraftpb::{Message, MessageType};
use raft::{Config, RawNode, StateRole};

use super::call::{self, Answered, Call, Operation, Read, Reply};
use super::region::RegionState;
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
}

#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) reply: Reply,
}

/// A read with the region's version when it came in.
pub(super) struct WaitingRead {
    read: Read,
    version: u64,
    reply: Reply,
}

/// One peer of one region on this store.
pub struct Peer {
    pub(super) node: RawNode<RegionState>,
    pub(super) store_id: u64,
    /// A peer not heard for this long is not counted on.
    pub(super) patience: Duration,
    pub(super) proposals: VecDeque<Proposal>,
    /// Reads that no `ReadIndex` round covers yet.
    reads: Vec<WaitingRead>,
    /// Reads of a round under way, by its context.
    pub(super) asked: BTreeMap<u64, Vec<WaitingRead>>,
    /// Reads that only wait for the pairs to reach an index.
    pub(super) confirmed: Vec<(u64, Vec<WaitingRead>)>,
    next_round: u64,
    /// Peers heard from that this one does not know as members: it may lag.
    strangers: BTreeMap<u64, metapb::Peer>,
    /// When each other peer was last heard.
    pub(super) heard: BTreeMap<u64, Instant>,
    /// Since when the peer knows no leader.
    pub leaderless_since: Option<Instant>,
    /// The region removed this peer; it must be destroyed.
    pub removed: bool,
}

impl Peer {
    /// Starts the peer over what the store has of the region.
    pub fn new(state: RegionState, store_id: u64, timing: &RaftTiming) -> raft::Result<Self> {
        let config = Config {
            id: state.peer_id,
            election_tick: timing.election_ticks,
            heartbeat_tick: timing.heartbeat_ticks,
            applied: state.applied_index,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let alone = state.region.peers.len() == 1;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut node = RawNode::new(&config, state, &logger)?;
        if alone {
            // Nobody else can lead: no need to wait for an election timeout.
            node.campaign()?;
        }
        Ok(Self {
            node,
            store_id,
            patience: timing.tick * u32::try_from(timing.election_ticks).unwrap_or(u32::MAX),
            proposals: VecDeque::new(),
            reads: Vec::new(),
            asked: BTreeMap::new(),
            confirmed: Vec::new(),
            next_round: 0,
            strangers: BTreeMap::new(),
            heard: BTreeMap::new(),
            leaderless_since: Some(Instant::now()),
            removed: false,
        })
    }

    /// What the store has of the region.
    pub fn state(&self) -> &RegionState {
        self.node.store()
    }

    /// This peer's id.
    pub fn id(&self) -> u64 {
        self.node.raft.id
    }

    /// The region's id.
    pub fn region_id(&self) -> u64 {
        self.state().region.id
    }

    /// The region's epoch.
    pub fn epoch(&self) -> RegionEpoch {
        self.state().epoch()
    }

    /// Whether this peer leads.
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Advances Raft's clock.
    pub fn tick(&mut self) {
        self.node.tick();
        if self.node.raft.leader_id == raft::INVALID_ID {
            self.leaderless_since.get_or_insert_with(Instant::now);
        } else {
            self.leaderless_since = None;
        }
    }

    /// Starts an election at once; after a split, when the parent led.
    pub fn campaign(&mut self) {
        // Refused only when the peer may not vote; then another one will be elected.
        let _ = self.node.campaign();
    }

    /// Takes a message from another peer.
    pub fn step(&mut self, from: metapb::Peer, message: Message) {
        self.heard.insert(from.id, Instant::now());
        if self.state().peer(from.id).is_none() {
            self.strangers.insert(from.id, from);
        }
        let is_vote = matches!(
            message.get_msg_type(),
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
        );
        if is_vote && !self.state().is_initialized() {
            // A peer without data must not vote: a split may yet create it here with an older term.
            return;
        }
        // Messages of peers that left are refused by Raft, which is what should happen to them.
        let _ = self.node.step(message);
    }

    /// Takes a client's request.
    pub fn call(&mut self, call: Call) {
        if let Err(error) = self.check(&call.context) {
            let _ = call.reply.send(Err(error));
            return;
        }
        match call.operation {
            Operation::Read(read) => {
                let version = self.epoch().version;
                self.reads.push(WaitingRead { read, version, reply: call.reply });
            }
            Operation::Write(command) => self.propose(command, Some(call.reply)),
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
        if context.term != 0 && context.term + 1 < self.node.raft.term {
            return Err(refuse::stale_command());
        }
        let version = context.region_epoch.unwrap_or_default().version;
        if version != self.epoch().version {
            return Err(refuse::epoch_not_match(self.state()));
        }
        Ok(())
    }

    fn not_leader(&self) -> errorpb::Error {
        let leader = self.state().peer(self.node.raft.leader_id);
        refuse::not_leader(self.region_id(), leader.copied())
    }

    /// Puts a command into the log. Without `reply` nobody waits for it.
    pub fn propose(&mut self, mut command: Command, reply: Option<Reply>) {
        command.version = self.epoch().version;
        let refused = self.refused(&command);
        let outcome = refused.map_or(Ok(()), Err).and_then(|()| {
            let proposed = self.node.propose(Vec::new(), command.encode_to_vec());
            proposed.map_err(|_| refuse::proposal_dropped())
        });
        let Some(reply) = reply else { return };
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
        let keys = command.mutations.iter().map(|mutation| &mutation.key);
        let mut keys = keys.chain(command.compare_and_swap.iter().map(|swap| &swap.key));
        keys.find_map(|key| call::within(key, self.state()).err())
    }

    /// Starts one `ReadIndex` round for all reads that came in since the last.
    pub fn ask_reads(&mut self) {
        if self.reads.is_empty() || !self.node.raft.commit_to_current_term() {
            // A leader that has committed nothing in its term does not know the commit index yet;
            // its reads wait for that.
            return;
        }
        self.next_round += 1;
        self.asked.insert(self.next_round, std::mem::take(&mut self.reads));
        self.node.read_index(self.next_round.to_be_bytes().to_vec());
    }

    /// Answers the reads whose index the pairs have reached.
    pub(super) fn serve_reads(&mut self) {
        let applied = self.state().applied_index;
        let (due, later) = std::mem::take(&mut self.confirmed)
            .into_iter()
            .partition(|(index, _)| *index <= applied);
        self.confirmed = later;
        let due: Vec<(u64, Vec<WaitingRead>)> = due;
        for waiting in due.into_iter().flat_map(|(_, reads)| reads) {
            let state = self.state();
            let answer = if waiting.version == state.epoch().version {
                (waiting.read)(state)
            } else {
                Err(refuse::epoch_not_match(state))
            };
            let _ = waiting.reply.send(answer);
        }
    }

    /// Sends every waiting read elsewhere: this peer does not lead any more.
    pub(super) fn refuse_reads(&mut self) {
        let error = self.not_leader();
        let asked = std::mem::take(&mut self.asked).into_values().flatten();
        let confirmed =
            std::mem::take(&mut self.confirmed).into_iter().flat_map(|(_, reads)| reads);
        for waiting in std::mem::take(&mut self.reads).into_iter().chain(asked).chain(confirmed) {
            let _ = waiting.reply.send(Err(error.clone()));
        }
    }

    /// Answers the proposal of this index, if it is this peer's and of this term.
    pub(super) fn settle(&mut self, index: u64, term: u64, answer: Answered) {
        while self.proposals.front().is_some_and(|waiting| waiting.index < index) {
            // Skipped by a snapshot: whether it was applied is unknown, so nobody is told anything.
            self.proposals.pop_front();
        }
        if let Some(waiting) = self.proposals.pop_front_if(|waiting| waiting.index == index) {
            let lost = waiting.term != term;
            let answer = if lost { Err(refuse::stale_command()) } else { answer };
            let _ = waiting.reply.send(answer);
        }
    }

    /// Wraps Raft's messages for their stores. One for a peer whose store is unknown is dropped;
    /// Raft sends again.
    pub(super) fn envelopes(&self, messages: Vec<Message>) -> Vec<Envelope> {
        let wrap = |message: Message| {
            let to = self.state().peer(message.to).or_else(|| self.strangers.get(&message.to))?;
            Some(self.envelope(*to, super::region::encode(&message)))
        };
        messages.into_iter().filter_map(wrap).collect()
    }

    /// An envelope from this peer; without a message it tells `to` that the region removed it.
    pub fn envelope(&self, to: metapb::Peer, message: Vec<u8>) -> Envelope {
        let unknown = metapb::Peer { id: self.id(), store_id: self.store_id, ..to };
        Envelope {
            region_id: self.region_id(),
            from: Some(self.state().peer(self.id()).copied().unwrap_or(unknown)),
            to: Some(to),
            epoch: Some(self.epoch()),
            removed: message.is_empty(),
            message,
        }
    }
}
