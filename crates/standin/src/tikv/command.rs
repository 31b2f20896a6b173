//! What does a committed command do to a region? The same on every store, in the order of the log:
//! nothing here looks at anything but the command and the pairs.

use anyhow::Result;
use redb::{Table, WriteTransaction};

use super::call::Answer;
use super::disk::PAIRS;
use super::peer_storage::PeerStorage;
use crate::proto::standinpb::{Command, PeerState, mutation::Kind};

type Pairs<'a> = Table<'a, &'static [u8], &'static [u8]>;

/// Applies `command`.
pub fn apply(
    command: Command,
    storage: &mut PeerStorage,
    transaction: &WriteTransaction,
) -> Result<Answer> {
    let mut pairs = transaction.open_table(PAIRS)?;
    for mutation in command.mutations {
        match mutation.kind() {
            Kind::Put => put(&mut pairs, &mutation.key, &mutation.value, &mut storage.state)?,
            Kind::Delete => {
                if let Some(before) = pairs.remove(&*mutation.key)? {
                    forget(&mutation.key, before.value().len(), &mut storage.state);
                }
            }
        }
    }
    Ok(Answer::default())
}

fn put(pairs: &mut Pairs<'_>, key: &[u8], value: &[u8], state: &mut PeerState) -> Result<()> {
    if let Some(before) = pairs.insert(key, value)? {
        forget(key, before.value().len(), state);
    }
    state.keys += 1;
    state.bytes += (key.len() + value.len()) as u64;
    Ok(())
}

/// A pair is gone.
fn forget(key: &[u8], value_bytes: usize, state: &mut PeerState) {
    state.keys -= 1;
    state.bytes -= (key.len() + value_bytes) as u64;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::errorpb::Error;
    use crate::proto::metapb::{Peer, Region, RegionEpoch};
    use crate::proto::standinpb::Mutation;
    use crate::tikv::call::{Read, read};
    use crate::tikv::disk::Disk;

    struct World {
        storage: PeerStorage,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn apply(&mut self, command: Command) {
            let transaction = self.storage.disk.begin(true).unwrap();
            apply(command, &mut self.storage, &transaction).unwrap();
            transaction.commit().unwrap();
        }

        fn mutate(&mut self, kind: Kind, key: &str, value: &str) {
            let (key, value) = (key.into(), value.into());
            let mutations = vec![Mutation { kind: kind.into(), key, value }];
            self.apply(Command { mutations });
        }

        fn get(&self, key: &str) -> Result<Option<String>, Error> {
            let value = read(&Read { key: key.into() }, &self.storage).unwrap()?;
            Ok(value.map(|value| String::from_utf8(value).unwrap()))
        }

        /// (number, bytes) of the pairs.
        fn size(&self) -> (u64, u64) {
            (self.storage.state.keys, self.storage.state.bytes)
        }
    }

    /// A region from `a` to `q` beside pairs of another one.
    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), false).unwrap();
        let peers = vec![Peer { id: 2, store_id: 1, ..Peer::default() }];
        let region_epoch = Some(RegionEpoch { conf_ver: 1, version: 1 });
        let (start_key, end_key) = (b"a".to_vec(), b"q".to_vec());
        let region = Region { id: 1, peers, region_epoch, start_key, end_key };
        let mut world = World { storage: PeerStorage::new(disk, region, 2), _dir: dir };
        for (key, value) in [("a", "1"), ("f", "2"), ("g", "3"), ("p", "4")] {
            world.mutate(Kind::Put, key, value);
        }
        let state = world.storage.state.clone();
        world.mutate(Kind::Put, "q", "of another region");
        world.storage.state = state;
        world
    }

    #[test]
    fn a_read_stays_in_the_region() {
        let world = world();
        assert_eq!(world.get("f"), Ok(Some("2".to_owned())));
        assert_eq!(world.get("b"), Ok(None));
        assert!(world.get("q").unwrap_err().key_not_in_region.is_some());
    }

    #[test]
    fn what_is_written_over_and_deleted_counts_no_more() {
        let mut world = world();
        assert_eq!(world.size(), (4, 8));
        world.mutate(Kind::Delete, "a", "");
        world.mutate(Kind::Delete, "a", "");
        assert_eq!((world.get("a"), world.size()), (Ok(None), (3, 6)));
        world.mutate(Kind::Put, "p", "longer");
        assert_eq!(world.size(), (3, 11));
    }
}
