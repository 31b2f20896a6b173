//! What does a store hold of one region? Its range and peers, its pairs, and the Raft log from the
//! last truncation on. All of it is in memory; the [`super::disk_log`] has the same on disk. This
//! is the `Storage` that the `raft` crate reads from.

use std::collections::{BTreeMap, VecDeque};

use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::proto::kvrpcpb::KvPair;
use crate::proto::metapb::{Peer, PeerRole, Region, RegionEpoch};
use crate::proto::standinpb::{RegionData, RegionImage};

/// A new region starts its log behind this index, as in TiKV, so that a peer without data (index 0)
/// can only be filled by a snapshot.
pub const FIRST_INDEX: u64 = 5;
/// Applied entries kept for followers that lag; those further behind get a snapshot.
const KEPT_ENTRIES: u64 = 2_000;

/// One region as this store has it.
#[derive(Clone, Debug, Default)]
pub struct RegionState {
    /// Range, epoch and peers; without peers while this peer waits for its first snapshot.
    pub region: Region,
    /// This store's peer in the region.
    pub peer_id: u64,
    /// All pairs of the range.
    pub pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys and values of `pairs`, in bytes.
    pub bytes: u64,
    /// The last entry whose effect is in `pairs`.
    pub applied_index: u64,
    applied_term: u64,
    truncated_index: u64,
    truncated_term: u64,
    hard_state: HardState,
    entries: VecDeque<Entry>,
}

impl RegionState {
    /// A region that begins here: the first one, or a part of a split.
    pub fn new(region: Region, peer_id: u64, pairs: BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        let mut state = Self {
            region,
            peer_id,
            applied_index: FIRST_INDEX,
            applied_term: FIRST_INDEX,
            truncated_index: FIRST_INDEX,
            truncated_term: FIRST_INDEX,
            ..Self::default()
        };
        state.hard_state.term = FIRST_INDEX;
        state.hard_state.commit = FIRST_INDEX;
        state.set_pairs(pairs);
        state
    }

    /// A peer that has nothing yet and waits for a snapshot.
    pub fn waiting(region_id: u64, peer_id: u64) -> Self {
        let region = Region { id: region_id, ..Region::default() };
        Self { region, peer_id, ..Self::default() }
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

    /// The Raft term that is on disk.
    pub fn term(&self) -> u64 {
        self.hard_state.term
    }

    /// The last index before the log's first entry.
    pub fn truncated_index(&self) -> u64 {
        self.truncated_index
    }

    /// Replaces all pairs.
    pub fn set_pairs(&mut self, pairs: BTreeMap<Vec<u8>, Vec<u8>>) {
        self.bytes = pairs.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum();
        self.pairs = pairs;
    }

    /// Writes one pair; returns the value before it.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Option<Vec<u8>> {
        let key_bytes = key.len() as u64;
        self.bytes += key_bytes + value.len() as u64;
        let before = self.pairs.insert(key, value);
        if let Some(before) = &before {
            self.bytes -= key_bytes + before.len() as u64;
        }
        before
    }

    /// Deletes one pair.
    pub fn delete(&mut self, key: &[u8]) {
        if let Some(before) = self.pairs.remove(key) {
            self.bytes -= (key.len() + before.len()) as u64;
        }
    }

    /// Takes all pairs from `start` on; they leave the region.
    pub fn split_off(&mut self, start: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let taken = self.pairs.split_off(start);
        self.bytes -= taken.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum::<u64>();
        taken
    }

    /// Notes that the entry's effect is in the pairs.
    pub fn set_applied(&mut self, entry: &Entry) {
        self.applied_index = entry.index;
        self.applied_term = entry.term;
    }

    /// Appends entries, replacing those from the first one's index on.
    pub fn append(&mut self, entries: Vec<Entry>) {
        if let Some(first) = entries.first() {
            let keep = first.index.saturating_sub(self.truncated_index + 1);
            self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        }
        self.entries.extend(entries);
    }

    /// Replaces term, vote and commit index.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Forgets entries that are applied and that only far-behind followers would need.
    pub fn truncate_log(&mut self) {
        let keep_from = self.applied_index.saturating_sub(KEPT_ENTRIES);
        while let Some(first) = self.entries.front() {
            if first.index > keep_from {
                break;
            }
            (self.truncated_index, self.truncated_term) = (first.index, first.term);
            self.entries.pop_front();
        }
    }

    /// Replaces everything by a leader's snapshot.
    pub fn install(&mut self, snapshot: &Snapshot) -> Result<(), prost::DecodeError> {
        let data = RegionData::decode(&*snapshot.data)?;
        let metadata = snapshot.get_metadata();
        self.set_pairs(data.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect());
        self.region = data.region.unwrap_or_default();
        self.applied_index = metadata.index;
        self.applied_term = metadata.term;
        self.truncated_index = metadata.index;
        self.truncated_term = metadata.term;
        self.hard_state.commit = self.hard_state.commit.max(metadata.index);
        self.entries.clear();
        Ok(())
    }

    /// The voters and learners that the region's peers say.
    pub fn conf_state(&self) -> ConfState {
        let with = |role| {
            let peers = self.region.peers.iter().filter(move |peer| peer.role() == role);
            peers.map(|peer| peer.id).collect::<Vec<_>>()
        };
        ConfState::from((with(PeerRole::Voter), with(PeerRole::Learner)))
    }

    fn data(&self) -> RegionData {
        let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| KvPair {
            key: key.clone(),
            value: value.clone(),
            error: None,
        };
        RegionData {
            region: Some(self.region.clone()),
            pairs: self.pairs.iter().map(pair).collect(),
        }
    }

    /// Everything, as it goes to disk.
    pub fn image(&self) -> RegionImage {
        RegionImage {
            data: Some(self.data()),
            applied_index: self.applied_index,
            applied_term: self.applied_term,
            truncated_index: self.truncated_index,
            truncated_term: self.truncated_term,
            hard_state: encode(&self.hard_state),
            entries: self.entries.iter().map(encode).collect(),
            peer_id: self.peer_id,
        }
    }

    /// What [`Self::image`] wrote.
    pub fn from_image(image: RegionImage) -> Result<Self, String> {
        let data = image.data.unwrap_or_default();
        let mut state = Self {
            region: data.region.unwrap_or_default(),
            peer_id: image.peer_id,
            applied_index: image.applied_index,
            applied_term: image.applied_term,
            truncated_index: image.truncated_index,
            truncated_term: image.truncated_term,
            hard_state: decode_hard_state(&image.hard_state)?,
            ..Self::default()
        };
        state.set_pairs(data.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect());
        state.append(decode_entries(&image.entries)?);
        Ok(state)
    }
}

/// The bytes of one of Raft's own messages. Writing into memory does not fail, and the messages
/// have no required fields; should it fail all the same, the empty bytes are refused when read.
pub fn encode(message: &impl protobuf::Message) -> Vec<u8> {
    message.write_to_bytes().unwrap_or_default()
}

/// Reads a `HardState` from disk.
pub fn decode_hard_state(bytes: &[u8]) -> Result<HardState, String> {
    HardState::parse_from_bytes(bytes).map_err(|error| format!("hard state: {error}"))
}

/// Reads Raft entries from disk.
pub fn decode_entries(entries: &[Vec<u8>]) -> Result<Vec<Entry>, String> {
    let decode = |bytes: &Vec<u8>| Entry::parse_from_bytes(bytes);
    entries.iter().map(decode).collect::<Result<_, _>>().map_err(|error| format!("entry: {error}"))
}

impl Storage for RegionState {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let Some(skip) = low.checked_sub(self.truncated_index + 1) else {
            return Err(StorageError::Compacted.into());
        };
        let (skip, count) = (usize::try_from(skip), usize::try_from(high.saturating_sub(low)));
        let (Ok(skip), Ok(count)) = (skip, count) else {
            return Err(StorageError::Unavailable.into());
        };
        let mut found: Vec<Entry> = self.entries.iter().skip(skip).take(count).cloned().collect();
        if found.len() < count {
            return Err(StorageError::Unavailable.into());
        }
        raft::util::limit_size(&mut found, max_size.into());
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated_index {
            return Ok(self.truncated_term);
        }
        let Some(skip) = index.checked_sub(self.truncated_index + 1) else {
            return Err(StorageError::Compacted.into());
        };
        let entry = usize::try_from(skip).ok().and_then(|skip| self.entries.get(skip));
        entry.map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.truncated_index + self.entries.len() as u64)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.applied_index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot =
            Snapshot { data: self.data().encode_to_vec().into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        metadata.index = self.applied_index;
        metadata.term = self.applied_term;
        metadata.set_conf_state(self.conf_state());
        Ok(snapshot)
    }
}
