//! What can a client ask of a region? Reads and writes, with the header that says which region,
//! peer and epoch the client believes in, and where the answer goes.

use tokio::sync::oneshot;

use super::region::RegionState;
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
    /// Answered once committed and applied; its version is filled in by the peer.
    Write(Command),
}

/// Reads from a region's pairs; a key of another region is refused.
pub type Read = Box<dyn FnOnce(&RegionState) -> Answered + Send>;

/// The answer to a call: what it asked for, nothing for a plain write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The value of the key; before a compare-and-swap.
    pub value: Option<Vec<u8>>,
    /// The pairs of several keys, or of a range.
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
pub fn within(key: &[u8], region: &RegionState) -> Result<(), errorpb::Error> {
    if region.contains(key) { Ok(()) } else { Err(refuse::key_not_in_region(key, region)) }
}

/// Reads one key.
pub fn get(key: &[u8], region: &RegionState) -> Answered {
    within(key, region)?;
    Ok(Answer { value: region.pairs.get(key).cloned(), ..Answer::default() })
}

/// Reads those of some keys that exist.
pub fn batch_get(keys: Vec<Vec<u8>>, region: &RegionState) -> Answered {
    let mut pairs = Vec::new();
    for key in keys {
        let value = get(&key, region)?.value;
        pairs.extend(value.map(|value| KvPair { key, value, error: None }));
    }
    Ok(Answer { pairs, ..Answer::default() })
}

/// Reads the region's part of a range.
pub fn scan(scan: &Scan, region: &RegionState) -> Answer {
    let (low, high) =
        if scan.reverse { (&scan.end, &scan.start) } else { (&scan.start, &scan.end) };
    let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| KvPair {
        key: key.clone(),
        value: if scan.key_only { Vec::new() } else { value.clone() },
        error: None,
    };
    let inside = |key: &Vec<u8>| key >= low && (high.is_empty() || key < high);
    let found = region.pairs.iter().filter(|(key, _)| inside(key));
    let pairs = if scan.reverse {
        found.rev().take(scan.limit).map(pair).collect()
    } else {
        found.take(scan.limit).map(pair).collect()
    };
    Answer { pairs, ..Answer::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::metapb::Region;

    #[test]
    fn scans_go_both_ways_between_their_bounds() {
        let pairs = ["a", "b", "c", "d"].map(|k| (k.as_bytes().to_vec(), b"v".to_vec()));
        let region = RegionState::new(Region::default(), 1, pairs.into_iter().collect());
        let scan = |start: &str, end: &str, limit, reverse| {
            let (start, end) = (start.into(), end.into());
            let wanted = Scan { start, end, limit, key_only: true, reverse };
            let keys = super::scan(&wanted, &region)
                .pairs
                .into_iter()
                .map(|pair| String::from_utf8(pair.key).unwrap());
            keys.collect::<String>()
        };
        assert_eq!(scan("b", "d", 9, false), "bc");
        assert_eq!(scan("", "", 3, false), "abc");
        assert_eq!(scan("d", "b", 9, true), "cb");
        assert_eq!(scan("", "", 2, true), "dc");
    }
}
