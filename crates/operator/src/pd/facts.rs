//! Which facts follow from PD's answers?
//!
//! Pure. An answer that contradicts itself, or lacks what PD always says, is refused as
//! [`PdError::Malformed`]: half an answer must never read as "the rest is gone".

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use http::{Uri, uri::Authority};
use jiff::Timestamp;
use tikv_operator_api::names::TIKV_STATUS_PORT;
use tikv_operator_core::{
    settings::bytes,
    world::{ClusterId, PdMember, PdMemberId, Replication, StoreFacts, StoreId, StoreState},
};

use super::{error::PdError, wire};

/// The members as the leader lists them.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    /// The identity of the cluster.
    pub cluster_id: ClusterId,
    /// All members, by id; not yet joined with `/health`.
    pub members: BTreeMap<PdMemberId, PdMember>,
    /// The leader; always one of `members`.
    pub leader: PdMemberId,
}

/// Reads `/members`. Without a leader nothing in it is believed: a member cut off from the others
/// lists what it last knew.
pub(super) fn membership(answer: wire::Members) -> Result<Membership, PdError> {
    let cluster = answer.header.map_or(0, |header| header.cluster_id);
    if cluster == 0 {
        return Err(malformed("members without a cluster id"));
    }
    let leader = answer.leader.map_or(0, |leader| leader.id);
    if leader == 0 {
        return Err(PdError::NoLeader("the member list names none".to_owned()));
    }
    let mut members = BTreeMap::new();
    for member in answer.list.unwrap_or_default() {
        let id = PdMemberId(member.id);
        let row = PdMember {
            id,
            name: member.name,
            healthy: false,
            version: member.binary_version,
            client_url: member
                .client_urls
                .unwrap_or_default()
                .into_iter()
                .next()
                .unwrap_or_default(),
        };
        if id.0 == 0 || members.insert(id, row).is_some() {
            return Err(malformed("a member without an id of its own"));
        }
    }
    let leader = PdMemberId(leader);
    if !members.contains_key(&leader) {
        return Err(malformed("the leader is not in the member list"));
    }
    Ok(Membership { cluster_id: ClusterId(cluster), members, leader })
}

/// Host and port of the leader, from the first URL that it advertises to clients.
pub(super) fn leader_address(membership: &Membership) -> Option<Authority> {
    let url = &membership.members.get(&membership.leader)?.client_url;
    url.parse::<Uri>().ok()?.into_parts().authority
}

/// Joins `/health` to the members: a member that it does not list is not healthy.
pub(super) fn with_health(
    members: BTreeMap<PdMemberId, PdMember>,
    health: &[wire::Health],
) -> BTreeMap<PdMemberId, PdMember> {
    let healthy: BTreeSet<u64> =
        health.iter().filter(|row| row.health).map(|row| row.member_id).collect();
    members
        .into_iter()
        .map(|(id, member)| (id, PdMember { healthy: healthy.contains(&id.0), ..member }))
        .collect()
}

/// Reads a store list.
pub(super) fn stores(answer: wire::Stores) -> Result<BTreeMap<StoreId, StoreFacts>, PdError> {
    let rows = answer.stores.unwrap_or_default();
    // PD counts what it lists; a list that lost rows on its way must not make stores vanish.
    if answer.count != Some(rows.len() as u64) {
        return Err(malformed("the store list does not have as many stores as it counts"));
    }
    let mut stores = BTreeMap::new();
    for row in rows {
        let facts = store(row)?;
        if stores.insert(facts.id, facts).is_some() {
            return Err(malformed("a store is listed twice"));
        }
    }
    Ok(stores)
}

fn store(row: wire::StoreInfo) -> Result<StoreFacts, PdError> {
    let (store, status) = (row.store, row.status);
    if store.id == 0 || store.address.is_empty() {
        return Err(malformed("a store without id or address"));
    }
    let state = store_state(&store)?;
    let labels = store.labels.unwrap_or_default();
    // A leader that has not heard the store itself says `0B` of all three.
    let capacity = status.capacity.as_deref().and_then(bytes).filter(|capacity| *capacity > 0);
    let size = |text: Option<&str>| capacity.and_then(|_| bytes(text?));
    Ok(StoreFacts {
        id: StoreId(store.id),
        state,
        status_address: status_address(&store.address, store.status_address),
        address: store.address,
        serving: is_serving(store.node_state, status.region_count),
        capacity,
        available: size(status.available.as_deref()),
        used: size(status.used_size.as_deref()),
        last_heartbeat: status.last_heartbeat_ts.as_deref().and_then(heartbeat),
        started: started(store.start_timestamp),
        leaders: status.leader_count,
        regions: status.region_count,
        version: store.version.trim_start_matches('v').to_owned(),
        labels: labels.into_iter().map(|label| (label.key, label.value)).collect(),
        physically_destroyed: store.physically_destroyed,
    })
}

/// Where the store's status server is reached. TiKV v4.0.0 advertises what it listens on, every
/// address of its own, and an earlier one nothing at all: such a store is asked at the host of its
/// advertised address, on the port that our pods use.
fn status_address(address: &str, advertised: String) -> String {
    let reachable = advertised.parse::<Authority>().is_ok_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host.parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified() && !ip.is_loopback())
            || (!host.is_empty() && host.parse::<IpAddr>().is_err())
    });
    match address.parse::<Authority>() {
        Ok(authority) if !reachable => format!("{}:{TIKV_STATUS_PORT}", authority.host()),
        Ok(_) | Err(_) => advertised,
    }
}

/// `state` is the number that PD keeps (0 is omitted); `state_name` refines Up by the time since
/// the last heartbeat. Where the two contradict each other neither is believed.
fn store_state(store: &wire::Store) -> Result<StoreState, PdError> {
    match (store.state, store.state_name.as_str()) {
        (0, "Up") => Ok(StoreState::Up),
        (0, "Disconnected") => Ok(StoreState::Disconnected),
        (0, "Down") => Ok(StoreState::Down),
        (1, "Offline") => Ok(StoreState::Offline),
        (2, "Tombstone") => Ok(StoreState::Tombstone),
        (number, name) => {
            Err(malformed(&format!("store {} in state {number} called {name:?}", store.id)))
        }
    }
}

/// Serving is 1; Preparing, 0, is omitted, and so looks like a version without the field (before
/// v6.0): there a store serves that has regions.
fn is_serving(node_state: u64, regions: u64) -> bool {
    match node_state {
        0 => regions > 0,
        other => other == 1,
    }
}

/// A real heartbeat time. PD writes the epoch for a store whose heartbeats it does not know, the
/// year 1 in places, and usually leaves the field out.
fn heartbeat(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().filter(|time| time.as_second() > 0)
}

fn started(seconds: i64) -> Option<Timestamp> {
    (seconds > 0).then(|| Timestamp::from_second(seconds).ok()).flatten()
}

/// Reads the stores in the evict-leader scheduler.
pub(super) fn evicting(answer: wire::Evicting) -> Result<BTreeSet<StoreId>, PdError> {
    let ranges = answer.ranges.unwrap_or_default();
    let parse = |id: &String| id.parse().map(StoreId);
    ranges
        .keys()
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(|_| malformed("an evicted store's id"))
}

/// Reads `replication.location-labels`: one comma string.
pub(super) fn location_labels(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect()
}

/// Number of stores that are not tombstones.
pub(super) fn live(stores: &BTreeMap<StoreId, StoreFacts>) -> u32 {
    let live = stores.values().filter(|store| store.state != StoreState::Tombstone).count();
    u32::try_from(live).unwrap_or(u32::MAX)
}

/// The smallest number of peers, neither down nor pending, that a region has. `None` for an empty
/// or incomplete list.
pub(super) fn fewest_peers(answer: &wire::Regions) -> Option<u32> {
    let regions = answer.regions.as_deref().unwrap_or_default();
    if answer.count != regions.len() as u64 {
        return None;
    }
    let well = |region: &wire::Region| {
        let down = region.down_peers.iter().flatten().map(|down| down.peer.id);
        let pending = region.pending_peers.iter().flatten().map(|peer| peer.id);
        let unwell: BTreeSet<u64> = down.chain(pending).collect();
        let peers = region.peers.iter().flatten();
        peers.filter(|peer| !unwell.contains(&peer.id)).count()
    };
    regions.iter().map(well).min().and_then(|count| u32::try_from(count).ok())
}

/// Reads `/regions/replicated`.
pub(super) fn replication(answer: &wire::Replicated) -> Replication {
    match answer {
        wire::Replicated::Flag(true) => Replication::Replicated,
        wire::Replicated::Flag(false) => Replication::InProgress,
        wire::Replicated::Word(word) => match word.as_str() {
            "REPLICATED" => Replication::Replicated,
            "INPROGRESS" => Replication::InProgress,
            "PENDING" => Replication::Pending,
            _ => Replication::Unknown,
        },
    }
}

fn malformed(text: &str) -> PdError {
    PdError::Malformed(text.to_owned())
}
