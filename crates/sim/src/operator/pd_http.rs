//! What do PD's HTTP answers come to, read one by one as the real client does?
//!
//! Half an answer is no answer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tikv_operator_core::world::{
    ClusterId, LeaderFacts, Maintenance, PdFacts, PdMember, PdMemberId, Progress, Replication,
    StoreFacts, StoreId, StoreState,
};

use crate::kube::{at, text};
use crate::pd::Request;
use crate::universe::Universe;

/// A whole answer through one member. The leader is filled in by the caller.
pub fn look(universe: &mut Universe, process: &str) -> Option<(u64, PdFacts)> {
    let members = get(universe, process, "members")?;
    let health = get(universe, process, "health")?;
    let (bootstrapped, stores) = match get(universe, process, "stores/check") {
        Some(list) => (true, stores(&list)?),
        None if not_bootstrapped(universe, process) => (false, BTreeMap::new()),
        None => return None,
    };
    let leader = at(&members, "/leader/member_id").as_u64()?;
    let config = get(universe, process, "config");
    let settings = config.as_ref().map(|config| at(config, "/replication"));
    let max_replicas = settings.and_then(|s| u32::try_from(at(s, "/max-replicas").as_u64()?).ok());
    let labels = settings.map(|s| text(s, "/location-labels").to_owned()).unwrap_or_default();
    let regions = get(universe, process, "regions");
    let live = stores.values().filter(|s| s.state != StoreState::Tombstone).count();
    let few = max_replicas.is_some_and(|most| live < most as usize);
    let facts = PdFacts {
        cluster_id: ClusterId(at(&members, "/header/cluster_id").as_u64()?),
        members: healthy_members(&members, &health),
        leader: LeaderFacts {
            id: PdMemberId(leader),
            seen_for: SignedDuration::ZERO,
            changed: false,
        },
        bootstrapped,
        evicting: evicting(universe, process),
        replication: replication(universe, process),
        fewest_peers: if few { regions.as_ref().and_then(fewest_peers) } else { None },
        regions: regions.as_ref().map_or(0, |list| at(list, "/count").as_u64().unwrap_or_default()),
        max_replicas,
        location_labels: labels.split(',').filter(|l| !l.is_empty()).map(str::to_owned).collect(),
        isolation_level: settings.map(|s| text(s, "/isolation-level").to_owned()),
        critical: regions.as_ref().and_then(|list| critical(list, &stores, max_replicas?)),
        progress: progress(universe, process, &stores),
        stores,
        config: config.map(Into::into),
        maintenance: maintenance(universe, process),
        unsafe_recovery: unsafe_recovery(universe, process),
    };
    Some((leader, facts))
}

fn get(universe: &mut Universe, process: &str, path: &str) -> Option<Value> {
    let answer = universe.ask_pd(process, Request::get(&format!("/pd/api/v1/{path}")))?;
    (answer.status == 200).then(|| answer.value().cloned())?
}

fn not_bootstrapped(universe: &mut Universe, process: &str) -> bool {
    let answer = universe.ask_pd(process, Request::get("/pd/api/v1/stores"));
    let body = answer.as_ref().and_then(|answer| answer.value()?.as_str());
    body.is_some_and(|words| words.contains("ErrNotBootstrapped"))
}

fn healthy_members(members: &Value, health: &Value) -> BTreeMap<PdMemberId, PdMember> {
    let rows = health.as_array().into_iter().flatten();
    let healthy: BTreeSet<u64> = rows
        .filter(|row| at(row, "/health").as_bool() == Some(true))
        .filter_map(|row| at(row, "/member_id").as_u64())
        .collect();
    let members = at(members, "/members").as_array().into_iter().flatten();
    let member = |row: &Value| {
        let id = PdMemberId(at(row, "/member_id").as_u64()?);
        let member = PdMember {
            id,
            name: text(row, "/name").to_owned(),
            healthy: healthy.contains(&id.0),
            version: text(row, "/binary_version").to_owned(),
            client_url: text(row, "/client_urls/0").to_owned(),
        };
        Some((id, member))
    };
    members.filter_map(member).collect()
}

fn evicting(universe: &mut Universe, process: &str) -> BTreeSet<StoreId> {
    let list = get(universe, process, "scheduler-config/evict-leader-scheduler/list");
    let ranges = list.as_ref().and_then(|list| at(list, "/store-id-ranges").as_object());
    ranges.into_iter().flatten().filter_map(|(id, _)| id.parse().ok().map(StoreId)).collect()
}

fn replication(universe: &mut Universe, process: &str) -> Replication {
    let answer = get(universe, process, "regions/replicated?startKey=&endKey=");
    match answer.as_ref().and_then(Value::as_str) {
        Some("REPLICATED") => Replication::Replicated,
        Some("INPROGRESS") => Replication::InProgress,
        Some("PENDING") => Replication::Pending,
        Some(_) | None => Replication::Unknown,
    }
}

/// Asked for stores that are being emptied only.
fn progress(
    universe: &mut Universe,
    process: &str,
    stores: &BTreeMap<StoreId, StoreFacts>,
) -> BTreeMap<StoreId, Progress> {
    let leaving = stores.values().filter(|store| store.state == StoreState::Offline);
    let of = |store: &StoreFacts| {
        let row = get(universe, process, &format!("stores/progress?id={}", store.id.0))?;
        let seconds = at(&row, "/left_seconds").as_f64()?;
        // PD says the largest float where it does not know.
        let known = (0.0..1e12).contains(&seconds);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        let left_seconds = known.then_some(seconds as u64);
        let done = at(&row, "/progress").as_f64()?;
        let speed = at(&row, "/current_speed").as_f64().unwrap_or_default();
        Some((store.id, Progress { done, speed, left_seconds }))
    };
    leaving.filter_map(of).collect()
}

fn maintenance(universe: &mut Universe, process: &str) -> Maintenance {
    let request = Request::get("/pd/api/v2/maintenance");
    let unknown = || Maintenance::Unknown { reason: "no answer".to_owned() };
    let Some(answer) = universe.ask_pd(process, request) else { return unknown() };
    let Some(body) = answer.value() else { return unknown() };
    match answer.status {
        200 => Maintenance::Held {
            kind: text(body, "/0/type").to_owned(),
            id: text(body, "/0/id").to_owned(),
        },
        404 => Maintenance::Free,
        _ => unknown(),
    }
}

fn unsafe_recovery(universe: &mut Universe, process: &str) -> Option<bool> {
    let shown = get(universe, process, "admin/unsafe/remove-failed-stores/show")?;
    let last = shown.as_array()?.last()?;
    Some(text(last, "/info") != "No on-going recovery.")
}

/// PD's list of stores; `None` where a row cannot be read.
fn stores(list: &Value) -> Option<BTreeMap<StoreId, StoreFacts>> {
    at(list, "/stores").as_array()?.iter().map(store).collect()
}

fn store(row: &Value) -> Option<(StoreId, StoreFacts)> {
    let id = StoreId(at(row, "/store/id").as_u64()?);
    let state = match text(row, "/store/state_name") {
        "Up" => StoreState::Up,
        "Disconnected" => StoreState::Disconnected,
        "Down" => StoreState::Down,
        "Offline" => StoreState::Offline,
        "Tombstone" => StoreState::Tombstone,
        _ => return None,
    };
    let heard: Option<Timestamp> = text(row, "/status/last_heartbeat_ts").parse().ok();
    let started = at(row, "/store/start_timestamp").as_i64();
    let labels = at(row, "/store/labels").as_array().into_iter().flatten();
    let facts = StoreFacts {
        id,
        state,
        address: text(row, "/store/address").to_owned(),
        status_address: text(row, "/store/status_address").to_owned(),
        // Zero is left out, and means Preparing.
        serving: at(row, "/store/node_state").as_u64() == Some(1),
        capacity: size(text(row, "/status/capacity")),
        available: size(text(row, "/status/available")),
        used: size(text(row, "/status/used_size")),
        last_heartbeat: heard.filter(|time| time.as_second() > 0),
        started: started.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        leaders: at(row, "/status/leader_count").as_u64().unwrap_or_default(),
        regions: at(row, "/status/region_count").as_u64().unwrap_or_default(),
        version: text(row, "/store/version").to_owned(),
        labels: labels
            .map(|l| (text(l, "/key").to_owned(), text(l, "/value").to_owned()))
            .collect(),
        physically_destroyed: at(row, "/store/physically_destroyed").as_bool() == Some(true),
    };
    Some((id, facts))
}

/// PD writes sizes such as `100GiB`; `0B` is what it says of a store that it has not heard.
fn size(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.get(number.len()..)? {
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_shl(shift)
}

/// The smallest number of peers, neither down nor pending, that a region has.
fn fewest_peers(list: &Value) -> Option<u32> {
    let whole =
        |region: &Value| u32::try_from(peers(region).difference(&unwell(region)).count()).ok();
    at(list, "/regions").as_array()?.iter().filter_map(whole).min()
}

/// Per store, how many of the regions that lack something would lose their quorum without it.
fn critical(
    list: &Value,
    stores: &BTreeMap<StoreId, StoreFacts>,
    max_replicas: u32,
) -> Option<BTreeMap<StoreId, u64>> {
    let mut critical = BTreeMap::new();
    for region in at(list, "/regions").as_array()? {
        let (peers, unwell) = (peers(region), unwell(region));
        if peers.len() >= max_replicas as usize && unwell.is_empty() {
            continue;
        }
        let up = |id: &&u64| stores.get(&StoreId(**id)).is_some_and(|s| s.state == StoreState::Up);
        let well: BTreeSet<u64> = peers.difference(&unwell).filter(up).copied().collect();
        let quorum = voters(region) / 2 + 1;
        for store in &peers {
            if well.iter().filter(|other| *other != store).count() < quorum {
                *critical.entry(StoreId(*store)).or_default() += 1;
            }
        }
    }
    Some(critical)
}

fn peers(region: &Value) -> BTreeSet<u64> {
    ids(at(region, "/peers"), "/store_id")
}

fn voters(region: &Value) -> usize {
    let peers = at(region, "/peers").as_array().into_iter().flatten();
    peers.filter(|peer| at(peer, "/is_learner").as_bool() != Some(true)).count()
}

/// Stores whose peer is down or pending.
fn unwell(region: &Value) -> BTreeSet<u64> {
    let mut unwell = ids(at(region, "/pending_peers"), "/store_id");
    unwell.extend(ids(at(region, "/down_peers"), "/peer/store_id"));
    unwell
}

fn ids(list: &Value, pointer: &str) -> BTreeSet<u64> {
    list.as_array().into_iter().flatten().filter_map(|peer| at(peer, pointer).as_u64()).collect()
}
