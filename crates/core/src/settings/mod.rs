//! Which item of a configuration has which value, and does a change of it need a restart?
//!
//! A configuration is looked at as a flat map from dotted keys to values, as PD's and TiKV's own
//! interfaces take it. Keys are compared in lower case with `_` as `-`.

mod online;
mod value;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use online::{FAMILIES, ONLINE_PD, ONLINE_TIKV, Online, is_founding_only, is_online};
pub use value::{as_shown, bytes, canonical};

use crate::cluster::Version;
use crate::world::Component;

/// Items by dotted key. Lists are values; empty tables leave no trace.
pub type Items = BTreeMap<String, Value>;

/// All items of a configuration.
pub fn items(config: &toml::Table) -> Items {
    let mut items = Items::new();
    collect(config, "", &mut items);
    items
}

fn collect(table: &toml::Table, prefix: &str, items: &mut Items) {
    for (key, value) in table {
        let key = normal(key);
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        if let toml::Value::Table(table) = value {
            collect(table, &key, items);
        } else {
            items.insert(key, json(value));
        }
    }
}

/// The items that a running `component` of this version takes over while it runs.
pub fn online_items(component: Component, version: &Version, config: &toml::Table) -> Items {
    let mut items = items(config);
    items.retain(|key, _| is_online(component, version, key));
    items
}

/// The configuration without what changes online, as JSON: what a restart is needed for.
pub fn restart_part(component: Component, version: &Version, config: &toml::Table) -> Value {
    rest(component, version, "", config)
}

fn rest(component: Component, version: &Version, prefix: &str, table: &toml::Table) -> Value {
    let mut fields = Map::new();
    for (name, value) in table {
        let key = normal(name);
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        if let toml::Value::Table(inner) = value {
            let inner = rest(component, version, &key, inner);
            if inner.as_object().is_some_and(|fields| !fields.is_empty()) {
                fields.insert(name.clone(), inner);
            }
        } else if !is_online(component, version, &key) {
            fields.insert(name.clone(), json(value));
        }
    }
    Value::Object(fields)
}

/// The live value of an item in what `GET /config` answers. `None`: the server does not list it.
pub fn live<'a>(config: &'a Value, item: &str) -> Option<&'a Value> {
    item.split('.').try_fold(config, |value, key| value.get(key))
}

/// Do two values mean the same to PD and TiKV, whatever their spelling?
pub fn same(one: &Value, other: &Value) -> bool {
    canonical(one) == canonical(other)
}

fn normal(key: &str) -> String {
    key.to_lowercase().replace('_', "-")
}

/// A TOML value as JSON; times as text.
pub fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(list) => list.iter().map(json).collect(),
        toml::Value::Table(table) => {
            table.iter().map(|(key, value)| (key.clone(), json(value))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(text: &str) -> toml::Table {
        text.parse().expect("TOML")
    }

    #[test]
    fn items_are_flat_and_spelling_does_not_hide_one() {
        let config = table("lease = 5\n[Schedule]\nleader_schedule_limit = 8\n[a.b]\nc = [1, 2]");
        let expected = [
            ("a.b.c", json!([1, 2])),
            ("lease", json!(5)),
            ("schedule.leader-schedule-limit", json!(8)),
        ];
        assert_eq!(items(&config), expected.map(|(k, v)| (k.to_owned(), v)).into());
    }

    #[test]
    fn what_needs_a_restart_is_all_that_does_not_change_online() {
        let version = Version::parse("v8.5.7");
        let config = table(
            "[raftstore]\nsync-log = true\nraft-log-gc-threshold = 9\n\
             [rocksdb.defaultcf]\nwrite-buffer-size = \"1GiB\"",
        );
        let rest = restart_part(Component::Tikv, &version, &config);
        assert_eq!(rest, json!({"raftstore": {"sync-log": true}}));
        let online = online_items(Component::Tikv, &version, &config);
        let keys: Vec<_> = online.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["raftstore.raft-log-gc-threshold", "rocksdb.defaultcf.write-buffer-size"]
        );
    }

    #[test]
    fn a_live_value_is_found_where_the_server_lists_it() {
        let config = json!({"replication-mode": {"dr-auto-sync": {"dr": "x"}}});
        assert_eq!(live(&config, "replication-mode.dr-auto-sync.dr"), Some(&json!("x")));
        assert_eq!(live(&config, "replication-mode.dr"), None);
    }
}
