//! What does the API say about the cluster, its configuration, regions and schedulers?

use serde_json::{Map, Value, json};

use super::{Answer, Ask};
use crate::pd::checkers;
use crate::pd::clock;
use crate::pd::lead::Lead;
use crate::pd::refusal::Refusal;
use crate::pd::region::Region;
use crate::pd::schedulers::EVICT_LEADER;
use crate::pd::server::Server;
use crate::pd::version::Feature;
use crate::proto::metapb::StoreState;

type Result = std::result::Result<Answer, Refusal>;

/// Answers on the leader; `None` for a path that PD does not have.
pub(super) fn answer(
    server: &Server,
    lead: &mut Lead,
    ask: &Ask,
    route: &[&str],
) -> Option<Result> {
    let version = server.options.version;
    Some(match (ask.method.as_str(), route) {
        ("GET", ["cluster"]) => Ok(Answer::json(&json!({
            "id": server.cluster_id, "max_peer_count": lead.settings.max_replicas(),
        }))),
        ("GET", ["cluster", "status"]) => Ok(status(lead)),
        ("POST", ["config"]) => post_config(lead, ask),
        ("POST", ["config", section @ ("schedule" | "replicate")]) => ask
            .object()
            .and_then(|items| lead.settings.post_section(section, &items))
            .map(|()| Answer::said("The config is updated.")),
        ("GET", ["schedulers"]) => schedulers(lead, ask),
        ("POST", ["schedulers"]) => add_scheduler(lead, ask),
        ("POST", ["schedulers", name]) => pause_scheduler(lead, ask, name),
        ("DELETE", ["schedulers", name]) => delete_scheduler(lead, name),
        ("GET", ["scheduler-config", EVICT_LEADER, "list"]) => evictions(lead),
        ("POST", ["scheduler-config", EVICT_LEADER, "config"]) => ask.object().and_then(|body| {
            Ok(Answer::said(lead.cluster()?.schedulers.configure(&body, version)?))
        }),
        ("DELETE", ["scheduler-config", EVICT_LEADER, "delete", id]) => stop_evicting(lead, id),
        ("GET", ["operators"]) => lead.cluster().map(|cluster| {
            let shown = cluster.operators.values().map(|operator| Value::from(operator.show()));
            Answer::json(&shown.collect::<Vec<_>>().into())
        }),
        ("POST", ["admin", "unsafe", "remove-failed-stores"]) => give_up_stores(lead, ask),
        ("GET", ["admin", "unsafe", "remove-failed-stores", "show"]) => {
            let now = clock::now_nanos();
            lead.cluster().map(|cluster| Answer::json(&cluster.unsafe_recovery.show(now)))
        }
        ("POST", ["admin", "unsafe", "remove-failed-stores", "abort"])
            if version.has(Feature::Probes) =>
        {
            lead.cluster().map(|cluster| {
                cluster.unsafe_recovery.abort();
                Answer::said("Request has been accepted.")
            })
        }
        ("GET", ["regions" | "region" | "stats", ..]) => return regions(lead, ask, route),
        _ => return None,
    })
}

fn status(lead: &Lead) -> Answer {
    let replicas = lead.settings.max_replicas();
    let (time, initialized) = match &lead.cluster {
        None => ("0001-01-01T00:00:00Z".to_owned(), false),
        Some(cluster) => {
            let first = cluster.regions.iter().next();
            let whole =
                |region: &Region| region.voters().count() >= replicas && region.pending.is_empty();
            let initialized = cluster.regions.len() > 1 || first.is_some_and(whole);
            (clock::rfc3339(cluster.bootstrapped_at), initialized)
        }
    };
    Answer::json(&json!({
        "raft_bootstrap_time": time, "is_initialized": initialized, "replication_status": "",
    }))
}

fn post_config(lead: &mut Lead, ask: &Ask) -> Result {
    if ask.parameter("ttlSecond").is_some() {
        return Err(Refusal::bad("this stand-in for PD has no temporary settings (ttlSecond)"));
    }
    lead.settings.post(&ask.object()?)?;
    Ok(Answer::said("The config is updated."))
}

fn schedulers(lead: &mut Lead, ask: &Ask) -> Result {
    let schedulers = &lead.cluster()?.schedulers;
    let now = clock::now_nanos();
    let names = match ask.parameter("status") {
        None | Some("") => schedulers.names(false, now),
        Some("paused") => schedulers.names(true, now),
        Some(_) => Vec::new(),
    };
    Ok(Answer::json(&names.into()))
}

fn add_scheduler(lead: &mut Lead, ask: &Ask) -> Result {
    let body = ask.object()?;
    let cluster = lead.cluster()?;
    let stores = &cluster.stores;
    let said = cluster.schedulers.add(&body, |id| {
        stores.get(&id).is_some_and(|store| store.state() != StoreState::Tombstone)
    })?;
    Ok(Answer::said(said))
}

fn pause_scheduler(lead: &mut Lead, ask: &Ask, name: &str) -> Result {
    let delay = ask.object()?.get("delay").and_then(Value::as_i64);
    let delay = delay.ok_or_else(|| Refusal::bad("missing pause time"))?;
    lead.cluster()?.schedulers.pause(name, delay, clock::now_nanos())?;
    Ok(Answer::said("Pause or resume the scheduler successfully."))
}

fn delete_scheduler(lead: &mut Lead, name: &str) -> Result {
    let deleted = lead.cluster()?.schedulers.delete(name);
    let status = if deleted { http::StatusCode::OK } else { http::StatusCode::NOT_FOUND };
    Ok(Answer::json_with(status, &Value::Null))
}

fn evictions(lead: &mut Lead) -> Result {
    let shown = lead.cluster()?.schedulers.show_evictions();
    Ok(shown.map_or_else(Answer::not_found, |shown| Answer::json(&shown)))
}

fn stop_evicting(lead: &mut Lead, id: &str) -> Result {
    let schedulers = &mut lead.cluster()?.schedulers;
    let stopped = id.parse().is_ok_and(|id| schedulers.stop_evicting(id));
    if !stopped {
        let text = "[PD:scheduler:ErrScheduleConfigNotExist]the config does not exist";
        return Err(Refusal::new(http::StatusCode::NOT_FOUND, text));
    }
    Ok(match schedulers.show_evictions() {
        None => Answer::said("The last store has been deleted"),
        Some(_) => Answer::json(&Value::Null),
    })
}

fn give_up_stores(lead: &mut Lead, ask: &Ask) -> Result {
    let body = ask.object()?;
    let writes = lead.cluster()?.give_up_stores(&body, clock::now_nanos())?;
    lead.note(writes);
    Ok(Answer::said("Request has been accepted."))
}

/// GET `/regions/count`.
pub(super) fn region_count(count: usize) -> Answer {
    Answer::json(&json!({"count": count, "regions": null}))
}

fn regions(lead: &mut Lead, ask: &Ask, route: &[&str]) -> Option<Result> {
    if lead.cluster.is_none() && *route == ["regions", "count"] {
        return Some(Ok(region_count(0)));
    }
    let version = lead.version;
    let (cluster, settings) = match lead.parts() {
        Ok((cluster, settings)) => (&*cluster, &*settings),
        Err(refusal) => return Some(Err(refusal)),
    };
    let all = || cluster.regions.iter();
    Some(Ok(match route {
        ["regions"] => listed(all()),
        ["regions", "count"] => region_count(cluster.regions.len()),
        ["regions", "store", id] => {
            let id = id.parse().unwrap_or_default();
            listed(all().filter(|region| region.peer_on(id).is_some()))
        }
        ["regions", "replicated"] if version.has(Feature::Replicated) => {
            let key = |name: &str| unhex(ask.parameter(name).unwrap_or_default());
            let (Some(start), Some(end)) = (key("startKey"), key("endKey")) else {
                return Some(Err(Refusal::bad("startKey or endKey is not in hex format")));
            };
            let regions = cluster.regions.scan(&start, &end);
            let whole = |r: &&Region| checkers::is_replicated(r, settings.max_replicas());
            let all_whole = regions.iter().all(whole);
            if version.has(Feature::ReplicatedInWords) {
                Answer::said(if all_whole { "REPLICATED" } else { "INPROGRESS" })
            } else {
                Answer::json(&all_whole.into())
            }
        }
        ["regions", "check", kind] if KINDS.contains(kind) => {
            let removing = |id: u64| {
                cluster.stores.get(&id).is_none_or(|store| store.state() != StoreState::Up)
            };
            let replicas = settings.max_replicas();
            listed(all().filter(|region| has_problem(region, kind, replicas, &removing)))
        }
        ["region", "id", id] => {
            let region = id.parse().ok().and_then(|id| cluster.regions.get(id));
            let shown = region.map_or(Value::Null, Region::show);
            Answer::typed(http::StatusCode::OK, BINARY, shown.to_string())
        }
        ["stats", "region"] => {
            let key = |name: &str| ask.parameter(name).unwrap_or_default().as_bytes().to_vec();
            let (start, end) = (key("start_key"), key("end_key"));
            statistics(&cluster.regions.scan(&start, &end))
        }
        _ => return None,
    }))
}

/// What `/regions/check/…` can be asked for.
const KINDS: [&str; 9] = [
    "miss-peer",
    "extra-peer",
    "down-peer",
    "pending-peer",
    "learner-peer",
    "offline-peer",
    "empty-region",
    "oversized-region",
    "undersized-region",
];

fn has_problem(
    region: &Region,
    kind: &str,
    replicas: usize,
    removing: &impl Fn(u64) -> bool,
) -> bool {
    // Counted when a heartbeat comes: a new PD leader finds nothing wrong with any region at first.
    if region.leader.is_none() {
        return false;
    }
    match kind {
        "miss-peer" => region.meta.peers.len() < replicas,
        "extra-peer" => region.meta.peers.len() > replicas,
        "down-peer" => !region.down.is_empty(),
        "pending-peer" => !region.pending.is_empty(),
        "learner-peer" => region.learners().next().is_some(),
        "offline-peer" => region.meta.peers.iter().any(|peer| removing(peer.store_id)),
        "empty-region" => region.size <= 1,
        "oversized-region" => region.size > 144,
        _ => false,
    }
}

/// What Go guesses for the compact JSON of region lists.
const BINARY: &str = "application/octet-stream";

fn listed<'a>(regions: impl Iterator<Item = &'a Region>) -> Answer {
    let shown: Vec<Value> = regions.map(Region::show).collect();
    let body = json!({"count": shown.len(), "regions": shown});
    Answer::typed(http::StatusCode::OK, BINARY, body.to_string())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

fn statistics(regions: &[&Region]) -> Answer {
    let mut leaders: Map<String, Value> = Map::new();
    let mut peers: Map<String, Value> = Map::new();
    let raise = |counts: &mut Map<String, Value>, store: u64| {
        let count = counts.entry(store.to_string()).or_insert(0.into());
        *count = (count.as_u64().unwrap_or_default() + 1).into();
    };
    for region in regions {
        if region.leader_store() != 0 {
            raise(&mut leaders, region.leader_store());
        }
        region.meta.peers.iter().for_each(|peer| raise(&mut peers, peer.store_id));
    }
    Answer::json(&json!({
        "count": regions.len(),
        "empty_count": regions.iter().filter(|region| region.size <= 1).count(),
        "storage_size": regions.iter().map(|region| region.size).sum::<u64>(),
        "storage_keys": regions.iter().map(|region| region.keys).sum::<u64>(),
        "store_leader_count": leaders,
        "store_peer_count": peers,
    }))
}
