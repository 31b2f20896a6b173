//! How does PD change a region? By operators: a few steps that are sent to the region's leader one
//! after the other, each until a heartbeat shows that it has happened.

use std::collections::VecDeque;

use super::region::Region;
use crate::proto::eraftpb::ConfChangeType;
use crate::proto::metapb::{Peer, PeerRole};
use crate::proto::pdpb::{ChangePeer, RegionHeartbeatResponse, TransferLeader};
use crate::units;

/// Nanoseconds before a step that has not happened is sent again.
const SEND_AGAIN: i64 = 2_000_000_000;

/// One change of a region; each names a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new peer that only learns until it has caught up.
    AddLearner(u64),
    /// The learner votes from now on.
    Promote(u64),
    /// The peer goes.
    Remove(u64),
    /// The peer is to lead.
    TransferLeader(u64),
}

impl Step {
    fn is_done(self, region: &Region) -> bool {
        let peer = |store| region.peer_on(store);
        match self {
            Self::AddLearner(store) => peer(store).is_some_and(|peer| !region.is_pending(peer)),
            Self::Promote(store) => region.voters().any(|peer| peer.store_id == store),
            Self::Remove(store) => peer(store).is_none(),
            Self::TransferLeader(store) => region.leader_store() == store,
        }
    }

    /// The command to the region's leader; `new_peer` is the id of a peer that is added.
    fn command(self, region: &Region, new_peer: u64) -> Option<RegionHeartbeatResponse> {
        let change = |peer: Peer, role: PeerRole, kind: ConfChangeType| RegionHeartbeatResponse {
            change_peer: Some(ChangePeer {
                peer: Some(Peer { role: role.into(), ..peer }),
                change_type: kind.into(),
            }),
            ..RegionHeartbeatResponse::default()
        };
        let peer = |store| region.peer_on(store).copied();
        Some(match self {
            Self::AddLearner(store_id) => {
                let new = Peer { id: new_peer, store_id, ..Peer::default() };
                change(
                    peer(store_id).unwrap_or(new),
                    PeerRole::Learner,
                    ConfChangeType::AddLearnerNode,
                )
            }
            Self::Promote(store) => change(peer(store)?, PeerRole::Voter, ConfChangeType::AddNode),
            Self::Remove(store) => {
                let leaving = peer(store)?;
                change(leaving, leaving.role(), ConfChangeType::RemoveNode)
            }
            Self::TransferLeader(store) => RegionHeartbeatResponse {
                transfer_leader: Some(TransferLeader { peer: peer(store), peers: Vec::new() }),
                ..RegionHeartbeatResponse::default()
            },
        })
    }
}

/// Why an operator runs; each kind has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Repair: missing, down, offline or surplus peers.
    Replica,
    /// Leaders move.
    Leader,
    /// Peers move to spread the load.
    Region,
}

/// Steps that a region goes through.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The region.
    pub region: u64,
    /// What it counts against.
    pub kind: Kind,
    /// Why, in PD's words.
    pub reason: &'static str,
    /// The id of the peer that it adds; given when it starts.
    pub new_peer: u64,
    steps: VecDeque<Step>,
    since: i64,
    sent: i64,
}

impl Operator {
    /// An operator that starts now.
    pub fn new(region: u64, kind: Kind, reason: &'static str, steps: Vec<Step>) -> Self {
        let since = units::now_nanos();
        Self { region, kind, reason, new_peer: 0, steps: steps.into(), since, sent: 0 }
    }

    /// Leaves out the steps that have happened; `true` while some are left and time is too.
    pub fn advance(&mut self, region: &Region, now: i64) -> bool {
        while self.steps.front().is_some_and(|step| step.is_done(region)) {
            self.steps.pop_front();
            self.sent = 0;
        }
        let removes_leader = |step: &Step| *step == Step::Remove(region.leader_store());
        if self.steps.front().is_some_and(removes_leader) {
            // As in PD: leadership went to the peer that is to go, and a leader is never removed.
            return false;
        }
        let limit = match self.kind {
            Kind::Leader => 30_000_000_000,
            Kind::Replica | Kind::Region => 600_000_000_000,
        };
        !self.steps.is_empty() && now - self.since < limit
    }

    /// The command to send now, if the step was not sent just before.
    pub fn command(&mut self, region: &Region, now: i64) -> Option<RegionHeartbeatResponse> {
        if now - self.sent < SEND_AGAIN {
            return None;
        }
        let command = self.steps.front()?.command(region, self.new_peer)?;
        self.sent = now;
        Some(RegionHeartbeatResponse {
            region_id: self.region,
            region_epoch: region.meta.region_epoch,
            target_peer: region.leader,
            ..command
        })
    }

    /// The store that the next peer goes to, while the operator still adds one.
    pub fn target(&self) -> Option<u64> {
        self.steps.iter().find_map(|step| match step {
            Step::AddLearner(store) | Step::Promote(store) => Some(*store),
            Step::Remove(_) | Step::TransferLeader(_) => None,
        })
    }

    /// The stores that are to take something yet.
    pub fn needs(&self) -> impl Iterator<Item = u64> {
        self.steps.iter().filter_map(|step| match step {
            Step::AddLearner(store) | Step::Promote(store) | Step::TransferLeader(store) => {
                Some(*store)
            }
            Step::Remove(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::metapb;

    #[test]
    fn an_operator_ends_where_leadership_went_to_the_peer_that_is_to_go() {
        let peer = |id, store_id| Peer { id, store_id, ..Peer::default() };
        let meta = metapb::Region { peers: vec![peer(5, 1), peer(6, 2)], ..Default::default() };
        let mut region = Region { leader: Some(peer(5, 1)), ..Region::from_meta(meta) };
        let steps = vec![Step::Remove(2)];
        let mut operator = Operator::new(1, Kind::Region, "balance-region", steps);
        let now = units::now_nanos();
        assert!(operator.advance(&region, now));
        region.leader = Some(peer(6, 2));
        assert!(!operator.advance(&region, now));
    }
}
