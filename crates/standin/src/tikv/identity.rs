//! Which store is this? The data directory says: cluster id and store id, written once. A directory
//! without them is a new store with a new id; one of another cluster is refused. With them are the
//! ids of the first region while this store tries to start the cluster with it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where it is written.
const FILE: &str = "store-ident.json";

/// Who the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// PD's cluster.
    pub cluster_id: u64,
    /// The store's id in it.
    pub store_id: u64,
    /// Ids of the region that this store wants to start the cluster with, and of its peer.
    pub first_region: Option<(u64, u64)>,
}

/// The files of one data directory that say who the store is.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    dir: PathBuf,
}

impl IdentityFiles {
    /// Those of `dir`, which is made if absent.
    pub fn new(dir: &Path) -> Result<Self, String> {
        let made = fs::create_dir_all(dir);
        made.map_err(|error| format!("data directory {}: {error}", dir.display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Who the store is, if it was one before; refused when it belongs to another cluster.
    pub fn read(&self, cluster_id: u64) -> Result<Option<Identity>, String> {
        let bytes = match fs::read(self.dir.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{FILE}: {error}")),
        };
        let identity: Identity =
            serde_json::from_slice(&bytes).map_err(|error| format!("{FILE}: {error}"))?;
        if identity.cluster_id == cluster_id {
            Ok(Some(identity))
        } else {
            Err(format!(
                "cluster ID mismatch, local {} != remote {cluster_id}, \
                 you are trying to connect to another cluster, please reconnect to the correct PD",
                identity.cluster_id
            ))
        }
    }

    /// Keeps who the store is.
    pub fn write(&self, identity: Identity) -> Result<(), String> {
        let bytes = serde_json::to_vec(&identity).map_err(|error| error.to_string())?;
        let unfinished = self.dir.join("store-ident.tmp");
        let written = File::create(&unfinished)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&unfinished, self.dir.join(FILE)))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        written.map_err(|error| format!("{FILE}: {error}"))
    }

    /// Where the region log is.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("regions")
    }
}

/// Holds the lock that keeps a second server off the same address, in the directory that TiKV uses:
/// `$TMPDIR/<uid>_TIKV_LOCK_FILES`. Without a writable temporary directory there is no start.
pub fn lock_address(address: &str) -> Result<File, String> {
    let uid = rustix::process::getuid().as_raw();
    let dir = std::env::temp_dir().join(format!("{uid}_TIKV_LOCK_FILES"));
    fs::create_dir_all(&dir)
        .map_err(|error| format!("create {} failed: {error}", dir.display()))?;
    let path = dir.join(address.replace(':', "_"));
    let file = File::create(&path)
        .map_err(|error| format!("failed to create lock at {}: {error}", path.display()))?;
    file.try_lock().map_err(|_| {
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
        let files = IdentityFiles::new(dir.path()).unwrap();
        assert_eq!(files.read(7), Ok(None));
        let identity = Identity { cluster_id: 7, store_id: 3, first_region: Some((4, 5)) };
        files.write(identity).unwrap();
        assert_eq!(files.read(7), Ok(Some(identity)));
        let refused = files.read(8).unwrap_err();
        assert!(refused.starts_with("cluster ID mismatch, local 7 != remote 8"), "{refused}");
    }

    #[test]
    fn two_servers_do_not_share_an_address() {
        let held = lock_address("127.0.0.1:1").unwrap();
        assert!(lock_address("127.0.0.1:1").unwrap_err().contains("already in use"));
        drop(held);
        lock_address("127.0.0.1:1").unwrap();
    }
}
