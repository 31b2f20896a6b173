//! What does the API say about stores, and what can be done to them?

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Ask};
use crate::pd::clock;
use crate::pd::cluster::{Cluster, keys};
use crate::pd::lead::Lead;
use crate::pd::refusal::Refusal;
use crate::pd::settings::Settings;
use crate::pd::shown::number;
use crate::pd::store::Store;
use crate::pd::version::Feature;
use crate::proto::metapb::{StoreLabel, StoreState};

type Result<T = Answer> = std::result::Result<T, Refusal>;

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
        ("GET" | "POST", ["stores", "limit"]) => all_limits(lead, ask),
        (_, ["store", id, rest @ ..]) => one(lead, ask, id, rest),
        _ => return None,
    })
}

fn one(lead: &mut Lead, ask: &Ask, id: &str, rest: &[&str]) -> Result {
    let parsed: std::result::Result<u64, _> = id.parse();
    let bad = |_| Refusal::input(format!("strconv.ParseUint: parsing {id:?}: invalid syntax"));
    lead.cluster()?;
    let id = parsed.map_err(bad)?;
    match (&ask.method, rest) {
        (&Method::GET, []) => show_one(lead, id),
        (&Method::DELETE, []) => remove(lead, id, ask.parameter("force").is_some()),
        (&Method::POST, ["state"]) => set_state(lead, ask, id),
        (&Method::POST, ["label"]) => set_labels(lead, ask, id),
        (&Method::DELETE, ["label"]) => delete_label(lead, ask, id),
        (&Method::POST, ["weight"]) => set_weight(lead, ask, id),
        (&Method::POST, ["limit"]) => set_limit(lead, ask, id),
        _ => Ok(Answer::not_found()),
    }
}

fn list(cluster: &Cluster, settings: &Settings, keep: impl Fn(&Store) -> bool) -> Answer {
    let now = clock::now_nanos();
    let stores = cluster.stores.values().filter(|store| keep(store));
    let shown: Vec<Value> = stores
        .map(|store| store.show(now, settings, cluster.regions.load_of(store.meta.id)))
        .collect();
    Answer::json(&json!({"count": shown.len(), "stores": shown}))
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
    Ok(list(cluster, settings, |store| states.contains(&store.state())))
}

fn by_state_name(lead: &mut Lead, ask: &Ask) -> Result {
    const NAMES: [&str; 5] = ["up", "offline", "tombstone", "down", "disconnected"];
    let (cluster, settings) = lead.parts()?;
    let wanted: Vec<String> = ask.parameters("state").map(str::to_lowercase).collect();
    if let Some(odd) = wanted.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(Refusal::bad(format!("unknown StoreState: {odd}")));
    }
    let now = clock::now_nanos();
    Ok(list(cluster, settings, |store| {
        let name = store.state_name(now, settings).to_lowercase();
        wanted.is_empty() || wanted.contains(&name)
    }))
}

fn show_one(lead: &mut Lead, id: u64) -> Result {
    let (cluster, settings) = lead.parts()?;
    let store = cluster.stores.get(&id).ok_or_else(|| Refusal::store_not_found(id))?;
    let shown = store.show(clock::now_nanos(), settings, cluster.regions.load_of(id));
    Ok(Answer::json(&shown))
}

fn remove(lead: &mut Lead, id: u64, force: bool) -> Result {
    let checked = lead.version.has(Feature::EnoughStores);
    let (cluster, settings) = lead.parts()?;
    if checked && !force {
        cluster.check_enough_stores(id, settings)?;
    }
    let writes = cluster.remove_store(id, force, settings)?;
    lead.note(writes);
    Ok(Answer::said("The store is set as Offline."))
}

fn set_state(lead: &mut Lead, ask: &Ask, id: u64) -> Result {
    let (cluster, settings) = lead.parts()?;
    let state = ask.parameter("state").unwrap_or_default();
    let updated = Answer::said("The store's state is updated.");
    let writes = match state.to_lowercase().as_str() {
        "up" => cluster.cancel_removal(id, settings)?,
        "offline" => return remove(lead, id, false).map(|_| updated),
        _ => return Err(Refusal::bad(format!("invalid state {state}"))),
    };
    lead.note(writes);
    Ok(updated)
}

fn invalid_store(id: u64) -> Refusal {
    Refusal::internal(format!("[PD:cluster:ErrInvalidStoreID]invalid store id {id}, not found"))
}

fn set_labels(lead: &mut Lead, ask: &Ask, id: u64) -> Result {
    let mut labels = Vec::new();
    for (key, value) in ask.object()? {
        let Value::String(value) = value else {
            let text = "json: cannot unmarshal value into Go value of type string";
            return Err(Refusal::input(text));
        };
        if !is_label_key(&key) {
            return Err(Refusal::bad(format!("invalid label key: {key}")));
        }
        labels.push(StoreLabel { key, value });
    }
    let store = lead.cluster()?.stores.get_mut(&id).ok_or_else(|| invalid_store(id))?;
    if ask.parameter("force").is_some() {
        store.meta.labels.clear();
    }
    store.merge_labels(labels);
    let write = Cluster::persist_store(store);
    lead.note([write]);
    Ok(Answer::said("The store's label is updated."))
}

/// An optional `$`, then alphanumerics with `-_./` inside.
fn is_label_key(key: &str) -> bool {
    let body = key.strip_prefix('$').unwrap_or(key);
    let inside = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let at_ends = |c: char| c.is_ascii_alphanumeric();
    body.starts_with(at_ends) && body.ends_with(at_ends) && body.chars().all(inside)
}

fn delete_label(lead: &mut Lead, ask: &Ask, id: u64) -> Result {
    let key: String =
        serde_json::from_slice(&ask.body).map_err(|error| Refusal::input(error.to_string()))?;
    let store = lead.cluster()?.stores.get_mut(&id).ok_or_else(|| invalid_store(id))?;
    let before = store.meta.labels.len();
    store.meta.labels.retain(|label| label.key != key);
    if store.meta.labels.len() == before {
        return Err(Refusal::internal(format!("the label key {key} does not exist")));
    }
    let write = Cluster::persist_store(store);
    lead.note([write]);
    Ok(Answer::said("The label is deleted."))
}

fn set_weight(lead: &mut Lead, ask: &Ask, id: u64) -> Result {
    let body = ask.object()?;
    let weight = |key: &str| {
        let number = body.get(key).and_then(Value::as_f64).filter(|number| *number >= 0.0);
        number.ok_or_else(|| Refusal::bad(format!("bad format {key} weight")))
    };
    let (leader, region) = (weight("leader")?, weight("region")?);
    let store = lead.cluster()?.store_mut(id)?;
    (store.leader_weight, store.region_weight) = (leader, region);
    let text = serde_json::to_vec(&(leader, region)).unwrap_or_default();
    lead.note([(format!("{}{id}", keys::WEIGHTS), Some(text))]);
    Ok(Answer::said("The store's weight is updated."))
}

fn set_limit(lead: &mut Lead, ask: &Ask, id: u64) -> Result {
    lead.cluster()?.store_mut(id)?;
    let body = ask.object()?;
    change_limits(lead, &body, &[id])?;
    Ok(Answer::said("The store's label is updated."))
}

fn all_limits(lead: &mut Lead, ask: &Ask) -> Result {
    let ids: Vec<u64> = lead.cluster()?.stores.keys().copied().collect();
    if ask.method == Method::GET {
        let limits = lead.settings.store_limits().cloned().unwrap_or_default();
        return Ok(Answer::json(&Value::Object(limits)));
    }
    change_limits(lead, &ask.object()?, &ids)?;
    Ok(Answer::said("Set store limit successfully."))
}

fn change_limits(
    lead: &mut Lead,
    body: &serde_json::Map<String, Value>,
    ids: &[u64],
) -> Result<()> {
    let rate = body.get("rate").and_then(Value::as_f64).filter(|rate| *rate > 0.0);
    let rate = rate.ok_or_else(|| Refusal::bad("invalid rate which should be larger than 0"))?;
    let kinds: &[&str] = match body.get("type").and_then(Value::as_str) {
        None => &["add-peer", "remove-peer"],
        Some("add-peer") => &["add-peer"],
        Some("remove-peer") => &["remove-peer"],
        Some(_) => return Err(Refusal::bad("unknown type")),
    };
    let Some(limits) = lead.settings.store_limits() else { return Ok(()) };
    for id in ids {
        let fresh = json!({"add-peer": 15, "remove-peer": 15});
        let limit = limits.entry(id.to_string()).or_insert(fresh);
        for kind in kinds {
            limit[*kind] = number(rate);
        }
    }
    Ok(())
}

fn remove_tombstones(lead: &mut Lead) -> Result {
    let cluster = lead.cluster()?;
    let tombstones = cluster.stores.values().filter(|s| s.state() == StoreState::Tombstone);
    let ids: Vec<u64> = tombstones.map(|store| store.meta.id).collect();
    let holds = |id: &u64| cluster.regions.load_of(*id).regions > 0;
    let (failed, free): (Vec<u64>, Vec<u64>) = ids.into_iter().partition(holds);
    let writes: Vec<_> = free.into_iter().flat_map(|id| cluster.forget_store(id)).collect();
    lead.note(writes);
    if failed.is_empty() {
        return Ok(Answer::said("Remove tombstone successfully."));
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
    let now = clock::now_nanos();
    let removing = |store: &&Store| store.state() == StoreState::Offline;
    let of = |store: &Store| store.removal_progress(cluster.regions.load_of(store.meta.id), now);
    if let Some(id) = ask.parameter("id") {
        let bad = |_| Refusal::bad(format!("strconv.ParseUint: parsing {id:?}: invalid syntax"));
        let number: u64 = id.parse().map_err(bad)?;
        let store = cluster.stores.get(&number).filter(removing);
        let store = store.ok_or_else(|| none(format!("store ID: {id}")))?;
        return Ok(show_progress(Some(number), &[of(store)]));
    }
    match ask.parameter("action") {
        Some(action @ ("removing" | "preparing")) => {
            let all: Vec<_> = cluster.stores.values().filter(removing).map(of).collect();
            if action == "preparing" || all.is_empty() {
                return Err(none(format!("action: {action}")));
            }
            Ok(show_progress(None, &all))
        }
        Some(_) | None => Err(Refusal::bad("need query parameters")),
    }
}

/// The mean of (share, speed, seconds left), as PD shows several removals at once.
#[expect(clippy::cast_precision_loss, reason = "a number of stores")]
fn show_progress(id: Option<u64>, all: &[(f64, f64, f64)]) -> Answer {
    // Divided first: the sum of two unknown times is no number.
    let mean = |of: fn(&(f64, f64, f64)) -> f64| -> f64 {
        all.iter().map(|one| of(one) / all.len() as f64).sum()
    };
    let mut shown = json!({
        "action": "removing",
        "progress": number(mean(|one| one.0)),
        "current_speed": number(mean(|one| one.1)),
        "left_seconds": number(mean(|one| one.2)),
    });
    if let (Some(id), Some(shown)) = (id, shown.as_object_mut()) {
        shown.insert("store_id".to_owned(), id.into());
    }
    Answer::json(&shown)
}
