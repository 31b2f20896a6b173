//! What do a region's leader and PD tell each other? The leader reports the region; PD answers with
//! a peer to add or remove, or a peer to lead. Nothing is done on an answer for an older epoch.

use std::time::Duration;

use prost::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType};

use super::peer::Peer;
use crate::proto::eraftpb;
use crate::proto::metapb::{self, PeerRole};
use crate::proto::pdpb::{ChangePeer, PeerStats, RegionHeartbeatRequest, RegionHeartbeatResponse};

impl Peer {
    /// What the leader says of its region, without header. `down_after` is
    /// `raftstore.max-peer-down-duration`.
    pub fn report(&self, down_after: Duration) -> RegionHeartbeatRequest {
        let state = self.state();
        let down = |peer: &metapb::Peer| {
            let silent =
                self.heard.get(&peer.id).map_or(Duration::ZERO, std::time::Instant::elapsed);
            (peer.id != self.id() && silent >= down_after)
                .then_some(PeerStats { peer: Some(*peer), down_seconds: silent.as_secs() })
        };
        RegionHeartbeatRequest {
            region: Some(state.region.clone()),
            leader: state.peer(self.id()).copied(),
            down_peers: state.region.peers.iter().filter_map(down).collect(),
            pending_peers: self.pending_peers(),
            approximate_size: state.bytes,
            approximate_keys: state.pairs.len() as u64,
            term: self.node.raft.term,
            ..RegionHeartbeatRequest::default()
        }
    }

    /// Peers so far behind that they need a snapshot.
    fn pending_peers(&self) -> Vec<metapb::Peer> {
        let behind = self.state().truncated_index();
        let progress = self.node.raft.prs();
        let pending = |peer: &&metapb::Peer| {
            peer.id != self.id() && progress.get(peer.id).is_none_or(|p| p.matched < behind)
        };
        self.state().region.peers.iter().filter(pending).copied().collect()
    }

    fn is_heard(&self, peer_id: u64) -> bool {
        self.heard.get(&peer_id).is_some_and(|heard| heard.elapsed() < self.patience)
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
            self.transfer_to(target.id)?;
        }
        Ok(())
    }

    fn propose_change(&mut self, wanted: &ChangePeer) -> Result<(), String> {
        let peer = wanted.peer.ok_or("no peer named")?;
        let known = self.state().peer(peer.id);
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
        self.majority_survives(peer, change_type)?;
        let mut change = ConfChange { node_id: peer.id, ..ConfChange::default() };
        change.set_change_type(change_type);
        let context = peer.encode_to_vec();
        change.context = context.clone().into();
        self.node.propose_conf_change(context, change).map_err(|error| error.to_string())
    }

    /// Refuses a change after which the peers that are heard and caught up would be no majority of
    /// the voters, as TiKV does before it proposes one.
    fn majority_survives(&self, peer: metapb::Peer, change: ConfChangeType) -> Result<(), String> {
        if change == ConfChangeType::AddLearnerNode {
            return Ok(());
        }
        let peers = self.state().region.peers.iter();
        let mut voters: Vec<u64> = peers
            .filter(|known| known.role() == PeerRole::Voter && known.id != peer.id)
            .map(|known| known.id)
            .collect();
        let single = voters.len() == 1;
        if change == ConfChangeType::AddNode {
            voters.push(peer.id);
        }
        let progress = self.node.raft.prs();
        let usable = |id: &&u64| {
            let caught_up = |p: &raft::Progress| p.matched >= self.state().truncated_index();
            // A region's second peer may be added as a voter at once: it has said nothing yet.
            **id == self.id()
                || (self.is_heard(**id) && progress.get(**id).is_some_and(caught_up))
                || (single && **id == peer.id)
        };
        let usable_count = voters.iter().filter(usable).count();
        if usable_count * 2 > voters.len() {
            Ok(())
        } else {
            Err(format!("only {usable_count} of {} voters would be usable", voters.len()))
        }
    }

    /// Asks Raft to move leadership to another voter.
    pub fn transfer_to(&mut self, peer_id: u64) -> Result<(), String> {
        let target = self.state().peer(peer_id);
        if peer_id == self.id() || target.is_none_or(|peer| peer.role() != PeerRole::Voter) {
            return Err("cannot lead".to_owned());
        }
        self.node.transfer_leader(peer_id);
        Ok(())
    }
}
