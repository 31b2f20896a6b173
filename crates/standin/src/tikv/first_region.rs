//! Who starts the cluster? The store whose first region PD takes; the others join. What a store
//! wants to start with is on its disk before PD is asked, so that a crash right after PD agreed does
//! not lose it.

use super::identity::{Identity, IdentityFiles};
use super::pd_client::{Pd, PdError};
use crate::log;
use crate::proto::metapb::{Peer, Region, RegionEpoch, Store};
use crate::proto::pdpb::ErrorType;

/// Starts the cluster if nobody did. Returns the first region when it is this store's to hold.
pub async fn first_region(
    pd: &Pd,
    files: &IdentityFiles,
    identity: Identity,
    record: &Store,
) -> Result<Option<Region>, String> {
    let bootstrapped = pd.patiently("is bootstrapped", || pd.is_bootstrapped()).await?;
    let (id, peer_id) = match identity.first_region {
        Some(ids) => ids,
        None if bootstrapped => return Ok(None),
        None => {
            let id = pd.patiently("alloc id", || pd.alloc_id()).await?;
            let peer_id = pd.patiently("alloc id", || pd.alloc_id()).await?;
            files.write(Identity { first_region: Some((id, peer_id)), ..identity })?;
            (id, peer_id)
        }
    };
    let region = Region {
        id,
        region_epoch: Some(RegionEpoch { conf_ver: 1, version: 1 }),
        peers: vec![Peer { id: peer_id, store_id: record.id, ..Peer::default() }],
        ..Region::default()
    };
    let mut waits = !bootstrapped;
    while waits {
        match pd.bootstrap(record, &region).await {
            Ok(()) => return Ok(Some(region)),
            Err(PdError::Refused(ErrorType::AlreadyBootstrapped, _)) => waits = false,
            Err(PdError::Refused(_, message)) => return Err(format!("bootstrap: {message}")),
            Err(error) => log::warn(&format!("bootstrap: {error}")),
        }
    }
    // PD may have taken ours although the answer was lost, or before this store crashed.
    let known = pd.patiently("first region", || pd.region(region.id)).await?;
    let peers = known.map(|known| known.peers).unwrap_or_default();
    Ok(peers.iter().any(|peer| peer.store_id == record.id).then_some(region))
}
