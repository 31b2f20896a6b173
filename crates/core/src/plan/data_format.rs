//! Does the spec ask for another data format than the stores have?
//!
//! The engine, the API version and whether values expire are decided when a store is first started
//! and are the same in all stores of a cluster. A store started with another value on old data
//! refuses to start, or keeps the old one and says nothing (tidb-operator issue 5729); a new store
//! with another value would hold what the others cannot read. So what was there at the first start
//! is noted on the connection ConfigMap, and no store is started or restarted with anything else.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config_pd::{connection, note};
use super::draft::Draft;
use super::{Identity, Scene, Step};
use crate::rules;
use crate::settings;

/// Annotation on the connection ConfigMap: JSON, the items that fix the data format where they are
/// not TiKV's defaults.
pub(super) const DATA_FORMAT: &str = "tikv.org/data-format";

/// The items, with TiKV's defaults (`src/storage/config.rs`, v4.0.0 to v8.5.7).
const ITEMS: [(&str, &str); 3] =
    [("storage.engine", "raft-kv"), ("storage.api-version", "1"), ("storage.enable-ttl", "false")];

/// Canonical values by item.
type Format = BTreeMap<String, String>;

/// Notes the format before the first store starts, and says where the spec asks for another one.
pub(super) fn record(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if !matches!(scene.identity, Identity::Known(_)) {
        return;
    }
    if let Err(detail) = verdict(scene) {
        draft.wait("spec.tikv.config", &rules::DATA_FORMAT_IS_FIXED, detail);
        return;
    }
    let wanted = wanted(scene);
    let Some((key, facts)) = connection(scene) else { return };
    if wanted == default() || note(facts, DATA_FORMAT).is_some() {
        return;
    }
    let text = serde_json::to_string(&wanted).unwrap_or_default();
    let annotations = BTreeMap::from([(DATA_FORMAT.to_owned(), Some(text))]);
    let uid = facts.uid.clone();
    let step = Step::Mark { key: key.clone(), uid, annotations, labels: BTreeMap::new() };
    draft.propose(key.to_string(), step);
}

/// May stores be started with what the spec asks for? Otherwise the sentence for the user.
pub(crate) fn verdict(scene: &Scene<'_>) -> Result<(), String> {
    let wanted = wanted(scene);
    let noted = connection(scene).and_then(|(_, facts)| note(facts, DATA_FORMAT));
    let noted = noted.and_then(|text| serde_json::from_str::<Format>(text).ok());
    let present = noted.or_else(|| if has_stores(scene) { live(scene) } else { None });
    match present {
        Some(present) => compare(&present, &wanted),
        None if !has_stores(scene) || wanted == default() => Ok(()),
        None => Err("no store has said yet which data format it has".to_owned()),
    }
}

fn compare(present: &Format, wanted: &Format) -> Result<(), String> {
    let differs = |(item, default): &(&str, &str)| {
        let of =
            |format: &Format| format.get(*item).cloned().unwrap_or_else(|| (*default).to_owned());
        let (present, wanted) = (of(present), of(wanted));
        (present != wanted)
            .then(|| format!("{item} is {present} in the stores and {wanted} in the spec"))
    };
    let differences: Vec<String> = ITEMS.iter().filter_map(differs).collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}; data is not converted: set it back, or make a new cluster and copy the data",
        differences.join(", ")
    ))
}

fn default() -> Format {
    ITEMS.map(|(item, value)| (item.to_owned(), value.to_owned())).into()
}

fn wanted(scene: &Scene<'_>) -> Format {
    let items = &scene.cluster.prepared().tikv_items;
    let value = |(item, default): (&str, &str)| {
        let value = items.get(item).map_or_else(|| default.to_owned(), settings::canonical);
        (item.to_owned(), value)
    };
    ITEMS.map(value).into()
}

/// Was there ever a store?
fn has_stores(scene: &Scene<'_>) -> bool {
    let marked = scene.world.volumes.values().any(|volume| volume.marks.store.is_some());
    marked || scene.pd().is_some_and(|pd| pd.bootstrapped)
}

/// What a running store says. An item that its version does not list has the default.
fn live(scene: &Scene<'_>) -> Option<Format> {
    let config = scene.world.processes.values().find_map(|process| process.config.as_ref())?;
    let value = |(item, default): (&str, &str)| {
        let live: Option<&Value> = settings::live(config, item);
        (item.to_owned(), live.map_or_else(|| default.to_owned(), settings::canonical))
    };
    Some(ITEMS.map(value).into())
}
