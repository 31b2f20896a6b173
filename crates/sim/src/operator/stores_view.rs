//! What does the operator learn about stores: from PD's lists and from the stores themselves?

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use tikv_operator_core::world::{PdView, StoreFacts, StoreId, StoreProcess, StoreState};

use super::Operator;
use crate::kube::{at, text};
use crate::universe::Universe;

impl Operator {
    /// What the stores that PD lists say of themselves at their status port.
    pub(super) fn ask_stores(
        &mut self,
        pd: &PdView,
        universe: &Universe,
    ) -> BTreeMap<StoreId, StoreProcess> {
        let PdView::Known(facts) = pd else { return BTreeMap::new() };
        if self.dice.chance(self.faults.pd_silent) {
            return BTreeMap::new();
        }
        let of = |store: &StoreFacts| {
            let mut behind = universe.names().resolve(&store.status_address).iter();
            let process = behind.find_map(|process| universe.store_process(process))?;
            let config = Some(process.config);
            Some((store.id, StoreProcess { leaders: Some(process.leaders), config }))
        };
        facts.live_stores().filter_map(of).collect()
    }
}

/// PD's list of stores; `None` where a row cannot be read.
pub(super) fn stores(list: &Value) -> Option<BTreeMap<StoreId, StoreFacts>> {
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
pub(super) fn fewest_peers(list: &Value) -> Option<u32> {
    let whole =
        |region: &Value| u32::try_from(peers(region).difference(&unwell(region)).count()).ok();
    at(list, "/regions").as_array()?.iter().filter_map(whole).min()
}

/// Per store, how many of the regions that lack something would lose their quorum without it.
pub(super) fn critical(
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
