//! What can a client ask of a region? Reads and writes, with the header that says which region,
//! peer and epoch the client believes in, and where the answer goes.

use anyhow::Result;
use tokio::sync::oneshot;

use super::disk::{PAIRS, between};
use super::peer_storage::PeerStorage;
use super::region_error as refuse;
use crate::proto::errorpb;
use crate::proto::kvrpcpb::{Context, KvPair};
use crate::proto::standinpb::Command;

/// What comes of a call: an answer, or a refusal that sends the client elsewhere.
pub type Answered = Result<Answer, errorpb::Error>;

/// Where the answer goes. Dropped without an answer when the outcome is unknown.
pub type Reply = oneshot::Sender<Answered>;

/// A request on its way to its region's peer.
pub struct Call {
    /// What the client believes about the region.
    pub context: Context,
    /// What it wants.
    pub operation: Operation,
    /// Who waits.
    pub reply: Reply,
}

/// A read or a write.
pub enum Operation {
    /// Answered from the leader's pairs once a majority confirmed the leader.
    Read(Read),
    /// Answered once committed and applied.
    Write(Command),
}

/// Which pairs are read.
#[derive(Clone, Debug)]
pub enum Read {
    /// Those of the keys that exist; a key of another region is refused.
    Keys(Vec<Vec<u8>>),
    /// The region's part of a range.
    Range(Scan),
}

/// The answer to a call: what it asked for, nothing for a plain write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Those that were read; the one before a compare-and-swap.
    pub pairs: Vec<KvPair>,
    /// Whether a compare-and-swap wrote.
    pub succeeded: bool,
}

/// A range read. Backward, `start` is the upper bound (exclusive) and `end` the lower (inclusive).
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Where to begin.
    pub start: Vec<u8>,
    /// Where to stop; empty for the region's end.
    pub end: Vec<u8>,
    /// At most so many pairs.
    pub limit: usize,
    /// Leave the values out.
    pub key_only: bool,
    /// Descending.
    pub reverse: bool,
}

/// Refuses a key outside the region.
pub fn within(key: &[u8], storage: &PeerStorage) -> Result<(), errorpb::Error> {
    if storage.contains(key) {
        Ok(())
    } else {
        Err(refuse::key_not_in_region(key, &storage.region))
    }
}

/// Reads from a region; an error outside is the disk's.
pub fn read(read: &Read, storage: &PeerStorage) -> Result<Answered> {
    let pairs = match read {
        Read::Range(wanted) => scan(wanted, storage)?,
        Read::Keys(keys) => {
            if let Some(refused) = keys.iter().find_map(|key| within(key, storage).err()) {
                return Ok(Err(refused));
            }
            let table = storage.disk.read()?.open_table(PAIRS)?;
            let mut pairs = Vec::new();
            for key in keys {
                let value = table.get(&**key)?.map(|value| value.value().to_vec());
                pairs.extend(value.map(|value| KvPair { key: key.clone(), value, error: None }));
            }
            pairs
        }
    };
    Ok(Ok(Answer { pairs, succeeded: false }))
}

fn scan(wanted: &Scan, storage: &PeerStorage) -> Result<Vec<KvPair>> {
    let region = &storage.region;
    let (low, high) =
        if wanted.reverse { (&wanted.end, &wanted.start) } else { (&wanted.start, &wanted.end) };
    let low = low.max(&region.start_key);
    // The lower of two ends, of which an empty one is the end of all keys.
    let ends = [high, &region.end_key].into_iter().filter(|end| !end.is_empty());
    let high = ends.min().map_or(&[][..], Vec::as_slice);
    if !high.is_empty() && **low >= *high {
        return Ok(Vec::new());
    }
    let table = storage.disk.read()?.open_table(PAIRS)?;
    let mut rows = table.range::<&[u8]>(between(low, high))?;
    let mut pairs = Vec::new();
    while pairs.len() < wanted.limit
        && let Some(row) = if wanted.reverse { rows.next_back() } else { rows.next() }
    {
        let (key, value) = row?;
        let value = if wanted.key_only { Vec::new() } else { value.value().to_vec() };
        pairs.push(KvPair { key: key.value().to_vec(), value, error: None });
    }
    Ok(pairs)
}
