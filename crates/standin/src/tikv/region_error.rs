//! How does a store say that a request came to the wrong place? With the region errors that TiKV's
//! clients know; each tells the client what to ask or whom to try next.

use super::region::RegionState;
use crate::proto::errorpb::{self, Error};
use crate::proto::metapb::Peer;

/// The peer is not the leader; `leader` is, as far as it knows.
pub fn not_leader(region_id: u64, leader: Option<Peer>) -> Error {
    Error {
        message: format!("peer is not leader for region {region_id}, leader may {leader:?}"),
        not_leader: Some(errorpb::NotLeader { region_id, leader }),
        ..Error::default()
    }
}

/// The region changed since the client looked.
pub fn epoch_not_match(region: &RegionState) -> Error {
    Error {
        message: format!("current epoch of region {} is {:?}", region.region.id, region.epoch()),
        epoch_not_match: Some(errorpb::EpochNotMatch {
            current_regions: vec![region.region.clone()],
        }),
        ..Error::default()
    }
}

/// No peer of the region is on this store.
pub fn region_not_found(region_id: u64) -> Error {
    Error {
        message: format!("region {region_id} is missing"),
        region_not_found: Some(errorpb::RegionNotFound { region_id }),
        ..Error::default()
    }
}

/// The request names another store than the one that it reached.
pub fn store_not_match(requested: u64, actual: u64) -> Error {
    Error {
        message: format!("mismatch store id, {requested} != {actual}"),
        store_not_match: Some(errorpb::StoreNotMatch {
            request_store_id: requested,
            actual_store_id: actual,
        }),
        ..Error::default()
    }
}

/// The request names another peer of the region than the one on this store.
pub fn mismatched_peer(requested: u64, actual: u64) -> Error {
    Error {
        message: format!("mismatch peer id {requested} != {actual}"),
        mismatch_peer_id: Some(errorpb::MismatchPeerId {
            request_peer_id: requested,
            store_peer_id: actual,
        }),
        ..Error::default()
    }
}

/// The key is outside the region's range.
pub fn key_not_in_region(key: &[u8], region: &RegionState) -> Error {
    let range = &region.region;
    Error {
        message: format!("key not in region {}", range.id),
        key_not_in_region: Some(errorpb::KeyNotInRegion {
            key: key.to_vec(),
            region_id: range.id,
            start_key: range.start_key.clone(),
            end_key: range.end_key.clone(),
        }),
        ..Error::default()
    }
}

/// The command is certainly not applied: its place in the log went to another one.
pub fn stale_command() -> Error {
    Error {
        message: "stale command".to_owned(),
        stale_command: Some(errorpb::StaleCommand {}),
        ..Error::default()
    }
}

/// Too many requests are under way.
pub fn busy() -> Error {
    Error {
        message: "server is busy".to_owned(),
        server_is_busy: Some(errorpb::ServerIsBusy {
            reason: "too many proposals under way".to_owned(),
            backoff_ms: 100,
        }),
        ..Error::default()
    }
}

/// The command is larger than `raftstore.raft-entry-max-size`.
pub fn entry_too_large(region_id: u64, entry_size: u64) -> Error {
    Error {
        message: format!("raft entry is too large, region {region_id}, entry size {entry_size}"),
        raft_entry_too_large: Some(errorpb::RaftEntryTooLarge { region_id, entry_size }),
        ..Error::default()
    }
}

/// Raft did not take the command, so it is certainly not applied; leadership is being moved.
pub fn proposal_dropped() -> Error {
    Error { message: "raft: proposal dropped".to_owned(), ..Error::default() }
}
