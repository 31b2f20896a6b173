//! What can a client ask of a region? Reads and writes, with the header that says which region,
//! peer and epoch the client believes in, and where the answer goes.

#![allow(clippy::result_large_err)] // A region error goes into an answer once; boxing gains nothing.

use tokio::sync::oneshot;

use super::region::RegionState;
use super::region_error as refuse;
use crate::proto::errorpb;
use crate::proto::kvrpcpb::{Context, KvPair};
use crate::proto::standinpb::Command;

/// Where the answer goes. Dropped without an answer when the outcome is unknown.
pub type Reply = oneshot::Sender<Result<Answer, errorpb::Error>>;

/// A request on its way to its region's peer.
#[derive(Debug)]
pub struct Call {
    /// What the client believes about the region.
    pub context: Context,
    /// What it wants.
    pub operation: Operation,
    /// Who waits.
    pub reply: Reply,
}

/// A read or a write.
#[derive(Debug)]
pub enum Operation {
    /// Answered from the leader's pairs once a majority confirmed the leader.
    Read(Read),
    /// Answered once committed and applied; its version is filled in by the peer.
    Write(Command),
}

/// What a read wants.
#[derive(Debug)]
pub enum Read {
    /// One value.
    Get(Vec<u8>),
    /// The pairs of those keys that exist.
    BatchGet(Vec<Vec<u8>>),
    /// A range.
    Scan(Scan),
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

/// The answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Read::Get`].
    Value(Option<Vec<u8>>),
    /// To the other reads.
    Pairs(Vec<KvPair>),
    /// To a write.
    Written,
    /// To a compare-and-swap.
    Swapped {
        /// Whether the new value was written.
        succeeded: bool,
        /// The value before.
        previous: Option<Vec<u8>>,
    },
}

/// Reads from the region's pairs; a key of another region is refused.
pub fn serve(read: &Read, region: &RegionState) -> Result<Answer, errorpb::Error> {
    match read {
        Read::Get(key) => {
            within(key, region)?;
            Ok(Answer::Value(region.pairs.get(key).cloned()))
        }
        Read::BatchGet(keys) => {
            let mut pairs = Vec::new();
            for key in keys {
                within(key, region)?;
                let value = region.pairs.get(key).cloned();
                pairs.extend(value.map(|value| KvPair { key: key.clone(), value, error: None }));
            }
            Ok(Answer::Pairs(pairs))
        }
        Read::Scan(scan) => Ok(Answer::Pairs(scan_pairs(scan, region))),
    }
}

/// Refuses a key outside the region.
pub fn within(key: &[u8], region: &RegionState) -> Result<(), errorpb::Error> {
    if region.contains(key) { Ok(()) } else { Err(refuse::key_not_in_region(key, region)) }
}

fn scan_pairs(scan: &Scan, region: &RegionState) -> Vec<KvPair> {
    let (low, high) =
        if scan.reverse { (&scan.end, &scan.start) } else { (&scan.start, &scan.end) };
    let inside = |key: &[u8]| key >= low.as_slice() && (high.is_empty() || key < high.as_slice());
    let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| KvPair {
        key: key.clone(),
        value: if scan.key_only { Vec::new() } else { value.clone() },
        error: None,
    };
    let found = region.pairs.iter().filter(|(key, _)| inside(key));
    if scan.reverse {
        found.rev().take(scan.limit).map(pair).collect()
    } else {
        found.take(scan.limit).map(pair).collect()
    }
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
            let scan = Scan { start, end, limit, key_only: true, reverse };
            let Ok(Answer::Pairs(pairs)) = serve(&Read::Scan(scan), &region) else { panic!() };
            let keys = pairs.into_iter().map(|pair| String::from_utf8(pair.key).unwrap());
            keys.collect::<String>()
        };
        assert_eq!(scan("b", "d", 9, false), "bc");
        assert_eq!(scan("", "", 3, false), "abc");
        assert_eq!(scan("d", "b", 9, true), "cb");
        assert_eq!(scan("", "", 2, true), "dc");
    }
}
