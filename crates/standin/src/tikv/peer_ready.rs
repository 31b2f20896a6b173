//! In which order does a peer do what Raft asks? What must be on disk goes into the round's
//! transaction first; only when that is on disk does the peer acknowledge to others and answer its
//! clients. A leader's messages to followers may leave before that (Raft thesis, 10.2.1).

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, Entry, EntryType};
use raft::{ReadState, Ready, StateRole};
use redb::WriteTransaction;

use super::call::Answer;
use super::command;
use super::peer::Peer;
use crate::proto::metapb::{self, PeerRole};
use crate::proto::standinpb::{Command, Envelope};

impl Peer {
    /// Begins a round with what Raft asks for, if anything; `early` may leave before it is on disk.
    pub fn begin_round(&mut self, early: &mut Vec<Envelope>) -> Result<bool> {
        self.ask_reads();
        if self.node.has_ready() {
            let mut ready = self.node.ready();
            self.note_role(&ready);
            self.confirm_reads(ready.take_read_states());
            self.committed.append(&mut ready.take_committed_entries());
            early.append(&mut self.envelopes(ready.take_messages())?);
            self.ready = Some(ready);
        }
        Ok(self.ready.is_some() || !self.committed.is_empty())
    }

    /// Whether the round has something for the disk.
    pub fn must_write(&self) -> bool {
        let has_hard_state = |ready: &Ready| ready.hs().is_some();
        self.must_sync()
            || !self.committed.is_empty()
            || self.ready.as_ref().is_some_and(has_hard_state)
    }

    /// Whether that must be on disk before the round goes on.
    pub fn must_sync(&self) -> bool {
        self.ready.as_ref().is_some_and(Ready::must_sync)
    }

    /// First half: writes what goes to disk.
    pub fn write(&mut self, transaction: &WriteTransaction) -> Result<()> {
        let storage = self.node.mut_store();
        if let Some(ready) = &self.ready {
            if !ready.snapshot().is_empty() {
                storage.install(ready.snapshot(), transaction).context("snapshot")?;
            }
            if let Some(hard_state) = ready.hs() {
                storage.set_hard_state(hard_state);
            }
            storage.append(ready.entries(), transaction)?;
        }
        for entry in std::mem::take(&mut self.committed) {
            self.apply(&entry, transaction)?;
        }
        let kept = self.timing.kept_entries;
        let storage = self.node.mut_store();
        storage.truncate(kept, transaction)?;
        storage.save(transaction)
    }

    /// Second half, once the round is on disk: answers, acknowledges, and goes by new members.
    pub fn end_round(&mut self, late: &mut Vec<Envelope>) -> Result<()> {
        for (reply, answer) in self.answers.drain(..) {
            let _ = reply.send(answer);
        }
        for (change, peer) in std::mem::take(&mut self.changes) {
            self.node.apply_conf_change(&change).context("configuration change")?;
            if change.get_change_type() != ConfChangeType::RemoveNode {
                self.heard.entry(peer.id).or_insert_with(Instant::now);
            } else if peer.id == self.id() {
                self.removed = true;
            } else if self.is_leader() {
                // The removed peer may never hear of its removal through Raft.
                late.push(self.envelope(peer, Vec::new()));
            }
        }
        if let Some(mut ready) = self.ready.take() {
            late.append(&mut self.envelopes(ready.take_persisted_messages())?);
            let mut light = self.node.advance_append(ready);
            if let Some(commit) = light.commit_index() {
                self.node.mut_store().state.commit = commit;
            }
            late.append(&mut self.envelopes(light.take_messages())?);
            self.committed = light.take_committed_entries();
        }
        self.node.advance_apply_to(self.storage().state.applied_index);
        self.serve_reads()
    }

    fn note_role(&mut self, ready: &Ready) {
        let leads = ready.ss().map(|soft| soft.raft_state == StateRole::Leader);
        let term = self.storage().state.term;
        if leads == Some(false) || ready.hs().is_some_and(|new| new.term != term) {
            // Raft forgot the rounds under way, also where this peer leads again in a later term.
            self.refuse_reads();
        }
        if leads == Some(true) {
            let others = self.region().peers.iter().map(|peer| (peer.id, Instant::now()));
            self.heard = others.collect();
        }
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

    fn apply(&mut self, entry: &Entry, transaction: &WriteTransaction) -> Result<()> {
        let mut answer = Answer::default();
        match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() => {}
            EntryType::EntryNormal => {
                let command = Command::decode(&*entry.data).context("command")?;
                answer = command::apply(command, self.node.mut_store(), transaction)?;
            }
            EntryType::EntryConfChange => self.change_peers(entry).context("membership")?,
            EntryType::EntryConfChangeV2 => bail!("a joint configuration change"),
        }
        self.node.mut_store().set_applied(entry);
        self.settle(entry.index, entry.term, Ok(answer));
        Ok(())
    }

    fn change_peers(&mut self, entry: &Entry) -> Result<()> {
        let change = ConfChange::parse_from_bytes(&entry.data)?;
        let peer = metapb::Peer::decode(&*change.context)?;
        let region = &mut self.node.mut_store().region;
        region.region_epoch.get_or_insert_default().conf_ver += 1;
        let role = match change.get_change_type() {
            ConfChangeType::RemoveNode => None,
            ConfChangeType::AddNode => Some(PeerRole::Voter),
            ConfChangeType::AddLearnerNode => Some(PeerRole::Learner),
        };
        let role = role.map(|role| metapb::Peer { role: role.into(), ..peer });
        match (region.peers.iter().position(|known| known.id == peer.id), role) {
            (Some(at), Some(changed)) => {
                region.peers.splice(at..=at, [changed]);
            }
            (None, Some(new)) => region.peers.push(new),
            (_, None) => region.peers.retain(|known| known.id != peer.id),
        }
        self.changes.push((change, peer));
        Ok(())
    }
}
