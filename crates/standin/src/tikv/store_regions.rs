//! Where do a store's regions come from, and what does it refuse to believe about them? They come
//! from its log at start, from splits, and from leaders elsewhere; a message for a peer that was
//! removed here never brings that peer back.

use raft::eraftpb::MessageType;

use super::region::{RegionState, decode_entries, decode_hard_state};
use super::store::{Errand, Store, StoreMessage, decode};
use crate::log;
use crate::proto::metapb::Region;
use crate::proto::standinpb::{Command, Envelope, Record, Split};

impl Store {
    /// Rebuilds the regions from the records of the log, in their order, and starts their peers.
    pub fn recover(&mut self, records: Vec<Record>) -> Result<(), String> {
        let mut states = std::collections::BTreeMap::<u64, RegionState>::new();
        for record in records {
            if let Some(image) = record.image {
                let state = RegionState::from_image(image)?;
                states.insert(state.region.id, state);
            }
            if let Some(append) = record.append {
                let fresh = || RegionState::waiting(append.region_id, append.peer_id);
                let state = states.entry(append.region_id).or_insert_with(fresh);
                if !append.hard_state.is_empty() {
                    state.set_hard_state(decode_hard_state(&append.hard_state)?);
                }
                state.append(decode_entries(&append.entries)?);
            }
            if let Some(gone) = record.destroyed {
                states.remove(&gone.region_id);
                self.note_destroyed(gone.region_id, gone.peer_id);
            }
        }
        states.into_values().try_for_each(|state| self.start_peer(state))
    }

    /// Starts the cluster's first region on this store.
    pub fn begin(&mut self, region: Region) -> Result<(), String> {
        let known = self.peers.contains_key(&region.id) || self.destroyed.contains_key(&region.id);
        let Some(peer) = region.peers.first().copied().filter(|_| !known) else { return Ok(()) };
        self.start_new(RegionState::new(region, peer.id, std::collections::BTreeMap::new()))
    }

    fn start_new(&mut self, state: RegionState) -> Result<(), String> {
        self.record(Record { image: Some(state.image()), ..Record::default() });
        self.start_peer(state)
    }

    /// Starts the regions that a split of `parent` made, as far as this store does not have newer
    /// ones: after a restart the same split is applied again, and a leader elsewhere may have sent a
    /// part before this store applied the split.
    pub(super) fn start_parts(
        &mut self,
        parent: u64,
        parts: Vec<RegionState>,
    ) -> Result<(), String> {
        let led = self.peers.get(&parent).is_some_and(super::peer::Peer::is_leader);
        for part in parts {
            let region_id = part.region.id;
            let newer = self.destroyed.get(&region_id).is_some_and(|gone| *gone >= part.peer_id);
            let here = self
                .peers
                .get(&region_id)
                .is_some_and(|peer| peer.state().is_initialized() || peer.id() > part.peer_id);
            if newer || here || part.peer_id == 0 {
                continue;
            }
            self.start_new(part)?;
            if let Some(peer) = self.peers.get_mut(&region_id).filter(|_| led) {
                peer.campaign();
            }
        }
        Ok(())
    }

    /// Proposes a split for which PD gave the ids.
    pub(super) fn propose_split(&mut self, region_id: u64, version: u64, split: &Split) {
        let Some(peer) = self.peers.get_mut(&region_id) else { return };
        let peers = peer.state().region.peers.len();
        let fits = split.parts.iter().all(|part| part.peer_ids.len() == peers);
        if peer.is_leader() && peer.epoch().version == version && fits {
            peer.propose(Command { split: Some(split.clone()), ..Command::default() }, None);
        }
    }

    /// Takes one envelope from another store.
    pub(super) fn receive(&mut self, envelope: &Envelope) -> Result<(), String> {
        let (Some(from), Some(to)) = (envelope.from, envelope.to) else { return Ok(()) };
        let region_id = envelope.region_id;
        let conf_ver = envelope.epoch.unwrap_or_default().conf_ver;
        if to.store_id != self.setup.store_id {
            // For the store that had this address before.
            return Ok(());
        }
        if let Some(peer) = self.peers.get_mut(&region_id) {
            let removed = envelope.removed && to.id >= peer.id();
            if (removed || to.id > peer.id()) && conf_ver > peer.epoch().conf_ver {
                // This peer was removed; with a higher id another one is meant to take its place.
                peer.removed = true;
                return Ok(());
            }
            if envelope.removed || to.id != peer.id() {
                return Ok(());
            }
        } else if envelope.removed || self.destroyed.get(&region_id).is_some_and(|id| *id >= to.id)
        {
            return Ok(());
        }
        let (message, kind) = decode(&envelope.message)?;
        if self.answer_stale(envelope, kind) {
            return Ok(());
        }
        if !self.peers.contains_key(&region_id) {
            let from_leader = matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat);
            if !from_leader && kind != MessageType::MsgSnapshot {
                return Ok(());
            }
            self.start_peer(RegionState::waiting(region_id, to.id))?;
        }
        if kind == MessageType::MsgSnapshot
            && self.overlaps(region_id, &message.get_snapshot().data)
        {
            log::info(&format!(
                "region {region_id}: snapshot overlaps a region that must split first"
            ));
            return Ok(());
        }
        if let Some(peer) = self.peers.get_mut(&region_id) {
            peer.step(from, message);
        }
        Ok(())
    }

    /// Tells a peer that asks for votes and is no member any more that it was removed.
    fn answer_stale(&mut self, envelope: &Envelope, kind: MessageType) -> bool {
        let is_vote = matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        let Some(peer) = self.peers.get(&envelope.region_id).filter(|_| is_vote) else {
            return false;
        };
        let from = envelope.from.unwrap_or_default();
        let older = envelope.epoch.unwrap_or_default().conf_ver < peer.epoch().conf_ver;
        if !older || peer.state().peer(from.id).is_some() {
            return false;
        }
        let farewell = peer.envelope(from, Vec::new());
        self.errand(Errand::Send(from.store_id, farewell));
        true
    }

    /// Whether the snapshot's range touches another region here. That region has yet to apply the
    /// split that made the snapshot's; the leader sends again.
    fn overlaps(&self, region_id: u64, data: &[u8]) -> bool {
        let Ok(data) = <crate::proto::standinpb::RegionData as prost::Message>::decode(data) else {
            return true;
        };
        let range = data.region.unwrap_or_default();
        let touches = |other: &Region| {
            (other.end_key.is_empty() || range.start_key < other.end_key)
                && (range.end_key.is_empty() || other.start_key < range.end_key)
        };
        let others = self.peers.values().map(|peer| &peer.state().region);
        others.filter(|other| other.id != region_id && !other.peers.is_empty()).any(touches)
    }
}

/// An encoded message starts with its kind (field 1, varint): so a snapshot is seen without decoding.
const SNAPSHOT_START: [u8; 2] = [0x08, MessageType::MsgSnapshot as u8];

impl StoreMessage {
    /// The region and peer that a snapshot in this envelope is for.
    pub fn snapshot_target(envelope: &Envelope) -> Option<(u64, u64)> {
        let to = envelope.to.filter(|_| envelope.message.starts_with(&SNAPSHOT_START))?;
        Some((envelope.region_id, to.id))
    }
}
