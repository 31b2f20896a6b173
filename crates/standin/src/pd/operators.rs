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

/// One change of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new peer that only learns until it has caught up.
    AddLearner {
        /// Where.
        store: u64,
        /// Its id.
        peer: u64,
    },
    /// The learner votes from now on.
    Promote {
        /// Where the learner is.
        store: u64,
        /// Its id.
        peer: u64,
    },
    /// The peer on this store goes.
    Remove {
        /// Which store.
        store: u64,
    },
    /// This store's peer is to lead.
    TransferLeader {
        /// Which store.
        to: u64,
    },
}

impl Step {
    fn is_done(&self, region: &Region) -> bool {
        match self {
            Self::AddLearner { store, .. } => {
                region.peer_on(*store).is_some_and(|peer| !region.is_pending(peer))
            }
            Self::Promote { store, .. } => region.voters().any(|peer| peer.store_id == *store),
            Self::Remove { store } => region.peer_on(*store).is_none(),
            Self::TransferLeader { to } => region.leader_store() == *to,
        }
    }

    fn command(&self, region: &Region) -> Option<RegionHeartbeatResponse> {
        let change = |peer: Peer, kind: ConfChangeType| RegionHeartbeatResponse {
            change_peer: Some(ChangePeer { peer: Some(peer), change_type: kind.into() }),
            ..RegionHeartbeatResponse::default()
        };
        let new_peer = |id: u64, store_id: u64, role: PeerRole| Peer {
            id,
            store_id,
            role: role.into(),
            is_witness: false,
        };
        Some(match self {
            Self::AddLearner { store, peer } => {
                change(new_peer(*peer, *store, PeerRole::Learner), ConfChangeType::AddLearnerNode)
            }
            Self::Promote { store, peer } => {
                change(new_peer(*peer, *store, PeerRole::Voter), ConfChangeType::AddNode)
            }
            Self::Remove { store } => change(*region.peer_on(*store)?, ConfChangeType::RemoveNode),
            Self::TransferLeader { to } => RegionHeartbeatResponse {
                transfer_leader: Some(TransferLeader {
                    peer: Some(*region.peer_on(*to)?),
                    peers: Vec::new(),
                }),
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
    steps: VecDeque<Step>,
    since: i64,
    sent: i64,
}

impl Operator {
    /// An operator that starts now.
    pub fn new(region: u64, kind: Kind, reason: &'static str, steps: Vec<Step>) -> Self {
        let since = units::now_nanos();
        Self { region, kind, reason, steps: steps.into(), since, sent: 0 }
    }

    /// Leaves out the steps that have happened; `true` while some are left and time is too.
    pub fn advance(&mut self, region: &Region, now: i64) -> bool {
        while self.steps.front().is_some_and(|step| step.is_done(region)) {
            self.steps.pop_front();
            self.sent = 0;
        }
        let removes_leader = |step: &Step| *step == Step::Remove { store: region.leader_store() };
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
        let command = self.steps.front()?.command(region)?;
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
            Step::AddLearner { store, .. } | Step::Promote { store, .. } => Some(*store),
            Step::Remove { .. } | Step::TransferLeader { .. } => None,
        })
    }

    /// The store that is to lead, where leading is all that the operator changes.
    pub fn new_leader(&self) -> Option<u64> {
        match self.steps.front() {
            Some(Step::TransferLeader { to }) => Some(*to),
            Some(Step::AddLearner { .. } | Step::Promote { .. } | Step::Remove { .. }) | None => {
                None
            }
        }
    }

    /// One line of GET `/operators`.
    pub fn show(&self) -> String {
        format!(
            "{} (kind:{:?}, region:{}, createAt:{}, steps:{:?})",
            self.reason,
            self.kind,
            self.region,
            units::rfc3339(self.since),
            self.steps,
        )
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
        let steps = vec![Step::Remove { store: 2 }];
        let mut operator = Operator::new(1, Kind::Region, "balance-region", steps);
        let now = units::now_nanos();
        assert!(operator.advance(&region, now));
        region.leader = Some(peer(6, 2));
        assert!(!operator.advance(&region, now));
    }
}
