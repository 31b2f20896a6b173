//! What does the operator learn from PD?
//!
//! Through PD's HTTP answers only, as the real client does: half an answer is no answer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;
use tikv_operator_core::world::{
    ClusterId, LeaderFacts, Maintenance, PdFacts, PdMember, PdMemberId, PdView, Progress,
    Replication, StoreFacts, StoreId, StoreState,
};

use super::{Operator, stores_view};
use crate::clock;
use crate::kube::{at, text};
use crate::pd::Request;
use crate::universe::Universe;

impl Operator {
    /// Asks the PD processes one after the other until one gives a whole answer.
    /// `created`: there are PD pods, whether they resolve or not.
    pub(super) fn ask_pd(
        &mut self,
        created: bool,
        pds: &[String],
        universe: &mut Universe,
    ) -> PdView {
        let now = universe.now;
        if !created {
            self.memory.leader_changed |= self.memory.leader.take().is_some();
            return PdView::NotCreated;
        }
        let cut = self.dice.chance(self.faults.pd_silent);
        let mut asked = pds.iter().filter(|_| !cut);
        let answer = asked.find_map(|process| look(universe, process));
        if let Some((leader, mut facts)) = answer {
            self.memory.silent_since = None;
            facts.leader = self.remember_leader(leader, now);
            return PdView::Known(Box::new(facts));
        }
        self.memory.leader_changed |= self.memory.leader.take().is_some();
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
        Some(list) => (true, stores_view::stores(&list)?),
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
        fewest_peers: if few { regions.as_ref().and_then(stores_view::fewest_peers) } else { None },
        regions: regions.as_ref().map_or(0, |list| at(list, "/count").as_u64().unwrap_or_default()),
        max_replicas,
        location_labels: labels.split(',').filter(|l| !l.is_empty()).map(str::to_owned).collect(),
        critical: regions
            .as_ref()
            .and_then(|list| stores_view::critical(list, &stores, max_replicas?)),
        progress: progress(universe, process, &stores),
        stores,
        config,
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
