//! Which stores may not go away now, because some region would lose its quorum?
//!
//! Pure, from PD's lists of regions with missing, down or pending peers. A region in none of them
//! has all its peers and survives the loss of one store. The lists lag: a store that stopped just
//! now is in none of them for ten minutes (TiKV's `max-peer-down-duration`), so peers on stores
//! that PD does not hear are not counted on either.

use std::collections::{BTreeMap, BTreeSet};

use tikv_operator_core::world::StoreId;

use super::wire;

/// The number of regions, per store, that would be without a quorum if that store went away.
/// `heard` are the stores that PD hears. `None` where a list contradicts its own count.
pub(super) fn critical(
    lists: &[wire::Regions],
    heard: &BTreeSet<StoreId>,
) -> Option<BTreeMap<StoreId, u64>> {
    let mut counts = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for list in lists {
        let regions = list.regions.as_deref().unwrap_or_default();
        if list.count != regions.len() as u64 {
            return None;
        }
        for region in regions {
            // A region may be in more than one list, and is the same there.
            if region.id == 0 || seen.insert(region.id) {
                for store in stores_needed(region, heard) {
                    *counts.entry(store).or_default() += 1;
                }
            }
        }
    }
    Some(counts)
}

/// The stores without which the region's healthy voters are fewer than a quorum. A region that
/// lacks its quorum already needs all of its stores.
fn stores_needed(region: &wire::Region, heard: &BTreeSet<StoreId>) -> BTreeSet<StoreId> {
    let down = region.down_peers.iter().flatten().map(|down| down.peer.id);
    let pending = region.pending_peers.iter().flatten().map(|peer| peer.id);
    let unwell: BTreeSet<u64> = down.chain(pending).collect();
    let voters: Vec<&wire::Peer> =
        region.peers.iter().flatten().filter(|peer| is_voter(peer)).collect();
    let quorum = voters.len() / 2 + 1;
    let healthy: BTreeSet<StoreId> = voters
        .iter()
        .filter(|peer| !unwell.contains(&peer.id))
        .map(|peer| StoreId(peer.store_id))
        .filter(|store| heard.contains(store))
        .collect();
    if healthy.len() < quorum {
        return region.peers.iter().flatten().map(|peer| StoreId(peer.store_id)).collect();
    }
    if healthy.len() == quorum { healthy } else { BTreeSet::new() }
}

fn is_voter(peer: &wire::Peer) -> bool {
    !peer.is_learner && peer.role_name != "Learner"
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Peer ids are ten times the store's.
    fn peer(store: u64) -> Value {
        json!({ "id": store * 10, "store_id": store, "role_name": "Voter" })
    }

    fn region(id: u64, stores: &[u64], down: &[u64], pending: &[u64]) -> Value {
        let peers: Vec<Value> = stores.iter().map(|store| peer(*store)).collect();
        let down: Vec<Value> =
            down.iter().map(|s| json!({ "peer": peer(*s), "down_seconds": 700 })).collect();
        let pending: Vec<Value> = pending.iter().map(|store| peer(*store)).collect();
        json!({ "id": id, "peers": peers, "down_peers": down, "pending_peers": pending })
    }

    fn list(regions: &[Value]) -> wire::Regions {
        let list = json!({ "count": regions.len(), "regions": regions });
        serde_json::from_value(list).unwrap()
    }

    fn of(regions: &[Value], heard: &[u64]) -> Vec<(u64, u64)> {
        let heard = heard.iter().map(|id| StoreId(*id)).collect();
        let counts = critical(&[list(regions)], &heard).unwrap();
        counts.into_iter().map(|(store, count)| (store.0, count)).collect()
    }

    #[test]
    fn a_store_is_critical_where_the_rest_is_no_quorum() {
        let all = [1, 2, 3, 4, 5];
        for (what, regions, heard, want) in [
            ("nothing listed", vec![], &all[..], vec![]),
            (
                "one of three down",
                vec![region(1, &[1, 2, 3], &[3], &[])],
                &all,
                vec![(1, 1), (2, 1)],
            ),
            (
                "one of three pending",
                vec![region(1, &[1, 2, 3], &[], &[2])],
                &all,
                vec![(1, 1), (3, 1)],
            ),
            ("one of five down", vec![region(1, &[1, 2, 3, 4, 5], &[3], &[])], &all, vec![]),
            (
                "two of five",
                vec![region(1, &[1, 2, 3, 4, 5], &[3], &[4])],
                &all,
                vec![(1, 1), (2, 1), (5, 1)],
            ),
            ("two of two", vec![region(1, &[1, 2], &[], &[])], &all, vec![(1, 1), (2, 1)]),
            ("one of one", vec![region(1, &[1], &[], &[])], &all, vec![(1, 1)]),
            ("four of four", vec![region(1, &[1, 2, 3, 4], &[], &[])], &all, vec![]),
            (
                "lost already: all of its stores",
                vec![region(1, &[1, 2, 3], &[2, 3], &[])],
                &all,
                vec![(1, 1), (2, 1), (3, 1)],
            ),
            (
                "a store that is silent and not yet in the list of down peers",
                vec![region(1, &[1, 2, 3, 4, 5], &[3], &[])],
                &[1, 2, 3, 4],
                vec![(1, 1), (2, 1), (4, 1)],
            ),
            (
                "counted by store",
                vec![region(1, &[1, 2, 3], &[3], &[]), region(2, &[1, 2, 4], &[4], &[])],
                &all,
                vec![(1, 2), (2, 2)],
            ),
        ] {
            assert_eq!(of(&regions, heard), want, "{what}");
        }
    }

    #[test]
    fn a_learner_is_no_voter() {
        let mut listed = region(1, &[1, 2, 3], &[], &[]);
        listed["peers"][2]["role_name"] = json!("Learner");
        listed["peers"][2]["is_learner"] = json!(true);
        assert_eq!(of(&[listed], &[1, 2, 3]), [(1, 1), (2, 1)]);
        let mut joint = region(1, &[1, 2, 3, 4], &[], &[]);
        joint["peers"][3]["role_name"] = json!("IncomingVoter");
        assert_eq!(of(&[joint], &[1, 2, 3, 4]), []);
    }

    #[test]
    fn a_region_in_two_lists_counts_once() {
        let one = region(7, &[1, 2, 3], &[3], &[3]);
        let heard = [1, 2, 3].map(StoreId).into();
        let lists = [list(std::slice::from_ref(&one)), list(std::slice::from_ref(&one))];
        assert_eq!(critical(&lists, &heard).unwrap()[&StoreId(1)], 1);
    }

    #[test]
    fn half_a_list_says_nothing() {
        let short = json!({ "count": 2, "regions": [region(1, &[1, 2, 3], &[], &[])] });
        let lists = [list(&[]), serde_json::from_value(short).unwrap()];
        assert_eq!(critical(&lists, &[1, 2, 3].map(StoreId).into()), None);
    }
}
