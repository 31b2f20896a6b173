//! What is PD's configuration now? A tree as GET `/config` shows it. Some sections live in etcd
//! after the first start and are changed through the API only (trap 9).

use serde_json::{Map, Value};

use super::clock;
use super::options::{Options, PERSISTED};
use super::refusal::Refusal;

/// Every default of v8.5.7, as a fresh member answers GET `/config`.
const DEFAULTS: &str = include_str!("config_default.json");

/// Key of a switch that PD leaves out of its answer while it is off.
const HALT: &str = "halt-scheduling";

/// The part of the configuration that is persisted.
#[derive(Clone, Debug)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// What the configuration file says, over the defaults.
    pub fn from_options(options: &Options) -> Result<Self, String> {
        let mut settings = Self::defaults()?;
        for (section, table) in &options.persisted {
            let Value::Object(items) = json(table) else { continue };
            for (key, value) in items {
                // A key that this release does not have is only warned about, as at the top level.
                drop(settings.set(section, &key, &value));
            }
        }
        Ok(settings)
    }

    fn defaults() -> Result<Self, String> {
        let mut tree = defaults()?;
        let keep = |key: &str| PERSISTED.contains(&key) || key == "cluster-version";
        tree.retain(|key, _| keep(key));
        Ok(Self(tree))
    }

    /// The text that is kept in etcd.
    pub fn encode(&self) -> Vec<u8> {
        Value::Object(self.0.clone()).to_string().into_bytes()
    }

    /// Reads what [`Settings::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(tree)) => Ok(Self(tree)),
            other => Err(format!("persisted configuration is unreadable: {other:?}")),
        }
    }

    /// The whole of GET `/config` for the member that `options` started.
    pub fn full(&self, options: &Options) -> Result<Value, String> {
        let mut tree = defaults()?;
        let log_file = options.log_file.as_ref().map(|path| path.display().to_string());
        for (key, text) in [
            ("client-urls", options.client_urls.as_str()),
            ("peer-urls", &options.peer_urls),
            ("advertise-client-urls", &options.advertise_client_urls),
            ("advertise-peer-urls", &options.advertise_peer_urls),
            ("name", &options.name),
            ("data-dir", &options.data_dir.display().to_string()),
            ("initial-cluster", &options.initial_cluster),
            ("initial-cluster-state", &options.initial_cluster_state),
            ("initial-cluster-token", &options.initial_cluster_token),
            ("join", &options.join),
        ] {
            tree.insert(key.into(), text.into());
        }
        tree.insert("lease".into(), options.lease.into());
        if let Some(file) = tree.get_mut("log").and_then(|log| log.get_mut("file")) {
            file["filename"] = log_file.unwrap_or_default().into();
        }
        tree.extend(self.0.clone());
        Ok(Value::Object(tree))
    }

    /// One section, such as `schedule`; `replicate` is `replication`'s name in the API.
    pub fn section(&self, name: &str) -> Option<&Value> {
        self.0.get(if name == "replicate" { "replication" } else { name })
    }

    /// POST `/config`: flat keys, either `section.key` or a key that only one section has.
    pub fn post(&mut self, items: &Map<String, Value>) -> Result<(), Refusal> {
        for (item, value) in items {
            let not_found = || Refusal::bad(format!("config item {item} not found"));
            if item == "cluster-version" {
                let text = value.as_str().ok_or_else(|| wrong_type(value, "string"))?;
                self.set_cluster_version(text);
                continue;
            }
            let (section, key) = match item.split_once('.') {
                Some((section, key)) => (section.to_owned(), key),
                None => (self.section_with(item).ok_or_else(not_found)?, item.as_str()),
            };
            if !self.set(&section, key, value)? {
                return Err(not_found());
            }
        }
        Ok(())
    }

    /// POST `/config/schedule` or `/config/replicate`: part of one section; unknown keys are left.
    pub fn post_section(&mut self, name: &str, items: &Map<String, Value>) -> Result<(), Refusal> {
        let section = if name == "replicate" { "replication" } else { name };
        for (key, value) in items {
            self.set(section, key, value)?;
        }
        Ok(())
    }

    fn section_with(&self, key: &str) -> Option<String> {
        if key == HALT {
            return Some("schedule".into());
        }
        let has = |section: &Value| section.get(key).is_some();
        self.0.iter().find(|(_, section)| has(section)).map(|(name, _)| name.clone())
    }

    /// Sets one key; `false` when the section has no such key.
    fn set(&mut self, section: &str, key: &str, value: &Value) -> Result<bool, Refusal> {
        let Some(Value::Object(items)) = self.0.get_mut(section) else { return Ok(false) };
        if section == "schedule" && key == HALT {
            if converted(&Value::from("false"), value)? == "true" {
                items.insert(key.into(), "true".into());
            } else {
                items.remove(key);
            }
            return Ok(true);
        }
        let Some(current) = items.get_mut(key) else { return Ok(false) };
        *current = converted(current, value)?;
        Ok(true)
    }

    fn number(&self, section: &str, key: &str) -> u64 {
        let value = self.0.get(section).and_then(|section| section.get(key));
        value.and_then(Value::as_u64).unwrap_or_default()
    }

    fn text(&self, section: &str, key: &str) -> &str {
        let value = self.0.get(section).and_then(|section| section.get(key));
        value.and_then(Value::as_str).unwrap_or_default()
    }

    /// Wanted peers of a region.
    pub fn max_replicas(&self) -> usize {
        usize::try_from(self.number("replication", "max-replicas")).unwrap_or(3)
    }

    /// Labels that tell failure domains apart, outermost first.
    pub fn location_labels(&self) -> Vec<&str> {
        let labels = self.text("replication", "location-labels");
        labels.split(',').filter(|label| !label.is_empty()).collect()
    }

    /// Nanoseconds without a heartbeat after which a store is Down.
    pub fn max_store_down_time(&self) -> i64 {
        let text = self.text("schedule", "max-store-down-time");
        clock::parse_go_duration(text).unwrap_or(1_800_000_000_000)
    }

    /// A limit of `[schedule]`, such as `leader-schedule-limit`.
    pub fn limit(&self, key: &str) -> usize {
        usize::try_from(self.number("schedule", key)).unwrap_or(usize::MAX)
    }

    /// A switch of `[schedule]`, such as `enable-make-up-replica`.
    pub fn enabled(&self, key: &str) -> bool {
        self.text("schedule", key) == "true"
    }

    /// Share of a disk above which no peer is placed on it.
    pub fn low_space_ratio(&self) -> f64 {
        let ratio = self.0.get("schedule").and_then(|section| section.get("low-space-ratio"));
        ratio.and_then(Value::as_f64).unwrap_or(0.8)
    }

    /// The cluster's version, `0.0.0` before the first store.
    pub fn cluster_version(&self) -> &str {
        self.0.get("cluster-version").and_then(Value::as_str).unwrap_or("0.0.0")
    }

    /// Sets the cluster's version.
    pub fn set_cluster_version(&mut self, version: &str) {
        self.0.insert("cluster-version".into(), version.into());
    }

    /// The store limits, by store id.
    pub fn store_limits(&mut self) -> Option<&mut Map<String, Value>> {
        self.0.get_mut("schedule")?.get_mut("store-limit")?.as_object_mut()
    }
}

fn defaults() -> Result<Map<String, Value>, String> {
    match serde_json::from_str(DEFAULTS) {
        Ok(Value::Object(tree)) => Ok(tree),
        other => Err(format!("the built-in defaults are unreadable: {other:?}")),
    }
}

/// `new` in the shape of `current`: PD keeps booleans and durations as strings.
fn converted(current: &Value, new: &Value) -> Result<Value, Refusal> {
    match (current, new) {
        (Value::Number(old), Value::Number(given)) if old.is_u64() && !given.is_u64() => {
            Err(wrong_type(new, "uint64"))
        }
        (Value::Number(_), Value::Number(_))
        | (Value::Object(_), Value::Object(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Null | Value::Array(_), _) => Ok(new.clone()),
        (Value::String(old), Value::Bool(given)) if old == "true" || old == "false" => {
            Ok(given.to_string().into())
        }
        (Value::String(old), Value::String(given)) if old == "true" || old == "false" => {
            match given.as_str() {
                "true" | "false" => Ok(new.clone()),
                _ => Err(wrong_type(new, "bool")),
            }
        }
        (Value::String(old), Value::String(given)) => {
            if clock::parse_go_duration(old).is_none() {
                return Ok(new.clone());
            }
            let nanos = clock::parse_go_duration(given)
                .ok_or_else(|| Refusal::bad(format!("time: invalid duration {given:?}")))?;
            Ok(clock::go_duration(nanos).into())
        }
        (Value::String(_), _) => Err(wrong_type(new, "string")),
        (Value::Number(_), _) => Err(wrong_type(new, "uint64")),
        (Value::Bool(_), _) => Err(wrong_type(new, "bool")),
        (Value::Object(_), _) => Err(wrong_type(new, "map[string]interface {}")),
    }
}

fn wrong_type(value: &Value, wanted: &str) -> Refusal {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    Refusal::bad(format!("json: cannot unmarshal {kind} into Go value of type {wanted}"))
}

/// TOML as JSON; a list of strings becomes PD's comma separated text.
fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.clone().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => {
            let texts: Vec<&str> = items.iter().filter_map(toml::Value::as_str).collect();
            texts.join(",").into()
        }
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.clone(), json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(settings: &mut Settings, text: &str) -> Result<(), Refusal> {
        settings.post(serde_json::from_str::<Value>(text).unwrap().as_object().unwrap())
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
        assert!(post(&mut settings, r#"{"max-replicas":"5"}"#).is_err());
        assert!(post(&mut settings, r#"{"max-store-down-time":"soon"}"#).is_err());
        assert!(post(&mut settings, r#"{"enable-make-up-replica":"perhaps"}"#).is_err());
    }

    #[test]
    fn halting_shows_only_while_it_is_on() {
        let mut settings = Settings::defaults().unwrap();
        assert!(!settings.enabled(HALT));
        post(&mut settings, r#"{"halt-scheduling":true}"#).unwrap();
        assert!(settings.enabled(HALT));
        post(&mut settings, r#"{"schedule.halt-scheduling":"false"}"#).unwrap();
        assert!(settings.section("schedule").unwrap().get(HALT).is_none());
        let again = Settings::decode(&settings.encode()).unwrap();
        assert_eq!(again.encode(), settings.encode());
    }
}
