//! Where do a store's regions come from, and what does it refuse to believe about them? They come
//! from its disk at start and from leaders elsewhere; a message for a peer that was removed here
//! never brings that peer back.

use anyhow::Result;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::peer_storage::PeerStorage;
use super::store::{Errand, Store};
use crate::proto::metapb::Region;
use crate::proto::standinpb::Envelope;

impl Store {
    /// Starts regions of the cluster's beginning on this store, unless they are or were here.
    pub fn begin(&mut self, regions: Vec<Region>) -> Result<()> {
        let transaction = self.disk.begin(true)?;
        for region in regions {
            let id = region.id;
            let known = self.peers.contains_key(&id) || self.destroyed.contains_key(&id);
            let Some(peer) = region.peers.first().copied().filter(|_| !known) else { continue };
            let storage = PeerStorage::new(self.disk.clone(), region, peer.id);
            storage.save(&transaction)?;
            self.start_peer(storage)?;
        }
        Ok(transaction.commit()?)
    }

    /// Takes one envelope from another store.
    pub(super) fn receive(&mut self, envelope: &Envelope) -> Result<()> {
        let (Some(from), Some(to)) = (envelope.from, envelope.to) else { return Ok(()) };
        let region_id = envelope.region_id;
        let conf_ver = envelope.epoch.unwrap_or_default().conf_ver;
        if to.store_id != self.id {
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
        let message = Message::parse_from_bytes(&envelope.message)?;
        let kind = message.get_msg_type();
        if self.answer_stale(envelope, kind) {
            return Ok(());
        }
        if !self.peers.contains_key(&region_id) {
            use MessageType::{MsgAppend, MsgHeartbeat, MsgSnapshot};
            if !matches!(kind, MsgAppend | MsgHeartbeat | MsgSnapshot) {
                // Only a leader's word makes a peer.
                return Ok(());
            }
            self.start_peer(PeerStorage::waiting(self.disk.clone(), region_id, to.id))?;
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
        if !older || peer.storage().peer(from.id).is_some() {
            return false;
        }
        let farewell = peer.envelope(from, Vec::new());
        self.errand(Errand::Send(from.store_id, farewell));
        true
    }
}
