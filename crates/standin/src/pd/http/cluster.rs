//! What does the API say about the cluster, its configuration, regions and schedulers?

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Result, json_with, object, said, shown};
use crate::pd::checkers;
use crate::pd::cluster::Cluster;
use crate::pd::lead::Lead;
use crate::pd::refusal::Refusal;
use crate::pd::region::Region;
use crate::pd::schedulers::EVICT_LEADER;
use crate::pd::server::Server;
use crate::pd::settings::Settings;
use crate::pd::version::Feature;
use crate::port::{Answer, Ask, typed};
use crate::proto::metapb::StoreState;
use crate::units;

/// Answers on the leader; `None` for a path that PD does not have.
pub(super) fn answer(
    server: &Server,
    lead: &mut Lead,
    ask: &Ask,
    route: &[&str],
) -> Option<Result> {
    Some(match (ask.method.as_str(), route) {
        ("GET", ["cluster"]) => shown(&json!({
            "id": server.cluster_id, "max_peer_count": lead.settings.max_replicas(),
        })),
        ("GET", ["cluster", "status"]) => status(lead),
        ("POST", ["config"]) => post_config(lead, ask),
        ("POST", ["config", section @ ("schedule" | "replicate")]) => object(ask)
            .and_then(|items| lead.settings.post_section(section, &items))
            .and_then(|()| said("The config is updated.")),
        ("GET", ["operators"]) => lead.cluster().and_then(|cluster| {
            shown(&cluster.operators.values().map(|o| Value::from(o.show())).collect())
        }),
        (_, ["schedulers" | "scheduler-config", ..]) => {
            return schedulers(lead, ask, route).transpose();
        }
        ("GET", ["admin", "unsafe", "remove-failed-stores", "show"]) => {
            shown(&json!([{"info": "No on-going recovery."}]))
        }
        ("POST", ["admin", "unsafe", "remove-failed-stores", ..]) => {
            Err(Refusal::internal("this stand-in for PD has no online unsafe recovery"))
        }
        ("GET", ["regions" | "region", ..]) => return regions(lead, ask, route).transpose(),
        _ => return None,
    })
}

fn status(lead: &Lead) -> Result {
    let replicas = lead.settings.max_replicas();
    let (time, initialized) = match &lead.cluster {
        None => ("0001-01-01T00:00:00Z".to_owned(), false),
        Some(cluster) => {
            let mut regions = cluster.regions.iter();
            let whole =
                |region: &Region| region.voters().count() >= replicas && region.pending.is_empty();
            let initialized = cluster.regions.len() > 1 || regions.next().is_some_and(whole);
            (units::rfc3339(cluster.bootstrapped_at), initialized)
        }
    };
    shown(&json!({
        "raft_bootstrap_time": time, "is_initialized": initialized, "replication_status": "",
    }))
}

fn post_config(lead: &mut Lead, ask: &Ask) -> Result {
    if ask.parameter("ttlSecond").is_some() {
        return Err(Refusal::bad("this stand-in for PD has no temporary settings (ttlSecond)"));
    }
    lead.settings.post(&object(ask)?)?;
    said("The config is updated.")
}

fn schedulers(lead: &mut Lead, ask: &Ask, route: &[&str]) -> Result<Option<Answer>> {
    let Cluster { stores, schedulers, .. } = lead.cluster()?;
    let answer = match (ask.method.as_str(), route) {
        ("GET", ["schedulers"]) => shown(&schedulers.names().into()),
        ("POST", ["schedulers"]) => said(schedulers.add(&object(ask)?, |id| {
            stores.get(&id).is_some_and(|store| store.state() != StoreState::Tombstone)
        })?),
        ("DELETE", ["schedulers", name]) => {
            let deleted = schedulers.delete(name);
            let status = if deleted { StatusCode::OK } else { StatusCode::NOT_FOUND };
            Ok(json_with(status, &Value::Null))
        }
        ("GET", ["scheduler-config", EVICT_LEADER, "list"]) => match schedulers.show_evictions() {
            Some(list) => shown(&list),
            None => return Ok(None),
        },
        ("DELETE", ["scheduler-config", EVICT_LEADER, "delete", id]) => {
            if !id.parse().is_ok_and(|id| schedulers.stop_evicting(id)) {
                let text = "[PD:scheduler:ErrScheduleConfigNotExist]the config does not exist";
                return Err(Refusal::new(StatusCode::NOT_FOUND, text));
            }
            match schedulers.show_evictions() {
                None => said("The last store has been deleted"),
                Some(_) => shown(&Value::Null),
            }
        }
        _ => return Ok(None),
    };
    answer.map(Some)
}

/// GET `/regions/count`.
pub(super) fn region_count(count: usize) -> Result {
    shown(&json!({"count": count, "regions": null}))
}

fn regions(lead: &mut Lead, ask: &Ask, route: &[&str]) -> Result<Option<Answer>> {
    if lead.cluster.is_none() && *route == ["regions", "count"] {
        return region_count(0).map(Some);
    }
    let version = lead.version;
    let (cluster, settings) = lead.parts()?;
    let (cluster, settings) = (&*cluster, &*settings);
    let all = || cluster.regions.iter();
    let key = |name: &str| ask.parameter(name).unwrap_or_default();
    Ok(Some(match route {
        ["regions"] => listed(all()),
        ["regions", "count"] => region_count(cluster.regions.len())?,
        ["regions", "replicated"] if version.has(Feature::Replicated) => {
            let (Some(start), Some(end)) = (unhex(key("startKey")), unhex(key("endKey"))) else {
                return Err(Refusal::bad("startKey or endKey is not in hex format"));
            };
            let whole = |r: &&Region| checkers::is_replicated(r, settings.max_replicas());
            let all_whole = cluster.regions.scan(&start, &end).iter().all(whole);
            if version.has(Feature::ReplicatedInWords) {
                said(if all_whole { "REPLICATED" } else { "INPROGRESS" })?
            } else {
                shown(&all_whole.into())?
            }
        }
        ["regions", "check", kind] if KINDS.contains(kind) => {
            listed(all().filter(|region| has_problem(region, kind, cluster, settings)))
        }
        ["region", "id", id] => {
            let region = id.parse().ok().and_then(|id| cluster.regions.get(id));
            binary(&region.map_or(Value::Null, Region::show))
        }
        _ => return Ok(None),
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

/// Whether `/regions/check/{kind}` lists the region. Counted when a heartbeat comes: a new PD leader
/// finds nothing wrong with any region at first.
fn has_problem(region: &Region, kind: &str, cluster: &Cluster, settings: &Settings) -> bool {
    let removing =
        |id: u64| cluster.stores.get(&id).is_none_or(|store| store.state() != StoreState::Up);
    let peers = &region.meta.peers;
    region.leader.is_some()
        && match kind {
            "miss-peer" => peers.len() < settings.max_replicas(),
            "extra-peer" => peers.len() > settings.max_replicas(),
            "down-peer" => !region.down.is_empty(),
            "pending-peer" => !region.pending.is_empty(),
            "learner-peer" => region.learners().next().is_some(),
            "offline-peer" => peers.iter().any(|peer| removing(peer.store_id)),
            "empty-region" => region.size <= 1,
            "oversized-region" => region.size > 144,
            _ => false,
        }
}

/// Compact JSON with the type that Go guesses for it.
fn binary(value: &Value) -> Answer {
    typed(StatusCode::OK, "application/octet-stream", Body::from(value.to_string()))
}

fn listed<'a>(regions: impl Iterator<Item = &'a Region>) -> Answer {
    let list: Vec<Value> = regions.map(Region::show).collect();
    binary(&json!({"count": list.len(), "regions": list}))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}
