//! What does the operator learn from PD?
//!
//! Through PD's HTTP answers only, as the real client does: half an answer is no answer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tikv_operator_core::world::{
    ClusterId, Component, LeaderFacts, Maintenance, PdFacts, PdMember, PdMemberId, PdView,
    Replication, Slot, StoreFacts, StoreId, StoreState,
};

use super::Operator;
use crate::clock;
use crate::kube::{at, text};
use crate::pd::Request;
use crate::universe::Universe;

impl Operator {
    /// Asks the PD pods one after the other until one gives a whole answer.
    pub(super) fn ask_pd(
        &mut self,
        hosts: &BTreeMap<Slot, String>,
        universe: &mut Universe,
    ) -> PdView {
        let now = universe.now;
        let mut pds = hosts.iter().filter(|(slot, _)| slot.component == Component::Pd).peekable();
        if pds.peek().is_none() {
            return PdView::NotCreated;
        }
        let cut = self.dice.chance(self.faults.pd_silent);
        let answer = pds
            .filter(|_| !cut)
            .flat_map(|(_, host)| universe.names().resolve(host).to_vec())
            .collect::<Vec<String>>()
            .into_iter()
            .find_map(|process| look(universe, &process));
        if let Some((leader, mut facts)) = answer {
            self.memory.silent_since = None;
            facts.leader = self.remember_leader(leader, now);
            return PdView::Known(Box::new(facts));
        }
        let since = *self.memory.silent_since.get_or_insert(now);
        PdView::Unreachable {
            seen_for: clock::span(now - since),
            reason: "no member answered through a leader".to_owned(),
        }
    }

    fn remember_leader(&mut self, leader: u64, now: u64) -> LeaderFacts {
        let since = match self.memory.leader {
            Some((known, since)) if known == leader => since,
            Some(_) => {
                self.memory.leader_changed = true;
                now
            }
            None => now,
        };
        self.memory.leader = Some((leader, since));
        LeaderFacts {
            id: PdMemberId(leader),
            seen_for: clock::span(now - since),
            changed: self.memory.leader_changed,
        }
    }
}

/// A whole answer through one member. The leader is filled in by the caller.
fn look(universe: &mut Universe, process: &str) -> Option<(u64, PdFacts)> {
    let members = get(universe, process, "members")?;
    let health = get(universe, process, "health")?;
    let (bootstrapped, stores) = match get(universe, process, "stores/check") {
        Some(list) => (true, stores(&list)?),
        None if not_bootstrapped(universe, process) => (false, BTreeMap::new()),
        None => return None,
    };
    let leader = at(&members, "/leader/member_id").as_u64()?;
    let replicate = get(universe, process, "config/replicate");
    let settings = replicate.as_ref();
    let max_replicas = settings.and_then(|s| u32::try_from(at(s, "/max-replicas").as_u64()?).ok());
    let labels = settings.map(|s| text(s, "/location-labels").to_owned()).unwrap_or_default();
    let regions = get(universe, process, "regions/count");
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
        stores,
        evicting: evicting(universe, process),
        replication: replication(universe, process),
        fewest_peers: if few { fewest_peers(universe, process) } else { None },
        regions: regions.and_then(|answer| at(&answer, "/count").as_u64()).unwrap_or_default(),
        max_replicas,
        location_labels: labels.split(',').filter(|l| !l.is_empty()).map(str::to_owned).collect(),
        critical: None,
        progress: BTreeMap::new(),
        config: None,
        maintenance: Maintenance::Unsupported,
        unsafe_recovery: None,
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
        serving: true,
        capacity: None,
        available: None,
        used: None,
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

fn fewest_peers(universe: &mut Universe, process: &str) -> Option<u32> {
    let list = get(universe, process, "regions")?;
    let whole = |region: &Value| {
        let count = |pointer| at(region, pointer).as_array().map_or(0, Vec::len);
        u32::try_from(count("/peers") - count("/pending_peers").min(count("/peers"))).ok()
    };
    at(&list, "/regions").as_array()?.iter().filter_map(whole).min()
}
