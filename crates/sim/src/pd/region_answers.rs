//! What does PD say about regions?
//!
//! What it has heard of their leaders, that is: nothing of a region that has not reported since the
//! present PD leader was elected.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answer::{Answer, Request};
use super::cluster::{Cluster, StoreState};
use super::region::{Peer, Region};
use crate::beliefs;
use crate::kube::set;

pub(super) fn answer(
    cluster: &Cluster,
    request: Request<'_>,
    parts: &[&str],
    now: u64,
) -> Option<Answer> {
    match (request.method, parts) {
        ("GET", ["regions"]) => {
            let regions: Vec<Value> =
                cluster.regions.iter().map(|r| shown(cluster, r, now)).collect();
            Some(Answer::json(200, json!({"count": regions.len(), "regions": regions})))
        }
        ("GET", ["regions", "count"]) => {
            Some(Answer::json(200, json!({"count": cluster.regions.len(), "regions": null})))
        }
        ("GET", ["regions", "replicated"]) => Some(Answer::words(200, replicated(cluster))),
        ("GET", ["regions", "check", kind]) => {
            let full = cluster.max_replicas as usize;
            let asked = cluster.regions.iter().filter(|region| match *kind {
                "miss-peer" => region.peers.len() < full,
                "extra-peer" => region.peers.len() > full,
                "pending-peer" => !pending(region).is_empty(),
                "down-peer" => !down(cluster, region, now).is_empty(),
                "offline-peer" => region.peers.keys().any(|id| is_leaving(cluster, *id)),
                "learner-peer" => region.peers.values().any(|peer| *peer != Peer::Voter),
                _ => false,
            });
            let regions: Vec<Value> = asked.map(|r| shown(cluster, r, now)).collect();
            Some(Answer::json(200, json!({"count": regions.len(), "regions": regions})))
        }
        _ => None,
    }
}

/// PD's word on the whole key range. `PENDING` is said while no store can be found for a moment, which is
/// no other case for who reads it.
pub(super) fn replicated(cluster: &Cluster) -> &'static str {
    let full = cluster.max_replicas as usize;
    let whole = cluster.regions.iter().all(|region| region.voters().count() >= full);
    if whole { "REPLICATED" } else { "INPROGRESS" }
}

/// A region with its peers; those that are behind or still being filled are pending.
fn shown(cluster: &Cluster, region: &Region, now: u64) -> Value {
    let peer = |store: &u64| {
        let learner = region.peers.get(store).is_some_and(|peer| *peer != Peer::Voter);
        json!({"store_id": store, "is_learner": learner})
    };
    let down = down(cluster, region, now);
    let silence = beliefs::PEER_DOWN_AFTER.value / 1000;
    let mut shown = json!({
        "id": region.id,
        "peers": region.peers.keys().map(peer).collect::<Vec<_>>(),
        "pending_peers": pending(region).iter().map(peer).collect::<Vec<_>>(),
        "down_peers": down
            .iter()
            .map(|store| json!({"peer": peer(store), "down_seconds": silence}))
            .collect::<Vec<_>>(),
    });
    if let Some(leader) = &region.reported {
        set(&mut shown, &["leader"], peer(leader));
    }
    shown
}

pub(super) fn pending(region: &Region) -> BTreeSet<u64> {
    if region.reported.is_none() {
        return BTreeSet::new();
    }
    let filling = region.peers.iter().filter(|(_, peer)| **peer != Peer::Voter);
    let behind = region.behind.iter().filter(|id| region.peers.contains_key(id));
    filling.map(|(id, _)| *id).chain(behind.copied()).collect()
}

/// TiKV calls a peer down that has not answered its leader for long.
pub(super) fn down(cluster: &Cluster, region: &Region, now: u64) -> BTreeSet<u64> {
    if region.reported.is_none() {
        return BTreeSet::new();
    }
    region.peers.keys().copied().filter(|store| is_silent(cluster, *store, now)).collect()
}

/// The store has not been heard for so long that its peers are called down.
pub(super) fn is_silent(cluster: &Cluster, store: u64, now: u64) -> bool {
    let heard = cluster.stores.get(&store).and_then(|store| store.heartbeat).unwrap_or_default();
    now.saturating_sub(heard) > beliefs::PEER_DOWN_AFTER.value
}

fn is_leaving(cluster: &Cluster, store: u64) -> bool {
    cluster.stores.get(&store).is_some_and(|store| store.state != StoreState::Up)
}
