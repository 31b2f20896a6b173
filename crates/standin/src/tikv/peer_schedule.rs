//! What do a region's leader and PD tell each other? The leader reports the region; PD answers with
//! a peer to add or remove, or a peer to lead. Nothing is done on an answer for an older epoch, and
//! nobody is made leader who does not answer.

use std::time::Duration;

use prost::Message as _;
use raft::ProgressState;
use raft::eraftpb::{ConfChange, ConfChangeType, Message, MessageType};

use super::peer::Peer;
use crate::proto::eraftpb;
use crate::proto::metapb::{self, PeerRole};
use crate::proto::pdpb::{ChangePeer, PeerStats, RegionHeartbeatRequest, RegionHeartbeatResponse};

/// A peer that lacks so many entries may not lead; the key is `raftstore.leader-transfer-max-log-lag`.
const MOST_LACKING: u64 = 128;

impl Peer {
    /// What the leader says of its region, without header.
    pub fn report(&self) -> RegionHeartbeatRequest {
        let storage = self.storage();
        let down = |peer: &metapb::Peer| {
            let silent =
                self.heard.get(&peer.id).map_or(Duration::ZERO, std::time::Instant::elapsed);
            (peer.id != self.id() && silent >= self.timing.down_after)
                .then_some(PeerStats { peer: Some(*peer), down_seconds: silent.as_secs() })
        };
        // So far behind that it needs a snapshot.
        let is_pending = |peer: &&metapb::Peer| {
            let matched = self.node.raft.prs().get(peer.id).map_or(0, |progress| progress.matched);
            peer.id != self.id() && matched < storage.state.truncated_index
        };
        RegionHeartbeatRequest {
            region: Some(storage.region.clone()),
            leader: storage.peer(self.id()).copied(),
            down_peers: storage.region.peers.iter().filter_map(down).collect(),
            pending_peers: storage.region.peers.iter().filter(is_pending).copied().collect(),
            approximate_size: storage.state.bytes,
            approximate_keys: storage.state.keys,
            term: self.node.raft.term,
            ..RegionHeartbeatRequest::default()
        }
    }

    /// Does what PD answered; the reason when it does not.
    pub fn schedule(&mut self, answer: &RegionHeartbeatResponse) -> Result<(), String> {
        if !self.is_leader() || answer.region_epoch != Some(self.epoch()) {
            return Err("for another epoch or leader".to_owned());
        }
        if let Some(change) = &answer.change_peer {
            self.propose_change(change)?;
        }
        if let Some(target) = answer.transfer_leader.as_ref().and_then(|transfer| transfer.peer) {
            self.offer_leadership(target.id);
        }
        Ok(())
    }

    fn propose_change(&mut self, wanted: &ChangePeer) -> Result<(), String> {
        let peer = wanted.peer.ok_or("no peer named")?;
        let known = self.storage().peer(peer.id);
        let is_voter = known.is_some_and(|known| known.role() == PeerRole::Voter);
        let (change_type, has_happened) = match wanted.change_type() {
            eraftpb::ConfChangeType::AddNode => (ConfChangeType::AddNode, is_voter),
            eraftpb::ConfChangeType::AddLearnerNode => {
                (ConfChangeType::AddLearnerNode, known.is_some())
            }
            eraftpb::ConfChangeType::RemoveNode => (ConfChangeType::RemoveNode, known.is_none()),
        };
        if has_happened {
            return Err("has happened already".to_owned());
        }
        if change_type == ConfChangeType::RemoveNode && peer.id == self.id() {
            return Err("is the leader; it must be moved first".to_owned());
        }
        if self.node.raft.has_pending_conf() || self.node.raft.lead_transferee.is_some() {
            return Err("another change is under way".to_owned());
        }
        let mut change = ConfChange { node_id: peer.id, ..ConfChange::default() };
        change.set_change_type(change_type);
        let context = peer.encode_to_vec();
        change.context = context.clone().into();
        self.node.propose_conf_change(context, change).map_err(|error| error.to_string())
    }

    /// Asks a voter whether it takes over. As in TiKV, leadership moves only when it answers: from
    /// then on the region takes no writes, and Raft waits an election timeout for a peer that is
    /// not there. A follower's Raft sends this message back to its leader as its own wish.
    fn offer_leadership(&mut self, to: u64) {
        let mut offer = Message { from: to, to, ..Message::default() };
        offer.set_msg_type(MessageType::MsgTransferLeader);
        self.node.ping();
        self.node.raft.msgs.push(offer);
    }

    /// Whether this peer leads and the one that wishes to may lead next: it lacks little, no peer
    /// waits for a snapshot, and the membership is settled.
    pub(super) fn hands_over_to(&self, peer_id: u64) -> bool {
        let (raft, peers) = (&self.node.raft, self.node.raft.prs());
        let lacks = |matched| raft.raft_log.last_index().saturating_sub(matched);
        self.is_leader()
            && peers.get(peer_id).is_some_and(|peer| lacks(peer.matched) < MOST_LACKING)
            && peers.iter().all(|(_, peer)| peer.state != ProgressState::Snapshot)
            && !raft.has_pending_conf()
    }
}
