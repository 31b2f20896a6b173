//! What does a store's status port say, and what can be changed there?

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tikv_operator_core::settings;

use super::Stage;
use crate::kube::{at, set};
use crate::universe::Universe;

/// The recorded answer of a real TiKV ([`crate::beliefs::TIKV_DEFAULTS`]).
const RECORDED: &str = include_str!("../../../../fixtures/tikv-recordings/config.txt");

/// The sections that the model keeps.
const SECTIONS: [&str; 8] =
    ["log", "server", "storage", "raftstore", "coprocessor", "gc", "split", "pessimistic-txn"];

/// Items that only a start reads ([`crate::beliefs::OFFLINE_ITEMS`]).
const OFFLINE: &[&str] = crate::beliefs::OFFLINE_ITEMS.value;

/// Items that are known and not shown.
const HIDDEN: &[&str] = crate::beliefs::HIDDEN_ITEMS.value;

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusAnswer {
    /// Regions that have a peer there.
    pub regions: u64,
    /// Regions that it leads.
    pub leaders: u64,
    /// Its effective configuration.
    pub config: Arc<Value>,
}

/// The metric that says how many regions a store has, and how many it leads.
const REGION_COUNT: &str = "tikv_raftstore_region_count";

impl StatusAnswer {
    /// What somebody who scrapes reads.
    pub fn metrics(&self) -> String {
        let line = |kind: &str, count: u64| format!("{REGION_COUNT}{{type=\"{kind}\"}} {count}\n");
        [line("leader", self.leaders), line("region", self.regions)].concat()
    }
}

/// How many regions a store leads, from its metrics.
pub fn leaders(metrics: &str) -> Option<u64> {
    let label = "{type=\"leader\"}";
    let of = |line: &str| line.strip_prefix(REGION_COUNT)?.strip_prefix(label)?.trim().parse().ok();
    metrics.lines().find_map(of)
}

/// The configuration that a process has which was started with this file; or its last words.
pub fn effective(file: &Value) -> Result<Value, String> {
    static DEFAULTS: OnceLock<Value> = OnceLock::new();
    let defaults = DEFAULTS.get_or_init(|| {
        let body = RECORDED.split_once("\n\n").map_or("", |(_, body)| body);
        let whole: Value = serde_json::from_str(body).unwrap_or_default();
        let of =
            |section: &&str| ((*section).to_owned(), at(&whole, &format!("/{section}")).clone());
        Value::Object(SECTIONS.iter().map(of).collect())
    });
    let mut config = defaults.clone();
    for (section, file) in file.as_object().into_iter().flatten() {
        match config.get_mut(section) {
            Some(known) => lay_over(known, file, section)?,
            None => set(&mut config, &[section], file.clone()),
        }
    }
    Ok(config)
}

/// Only what is known counts, and only with a value of its type
/// ([`crate::beliefs::STORE_READS_ITS_FILE`]).
fn lay_over(known: &mut Value, file: &Value, path: &str) -> Result<(), String> {
    if !is_alike(known, file) {
        return Err(format!("invalid type for key `{path}`: {file}"));
    }
    let (Value::Object(items), Value::Object(file)) = (&mut *known, file) else {
        known.clone_from(file);
        return Ok(());
    };
    for (name, value) in file {
        if let Some(item) = items.get_mut(name) {
            lay_over(item, value, &format!("{path}.{name}"))?;
        }
    }
    Ok(())
}

/// A size may be a number of bytes.
fn is_alike(known: &Value, value: &Value) -> bool {
    match known {
        Value::Null => true,
        Value::Bool(_) => value.is_boolean(),
        Value::Number(_) => value.is_number(),
        Value::String(_) => value.is_string() || value.is_number(),
        Value::Array(_) => value.is_array(),
        Value::Object(_) => value.is_object(),
    }
}

/// `POST /config?persist=false`: all items or none.
pub fn change(config: &mut Value, items: &BTreeMap<String, Value>) -> Result<(), String> {
    let mut changed = config.clone();
    for (item, value) in items {
        let path: Vec<&str> = item.split('.').collect();
        let is_fixed = |known: &&str| item.starts_with(known);
        if OFFLINE.iter().chain(HIDDEN).any(is_fixed) {
            let name = path.last().copied().unwrap_or_default().replace('-', "_");
            return Err(format!("failed to update, error: \"config {name} can not be changed\""));
        }
        let mut place = &*config;
        for name in &path {
            place = at(place, &format!("/{name}"));
            if place.is_null() {
                let name = name.replace('-', "_");
                return Err(format!("failed to update, error: \"unexpect fields: {name}\""));
            }
        }
        if let (true, Value::String(word)) = (is_size(place), value)
            && !is_size(value)
        {
            return Err(format!("failed to update, error: \"failed to parse: {word}\""));
        }
        set(&mut changed, &path, value.clone());
    }
    check(&changed).map_err(|words| format!("failed to update, error: \"{words}\""))?;
    *config = changed;
    Ok(())
}

/// What a store checks settings against each other for
/// ([`crate::beliefs::STORE_CHECKS_SETTINGS`]).
fn check(config: &Value) -> Result<(), String> {
    for what in ["size", "keys"] {
        let item = |which: &str| at(config, &format!("/coprocessor/region-{which}-{what}"));
        let (most, split) = (amount(item("max")), amount(item("split")));
        if let (Some(most), Some(split)) = (most, split)
            && most < split
        {
            return Err(format!("region max {what} {most} must >= split {what} {split}"));
        }
    }
    Ok(())
}

/// A number, or the bytes of a size.
fn amount(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(settings::bytes))
}

fn is_size(value: &Value) -> bool {
    let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    value.as_str().is_some_and(|text| digits(text) && text.ends_with('B'))
}

impl Universe {
    /// The answers of a store's status port; `None` where nothing serves there.
    pub fn store_process(&self, uid: &str) -> Option<StatusAnswer> {
        let process = self.tikv.processes.get(uid)?;
        let Stage::Serving { store, .. } = process.stage else { return None };
        let cluster_id = self.tikv.disks.get(&process.disk)?.cluster_id;
        let mut ensembles = self.pd.ensembles.iter();
        let ensemble = ensembles.rfind(|e| e.cluster_id == Some(cluster_id))?;
        let all = &ensemble.cluster.regions;
        let led = all.iter().filter(|region| region.leader == Some(store));
        let has = all.iter().filter(|region| region.peers.contains_key(&store));
        Some(StatusAnswer {
            regions: has.count() as u64,
            leaders: led.count() as u64,
            config: Arc::clone(&process.config),
        })
    }

    /// Changes items of a running store's configuration.
    pub fn set_store_config(
        &mut self,
        uid: &str,
        items: &BTreeMap<String, Value>,
    ) -> Result<(), String> {
        let process = self.tikv.processes.get_mut(uid).ok_or("nothing listens")?;
        change(Arc::make_mut(&mut process.config), items)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_lies_over_the_defaults_and_online_changes_over_both() {
        let mut config = effective(&json!({"raftstore": {"raft-log-gc-threshold": 77}})).unwrap();
        assert_eq!(at(&config, "/raftstore/raft-log-gc-threshold"), &json!(77));
        let items = BTreeMap::from([("raftstore.raft-log-gc-threshold".to_owned(), json!(99))]);
        change(&mut config, &items).unwrap();
        assert_eq!(at(&config, "/raftstore/raft-log-gc-threshold"), &json!(99));
    }

    #[test]
    fn a_file_may_have_items_that_nobody_knows_but_no_value_of_another_type() {
        let config = effective(&json!({"server": {"grpc-concurency": 3}})).unwrap();
        assert_eq!(config, effective(&Value::Null).unwrap());
        let words = effective(&json!({"server": {"grpc-concurrency": "many"}})).unwrap_err();
        assert!(words.contains("server.grpc-concurrency"), "{words}");
        effective(&json!({"server": {"grpc-stream-initial-window-size": 2_097_152}})).unwrap();
    }

    #[test]
    fn sizes_are_checked_against_each_other() {
        let mut config = effective(&Value::Null).unwrap();
        let mut post = |item: &str, value: &str| {
            change(&mut config, &BTreeMap::from([(item.to_owned(), json!(value))]))
        };
        let (most, split) = ("coprocessor.region-max-size", "coprocessor.region-split-size");
        assert!(post(most, "144MiB").unwrap_err().contains("must >= split size"));
        post(split, "96MiB").unwrap();
        post(most, "144MiB").unwrap();
    }
}
