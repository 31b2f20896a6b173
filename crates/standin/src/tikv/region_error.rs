//! How does a store say that a request came to the wrong place? With the region errors that TiKV's
//! clients know; each tells the client what to ask or whom to try next.

use crate::proto::errorpb::{self, Error};
use crate::proto::metapb::{Peer, Region};

/// The peer is not the leader; `leader` is, as far as it knows.
pub fn not_leader(region_id: u64, leader: Option<Peer>) -> Error {
    let message = format!("peer is not leader for region {region_id}, leader may {leader:?}");
    let not_leader = Some(errorpb::NotLeader { region_id, leader });
    Error { message, not_leader, ..Error::default() }
}

/// The region changed since the client looked.
pub fn epoch_not_match(region: &Region) -> Error {
    let message = format!("current epoch of region {} is {:?}", region.id, region.region_epoch);
    let current_regions = vec![region.clone()];
    let epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
    Error { message, epoch_not_match, ..Error::default() }
}

/// No peer of the region is on this store.
pub fn region_not_found(region_id: u64) -> Error {
    let message = format!("region {region_id} is missing");
    let region_not_found = Some(errorpb::RegionNotFound { region_id });
    Error { message, region_not_found, ..Error::default() }
}

/// The request names another store than the one that it reached.
pub fn store_not_match(request_store_id: u64, actual_store_id: u64) -> Error {
    let message = format!("mismatch store id, {request_store_id} != {actual_store_id}");
    let store_not_match = Some(errorpb::StoreNotMatch { request_store_id, actual_store_id });
    Error { message, store_not_match, ..Error::default() }
}

/// The request names another peer of the region than the one on this store.
pub fn mismatched_peer(request_peer_id: u64, store_peer_id: u64) -> Error {
    let message = format!("mismatch peer id {request_peer_id} != {store_peer_id}");
    let mismatch_peer_id = Some(errorpb::MismatchPeerId { request_peer_id, store_peer_id });
    Error { message, mismatch_peer_id, ..Error::default() }
}

/// The key is outside the region's range.
pub fn key_not_in_region(key: &[u8], region: &Region) -> Error {
    let Region { id: region_id, start_key, end_key, .. } = region.clone();
    let message = format!("key not in region {region_id}");
    let key = key.to_vec();
    let key_not_in_region = Some(errorpb::KeyNotInRegion { key, region_id, start_key, end_key });
    Error { message, key_not_in_region, ..Error::default() }
}

/// The command is certainly not applied: its place in the log went to another one.
pub fn stale_command() -> Error {
    let stale_command = Some(errorpb::StaleCommand {});
    Error { message: "stale command".to_owned(), stale_command, ..Error::default() }
}

/// Raft did not take the command, so it is certainly not applied; leadership is being moved.
pub fn proposal_dropped() -> Error {
    Error { message: "raft: proposal dropped".to_owned(), ..Error::default() }
}
