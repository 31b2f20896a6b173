//! How does a store keep what it acknowledged, whatever moment it is killed at? In one embedded
//! database for all of its regions: what Raft knows of each, their Raft logs and their pairs. All
//! that one round of the store does is one transaction, on disk before anything is acknowledged.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use prost::Message as _;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    TableDefinition, WriteTransaction,
};

use crate::proto::metapb::Region;
use crate::proto::standinpb::PeerState;

/// An encoded [`PeerState`] by region.
pub const PEERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("peers");
/// Encoded Raft entries by region and index.
pub const LOG: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("log");
/// Keys and values; the ranges of two regions never overlap.
pub const PAIRS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pairs");
/// The highest peer id that was ever destroyed here, by region.
pub const DESTROYED: TableDefinition<'_, u64, u64> = TableDefinition::new("destroyed");

const FILE: &str = "store.redb";

/// Bytes of the database that are kept in memory.
const CACHE_BYTES: usize = 16 << 20;

/// The open database of one store; clones share it.
#[derive(Clone, Debug)]
pub struct Disk {
    database: Arc<Database>,
    path: PathBuf,
}

impl Disk {
    /// Opens the database in `dir`. A store that was one before (`is_known`) must have it: to begin
    /// an empty one would deny votes and writes that were acknowledged.
    pub fn open(dir: &Path, is_known: bool) -> Result<Self> {
        let path = dir.join(FILE);
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let opened = if is_known { builder.open(&path) } else { builder.create(&path) };
        let database = opened.with_context(|| format!("cannot open {}", path.display()))?;
        let disk = Self { database: Arc::new(database), path };
        let transaction = disk.begin(true)?;
        // From now on all of them exist, for readers too.
        transaction.open_table(PEERS)?;
        transaction.open_table(LOG)?;
        transaction.open_table(PAIRS)?;
        transaction.open_table(DESTROYED)?;
        transaction.commit()?;
        Ok(disk)
    }

    /// A transaction; what it writes is on disk when its commit returns, if it is to be `synced`,
    /// and else together with the next one that is.
    pub fn begin(&self, synced: bool) -> Result<WriteTransaction> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(if synced {
            Durability::Immediate
        } else {
            Durability::None
        })?;
        Ok(transaction)
    }

    /// What was committed last.
    pub fn read(&self) -> Result<ReadTransaction> {
        Ok(self.database.begin_read()?)
    }

    /// Every peer of this store.
    pub fn peers(&self) -> Result<Vec<PeerState>> {
        let table = self.read()?.open_table(PEERS)?;
        table.iter()?.map(|row| Ok(PeerState::decode(row?.1.value())?)).collect()
    }

    /// The highest peer id that was ever destroyed here, by region.
    pub fn destroyed(&self) -> Result<BTreeMap<u64, u64>> {
        let table = self.read()?.open_table(DESTROYED)?;
        table
            .iter()?
            .map(|row| row.map(|(region, peer)| (region.value(), peer.value())))
            .map(|row| Ok(row?))
            .collect()
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }
}

/// All keys of a region.
pub fn range(region: &Region) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let end = &region.end_key[..];
    let before = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
    (Bound::Included(&region.start_key), before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_gone_emptied_or_damaged_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Disk::open(dir.path(), true).is_err(), "gone");
        let disk = Disk::open(dir.path(), false).unwrap();
        let transaction = disk.begin(true).unwrap();
        transaction.open_table(DESTROYED).unwrap().insert(7, 8).unwrap();
        transaction.commit().unwrap();
        drop(disk);
        let disk = Disk::open(dir.path(), true).unwrap();
        assert_eq!(disk.destroyed().unwrap(), BTreeMap::from([(7, 8)]));
        drop(disk);
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged.iter_mut().skip(4_096).for_each(|byte| *byte ^= 0xff);
        for content in [&damaged[..], &whole[..whole.len() / 2], b"not a database", b""] {
            std::fs::write(&path, content).unwrap();
            assert!(Disk::open(dir.path(), true).is_err(), "{} bytes", content.len());
        }
        std::fs::write(&path, &whole).unwrap();
        Disk::open(dir.path(), true).unwrap();
    }

    #[test]
    fn what_is_not_synced_is_seen_at_once_and_on_disk_with_the_next_that_is() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), false).unwrap();
        for (region, synced) in [(1, false), (2, true), (3, false)] {
            let transaction = disk.begin(synced).unwrap();
            transaction.open_table(DESTROYED).unwrap().insert(region, 1).unwrap();
            transaction.commit().unwrap();
        }
        assert_eq!(disk.destroyed().unwrap().len(), 3);
        // As after kill -9: the file as it is now, without a clean end.
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(dir.path().join(FILE), copy.path().join(FILE)).unwrap();
        let after = Disk::open(copy.path(), true).unwrap();
        assert_eq!(after.destroyed().unwrap(), BTreeMap::from([(1, 1), (2, 1)]));
    }
}
