//! In which order does a peer do what Raft asks? What must be on disk goes to the log first; only
//! when the log is on disk does the peer acknowledge to others, apply and answer its clients.
//! A leader's messages to followers may leave before that (Raft thesis, 10.2.1).

use std::time::Instant;

use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, Entry, EntryType};
use raft::{ReadState, Ready, StateRole};

use super::call::Answer;
use super::command;
use super::peer::Peer;
use super::region::{RegionState, encode};
use crate::proto::metapb::{self, PeerRole};
use crate::proto::standinpb::{Command, Envelope, RaftAppend, Record};

/// What one round of all peers wants written and sent.
#[derive(Debug, Default)]
pub struct Batch {
    /// For the log.
    pub records: Vec<Record>,
    /// Whether the log must be on disk before the round goes on.
    pub sync: bool,
    /// For other stores.
    pub envelopes: Vec<Envelope>,
}

/// What a peer does once its part of the batch is on disk.
pub type Unfinished = Ready;

impl Peer {
    /// First half: collects what goes to disk and what may leave before. None when there is nothing.
    pub fn prepare(&mut self, batch: &mut Batch) -> Result<Option<Unfinished>, String> {
        self.ask_reads();
        if !self.node.has_ready() {
            return Ok(None);
        }
        let mut ready = self.node.ready();
        let leads = ready.ss().map(|soft| soft.raft_state == StateRole::Leader);
        if leads == Some(false) || ready.hs().is_some_and(|new| new.term != self.state().term()) {
            // Raft forgot the rounds under way, also where this peer leads again in a later term.
            self.refuse_reads();
        }
        if leads == Some(true) {
            self.start_leading();
        }
        batch.envelopes.extend(self.envelopes(ready.take_messages()));
        self.confirm_reads(ready.take_read_states());
        batch.sync |= ready.must_sync();
        let snapshot = ready.snapshot().clone();
        let hard_state = ready.hs().cloned();
        let entries = ready.take_entries();
        let mut append = RaftAppend {
            region_id: self.region_id(),
            peer_id: self.id(),
            hard_state: hard_state.as_ref().map(encode).unwrap_or_default(),
            entries: entries.iter().map(encode).collect(),
        };
        let store = self.node.mut_store();
        if let Some(hard_state) = hard_state {
            store.set_hard_state(hard_state);
        }
        if !snapshot.is_empty() {
            store.install(&snapshot).map_err(|error| format!("snapshot: {error}"))?;
            // The image holds the hard state too, and there are no entries behind a snapshot yet.
            append.hard_state.clear();
            batch.records.push(Record { image: Some(store.image()), ..Record::default() });
        }
        store.append(entries);
        if !append.hard_state.is_empty() || !append.entries.is_empty() {
            batch.records.push(Record { append: Some(append), ..Record::default() });
        }
        Ok(Some(ready))
    }

    /// Second half, after the batch is on disk: acknowledges, applies, answers. Returns the regions
    /// that a split made.
    pub fn finish(
        &mut self,
        mut ready: Unfinished,
        batch: &mut Batch,
    ) -> Result<Vec<RegionState>, String> {
        let mut created = Vec::new();
        batch.envelopes.extend(self.envelopes(ready.take_persisted_messages()));
        for entry in ready.take_committed_entries() {
            created.extend(self.apply(&entry, batch)?);
        }
        let mut light = self.node.advance(ready);
        if let Some(commit) = light.commit_index() {
            let mut hard_state = self.node.raft.hard_state();
            hard_state.commit = commit;
            self.node.mut_store().set_hard_state(hard_state);
        }
        batch.envelopes.extend(self.envelopes(light.take_messages()));
        for entry in light.take_committed_entries() {
            created.extend(self.apply(&entry, batch)?);
        }
        self.node.advance_apply();
        self.serve_reads();
        Ok(created)
    }

    fn start_leading(&mut self) {
        let now = Instant::now();
        let others = self.state().region.peers.clone();
        self.heard = others.into_iter().map(|peer| (peer.id, now)).collect();
    }

    fn confirm_reads(&mut self, states: Vec<ReadState>) {
        for state in states {
            let round =
                state.request_ctx.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
            // A later round confirms the earlier ones too.
            let later = self.asked.split_off(&(round + 1));
            let reads = std::mem::replace(&mut self.asked, later).into_values().flatten().collect();
            self.confirmed.push((state.index, reads));
        }
    }

    fn apply(&mut self, entry: &Entry, batch: &mut Batch) -> Result<Vec<RegionState>, String> {
        let mut done = Ok((Answer::default(), Vec::new()));
        match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() => {}
            EntryType::EntryNormal => {
                let command =
                    Command::decode(&*entry.data).map_err(|error| format!("command: {error}"))?;
                done = command::apply(command, self.node.mut_store());
            }
            EntryType::EntryConfChange => self.apply_conf_change(entry, batch)?,
            EntryType::EntryConfChangeV2 => return Err("a joint configuration change".to_owned()),
        }
        self.node.mut_store().set_applied(entry);
        let (answer, created) = match done {
            Ok((answer, created)) => (Ok(answer), created),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        self.settle(entry.index, entry.term, answer);
        Ok(created)
    }

    fn apply_conf_change(&mut self, entry: &Entry, batch: &mut Batch) -> Result<(), String> {
        let bad = |error: &dyn std::fmt::Display| format!("configuration change: {error}");
        let change = ConfChange::parse_from_bytes(&entry.data).map_err(|error| bad(&error))?;
        let peer = metapb::Peer::decode(&*change.context).map_err(|error| bad(&error))?;
        let region = &mut self.node.mut_store().region;
        let mut epoch = region.region_epoch.unwrap_or_default();
        epoch.conf_ver += 1;
        region.region_epoch = Some(epoch);
        let was_member = region.peers.iter().any(|known| known.id == peer.id);
        match change.get_change_type() {
            ConfChangeType::RemoveNode => region.peers.retain(|known| known.id != peer.id),
            ConfChangeType::AddNode => set_role(&mut region.peers, peer, PeerRole::Voter),
            ConfChangeType::AddLearnerNode => set_role(&mut region.peers, peer, PeerRole::Learner),
        }
        self.node.apply_conf_change(&change).map_err(|error| bad(&error))?;
        if change.get_change_type() == ConfChangeType::RemoveNode && was_member {
            self.heard.remove(&peer.id);
            if peer.id == self.id() {
                self.removed = true;
            } else if self.is_leader() {
                // The removed peer may never hear of its removal through Raft.
                let farewell = self.envelope(peer, Vec::new());
                batch.envelopes.push(farewell);
            }
        } else {
            self.heard.entry(peer.id).or_insert_with(Instant::now);
        }
        Ok(())
    }
}

fn set_role(peers: &mut Vec<metapb::Peer>, peer: metapb::Peer, role: PeerRole) {
    let changed = metapb::Peer { role: role.into(), ..peer };
    match peers.iter_mut().find(|known| known.id == peer.id) {
        Some(known) => *known = changed,
        None => peers.push(changed),
    }
}
