//! Which store is this? The data directory says: cluster id and store id, written once. A directory
//! without them is a new store with a new id; one of another cluster is refused. With them are the
//! ids of the first regions while this store tries to start the cluster with them.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::pd_client::Pd;

/// Where it is written.
const FILE: &str = "store-ident.json";

/// Who the store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// PD's cluster.
    pub cluster_id: u64,
    /// The store's id in it.
    pub store_id: u64,
    /// Ids of the regions that this store wants to start the cluster with, and of their peers.
    pub first_regions: Vec<(u64, u64)>,
}

impl Identity {
    /// That of a new store, which gets its id from PD.
    pub async fn new(pd: &Pd, cluster_id: u64, dir: &Path) -> Result<Self> {
        let store_id = pd.patiently("alloc id", || pd.alloc_id()).await?;
        let identity = Self { cluster_id, store_id, first_regions: Vec::new() };
        identity.write(dir)?;
        log::info!("new store {store_id} of cluster {cluster_id}");
        Ok(identity)
    }

    /// Who the store is, if it was one before; refused when it belongs to another cluster.
    pub fn read(dir: &Path, cluster_id: u64) -> Result<Option<Self>> {
        let bytes = match fs::read(dir.join(FILE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.context(FILE)?,
        };
        let identity: Self = serde_json::from_slice(&bytes).context(FILE)?;
        let local = identity.cluster_id;
        if local != cluster_id {
            bail!(
                "cluster ID mismatch, local {local} != remote {cluster_id}, \
                 you are trying to connect to another cluster, please reconnect to the correct PD"
            );
        }
        Ok(Some(identity))
    }

    /// Keeps who the store is.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let unfinished = dir.join("store-ident.tmp");
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, dir.join(FILE))?;
        Ok(File::open(dir)?.sync_all()?)
    }
}

/// Holds the lock that keeps a second server off the same address, in the directory that TiKV uses:
/// `$TMPDIR/<uid>_TIKV_LOCK_FILES`. Without a writable temporary directory there is no start.
pub fn lock_address(address: &str) -> Result<File> {
    let uid = rustix::process::getuid().as_raw();
    let dir = std::env::temp_dir().join(format!("{uid}_TIKV_LOCK_FILES"));
    fs::create_dir_all(&dir).with_context(|| format!("create {} failed", dir.display()))?;
    let path = dir.join(address.replace(':', "_"));
    let file = File::create(&path)
        .with_context(|| format!("failed to create lock at {}", path.display()))?;
    file.try_lock().with_context(|| {
        format!("{address} already in use, maybe another instance is binding with this address.")
    })?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_cluster() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::read(dir.path(), 7).unwrap(), None);
        let identity = Identity { cluster_id: 7, store_id: 3, first_regions: vec![(4, 5)] };
        identity.write(dir.path()).unwrap();
        assert_eq!(Identity::read(dir.path(), 7).unwrap(), Some(identity));
        let refused = Identity::read(dir.path(), 8).unwrap_err().to_string();
        assert!(refused.starts_with("cluster ID mismatch, local 7 != remote 8"), "{refused}");
    }

    #[test]
    fn two_servers_do_not_share_an_address() {
        let held = lock_address("127.0.0.1:1").unwrap();
        let refused = lock_address("127.0.0.1:1").unwrap_err().to_string();
        assert!(refused.contains("already in use"), "{refused}");
        drop(held);
        lock_address("127.0.0.1:1").unwrap();
    }
}
