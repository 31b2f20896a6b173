//! Where are the data of a cluster, and who may acknowledge a write?

use std::collections::{BTreeMap, BTreeSet};

/// A replica of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It votes, and its store has the log up to where it was acknowledged or will fetch it.
    Voter,
    /// It is being filled; a voter once it has caught up.
    Learner {
        /// When it will have caught up, if its store stays up.
        ready_at: u64,
    },
}

/// A range of keys with its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its id.
    pub id: u64,
    /// Its replicas by store.
    pub peers: BTreeMap<u64, Peer>,
    /// The store that leads it.
    pub leader: Option<u64>,
    /// Index of the last write that a client was told is safe.
    pub acknowledged: u64,
    /// Stores whose replica is behind the leader's, as the leader knows it.
    pub behind: BTreeSet<u64>,
    /// The leader as PD last heard it ([`crate::beliefs::REGION_HEARTBEATS`]).
    pub reported: Option<u64>,
}

impl Region {
    /// A region on one store.
    pub fn on(id: u64, store: u64) -> Self {
        Self {
            id,
            peers: [(store, Peer::Voter)].into(),
            leader: Some(store),
            acknowledged: 0,
            behind: BTreeSet::new(),
            reported: Some(store),
        }
    }

    /// Stores whose replica votes.
    pub fn voters(&self) -> impl Iterator<Item = u64> {
        let voters = self.peers.iter().filter(|(_, peer)| **peer == Peer::Voter);
        voters.map(|(store, _)| *store)
    }

    /// How many voters must have a write.
    pub fn quorum(&self) -> usize {
        self.voters().count() / 2 + 1
    }
}
