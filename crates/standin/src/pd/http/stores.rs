//! What does the API say about stores, and what can be done to them?

use http::StatusCode;
use serde_json::{Value, json};

use super::{Result, not_found, object, said, shown};
use crate::pd::cluster::Cluster;
use crate::pd::lead::Lead;
use crate::pd::refusal::Refusal;
use crate::pd::settings::Settings;
use crate::pd::shown::{extend, number, without_zeros};
use crate::pd::store::Store;
use crate::pd::version::Feature;
use crate::port::Ask;
use crate::proto::metapb::{StoreLabel, StoreState};
use crate::units;

/// Answers `/stores` and `/store/{id}`; `None` for everything else.
pub(super) fn answer(lead: &mut Lead, ask: &Ask, route: &[&str]) -> Option<Result> {
    Some(match (ask.method.as_str(), route) {
        ("GET", ["stores"]) => by_state(lead, ask),
        ("GET", ["stores", "check"]) if lead.version.has(Feature::StoresCheck) => {
            by_state_name(lead, ask)
        }
        ("DELETE", ["stores", "remove-tombstone"]) => remove_tombstones(lead),
        ("GET", ["stores", "progress"]) if lead.version.has(Feature::Progress) => {
            progress(lead, ask)
        }
        (_, ["store", id, rest @ ..]) => one(lead, ask, id, rest),
        _ => return None,
    })
}

fn one(lead: &mut Lead, ask: &Ask, id: &str, rest: &[&str]) -> Result {
    let (cluster, settings) = lead.parts()?;
    let id = super::id(id)?;
    match (ask.method.as_str(), rest) {
        ("GET", []) => {
            let store = cluster.store_mut(id)?.clone();
            shown(&store.show(units::now_nanos(), settings, cluster.regions.load_of(id)))
        }
        ("DELETE", []) => {
            remove(lead, id, ask.parameter("force").is_some())?;
            said("The store is set as Offline.")
        }
        ("POST", ["state"]) => set_state(lead, ask, id),
        ("POST", ["label"]) => set_labels(lead, ask, id),
        _ => Ok(not_found()),
    }
}

fn list(cluster: &Cluster, settings: &Settings, keep: impl Fn(&Store) -> bool) -> Result {
    let now = units::now_nanos();
    let stores = cluster.stores.values().filter(|store| keep(store));
    let show = |store: &Store| store.show(now, settings, cluster.regions.load_of(store.meta.id));
    let list: Vec<Value> = stores.map(show).collect();
    shown(&json!({"count": list.len(), "stores": list}))
}

fn by_state(lead: &mut Lead, ask: &Ask) -> Result {
    let (cluster, settings) = lead.parts()?;
    let mut states = Vec::new();
    for text in ask.parameters("state") {
        let state = text.parse().ok().and_then(|number: i32| StoreState::try_from(number).ok());
        let unknown = || Refusal::internal(format!("unknown StoreState: {text}"));
        states.push(state.ok_or_else(unknown)?);
    }
    if states.is_empty() {
        states = vec![StoreState::Up, StoreState::Offline];
    }
    list(cluster, settings, |store| states.contains(&store.state()))
}

fn by_state_name(lead: &mut Lead, ask: &Ask) -> Result {
    const NAMES: [&str; 5] = ["up", "offline", "tombstone", "down", "disconnected"];
    let (cluster, settings) = lead.parts()?;
    let wanted: Vec<String> = ask.parameters("state").map(str::to_lowercase).collect();
    if let Some(odd) = wanted.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(Refusal::bad(format!("unknown StoreState: {odd}")));
    }
    let now = units::now_nanos();
    list(cluster, settings, |store| {
        let name = store.state_name(now, settings).to_lowercase();
        wanted.is_empty() || wanted.contains(&name)
    })
}

fn remove(lead: &mut Lead, id: u64, force: bool) -> Result<()> {
    let checked = lead.version.has(Feature::EnoughStores);
    let (cluster, settings) = lead.parts()?;
    if checked && !force {
        cluster.check_enough_stores(id, settings)?;
    }
    cluster.remove_store(id, force, settings)
}

fn set_state(lead: &mut Lead, ask: &Ask, id: u64) -> Result {
    let (cluster, settings) = lead.parts()?;
    let state = ask.parameter("state").unwrap_or_default();
    match state.to_lowercase().as_str() {
        "up" => cluster.cancel_removal(id, settings)?,
        "offline" => remove(lead, id, false)?,
        _ => return Err(Refusal::bad(format!("invalid state {state}"))),
    }
    said("The store's state is updated.")
}

fn invalid_store(id: u64) -> Refusal {
    Refusal::internal(format!("[PD:cluster:ErrInvalidStoreID]invalid store id {id}, not found"))
}

fn set_labels(lead: &mut Lead, ask: &Ask, id: u64) -> Result {
    let mut labels = Vec::new();
    for (key, value) in object(ask)? {
        let bad = |error: serde_json::Error| Refusal::input(error.to_string());
        if !is_label_key(&key) {
            return Err(Refusal::bad(format!("invalid label key: {key}")));
        }
        labels.push(StoreLabel { key, value: serde_json::from_value(value).map_err(bad)? });
    }
    let store = lead.cluster()?.stores.get_mut(&id).ok_or_else(|| invalid_store(id))?;
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

fn remove_tombstones(lead: &mut Lead) -> Result {
    let cluster = lead.cluster()?;
    let tombstones = cluster.stores.values().filter(|s| s.state() == StoreState::Tombstone);
    let ids: Vec<u64> = tombstones.map(|store| store.meta.id).collect();
    let holds = |id: &u64| cluster.regions.load_of(*id).regions > 0;
    let (failed, free): (Vec<u64>, Vec<u64>) = ids.into_iter().partition(holds);
    cluster.stores.retain(|id, _| !free.contains(id));
    if failed.is_empty() {
        return said("Remove tombstone successfully.");
    }
    Err(Refusal::internal(format!("failed stores: {failed:?}")))
}

/// How far the removal of one store is, or of all that are being removed.
fn progress(lead: &mut Lead, ask: &Ask) -> Result {
    let cluster = lead.cluster()?;
    let none = |what: String| {
        let text =
            format!("[PD:progress:ErrProgressNotFound]no progress found for the given {what}");
        Refusal::new(StatusCode::NOT_FOUND, text)
    };
    let now = units::now_nanos();
    let removing = |store: &&Store| store.state() == StoreState::Offline;
    let of = |store: &Store| store.removal_progress(cluster.regions.load_of(store.meta.id), now);
    if let Some(id) = ask.parameter("id") {
        let number = super::id(id)?;
        let store = cluster.stores.get(&number).filter(removing);
        let store = store.ok_or_else(|| none(format!("store ID: {id}")))?;
        return show_progress(Some(number), &[of(store)]);
    }
    match ask.parameter("action") {
        Some(action @ ("removing" | "preparing")) => {
            let all: Vec<_> = cluster.stores.values().filter(removing).map(of).collect();
            if action == "preparing" || all.is_empty() {
                return Err(none(format!("action: {action}")));
            }
            show_progress(None, &all)
        }
        Some(_) | None => Err(Refusal::bad("need query parameters")),
    }
}

/// The mean of (share, speed, seconds left), as PD shows several removals at once.
#[expect(clippy::cast_precision_loss, reason = "a number of stores")]
fn show_progress(id: Option<u64>, all: &[(f64, f64, f64)]) -> Result {
    // Divided first: the sum of two unknown times is no number.
    let mean = |of: fn(&(f64, f64, f64)) -> f64| -> f64 {
        all.iter().map(|one| of(one) / all.len() as f64).sum()
    };
    let mut progress = json!({
        "action": "removing",
        "progress": number(mean(|one| one.0)),
        "current_speed": number(mean(|one| one.1)),
        "left_seconds": number(mean(|one| one.2)),
    });
    extend(&mut progress, without_zeros(&json!({"store_id": id})));
    shown(&progress)
}
