//! What does a store hold of one region? Its range and peers, its pairs, and the Raft log from the
//! last truncation on; all of it on [`super::disk`]. This is the `Storage` that the `raft` crate
//! reads from.

use std::cmp::Ordering;

use anyhow::Result;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use redb::WriteTransaction;

use super::disk::{DESTROYED, Disk, LOG, PAIRS, PEERS, range};
use crate::proto::kvrpcpb::KvPair;
use crate::proto::metapb::{Peer, PeerRole, Region, RegionEpoch};
use crate::proto::standinpb::{PeerState, RegionData};

/// A new region starts its log behind this index, as in TiKV, so that a peer without data (index 0)
/// can only be filled by a snapshot.
pub const FIRST_INDEX: u64 = 5;

/// One region as this store has it.
#[derive(Clone, Debug)]
pub struct PeerStorage {
    /// Where log and pairs are.
    pub disk: Disk,
    /// Range, epoch and peers; without peers while this peer waits for its first snapshot.
    pub region: Region,
    /// The rest; its own `region` is filled in when it is saved.
    pub state: PeerState,
}

impl PeerStorage {
    /// A region that begins here.
    pub fn new(disk: Disk, region: Region, peer_id: u64) -> Self {
        let state = PeerState {
            peer_id,
            applied_index: FIRST_INDEX,
            applied_term: FIRST_INDEX,
            truncated_index: FIRST_INDEX,
            truncated_term: FIRST_INDEX,
            last_index: FIRST_INDEX,
            term: FIRST_INDEX,
            commit: FIRST_INDEX,
            ..PeerState::default()
        };
        Self { disk, region, state }
    }

    /// A peer that has nothing yet and waits for a snapshot.
    pub fn waiting(disk: Disk, region_id: u64, peer_id: u64) -> Self {
        let region = Region { id: region_id, ..Region::default() };
        Self { disk, region, state: PeerState { peer_id, ..PeerState::default() } }
    }

    /// What [`Self::save`] wrote.
    pub fn saved(disk: Disk, mut state: PeerState) -> Self {
        Self { disk, region: state.region.take().unwrap_or_default(), state }
    }

    /// Whether the peer has data of the region at all.
    pub fn is_initialized(&self) -> bool {
        !self.region.peers.is_empty()
    }

    /// The region's epoch; zero while waiting for a snapshot.
    pub fn epoch(&self) -> RegionEpoch {
        self.region.region_epoch.unwrap_or_default()
    }

    /// Whether `key` belongs to the region.
    pub fn contains(&self, key: &[u8]) -> bool {
        let end = &self.region.end_key;
        key >= self.region.start_key.as_slice() && (end.is_empty() || key < end.as_slice())
    }

    /// The region's peer with this id.
    pub fn peer(&self, id: u64) -> Option<&Peer> {
        self.region.peers.iter().find(|peer| peer.id == id)
    }

    /// Writes everything but log and pairs.
    pub fn save(&self, transaction: &WriteTransaction) -> Result<()> {
        let state = PeerState { region: Some(self.region.clone()), ..self.state.clone() };
        transaction.open_table(PEERS)?.insert(self.region.id, &*state.encode_to_vec())?;
        Ok(())
    }

    /// Replaces term, vote and commit index.
    pub fn set_hard_state(&mut self, hard_state: &HardState) {
        let HardState { term, vote, commit, .. } = *hard_state;
        self.state = PeerState { term, vote, commit, ..std::mem::take(&mut self.state) };
    }

    /// Notes that the entry's effect is in the pairs.
    pub fn set_applied(&mut self, entry: &Entry) {
        self.state.applied_index = entry.index;
        self.state.applied_term = entry.term;
    }

    /// Appends entries, replacing those from the first one's index on.
    pub fn append(&mut self, entries: &[Entry], transaction: &WriteTransaction) -> Result<()> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let id = self.region.id;
        let mut log = transaction.open_table(LOG)?;
        if first.index <= self.state.last_index {
            log.retain_in((id, first.index)..=(id, self.state.last_index), |_, _| false)?;
        }
        for entry in entries {
            log.insert((id, entry.index), &*entry.write_to_bytes()?)?;
        }
        self.state.last_index = last.index;
        Ok(())
    }

    /// Forgets applied entries once there are twice as many as are `kept` for followers that lag;
    /// one that is further behind gets a snapshot.
    pub fn truncate(&mut self, kept: u64, transaction: &WriteTransaction) -> Result<()> {
        let id = self.region.id;
        if self.state.applied_index <= self.state.truncated_index + 2 * kept {
            return Ok(());
        }
        let last = self.state.applied_index - kept;
        self.state.truncated_term = self.term(last)?;
        self.state.truncated_index = last;
        Ok(transaction.open_table(LOG)?.retain_in((id, 0)..=(id, last), |_, _| false)?)
    }

    /// Replaces everything by a leader's snapshot.
    pub fn install(&mut self, snapshot: &Snapshot, transaction: &WriteTransaction) -> Result<()> {
        self.clear(transaction)?;
        let data = RegionData::decode(&*snapshot.data)?;
        self.region = data.region.unwrap_or_default();
        let metadata = snapshot.get_metadata();
        let mut pairs = transaction.open_table(PAIRS)?;
        let mut bytes = 0;
        for pair in &data.pairs {
            bytes += (pair.key.len() + pair.value.len()) as u64;
            pairs.insert(&*pair.key, &*pair.value)?;
        }
        self.state = PeerState {
            applied_index: metadata.index,
            applied_term: metadata.term,
            truncated_index: metadata.index,
            truncated_term: metadata.term,
            last_index: metadata.index,
            commit: self.state.commit.max(metadata.index),
            keys: data.pairs.len() as u64,
            bytes,
            ..std::mem::take(&mut self.state)
        };
        Ok(())
    }

    /// Removes log and pairs.
    fn clear(&self, transaction: &WriteTransaction) -> Result<()> {
        let id = self.region.id;
        transaction.open_table(LOG)?.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
        if self.is_initialized() {
            transaction
                .open_table(PAIRS)?
                .retain_in::<&[u8], _>(range(&self.region), |_, _| false)?;
        }
        Ok(())
    }

    /// Removes everything; this peer never comes back.
    pub fn destroy(&self, transaction: &WriteTransaction) -> Result<()> {
        self.clear(transaction)?;
        transaction.open_table(PEERS)?.remove(self.region.id)?;
        transaction.open_table(DESTROYED)?.insert(self.region.id, self.state.peer_id)?;
        Ok(())
    }

    /// The voters and learners that the region's peers say.
    fn conf_state(region: &Region) -> ConfState {
        let with = |role| {
            let peers = region.peers.iter().filter(move |peer| peer.role() == role);
            peers.map(|peer| peer.id).collect::<Vec<_>>()
        };
        ConfState::from((with(PeerRole::Voter), with(PeerRole::Learner)))
    }

    fn read_entries(&self, low: u64, high: u64) -> Result<Vec<Entry>> {
        let log = self.disk.read()?.open_table(LOG)?;
        let id = self.region.id;
        let rows = log.range((id, low)..(id, high))?;
        rows.map(|row| Ok(Entry::parse_from_bytes(row?.1.value())?)).collect()
    }

    /// The pairs as the last committed transaction left them, which may be before what the memory
    /// says while a round is under way.
    fn read_snapshot(&self) -> Result<Snapshot> {
        let read = self.disk.read()?;
        let row = read.open_table(PEERS)?.get(self.region.id)?;
        let state = row.map(|row| PeerState::decode(row.value())).transpose()?.unwrap_or_default();
        let region = state.region.unwrap_or_default();
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (state.applied_index, state.applied_term);
        metadata.set_conf_state(Self::conf_state(&region));
        let mut pairs = Vec::new();
        for row in read.open_table(PAIRS)?.range::<&[u8]>(range(&region))? {
            let (key, value) = row?;
            pairs.push(KvPair {
                key: key.value().into(),
                value: value.value().into(),
                error: None,
            });
        }
        snapshot.data = RegionData { region: Some(region.clone()), pairs }.encode_to_vec().into();
        Ok(snapshot)
    }
}

fn unreadable(error: anyhow::Error) -> raft::Error {
    StorageError::Other(error.into()).into()
}

impl Storage for PeerStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let PeerState { term, vote, commit, .. } = self.state;
        let hard_state = HardState { term, vote, commit, ..HardState::default() };
        Ok(RaftState::new(hard_state, Self::conf_state(&self.region)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.state.truncated_index {
            return Err(StorageError::Compacted.into());
        }
        let mut found = self.read_entries(low, high).map_err(unreadable)?;
        if (found.len() as u64) < high.saturating_sub(low) {
            return Err(StorageError::Unavailable.into());
        }
        raft::util::limit_size(&mut found, max_size.into());
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match index.cmp(&self.state.truncated_index) {
            Ordering::Less => Err(StorageError::Compacted.into()),
            Ordering::Equal => Ok(self.state.truncated_term),
            Ordering::Greater => {
                let found = self.read_entries(index, index + 1).map_err(unreadable)?;
                found.first().map(|entry| entry.term).ok_or(StorageError::Unavailable.into())
            }
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.state.truncated_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.state.last_index)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let snapshot = self.read_snapshot().map_err(unreadable)?;
        if snapshot.get_metadata().index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(snapshot)
    }
}
