//! What is the store told, and what does it answer when asked for its configuration? TiKV's keys
//! with their defaults (from a recording of a real one), overlaid by a TOML file and by flags. A
//! value of the wrong type is refused; an unknown key is ignored unless the file is only checked.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

use crate::units;
use crate::version::{Feature, Version};

const DEFAULTS: &str = include_str!("config_default.json");

/// Keys that TiKV reads but does not show.
const HIDDEN: [(&str, &str); 5] = [
    ("raft-base-tick-interval", "\"1s\""),
    ("raft-heartbeat-ticks", "2"),
    ("raft-election-timeout-ticks", "10"),
    ("region-max-size", "\"144MiB\""),
    ("region-split-size", "\"96MiB\""),
];

/// Their section.
const RAFTSTORE: &str = "raftstore";

/// Keys that came after v4.0.0 and that the operator looks at.
const YOUNGER: [(&str, Feature); 3] = [
    ("storage.enable-ttl", Feature::TTL),
    ("storage.api-version", Feature::API_VERSION),
    ("server.graceful-shutdown-timeout", Feature::GRACEFUL_STOP),
];

/// What can be changed while the store runs: the list of TiKV's documentation ("Modify TiKV configuration
/// dynamically"); `<db>` stands for `rocksdb` and `raftdb`, `<cf>` for their column families.
const ONLINE_KEYS: &str = include_str!("online_keys.txt");

/// The configuration in effect.
#[derive(Clone, Debug)]
pub struct Config {
    tree: Value,
    /// Keys of the file that TiKV does not know.
    pub unknown: Vec<String>,
}

impl Config {
    /// All defaults.
    pub fn defaults() -> Result<Self> {
        let mut tree: Value = serde_json::from_str(DEFAULTS)?;
        if let Some(Value::Object(section)) = tree.get_mut(RAFTSTORE) {
            for (key, value) in HIDDEN {
                section.insert(key.to_owned(), serde_json::from_str(value)?);
            }
        }
        Ok(Self { tree, unknown: Vec::new() })
    }

    /// A release's defaults overlaid by a TOML document; the reason when it is no TOML or has a wrong
    /// type.
    pub fn from_toml(text: &str, version: Version) -> Result<Self> {
        let table: toml::Table = toml::from_str(text)?;
        let file = serde_json::to_value(table)?;
        let mut config = Self::defaults()?;
        for (path, _) in YOUNGER.iter().filter(|(_, feature)| !version.has(*feature)) {
            let (section, key) = path.split_once('.').unwrap_or(("", path));
            if let Some(Value::Object(section)) = config.tree.get_mut(section) {
                section.remove(key);
            }
        }
        config.overlay(&file, "")?;
        Ok(config)
    }

    fn overlay(&mut self, file: &Value, prefix: &str) -> Result<()> {
        for (key, value) in file.as_object().into_iter().flatten() {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let known = self.get(&path).cloned();
            match known {
                None => self.unknown.push(path),
                Some(Value::Object(_)) if path == "server.labels" => self.set(&path, value)?,
                Some(Value::Object(_)) if value.is_object() => self.overlay(value, &path)?,
                Some(Value::Object(_)) => {
                    bail!("invalid type for key `{path}`: expected a table");
                }
                Some(_) => self.set(&path, value)?,
            }
        }
        Ok(())
    }

    /// Sets one leaf; the reason when the value is of another kind than its default.
    pub fn set(&mut self, path: &str, value: &Value) -> Result<()> {
        let Some(default) = self.get(path) else { bail!("unknown key `{path}`") };
        let checked = if default.is_object() {
            value.clone()
        } else {
            normalise(default, value).map_err(|reason| anyhow!("{reason} for key `{path}`"))?
        };
        if let Some(value) = self.tree.pointer_mut(&pointer(path)) {
            *value = checked;
        }
        Ok(())
    }

    /// The value of a key, a section, or nothing.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.tree.pointer(&pointer(path))
    }

    /// A text value; empty when absent.
    pub fn text(&self, path: &str) -> &str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// A whole number; zero when absent.
    pub fn number(&self, path: &str) -> u64 {
        self.get(path).and_then(Value::as_u64).unwrap_or_default()
    }

    /// A size in bytes; zero when absent.
    pub fn bytes(&self, path: &str) -> u64 {
        units::parse_size(self.text(path)).unwrap_or_default()
    }

    /// A duration; zero when absent.
    pub fn duration(&self, path: &str) -> Duration {
        let nanos = units::parse_duration(self.text(path)).unwrap_or_default();
        Duration::from_nanos(nanos.unsigned_abs())
    }

    /// A list of texts.
    pub fn list(&self, path: &str) -> Vec<String> {
        let items = self.get(path).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The JSON that `/config` answers.
    pub fn shown(&self) -> Value {
        let mut tree = self.tree.clone();
        if let Some(Value::Object(section)) = tree.get_mut(RAFTSTORE) {
            section.retain(|key, _| HIDDEN.iter().all(|(hidden, _)| key != hidden));
        }
        tree
    }

    /// Fills in what follows from other keys, and refuses what a real store refuses at start.
    pub fn complete(&mut self) -> Result<()> {
        for (advertised, own) in [
            ("server.advertise-addr", "server.addr"),
            ("server.advertise-status-addr", "server.status-addr"),
        ] {
            if self.text(advertised).is_empty() {
                let address = self.get(own).cloned().unwrap_or_default();
                self.set(advertised, &address)?;
            }
        }
        let (purge, file) = ("raft-engine.purge-threshold", "raft-engine.target-file-size");
        if self.bytes(purge) < self.bytes(file) {
            bail!(
                "invalid raft-engine configuration: purge-threshold should be larger than target-file-size"
            );
        }
        if !self.text("security.ca-path").is_empty() {
            bail!("the stand-in does not speak TLS");
        }
        Ok(())
    }
}

fn is_online(path: &str) -> bool {
    let general = |part: &str| match part {
        "rocksdb" | "raftdb" => "<db>".to_owned(),
        family if family.ends_with("cf") => "<cf>".to_owned(),
        part => part.to_owned(),
    };
    let general = path.split('.').map(general).collect::<Vec<_>>().join(".");
    ONLINE_KEYS.lines().any(|key| key == general)
}

/// Changes all of `changes` or nothing while the store runs; the reason as the real one words it.
pub fn change(config: &mut Config, changes: &Map<String, Value>) -> Result<(), String> {
    let mut next = config.clone();
    for (path, value) in changes {
        if let Some(part) = first_unknown(config, path) {
            return Err(format!("unexpect fields: {}", part.replace('-', "_")));
        }
        if !is_online(path) {
            let key = path.rsplit('.').next().unwrap_or_default().replace('-', "_");
            return Err(format!("config {key} can not be changed"));
        }
        next.set(path, value).map_err(|reason| {
            // Without the key, as recorded.
            reason.to_string().split(" for key ").next().unwrap_or_default().to_owned()
        })?;
    }
    *config = next;
    Ok(())
}

/// The first part of a dotted path that TiKV does not know.
fn first_unknown<'a>(config: &Config, path: &'a str) -> Option<&'a str> {
    let mut known = path.split('.').scan(String::new(), |before, part| {
        *before = if before.is_empty() { part.to_owned() } else { format!("{before}.{part}") };
        Some((part, config.get(before).is_some()))
    });
    known.find_map(|(part, is_known)| (!is_known).then_some(part))
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

/// The value as TiKV shows it; the reason when it is of another kind than the default.
fn normalise(default: &Value, value: &Value) -> Result<Value, String> {
    let is_duration = |text: &str| units::parse_duration(text).is_some();
    let is_size = |text: &str| text.ends_with('B') && units::parse_size(text).is_some();
    let expected = match (default, value) {
        (Value::Bool(_), Value::Bool(_))
        | (Value::Array(_), Value::Array(_))
        | (Value::Null | Value::Object(_), _) => return Ok(value.clone()),
        (Value::Number(old), Value::Number(given)) if old.is_f64() => {
            return Ok(json!(given.as_f64()));
        }
        (Value::Number(_), Value::Number(given)) if !given.is_f64() => return Ok(value.clone()),
        (Value::String(old), Value::String(given)) if is_duration(old) => {
            let spelled = units::parse_duration(given).map(units::tikv_duration);
            return spelled.map(Value::from).ok_or_else(|| format!("failed to parse: {given}"));
        }
        (Value::String(old), _) if is_duration(old) => "a duration such as \"10s\"",
        (Value::String(old), Value::String(given)) if is_size(old) => {
            let spelled = units::parse_size(given).map(units::tikv_size);
            return spelled.map(Value::from).ok_or_else(|| format!("failed to parse: {given}"));
        }
        (Value::String(old), _) if is_size(old) => match value.as_u64() {
            Some(bytes) => return Ok(units::tikv_size(bytes).into()),
            None => "a size such as \"64MB\"",
        },
        (Value::String(_), _) if value.is_string() => return Ok(value.clone()),
        (Value::String(_), _) => "a string",
        (Value::Number(old), _) if old.is_f64() => "a number",
        (Value::Number(_), _) => "an integer",
        (Value::Bool(_), _) => "a boolean",
        (Value::Array(_), _) => "a sequence",
    };
    Err(format!("invalid type: {value}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_default_version(text: &str) -> Result<Config> {
        Config::from_toml(text, Version::default())
    }

    #[test]
    fn keys_of_later_versions_are_unknown() {
        let version = Version::parse("v5.2.0").unwrap();
        let text = "[storage]\nenable-ttl = true\napi-version = 2";
        let config = Config::from_toml(text, version).unwrap();
        assert_eq!(config.unknown, ["storage.api-version"]);
        assert_eq!(config.get("storage.enable-ttl"), Some(&json!(true)));
        assert!(config.shown().pointer("/server/graceful-shutdown-timeout").is_none());
    }

    #[test]
    fn a_file_overlays_the_defaults_in_tikvs_spelling() {
        let config = at_default_version(
            "[storage.block-cache]\ncapacity = \"64MB\"\n[raftstore]\npd-heartbeat-tick-interval = \"90s\"\nraft-base-tick-interval = \"100ms\"\n[server.labels]\nzone = \"a\"\n[odd]\nkey = 1\n",
        )
        .unwrap();
        assert_eq!(config.text("storage.block-cache.capacity"), "64MiB");
        assert_eq!(config.text("raftstore.pd-heartbeat-tick-interval"), "1m30s");
        assert_eq!(
            config.duration("raftstore.raft-base-tick-interval"),
            Duration::from_millis(100)
        );
        assert_eq!(config.get("server.labels"), Some(&json!({"zone": "a"})));
        assert_eq!(config.unknown, ["odd"]);
        assert!(config.shown().pointer("/raftstore/raft-base-tick-interval").is_none());
    }

    #[test]
    fn wrong_types_are_refused_by_key() {
        for (text, key) in [
            ("[server]\ngrpc-concurrency = \"three\"", "server.grpc-concurrency"),
            ("[server]\naddr = 3", "server.addr"),
            ("[raftstore]\nprevote = 1", "raftstore.prevote"),
            ("[storage]\nreserve-space = \"much\"", "storage.reserve-space"),
            ("[server]\ngraceful-shutdown-timeout = 20", "server.graceful-shutdown-timeout"),
            ("raftstore = 1", "raftstore"),
        ] {
            let reason = at_default_version(text).unwrap_err().to_string();
            assert!(reason.contains(&format!("`{key}`")), "{text}: {reason}");
        }
        assert!(at_default_version("[server\n").is_err());
    }

    #[test]
    fn every_default_survives_being_set_to_itself() {
        let defaults = Config::defaults().unwrap();
        let mut config = defaults.clone();
        config.overlay(&defaults.tree, "").unwrap();
        assert_eq!(config.tree, defaults.tree);
        assert!(config.unknown.is_empty());
    }

    #[test]
    fn every_listed_key_exists() {
        let config = Config::defaults().unwrap();
        let keys = ONLINE_KEYS.lines().map(|key| key.replace("<db>", "rocksdb"));
        let keys: Vec<String> = keys.map(|key| key.replace("<cf>", "writecf")).collect();
        let missing: Vec<_> = keys.iter().filter(|path| config.get(path).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(keys.len() > 80 && keys.iter().all(|path| is_online(path)));
        assert!(!is_online("server.grpc-concurrency") && !is_online("storage.data-dir"));
    }

    #[test]
    fn a_refused_call_changes_nothing() {
        let mut config = Config::defaults().unwrap();
        let before = config.shown();
        let changes = serde_json::json!({
            "server.snap-io-max-bytes-per-sec": "32MiB", "server.grpc-concurrency": 3
        });
        let reason = change(&mut config, changes.as_object().unwrap()).unwrap_err();
        assert_eq!(reason, "config grpc_concurrency can not be changed");
        assert_eq!(config.shown(), before);
    }
}
