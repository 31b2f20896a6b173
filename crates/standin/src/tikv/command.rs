//! What does a committed command do to a region? The same on every store, in the order of the log:
//! nothing here looks at anything but the command and the pairs.

use anyhow::Result;
use redb::{ReadableTable as _, Table, WriteTransaction};

use super::call::Answer;
use super::disk::{PAIRS, between};
use super::peer_storage::PeerStorage;
use crate::proto::kvrpcpb::KvPair;
use crate::proto::standinpb::{Command, CompareAndSwap, PeerState, mutation::Kind};

type Pairs<'a> = Table<'a, &'static [u8], &'static [u8]>;

/// Applies `command`.
pub fn apply(
    command: Command,
    storage: &mut PeerStorage,
    transaction: &WriteTransaction,
) -> Result<Answer> {
    let mut pairs = transaction.open_table(PAIRS)?;
    for mutation in &command.mutations {
        match mutation.kind() {
            Kind::Put => put(&mut pairs, &mutation.key, &mutation.value, &mut storage.state)?,
            Kind::Delete => {
                if let Some(before) = pairs.remove(&*mutation.key)? {
                    forget(&mutation.key, before.value().len(), &mut storage.state);
                }
            }
            Kind::DeleteRange => {
                pairs.retain_in::<&[u8], _>(
                    between(&mutation.key, &mutation.value),
                    |key, value| {
                        let inside = storage.contains(key);
                        if inside {
                            forget(key, value.len(), &mut storage.state);
                        }
                        !inside
                    },
                )?;
            }
        }
    }
    match command.compare_and_swap {
        Some(swap) => apply_swap(swap, &mut pairs, &mut storage.state),
        None => Ok(Answer::default()),
    }
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

/// Answers with the pair that was there.
fn apply_swap(
    swap: CompareAndSwap,
    pairs: &mut Pairs<'_>,
    state: &mut PeerState,
) -> Result<Answer> {
    let value = pairs.get(&*swap.key)?.map(|value| value.value().to_vec());
    let succeeded = match &value {
        None => swap.previous_not_exist,
        Some(value) => !swap.previous_not_exist && *value == swap.previous_value,
    };
    if succeeded {
        put(pairs, &swap.key, &swap.value, state)?;
    }
    let pair = |value| KvPair { key: swap.key, value, error: None };
    Ok(Answer { pairs: value.map(pair).into_iter().collect(), succeeded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::metapb::{Peer, Region, RegionEpoch};
    use crate::proto::standinpb::Mutation;
    use crate::tikv::call::{Read, Scan, read};
    use crate::tikv::disk::Disk;

    struct World {
        storage: PeerStorage,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn apply(&mut self, command: Command) -> Answer {
            let transaction = self.storage.disk.begin(true).unwrap();
            let answer = apply(command, &mut self.storage, &transaction).unwrap();
            transaction.commit().unwrap();
            answer
        }

        fn mutate(&mut self, kind: Kind, key: &str, value: &str) {
            let (key, value) = (key.into(), value.into());
            let mutations = vec![Mutation { kind: kind.into(), key, value }];
            self.apply(Command { mutations, ..Command::default() });
        }

        fn scan(&self, start: &str, end: &str, limit: usize, reverse: bool) -> String {
            let (start, end) = (start.into(), end.into());
            let wanted = Scan { start, end, limit, key_only: true, reverse };
            let answer = read(&Read::Range(wanted), &self.storage).unwrap().unwrap();
            let keys = answer.pairs.into_iter().map(|pair| String::from_utf8(pair.key).unwrap());
            keys.collect()
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
    fn scans_go_both_ways_between_their_bounds_and_stay_in_the_region() {
        let world = world();
        assert_eq!(world.scan("f", "p", 9, false), "fg");
        assert_eq!(world.scan("", "", 3, false), "afg");
        assert_eq!(world.scan("", "", 9, false), "afgp");
        assert_eq!(world.scan("p", "f", 9, true), "gf");
        assert_eq!(world.scan("", "", 2, true), "pg");
        assert_eq!(world.scan("g", "f", 9, false), "");
        assert_eq!(world.scan("x", "z", 9, false), "");
    }

    #[test]
    fn a_swap_writes_only_over_what_it_expects() {
        let mut world = world();
        let mut swap = |key: &str, expected: Option<&str>, value: &str| {
            let swap = CompareAndSwap {
                key: key.into(),
                value: value.into(),
                previous_not_exist: expected.is_none(),
                previous_value: expected.unwrap_or_default().into(),
            };
            let command = Command { compare_and_swap: Some(swap), ..Command::default() };
            let mut answer = world.apply(command);
            (answer.succeeded, answer.pairs.pop().map(|pair| pair.value))
        };
        assert_eq!(swap("a", None, "x"), (false, Some(b"1".to_vec())));
        assert_eq!(swap("a", Some("0"), "x"), (false, Some(b"1".to_vec())));
        assert_eq!(swap("a", Some("1"), "x"), (true, Some(b"1".to_vec())));
        assert_eq!(swap("a", Some("x"), "y"), (true, Some(b"x".to_vec())));
        assert_eq!(swap("b", Some(""), "y"), (false, None));
        assert_eq!(swap("b", None, "y"), (true, None));
        assert_eq!(world.size(), (5, 10));
    }

    #[test]
    fn a_range_delete_stops_at_its_end_and_at_the_regions() {
        let mut world = world();
        world.mutate(Kind::DeleteRange, "b", "g");
        assert_eq!((world.scan("", "", 9, false).as_str(), world.size()), ("agp", (3, 6)));
        world.mutate(Kind::Delete, "a", "");
        world.mutate(Kind::Delete, "a", "");
        world.mutate(Kind::Put, "p", "longer");
        assert_eq!(world.size(), (2, 9));
        world.mutate(Kind::DeleteRange, "b", "");
        assert_eq!((world.scan("", "", 9, false).as_str(), world.size()), ("", (0, 0)));
        let left = world.storage.disk.read().unwrap().open_table(PAIRS).unwrap();
        assert!(left.get(&b"q"[..]).unwrap().is_some(), "of another region");
    }
}
