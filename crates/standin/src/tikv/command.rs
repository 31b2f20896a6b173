//! What does a committed command do to a region? The same on every store, in the order of the log:
//! nothing here looks at anything but the command and the region.

use std::collections::BTreeMap;

use super::call::Answer;
use super::region::RegionState;
use super::region_error as refuse;
use crate::proto::errorpb;
use crate::proto::metapb::{Peer, Region};
use crate::proto::standinpb::{Command, CompareAndSwap, Mutation, Split, mutation};

/// Applies `command`: its answer, and the new regions that a split makes of parts of this one.
/// Nothing is done when the region was split after the command was proposed.
pub fn apply(
    command: Command,
    region: &mut RegionState,
) -> Result<(Answer, Vec<RegionState>), errorpb::Error> {
    if command.version != region.epoch().version {
        return Err(refuse::epoch_not_match(region));
    }
    for mutation in command.mutations {
        apply_mutation(mutation, region);
    }
    let swapped = command.compare_and_swap.map(|swap| apply_swap(swap, region));
    let created = command.split.map(|split| apply_split(split, region));
    Ok((swapped.unwrap_or_default(), created.unwrap_or_default()))
}

fn apply_mutation(mutation: Mutation, region: &mut RegionState) {
    match mutation.kind() {
        mutation::Kind::Put => {
            region.put(mutation.key, mutation.value);
        }
        mutation::Kind::Delete => region.delete(&mutation.key),
        mutation::Kind::DeleteRange => {
            let end = mutation.value;
            let inside = region.pairs.range(mutation.key..).map(|(key, _)| key.clone());
            let doomed: Vec<_> = inside.take_while(|key| end.is_empty() || *key < end).collect();
            for key in doomed {
                region.delete(&key);
            }
        }
    }
}

fn apply_swap(swap: CompareAndSwap, region: &mut RegionState) -> Answer {
    let value = region.pairs.get(&swap.key).cloned();
    let succeeded = match &value {
        None => swap.previous_not_exist,
        Some(value) => !swap.previous_not_exist && *value == swap.previous_value,
    };
    if succeeded {
        region.put(swap.key, swap.value);
    }
    Answer { value, succeeded, ..Answer::default() }
}

/// Cuts the region at each part's key, from the right. The version rises by the number of new
/// regions and all of them start with it, as in TiKV.
fn apply_split(split: Split, region: &mut RegionState) -> Vec<RegionState> {
    let mut epoch = region.epoch();
    epoch.version += split.parts.len() as u64;
    let store_peer = region.peer(region.peer_id).copied();
    let mut created = Vec::new();
    for part in split.parts.into_iter().rev() {
        let renamed = region.region.peers.iter().zip(&part.peer_ids);
        let peers: Vec<Peer> = renamed.map(|(peer, id)| Peer { id: *id, ..*peer }).collect();
        let here = |peer: &&Peer| store_peer.is_some_and(|own| own.store_id == peer.store_id);
        let peer_id = peers.iter().find(here).map_or(0, |peer| peer.id);
        let range = Region {
            id: part.region_id,
            start_key: part.key.clone(),
            end_key: std::mem::replace(&mut region.region.end_key, part.key.clone()),
            region_epoch: Some(epoch),
            peers,
        };
        let pairs: BTreeMap<_, _> = region.split_off(&part.key);
        created.push(RegionState::new(range, peer_id, pairs));
    }
    region.region.region_epoch = Some(epoch);
    created
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::metapb::RegionEpoch;
    use crate::proto::standinpb::SplitPart;

    fn region() -> RegionState {
        let peers = vec![Peer { id: 2, store_id: 1, ..Peer::default() }];
        let epoch = Some(RegionEpoch { conf_ver: 1, version: 1 });
        let region = Region { id: 1, peers, region_epoch: epoch, ..Region::default() };
        let pairs = [("a", "1"), ("f", "2"), ("g", "3"), ("p", "4")];
        let pairs = pairs.map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()));
        RegionState::new(region, 2, pairs.into_iter().collect())
    }

    fn keys(region: &RegionState) -> String {
        region.pairs.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    #[test]
    fn a_split_moves_each_pair_to_the_region_of_its_range() {
        let mut left = region();
        let part = |key: &str, region_id, peer_id| SplitPart {
            key: key.into(),
            region_id,
            peer_ids: vec![peer_id],
        };
        let split = Split { parts: vec![part("f", 10, 11), part("k", 20, 21)] };
        let command = Command { version: 1, split: Some(split), ..Command::default() };
        let (_, created) = apply(command.clone(), &mut left).unwrap();
        assert_eq!(keys(&left), "a");
        let [last, middle] = created.as_slice() else { panic!("{created:?}") };
        assert_eq!((keys(middle).as_str(), middle.region.id, middle.peer_id), ("fg", 10, 11));
        assert_eq!((keys(last).as_str(), last.region.id, last.peer_id), ("p", 20, 21));
        assert_eq!(left.region.end_key, middle.region.start_key);
        assert_eq!(middle.region.end_key, last.region.start_key);
        assert!(last.region.end_key.is_empty());
        assert!(created.iter().all(|region| region.epoch() == left.epoch()));
        assert_eq!(left.bytes + middle.bytes + last.bytes, 8);
        assert!(apply(command, &mut left).is_err(), "never applied twice");
    }

    #[test]
    fn a_swap_writes_only_over_what_it_expects() {
        let mut region = region();
        let mut swap = |expected: Option<&str>, value: &str| {
            let swap = CompareAndSwap {
                key: b"a".to_vec(),
                value: value.into(),
                previous_not_exist: expected.is_none(),
                previous_value: expected.unwrap_or_default().into(),
            };
            let command =
                Command { version: 1, compare_and_swap: Some(swap), ..Command::default() };
            let (answer, _) = apply(command, &mut region).unwrap();
            (answer.succeeded, answer.value)
        };
        assert_eq!(swap(None, "x"), (false, Some(b"1".to_vec())));
        assert_eq!(swap(Some("0"), "x"), (false, Some(b"1".to_vec())));
        assert_eq!(swap(Some("1"), "x"), (true, Some(b"1".to_vec())));
        assert_eq!(swap(Some("x"), "y"), (true, Some(b"x".to_vec())));
    }

    #[test]
    fn a_range_delete_stops_at_its_end() {
        let mut region = region();
        let mutation = Mutation {
            kind: mutation::Kind::DeleteRange.into(),
            key: b"b".to_vec(),
            value: b"g".to_vec(),
        };
        let command = Command { version: 1, mutations: vec![mutation], ..Command::default() };
        apply(command, &mut region).unwrap();
        assert_eq!(keys(&region), "agp");
        assert_eq!(region.bytes, 6);
    }
}
