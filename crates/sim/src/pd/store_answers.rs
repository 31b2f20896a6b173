//! What does PD say about stores, regions and schedulers?

use serde_json::{Map, Value, json};

use super::answer::{Answer, Request};
use super::cluster::{CAPACITY, Cluster, Store, StoreState};
use super::{Pd, region_answers, settings};
use crate::clock;

/// What `/stores/check` can be asked for.
const STATE_NAMES: [&str; 5] = ["up", "offline", "tombstone", "down", "disconnected"];
pub(super) const NOT_BOOTSTRAPPED: &str =
    "[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first";
/// A time that is not known.
const EPOCH: &str = "1970-01-01T00:00:00Z";
/// The zero time of Go.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Pd {
    pub(super) fn answer_about_stores(
        &mut self,
        index: usize,
        request: Request<'_>,
        parts: &[&str],
        now: u64,
    ) -> Option<Answer> {
        let ensemble = self.ensembles.get_mut(index)?;
        let recovering = ensemble.unsafe_recovery;
        let cluster = &mut ensemble.cluster;
        if let ("GET", ["cluster", "status"]) = (request.method, parts) {
            return Some(cluster_status(cluster));
        }
        if cluster.bootstrapped.is_none() {
            match (request.method, parts) {
                ("DELETE", ["schedulers", _]) => return Some(Answer::json(406, Value::Null)),
                (_, ["scheduler-config", ..]) => return Some(Answer::words(406, NOT_BOOTSTRAPPED)),
                (_, ["stores" | "store" | "regions" | "schedulers" | "admin", ..]) => {
                    return Some(Answer::words(500, NOT_BOOTSTRAPPED));
                }
                _ => {}
            }
        }
        match parts {
            ["stores" | "store", ..] => about_stores(cluster, request, parts, now),
            ["regions", ..] => region_answers::answer(cluster, request, parts, now),
            ["schedulers" | "scheduler-config", ..] => about_schedulers(cluster, request, parts),
            ["admin", "unsafe", "remove-failed-stores", "show"] => {
                let info = if recovering {
                    "Unsafe recovery enters collect report stage"
                } else {
                    "No on-going recovery."
                };
                Some(Answer::json(200, json!([{"info": info}])))
            }
            _ => None,
        }
    }
}

fn cluster_status(cluster: &Cluster) -> Answer {
    let begun = cluster.bootstrapped.map_or_else(|| NEVER.to_owned(), clock::rfc3339);
    let full = cluster.max_replicas as usize;
    let initialized = match cluster.regions.as_slice() {
        [] => false,
        [only] => only.voters().count() >= full && only.voters().count() == only.peers.len(),
        _ => true,
    };
    let body = json!({
        "raft_bootstrap_time": begun,
        "is_initialized": initialized,
        "replication_status": "",
    });
    Answer::json(200, body)
}

fn about_stores(
    cluster: &mut Cluster,
    request: Request<'_>,
    parts: &[&str],
    now: u64,
) -> Option<Answer> {
    match (request.method, parts) {
        ("GET", ["stores"]) => {
            let mut states: Vec<StoreState> = Vec::new();
            for asked in request.query("state") {
                match asked {
                    "0" => states.push(StoreState::Up),
                    "1" => states.push(StoreState::Offline),
                    "2" => states.push(StoreState::Tombstone),
                    other => {
                        return Some(Answer::words(500, &format!("unknown StoreState: {other}")));
                    }
                }
            }
            if states.is_empty() {
                states = vec![StoreState::Up, StoreState::Offline];
            }
            Some(list(cluster, now, |store| states.contains(&store.state)))
        }
        ("GET", ["stores", "check"]) => {
            let asked: Vec<String> = request.query("state").map(str::to_lowercase).collect();
            let unknown = asked.iter().find(|state| !STATE_NAMES.contains(&state.as_str()));
            if let Some(unknown) = unknown {
                return Some(Answer::words(400, &format!("unknown StoreState: {unknown}")));
            }
            let max_down = cluster.max_down;
            Some(list(cluster, now, |store| {
                let state = store.state_name(now, max_down).to_lowercase();
                asked.is_empty() || asked.contains(&state)
            }))
        }
        ("GET", ["stores", "progress"]) => Some(progress(cluster, request)),
        ("DELETE", ["stores", "remove-tombstone"]) => {
            cluster.stores.retain(|_, store| store.state != StoreState::Tombstone);
            Some(Answer::words(200, "Remove tombstone successfully."))
        }
        (_, ["store", id, ..]) => match id.parse() {
            Ok(id) => about_store(cluster, request, parts, (id, now)),
            Err(_) => Some(bad_input(&settings::not_a_number(id))),
        },
        _ => None,
    }
}

fn about_store(
    cluster: &mut Cluster,
    request: Request<'_>,
    parts: &[&str],
    (id, now): (u64, u64),
) -> Option<Answer> {
    let found = cluster.stores.get(&id).cloned();
    if let ("POST", [_, _, "label"]) = (request.method, parts) {
        let Some(store) = cluster.stores.get_mut(&id) else {
            let words = format!("[PD:cluster:ErrInvalidStoreID]invalid store id {id}, not found");
            return Some(Answer::words(500, &words));
        };
        return Some(set_labels(store, request));
    }
    let state = request.query("state").next().unwrap_or_default();
    let asked = state.to_lowercase();
    if request.method == "POST" && !["up", "offline"].contains(&asked.as_str()) {
        return Some(Answer::words(400, &format!("invalid state {state}")));
    }
    let Some(store) = found else {
        let words = format!("[PD:core:ErrStoreNotFound]store {id} not found");
        return Some(Answer::words(404, &words));
    };
    let removed = store.state == StoreState::Tombstone;
    match (request.method, parts) {
        ("GET", [_, _]) => Some(Answer::json(200, described(cluster, &store, now))),
        ("DELETE" | "POST", _) if removed => {
            let words = format!("[PD:core:ErrStoreRemoved]store {id} has been removed");
            Some(Answer::words(410, &words))
        }
        ("DELETE", [_, _]) => {
            let force = request.query("force").next().is_some();
            Some(retire(cluster, &store, force, "The store is set as Offline."))
        }
        ("POST", [_, _, "state"]) if asked == "offline" => {
            Some(retire(cluster, &store, false, STATE_IS_UPDATED))
        }
        ("POST", [_, _, "state"]) if store.destroyed => Some(destroyed(id)),
        ("POST", [_, _, "state"]) => {
            let leaving = cluster.stores.get_mut(&id).filter(|s| s.state == StoreState::Offline);
            if let Some(store) = leaving {
                (store.state, store.serving) = (StoreState::Up, true);
            }
            Some(Answer::words(200, STATE_IS_UPDATED))
        }
        _ => None,
    }
}

const STATE_IS_UPDATED: &str = "The store's state is updated.";

fn destroyed(id: u64) -> Answer {
    let words = format!("[PD:core:ErrStoreDestroyed]store {id} has been physically destroyed");
    Answer::words(400, &words)
}

/// Bad input is answered with an object.
fn bad_input(words: &str) -> Answer {
    Answer::json(400, json!({"code": "input", "msg": words, "data": {}}))
}

/// Labels are merged; an empty value takes one away.
fn set_labels(store: &mut Store, request: Request<'_>) -> Answer {
    let mut labels = store.labels.clone();
    for (key, value) in request.body.as_object().into_iter().flatten() {
        let Some(value) = value.as_str() else {
            return bad_input("json: cannot unmarshal into a label");
        };
        let body = key.strip_prefix('$').unwrap_or(key);
        let inside = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let ends = [body.chars().next(), body.chars().last()];
        let at_ends = ends.iter().all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric()));
        if !at_ends || !body.chars().all(inside) {
            return bad_input(&format!("{key} does not match format {KEY_FORMAT:?}"));
        }
        if !value.chars().all(inside) {
            return bad_input(&format!("{value} does not match format {VALUE_FORMAT:?}"));
        }
        labels.insert(key.clone(), value.to_owned());
    }
    labels.retain(|_, value| !value.is_empty());
    store.labels = labels;
    Answer::words(200, "The store's label is updated.")
}

const KEY_FORMAT: &str = "^[$]?[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$";
const VALUE_FORMAT: &str = "^[-A-Za-z0-9_./]*$";

/// Takes a store offline, where enough others are Up. Dead ones count as Up here. Again, in the same
/// way, is no error.
fn retire(cluster: &mut Cluster, store: &Store, force: bool, done: &str) -> Answer {
    if store.state == StoreState::Offline && store.destroyed == force {
        return Answer::words(200, done);
    }
    if store.destroyed {
        return destroyed(store.id);
    }
    let others = cluster.stores.values().filter(|s| s.state == StoreState::Up && s.id != store.id);
    let (left, needed) = (others.count(), cluster.max_replicas as usize);
    if store.state == StoreState::Up && left < needed && !force {
        let words = format!(
            "[PD:core:ErrStoresNotEnough]can not remove store {} since the number of up stores \
             would be {left} while need {needed}",
            store.id
        );
        return Answer::words(400, &words);
    }
    let mut others = cluster.stores.values();
    let led = others.any(|s| {
        s.state == StoreState::Up && s.id != store.id && !cluster.evicting.contains(&s.id)
    });
    if store.state == StoreState::Up && !led && !force {
        // beliefs::NO_STORE_FOR_LEADERS
        let words = format!(
            "[PD:core:ErrNoStoreForRegionLeader]can not remove store {} since there are no extra \
             up store to store the leader",
            store.id
        );
        return Answer::words(400, &words);
    }
    let had = cluster.regions.iter().filter(|r| r.peers.contains_key(&store.id)).count();
    if let Some(store) = cluster.stores.get_mut(&store.id) {
        if store.state == StoreState::Up {
            store.had = had;
        }
        store.state = StoreState::Offline;
        store.destroyed |= force;
    }
    Answer::words(200, done)
}

/// What a region holds in the model, in MiB per second of a move, and how long a move takes.
pub(super) const REGION_SIZE: u32 = 96;
const SECONDS_PER_REGION: u32 = 4;

fn progress(cluster: &Cluster, request: Request<'_>) -> Answer {
    let Some(id) = request.query("id").next() else {
        return Answer::words(400, "need query parameters");
    };
    let store = id.parse::<u64>().ok().and_then(|id| cluster.stores.get(&id));
    match store {
        Some(store) if store.state == StoreState::Offline => {
            let (done, left) = emptied(cluster, store);
            Answer::json(
                200,
                json!({
                    "action": "removing",
                    "store_id": store.id,
                    "progress": if left.is_some() { json!(done) } else { json!(0) },
                    "current_speed": if left.is_some() { json!(REGION_SIZE) } else { json!(0) },
                    "left_seconds": left.map_or(f64::MAX, f64::from),
                }),
            )
        }
        _ => {
            let words = "[PD:progress:ErrProgressNotFound]no progress found for the given store ID";
            Answer::words(404, &format!("{words}: {id}"))
        }
    }
}

/// How much of a store has moved away, and in how many seconds the rest will have; `None` while
/// nothing has moved.
pub(super) fn emptied(cluster: &Cluster, store: &Store) -> (f64, Option<u32>) {
    let left = cluster.regions.iter().filter(|r| r.peers.contains_key(&store.id)).count();
    let gone = store.had.saturating_sub(left);
    if gone == 0 {
        return (0.0, None);
    }
    let count = |n: usize| u32::try_from(n).unwrap_or_default();
    let done = f64::from(count(gone)) / f64::from(count(store.had));
    (done, Some(count(left) * SECONDS_PER_REGION))
}

/// Where a store's status port is.
pub(super) fn status_address(store: &Store) -> String {
    store.address.replace(":20160", ":20180")
}

fn list(cluster: &Cluster, now: u64, is_asked: impl Fn(&Store) -> bool) -> Answer {
    let asked = cluster.stores.values().filter(|store| is_asked(store));
    let stores: Vec<Value> = asked.map(|store| described(cluster, store, now)).collect();
    Answer::json(200, json!({"count": stores.len(), "stores": stores}))
}

/// A store as `/stores` shows it. Zero values are left out.
fn described(cluster: &Cluster, store: &Store, now: u64) -> Value {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("id", json!(store.id));
    put("address", json!(store.address));
    match store.state {
        StoreState::Up => None,
        StoreState::Offline => put("state", json!(1)),
        StoreState::Tombstone => put("state", json!(2)),
    };
    if !store.labels.is_empty() {
        let labels = store.labels.iter().map(|(key, value)| json!({"key": key, "value": value}));
        put("labels", Value::Array(labels.collect()));
    }
    put("version", json!(store.version));
    put("peer_address", json!(store.address));
    put("status_address", json!(status_address(store)));
    put("git_hash", json!("unknown"));
    put("start_timestamp", json!(clock::instant(store.started).as_second()));
    put("deploy_path", json!("/"));
    if let Some(heard) = store.heartbeat {
        put("last_heartbeat", json!(nanoseconds(heard)));
    }
    if store.destroyed {
        put("physically_destroyed", json!(true));
    }
    match store.state {
        StoreState::Up if !store.serving => None,
        StoreState::Up => put("node_state", json!(1)),
        StoreState::Offline => put("node_state", json!(2)),
        StoreState::Tombstone => put("node_state", json!(3)),
    };
    put("state_name", json!(store.state_name(now, cluster.max_down)));
    json!({"store": shown, "status": status(cluster, store)})
}

fn nanoseconds(heard: u64) -> i64 {
    i64::try_from(clock::instant(heard).as_nanosecond()).unwrap_or(i64::MAX)
}

fn status(cluster: &Cluster, store: &Store) -> Value {
    let (leaders, regions) = cluster.load(store.id);
    let known = store.heartbeat.is_some();
    let sized =
        |gib: u64| json!(if store.reported { format!("{gib}GiB") } else { "0B".to_owned() });
    let mut shown = json!({
        "capacity": sized(CAPACITY),
        "available": sized(cluster.free(store.id)),
        "used_size": sized(store.used),
        "leader_count": leaders,
        "leader_weight": 1,
        "leader_score": leaders,
        "leader_size": leaders,
        "region_count": regions,
        "region_weight": 1,
        "region_score": regions,
        "region_size": regions,
    });
    if let Some(map) = shown.as_object_mut() {
        map.insert("start_ts".to_owned(), json!(clock::rfc3339(store.started)));
        // A store that was never heard has the epoch as its last heartbeat.
        let heard =
            store.heartbeat.map_or_else(|| EPOCH.to_owned(), |t| clock::instant(t).to_string());
        map.insert("last_heartbeat_ts".to_owned(), json!(heard));
        if known {
            map.insert("uptime".to_owned(), json!("1m0s"));
        }
    }
    shown
}

const EVICT: &str = "evict-leader-scheduler";

fn about_schedulers(cluster: &mut Cluster, request: Request<'_>, parts: &[&str]) -> Option<Answer> {
    match (request.method, parts) {
        ("GET", ["schedulers"]) => {
            let mut names: Vec<String> =
                ["balance-region", "balance-leader", "balance-hot-region", "evict-slow-store"]
                    .iter()
                    .chain(&["evict-stopping-store"])
                    .map(|name| format!("{name}-scheduler"))
                    .collect();
            if !cluster.evicting.is_empty() {
                names.push(EVICT.to_owned());
            }
            Some(Answer::json(200, json!(names)))
        }
        ("POST", ["schedulers"]) => Some(evict(cluster, request)),
        ("DELETE", ["schedulers", EVICT]) => {
            let known = !std::mem::take(&mut cluster.evicting).is_empty();
            let missing = "[PD:scheduler:ErrSchedulerNotFound]scheduler not found";
            Some(if known {
                Answer::words(200, "The scheduler is removed.")
            } else {
                Answer::words(404, missing)
            })
        }
        ("DELETE", ["schedulers", name]) => {
            let id = name.strip_prefix("evict-leader-scheduler-").and_then(|id| id.parse().ok());
            let known = id.is_some_and(|id: u64| cluster.evicting.remove(&id));
            Some(Answer::json(if known { 200 } else { 404 }, Value::Null))
        }
        ("GET", ["scheduler-config", EVICT, "list"]) => {
            if cluster.evicting.is_empty() {
                return Some(Answer::text(404, "404 page not found"));
            }
            let everything = json!([{"end-key": "", "start-key": ""}]);
            let stores = cluster.evicting.iter().map(|id| (id.to_string(), everything.clone()));
            let ranges: Map<String, Value> = stores.collect();
            Some(Answer::json(200, json!({"store-id-ranges": ranges, "batch": 3})))
        }
        _ => None,
    }
}

fn evict(cluster: &mut Cluster, request: Request<'_>) -> Answer {
    match request.body.get("name").and_then(Value::as_str) {
        None => return Answer::words(400, "missing scheduler name"),
        Some(EVICT) => {}
        Some(_) => return Answer::words(400, "unknown scheduler"),
    }
    let Some(id) = request.body.get("store_id").and_then(Value::as_u64) else {
        return Answer::words(400, "missing store id");
    };
    if !cluster.stores.contains_key(&id) {
        let words = format!("[PD:core:ErrStoreNotFound]store {id} not found");
        if cluster.evicting.is_empty() {
            return Answer::words(500, &words);
        }
        // The scheduler's own answer: a JSON string inside a JSON string, with its newline.
        return Answer::words(500, &format!("{words:?}\n"));
    }
    let first = cluster.evicting.is_empty();
    cluster.evicting.insert(id);
    let words = if first {
        "The scheduler is created."
    } else {
        "The scheduler has been applied to the store."
    };
    Answer::words(200, words)
}
