//! What is PD's configuration now? A tree as GET `/config` shows it. Some sections live in etcd
//! after the first start and are changed through the API only (trap 9).

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::options::{Options, PERSISTED};
use super::refusal::Refusal;
use super::shown::extend;
use crate::units;

/// Every default of v8.5.7, as a fresh member answers GET `/config`.
const DEFAULTS: &str = include_str!("config_default.json");

/// Key of a switch that PD leaves out of its answer while it is off.
const HALT: &str = "halt-scheduling";

/// The part of the configuration that is persisted.
#[derive(Clone, Debug)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// What the configuration file says, over the defaults.
    pub fn from_options(options: &Options) -> Result<Self> {
        let mut settings = Self::defaults()?;
        for (section, items) in options.persisted() {
            let items = serde_json::to_value(items)?;
            let items =
                items.as_object().with_context(|| format!("[{section}] must be a table"))?;
            for (key, value) in items {
                // A key that this release does not have is only warned about, as at the top level.
                // A file has truths and lists as what they are, a call has them as texts.
                let set = settings.set(section, key, value);
                drop(set.or_else(|_| settings.set(section, key, &as_text(value))));
            }
        }
        Ok(settings)
    }

    fn defaults() -> Result<Self> {
        let mut settings = Self::decode(DEFAULTS.as_bytes())?;
        settings.0.retain(|key, _| PERSISTED.contains(&key.as_str()) || key == "cluster-version");
        Ok(settings)
    }

    /// The text that is kept in etcd.
    pub fn encode(&self) -> Vec<u8> {
        Value::Object(self.0.clone()).to_string().into_bytes()
    }

    /// Reads what [`Settings::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map(Self).context("persisted configuration is unreadable")
    }

    /// The whole of GET `/config` for the member that `options` started.
    pub fn full(&self, options: &Options) -> Result<Value> {
        let Self(mut tree) = Self::decode(DEFAULTS.as_bytes())?;
        let own = serde_json::to_value(options)?;
        tree.extend(own.as_object().cloned().unwrap_or_default());
        if let Some(file) = tree.get_mut("log").and_then(|log| log.get_mut("file")) {
            extend(file, json!({"filename": options.log_file}));
        }
        tree.extend(self.0.clone());
        Ok(Value::Object(tree))
    }

    /// One section, such as `schedule`; `replicate` is `replication`'s name in the API.
    pub fn section(&self, name: &str) -> Option<&Value> {
        self.0.get(if name == "replicate" { "replication" } else { name })
    }

    /// POST `/config`: flat keys, either `section.key` or a key that only one section has.
    /// Before there is a region nothing can be said about its replicas.
    pub fn post(&mut self, items: &Map<String, Value>, begun: bool) -> Result<(), Refusal> {
        for (item, value) in items {
            if item == "cluster-version" {
                self.0.insert(item.clone(), converted(&Value::from(""), value)?);
                continue;
            }
            let section = || {
                let has = |section: &Value| section.get(item).is_some();
                let found = self.0.iter().find(|(_, section)| has(section));
                found.map_or("schedule", |(name, _)| name.as_str()).to_owned()
            };
            let (section, key) = match item.split_once('.') {
                Some((section, key)) => (section.to_owned(), key),
                None => (section(), item.as_str()),
            };
            // The real one keeps `label-property` in etcd and has another call for it.
            if section == "label-property" || !self.0.contains_key(&section) {
                return Err(Refusal::bad(format!("config prefix {section} not found")));
            }
            let before = self.0.clone();
            if !self.set(&section, key, value)? {
                return Err(Refusal::bad(format!("config item {key} not found")));
            }
            let early = !begun && self.0.get("replication") != before.get("replication");
            let early = early.then(|| Refusal::bad(Refusal::not_bootstrapped().message));
            if let Some(refusal) = self.fault().map(Refusal::bad).or(early) {
                self.0 = before;
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// What does not go together in a section.
    fn fault(&self) -> Option<String> {
        let ratio = |key| self.value("schedule", key).as_f64().unwrap_or_default();
        let (low, high) = ("low-space-ratio", "high-space-ratio");
        if let Some(key) = [low, high].into_iter().find(|key| !(0.0..=1.0).contains(&ratio(key))) {
            return Some(format!("{key} should between 0 and 1"));
        }
        if ratio(low) <= ratio(high) {
            return Some(format!("{low} should be larger than {high}"));
        }
        let level = self.isolation_level();
        let fits = level.is_empty() || self.location_labels().contains(&level);
        (!fits).then(|| "isolation-level must be one of location-labels or empty".to_owned())
    }

    /// Sets one key; `false` when the section has no such key.
    fn set(&mut self, section: &str, key: &str, value: &Value) -> Result<bool, Refusal> {
        let Some(Value::Object(items)) = self.0.get_mut(section) else { return Ok(false) };
        if section == "schedule" && key == HALT {
            items.remove(key);
            let wanted = converted(&"false".into(), value)?;
            items.extend((wanted == "true").then(|| (HALT.to_owned(), wanted)));
            return Ok(true);
        }
        let Some(current) = items.get_mut(key) else { return Ok(false) };
        *current = converted(current, value)?;
        Ok(true)
    }

    fn value(&self, section: &str, key: &str) -> &Value {
        self.0.get(section).and_then(|section| section.get(key)).unwrap_or(&Value::Null)
    }

    /// Wanted peers of a region.
    pub fn max_replicas(&self) -> usize {
        let wanted = self.value("replication", "max-replicas").as_u64();
        wanted.and_then(|wanted| wanted.try_into().ok()).unwrap_or(3)
    }

    /// Labels that tell failure domains apart, outermost first.
    pub fn location_labels(&self) -> Vec<&str> {
        let labels = self.value("replication", "location-labels").as_str().unwrap_or_default();
        labels.split(',').filter(|label| !label.is_empty()).collect()
    }

    /// The location label of which no two peers of a region share a domain; empty for none.
    pub fn isolation_level(&self) -> &str {
        self.value("replication", "isolation-level").as_str().unwrap_or_default()
    }

    /// Nanoseconds without a heartbeat after which a store is Down.
    pub fn max_store_down_time(&self) -> i64 {
        let text = self.value("schedule", "max-store-down-time").as_str().unwrap_or_default();
        units::parse_duration(text).unwrap_or(1_800 * units::SECOND)
    }

    /// A limit of `[schedule]`, such as `leader-schedule-limit`.
    pub fn limit(&self, key: &str) -> usize {
        let limit = self.value("schedule", key).as_u64().unwrap_or_default();
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// A switch of `[schedule]`, such as `enable-make-up-replica`.
    pub fn enabled(&self, key: &str) -> bool {
        self.value("schedule", key) == "true"
    }

    /// Share of a disk above which no peer is placed on it.
    pub fn low_space_ratio(&self) -> f64 {
        self.value("schedule", "low-space-ratio").as_f64().unwrap_or(0.8)
    }

    /// The cluster's version, `0.0.0` before the first store.
    pub fn cluster_version(&self) -> &str {
        self.0.get("cluster-version").and_then(Value::as_str).unwrap_or("0.0.0")
    }

    /// Sets the cluster's version.
    pub fn set_cluster_version(&mut self, version: &str) {
        self.0.insert("cluster-version".into(), version.into());
    }

    /// Shows a store's limits, peers per minute; nothing is held back by them. `None` forgets them.
    pub fn set_store_limit(&mut self, id: u64, remove_peer: Option<u64>) {
        let limits = self.0.get_mut("schedule").and_then(|items| items.get_mut("store-limit"));
        let Some(Value::Object(limits)) = limits else { return };
        limits.remove(&id.to_string());
        let shown = remove_peer.map(|rate| json!({"add-peer": 15, "remove-peer": rate}));
        limits.extend(shown.map(|limit| (id.to_string(), limit)));
    }
}

/// A truth or a list as PD shows it.
fn as_text(value: &Value) -> Value {
    let Some(items) = value.as_array() else { return value.to_string().into() };
    items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",").into()
}

/// `new` in the shape of `current`: PD keeps booleans, durations and lists as strings.
fn converted(current: &Value, new: &Value) -> Result<Value, Refusal> {
    let is_switch = |value: &Value| *value == "true" || *value == "false";
    let wrong = || Refusal::bad(format!("json: cannot unmarshal {new} in place of {current}"));
    match (current, new) {
        (Value::String(_), Value::Array(_)) => Err(Refusal::bad("invalid syntax")),
        (Value::String(old), Value::String(given)) => {
            if is_switch(current) {
                return if is_switch(new) { Ok(new.clone()) } else { Err(wrong()) };
            }
            if units::parse_duration(old).is_none() {
                return Ok(new.clone());
            }
            let invalid = || Refusal::bad(format!("time: invalid duration {given:?}"));
            let nanos = units::parse_duration(given).ok_or_else(invalid)?;
            Ok(units::go_duration(nanos).into())
        }
        (Value::Number(old), Value::Number(given)) if !old.is_u64() || given.is_u64() => {
            Ok(new.clone())
        }
        (Value::Bool(_), Value::Bool(_)) | (Value::Object(_), Value::Object(_)) => Ok(new.clone()),
        _other => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(settings: &mut Settings, text: &str) -> Result<(), Refusal> {
        settings.post(serde_json::from_str::<Value>(text).unwrap().as_object().unwrap(), true)
    }

    #[test]
    fn full_and_leaf_keys_are_set_and_bad_ones_are_refused() {
        let mut settings = Settings::defaults().unwrap();
        post(&mut settings, r#"{"schedule.max-store-down-time":"20m"}"#).unwrap();
        post(&mut settings, r#"{"max-replicas":5}"#).unwrap();
        assert_eq!(settings.section("schedule").unwrap()["max-store-down-time"], "20m0s");
        assert_eq!(settings.max_replicas(), 5);
        let refusal = post(&mut settings, r#"{"no-such-item":1}"#).unwrap_err();
        assert_eq!(refusal.message, "config item no-such-item not found");
        let refusal = post(&mut settings, r#"{"label-property.reject-leader":[]}"#).unwrap_err();
        assert_eq!(refusal.message, "config prefix label-property not found");
        assert!(post(&mut settings, r#"{"max-replicas":"5"}"#).is_err());
        assert!(post(&mut settings, r#"{"max-store-down-time":"soon"}"#).is_err());
        assert!(post(&mut settings, r#"{"enable-make-up-replica":"perhaps"}"#).is_err());
        assert!(post(&mut settings, r#"{"enable-make-up-replica":true}"#).is_err());
        assert!(post(&mut settings, r#"{"location-labels":["zone"]}"#).is_err());
    }

    #[test]
    fn halting_shows_only_while_it_is_on() {
        let mut settings = Settings::defaults().unwrap();
        assert!(!settings.enabled(HALT));
        post(&mut settings, r#"{"halt-scheduling":"true"}"#).unwrap();
        assert!(settings.enabled(HALT));
        post(&mut settings, r#"{"schedule.halt-scheduling":"false"}"#).unwrap();
        assert!(settings.section("schedule").unwrap().get(HALT).is_none());
        let again = Settings::decode(&settings.encode()).unwrap();
        assert_eq!(again.encode(), settings.encode());
    }
}
