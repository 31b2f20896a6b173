//! What does the API say about stores, and what can be done to them?

use http::StatusCode;
use serde_json::{Value, json};

use super::{Result, not_found, object, said, shown};
use crate::pd::cluster::Cluster;
use crate::pd::refusal::Refusal;
use crate::pd::shown::float;
use crate::pd::store::Store;
use crate::port::Ask;
use crate::proto::metapb::{StoreLabel, StoreState};
use crate::units;
use crate::version::Feature;

/// Answers `/stores` and `/store/{id}`; `None` for everything else.
pub(super) fn answer(cluster: &mut Cluster, ask: &Ask, route: &[&str]) -> Option<Result> {
    let version = cluster.version;
    let act: fn(&mut Cluster, &Ask) -> Result = match (ask.method.as_str(), route) {
        ("GET", ["stores"]) => by_state,
        ("GET", ["stores", "check"]) if version.has(Feature::STORES_CHECK) => by_state_name,
        ("DELETE", ["stores", "remove-tombstone"]) => remove_tombstones,
        ("GET", ["stores", "progress"]) if version.has(Feature::PROGRESS) => progress,
        (_, ["store", id, rest @ ..]) => {
            let found = cluster.bootstrapped().and_then(|cluster| Ok((cluster, super::id(id)?)));
            return Some(found.and_then(|(cluster, id)| one(cluster, ask, id, rest)));
        }
        _ => return None,
    };
    Some(cluster.bootstrapped().and_then(|cluster| act(cluster, ask)))
}

fn one(cluster: &mut Cluster, ask: &Ask, id: u64, rest: &[&str]) -> Result {
    match (ask.method.as_str(), rest) {
        ("GET", []) => {
            let store = cluster.store_mut(id)?.clone();
            shown(&show(cluster, &store))
        }
        ("DELETE", []) => {
            cluster.remove_store(id, ask.parameter("force").is_some())?;
            said("The store is set as Offline.")
        }
        ("POST", ["state"]) => {
            let state = ask.parameter("state").unwrap_or_default();
            match state.to_lowercase().as_str() {
                "up" => cluster.cancel_removal(id)?,
                "offline" => cluster.remove_store(id, false)?,
                _ => return Err(Refusal::bad(format!("invalid state {state}"))),
            }
            said("The store's state is updated.")
        }
        ("POST", ["label"]) => set_labels(cluster, ask, id),
        _ => Ok(not_found()),
    }
}

fn show(cluster: &Cluster, store: &Store) -> Value {
    let load = cluster.regions.load_of(store.meta.id);
    let mut shown = store.show(units::now_nanos(), &cluster.settings, load);
    if let Some(Value::Object(meta)) = shown.get_mut("store") {
        meta.retain(|key, _| key != "node_state" || cluster.version.has(Feature::NODE_STATE));
    }
    shown
}

fn list(cluster: &Cluster, keep: impl Fn(&Store) -> bool) -> Result {
    let stores = cluster.stores.values().filter(|store| keep(store));
    let list: Vec<Value> = stores.map(|store| show(cluster, store)).collect();
    shown(&json!({"count": list.len(), "stores": list}))
}

fn by_state(cluster: &mut Cluster, ask: &Ask) -> Result {
    let read = |text: &str| {
        let state = text.parse().ok().and_then(|number: i32| StoreState::try_from(number).ok());
        state.ok_or_else(|| Refusal::internal(format!("unknown StoreState: {text}")))
    };
    let mut states = ask.parameters("state").map(read).collect::<Result<Vec<_>>>()?;
    if states.is_empty() {
        states = vec![StoreState::Up, StoreState::Offline];
    }
    list(cluster, |store| states.contains(&store.state()))
}

fn by_state_name(cluster: &mut Cluster, ask: &Ask) -> Result {
    const NAMES: [&str; 5] = ["up", "offline", "tombstone", "down", "disconnected"];
    let wanted: Vec<String> = ask.parameters("state").map(str::to_lowercase).collect();
    if let Some(odd) = wanted.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(Refusal::bad(format!("unknown StoreState: {odd}")));
    }
    let now = units::now_nanos();
    list(cluster, |store| {
        let name = store.state_name(now, &cluster.settings).to_lowercase();
        wanted.is_empty() || wanted.contains(&name)
    })
}

fn set_labels(cluster: &mut Cluster, ask: &Ask, id: u64) -> Result {
    let mut labels = Vec::new();
    for (key, value) in object(ask)? {
        let bad = |error: serde_json::Error| Refusal::input(error.to_string());
        if !is_label_key(&key) {
            return Err(Refusal::input(format!("{key} does not match format")));
        }
        labels.push(StoreLabel { key, value: serde_json::from_value(value).map_err(bad)? });
    }
    let unknown = || {
        let text = format!("[PD:cluster:ErrInvalidStoreID]invalid store id {id}, not found");
        Refusal::internal(text)
    };
    let store = cluster.stores.get_mut(&id).ok_or_else(unknown)?;
    if ask.parameter("force").is_some() {
        store.meta.labels.clear();
    }
    store.merge_labels(labels);
    said("The store's label is updated.")
}

/// An optional `$`, then alphanumerics with `-_./` inside.
fn is_label_key(key: &str) -> bool {
    let body = key.strip_prefix('$').unwrap_or(key);
    let inside = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let at_ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    at_ends(body.chars().next()) && at_ends(body.chars().last()) && body.chars().all(inside)
}

fn remove_tombstones(cluster: &mut Cluster, _: &Ask) -> Result {
    cluster.stores.retain(|_, store| store.state() != StoreState::Tombstone);
    said("Remove tombstone successfully.")
}

/// How far the removal of a store is.
fn progress(cluster: &mut Cluster, ask: &Ask) -> Result {
    let id = ask.parameter("id").ok_or_else(|| Refusal::bad("need query parameters"))?;
    let number = super::id(id)?;
    let removing = |store: &&Store| store.state() == StoreState::Offline;
    let Some(store) = cluster.stores.get(&number).filter(removing) else {
        let text = "[PD:progress:ErrProgressNotFound]no progress found for the given store ID";
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("{text}: {id}")));
    };
    let load = cluster.regions.load_of(number);
    let (progress, speed, left_seconds) = store.removal_progress(load, units::now_nanos());
    shown(&json!({
        "action": "removing",
        "store_id": number,
        "progress": float(progress),
        "current_speed": float(speed),
        "left_seconds": float(left_seconds),
    }))
}
