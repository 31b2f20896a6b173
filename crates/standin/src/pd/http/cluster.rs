//! What does the API say about the cluster, its configuration, regions and schedulers?

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Result, json_with, object, said, shown};
use crate::pd::cluster::Cluster;
use crate::pd::refusal::Refusal;
use crate::pd::region::Region;
use crate::pd::schedulers::EVICT_LEADER;
use crate::pd::server::Server;
use crate::port::{Answer, Ask, typed};
use crate::proto::metapb::StoreState;
use crate::units;
use crate::version::{Feature, Version};

/// Answers on the leader; `None` for a path that PD does not have.
pub(super) fn answer(
    server: &Server,
    cluster: &mut Cluster,
    ask: &Ask,
    route: &[&str],
) -> Option<Result> {
    Some(match (ask.method.as_str(), route) {
        ("GET", ["cluster"]) => shown(&json!({
            "id": server.cluster_id, "max_peer_count": cluster.settings.max_replicas(),
        })),
        ("GET", ["cluster", "status"]) => status(cluster),
        ("POST", ["config"]) => post_config(cluster, ask),
        ("GET", ["operators"]) => cluster.bootstrapped().and_then(|cluster| {
            shown(&cluster.operators.values().map(|o| Value::from(format!("{o:?}"))).collect())
        }),
        (_, ["schedulers" | "scheduler-config", ..]) => {
            return schedulers(cluster, ask, route).transpose();
        }
        ("GET", ["admin", "unsafe", "remove-failed-stores", "show"])
            if cluster.version.has(Feature::UNSAFE_RECOVERY) =>
        {
            cluster.bootstrapped().and_then(|cluster| {
                shown(&if cluster.version.has(Feature::UNSAFE_RECOVERY_STAGES) {
                    json!([{"info": "No on-going recovery."}])
                } else {
                    json!(["No on-going operation."])
                })
            })
        }
        ("GET", ["regions", ..]) => return regions(cluster, ask, route).transpose(),
        _ => return None,
    })
}

fn status(cluster: &Cluster) -> Result {
    let replicas = cluster.settings.max_replicas();
    let whole = |region: &Region| region.voters().count() >= replicas && region.pending.is_empty();
    let mut regions = cluster.regions.iter();
    let first_is_whole = regions.next().is_some_and(whole);
    let time = cluster.bootstrapped_at.map(units::rfc3339);
    shown(&json!({
        "raft_bootstrap_time": time.as_deref().unwrap_or("0001-01-01T00:00:00Z"),
        "is_initialized": first_is_whole || regions.next().is_some(),
        "replication_status": "",
    }))
}

fn post_config(cluster: &mut Cluster, ask: &Ask) -> Result {
    if ask.parameter("ttlSecond").is_some() {
        return Err(Refusal::bad("this stand-in for PD has no temporary settings (ttlSecond)"));
    }
    let changed = object(ask)?;
    cluster.settings.post(&changed, cluster.bootstrapped_at.is_some())?;
    said("The config is updated.")
}

const NO_SCHEDULER: &str = "[PD:scheduler:ErrSchedulerNotFound]scheduler not found";

fn schedulers(cluster: &mut Cluster, ask: &Ask, route: &[&str]) -> Result<Option<Answer>> {
    let version = cluster.version;
    let of_store = route.get(1).is_some_and(|name| name.starts_with("evict-leader-scheduler-"));
    if cluster.bootstrapped_at.is_none() && ask.method == http::Method::DELETE && of_store {
        return Ok(Some(json_with(StatusCode::NOT_ACCEPTABLE, &Value::Null)));
    }
    let Cluster { stores, schedulers, .. } = cluster.bootstrapped().map_err(|refusal| {
        // What a scheduler itself would answer has nobody to answer it.
        let of_scheduler = route.first() == Some(&"scheduler-config");
        let status = if of_scheduler { StatusCode::NOT_ACCEPTABLE } else { refusal.status };
        let silent = of_scheduler && !version.has(Feature::NO_LIST_REASON);
        Refusal::new(status, if silent { "no implement" } else { &refusal.message })
    })?;
    let answer = match (ask.method.as_str(), route) {
        ("GET", ["schedulers"]) => shown(&schedulers.names().into()),
        ("POST", ["schedulers"]) => {
            said(schedulers.add(&object(ask)?, |id| stores.contains_key(&id))?)
        }
        ("DELETE", ["schedulers", name]) => {
            let deleted = schedulers.delete(name);
            let status = if deleted { StatusCode::OK } else { StatusCode::NOT_FOUND };
            let words = if deleted { "The scheduler is removed." } else { NO_SCHEDULER };
            Ok(json_with(status, &if of_store { Value::Null } else { words.into() }))
        }
        ("GET", ["scheduler-config", EVICT_LEADER, "list"]) => {
            match schedulers.show_evictions(version) {
                Some(list) => shown(&list),
                None => return Ok(None),
            }
        }
        ("DELETE", ["scheduler-config", EVICT_LEADER, "delete", id]) => {
            if !id.parse().is_ok_and(|id| schedulers.stop_evicting(id)) {
                let text = "[PD:scheduler:ErrScheduleConfigNotExist]the config does not exist";
                return Err(Refusal::new(StatusCode::NOT_FOUND, text));
            }
            match schedulers.show_evictions(version) {
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

fn regions(cluster: &mut Cluster, ask: &Ask, route: &[&str]) -> Result<Option<Answer>> {
    let version = cluster.version;
    let cluster = &*cluster.bootstrapped()?;
    if *route == ["regions", "count"] {
        return region_count(cluster.regions.iter().count()).map(Some);
    }
    let settings = &cluster.settings;
    let all = || cluster.regions.iter();
    Ok(Some(match route {
        ["regions"] => listed(all(), version),
        ["regions", "replicated"] if version.has(Feature::REPLICATED) => {
            if ["startKey", "endKey"]
                .iter()
                .any(|key| ask.parameter(key).is_some_and(|k| !k.is_empty()))
            {
                return Err(Refusal::bad("this stand-in for PD looks at all keys"));
            }
            let wanted = settings.max_replicas();
            let whole = |region: &Region| {
                region.voters().count() == wanted && region.learners().next().is_none()
            };
            let all_whole = all().all(whole);
            if version.has(Feature::REPLICATED_IN_WORDS) {
                said(if all_whole { "REPLICATED" } else { "INPROGRESS" })?
            } else {
                shown(&all_whole.into())?
            }
        }
        ["regions", "check", "learner-peer"] if !version.has(Feature::PEER_ROLES) => {
            return Ok(None);
        }
        ["regions", "check", kind] => {
            let replicas = settings.max_replicas();
            let found =
                all().map(|region| Some((has_problem(region, kind, cluster, replicas)?, region)));
            let Some(found) = found.collect::<Option<Vec<_>>>() else { return Ok(None) };
            listed(found.into_iter().filter(|(has, _)| *has).map(|(_, region)| region), version)
        }
        _ => return Ok(None),
    }))
}

/// Whether `/regions/check/{kind}` lists the region; `None` for a kind that is not imitated. Counted
/// when a heartbeat comes: a new PD leader finds nothing wrong with any region at first.
fn has_problem(region: &Region, kind: &str, cluster: &Cluster, replicas: usize) -> Option<bool> {
    let removing =
        |id: u64| cluster.stores.get(&id).is_none_or(|store| store.state() != StoreState::Up);
    let peers = &region.meta.peers;
    let found = match kind {
        "miss-peer" => peers.len() < replicas,
        "extra-peer" => peers.len() > replicas,
        "down-peer" => !region.down.is_empty(),
        "pending-peer" => !region.pending.is_empty(),
        "learner-peer" => region.learners().next().is_some(),
        "offline-peer" => peers.iter().any(|peer| removing(peer.store_id)),
        _ => return None,
    };
    Some(found && region.leader.is_some())
}

/// Compact JSON with the type that Go guesses for it.
fn binary(value: &Value) -> Answer {
    typed(StatusCode::OK, "application/octet-stream", Body::from(value.to_string()))
}

fn listed<'a>(regions: impl Iterator<Item = &'a Region>, version: Version) -> Answer {
    let list: Vec<Value> = regions.map(|region| region.show(version)).collect();
    binary(&json!({"count": list.len(), "regions": list}))
}
