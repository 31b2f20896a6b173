//! Who starts the cluster? The store whose first region PD takes; the others join. What a store
//! wants to start with is on its disk before PD is asked, so that a crash right after PD agreed does
//! not lose it. PD is told of one region over all keys, as by a real store; this store divides it
//! before it serves, into as many as a fresh real cluster of three stores has.

use std::path::Path;

use anyhow::{Result, bail};

use super::identity::Identity;
use super::pd_client::{Pd, PdError};
use crate::proto::metapb::{Peer, Region, RegionEpoch, Store};
use crate::proto::pdpb::ErrorType;

/// Where the regions meet. The test client spreads its keys over the letters.
const BORDERS: [&str; 4] = ["f", "k", "p", "u"];

/// Starts the cluster if nobody did. Returns the first regions when they are this store's to hold.
pub async fn first_regions(
    pd: &Pd,
    dir: &Path,
    identity: &Identity,
    record: &Store,
) -> Result<Vec<Region>> {
    let bootstrapped = pd.patiently("is bootstrapped", || pd.is_bootstrapped()).await?;
    let mut ids = identity.first_regions.clone();
    if ids.is_empty() && bootstrapped {
        return Ok(Vec::new());
    }
    if ids.is_empty() {
        for _ in 0..=BORDERS.len() {
            let id = pd.patiently("alloc id", || pd.alloc_id()).await?;
            ids.push((id, pd.patiently("alloc id", || pd.alloc_id()).await?));
        }
        Identity { first_regions: ids.clone(), ..*identity }.write(dir)?;
    }
    let regions = divided(&ids, record.id);
    let Some(first) = regions.first() else { bail!("no first region") };
    let region_epoch = Some(RegionEpoch { conf_ver: 1, version: 1 });
    let whole = Region { end_key: Vec::new(), region_epoch, ..first.clone() };
    let mut waits = !bootstrapped;
    while waits {
        match pd.bootstrap(record, &whole).await {
            Ok(()) => return Ok(regions),
            Err(PdError::Refused(ErrorType::AlreadyBootstrapped, _)) => waits = false,
            Err(PdError::Refused(_, message)) => bail!("bootstrap: {message}"),
            Err(error) => log::warn!("bootstrap: {error}"),
        }
    }
    // PD may have taken ours although the answer was lost, or before this store crashed.
    let known = pd.patiently("first region", || pd.region(whole.id)).await?;
    let peers = known.map(|known| known.peers).unwrap_or_default();
    let ours = peers.iter().any(|peer| peer.store_id == record.id);
    Ok(if ours { regions } else { Vec::new() })
}

/// Regions side by side over all keys. A split raises the version by the number of new regions.
fn divided(ids: &[(u64, u64)], store_id: u64) -> Vec<Region> {
    let version = 1 + BORDERS.len() as u64;
    let border = |border: Option<&&str>| border.map(|key| key.as_bytes().to_vec());
    let region = |(place, (id, peer_id)): (usize, &(u64, u64))| Region {
        id: *id,
        start_key: border(place.checked_sub(1).and_then(|before| BORDERS.get(before)))
            .unwrap_or_default(),
        end_key: border(BORDERS.get(place)).unwrap_or_default(),
        region_epoch: Some(RegionEpoch { conf_ver: 1, version }),
        peers: vec![Peer { id: *peer_id, store_id, ..Peer::default() }],
    };
    ids.iter().enumerate().map(region).collect()
}
