//! What is in the configuration files, and what are their ConfigMaps called?
//!
//! A ConfigMap is named by the hash of the configuration, so a pod keeps the one that it was made
//! with. How PD starts is in the same file but no part of the name: it is switched in place, so
//! that containers which restart where they are follow it too.

use serde_json::{Value, json};
use tikv_operator_api::names;

use super::fields::Fields;
use super::metadata::{self, Extra};
use super::{Prepared, address, hash, part};
use crate::cluster::Cluster;
use crate::world::{BootstrapRecord, Component, Kind, Object, ObjectFacts, ObjectKey, Slot};

/// Digits of the hash in a name.
const DIGITS: usize = 10;

/// PD's keys that say how a member without data starts. `initial-cluster-token` exists since PD
/// v4.0.6; before that PD warns about an undefined item and goes on.
const START_KEYS: [&str; 4] =
    ["initial-cluster", "initial-cluster-state", "initial-cluster-token", "join"];

/// How a PD member that has no data starts.
#[derive(Clone, Debug, PartialEq)]
pub enum PdStart {
    /// It forms the cluster together with the recorded first members. Once in a cluster's life.
    Bootstrap(BootstrapRecord),
    /// It joins the cluster behind the client Service. PD ignores this where there is data.
    Join,
}

/// Name of the ConfigMap with the component's present configuration.
pub fn config_map_name(cluster: &Cluster, component: Component) -> &str {
    let name: &String = Prepared::of_component(&cluster.prepared().config_names, component);
    name
}

/// The name by content: what [`config_map_name`] keeps.
pub(super) fn content_name(cluster: &Cluster, component: Component) -> String {
    let hash = hash::hex(&config_text(&part(cluster, component).config), DIGITS);
    names::config_map(cluster.name.as_str(), component, &hash)
}

/// PD's present ConfigMap.
pub(super) fn pd(cluster: &Cluster, start: &PdStart) -> Object {
    let name = content_name(cluster, Component::Pd);
    let config = config_text(&cluster.pd.common.config);
    config_map(cluster, Component::Pd, name, &pd_text(cluster, start, &config))
}

/// TiKV's present ConfigMap.
pub(super) fn tikv(cluster: &Cluster) -> Object {
    let name = content_name(cluster, Component::Tikv);
    config_map(cluster, Component::Tikv, name, &config_text(&cluster.tikv.common.config))
}

fn is_first(table: &toml::Table) -> bool {
    table.contains_key("initial-cluster")
}

/// An earlier PD ConfigMap that still says bootstrap, with `join` in its place. `None` where the
/// object is not a PD ConfigMap, says `join` already, or cannot be read.
pub fn joined(cluster: &Cluster, key: &ObjectKey, facts: &ObjectFacts) -> Option<Object> {
    let file = address::config_file(Component::Pd);
    let text = facts.body.get("data")?.get(file)?.as_str()?;
    if key.kind != Kind::ConfigMap || !text.contains("initial-cluster") {
        return None;
    }
    let mut table: toml::Table = text.parse().ok().filter(is_first)?;
    for start in START_KEYS {
        table.remove(start);
    }
    let text = pd_text(cluster, &PdStart::Join, &config_text(&table));
    Some(config_map(cluster, Component::Pd, key.name.clone(), &text))
}

fn pd_text(cluster: &Cluster, start: &PdStart, config: &str) -> String {
    let mut keys = toml::Table::new();
    match start {
        PdStart::Bootstrap(record) => {
            let member = |ordinal: &u32| {
                let slot = Slot::pd(*ordinal);
                let pod = slot.pod_name(cluster.name.as_str());
                format!("{pod}={}", address::peer_url(cluster, slot))
            };
            let members: Vec<String> = record.members.iter().map(member).collect();
            keys.insert("initial-cluster".to_owned(), members.join(",").into());
            keys.insert("initial-cluster-state".to_owned(), "new".into());
            keys.insert("initial-cluster-token".to_owned(), record.token.clone().into());
        }
        PdStart::Join => {
            keys.insert("join".to_owned(), address::pd_url(cluster).into());
        }
    }
    // Keys of the top level come before every table, so the start keys come first.
    format!("{keys}{config}")
}

/// TOML with sorted keys: one text per meaning, so neither formatting nor order makes a new name.
fn config_text(config: &toml::Table) -> String {
    sorted(config).to_string()
}

fn sorted(table: &toml::Table) -> toml::Table {
    let mut keys: Vec<_> = table.iter().collect();
    keys.sort_by_key(|(key, _)| *key);
    keys.into_iter().map(|(key, value)| (key.clone(), sorted_value(value))).collect()
}

fn sorted_value(value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::Table(table) => toml::Value::Table(sorted(table)),
        toml::Value::Array(list) => toml::Value::Array(list.iter().map(sorted_value).collect()),
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => value.clone(),
    }
}

fn config_map(cluster: &Cluster, component: Component, name: String, text: &str) -> Object {
    let data: Value = Fields::default().with(address::config_file(component), text).into();
    let body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata::owned(cluster, &name, Some(component), Extra::default()),
        "data": data,
    });
    metadata::furniture(Kind::ConfigMap, name, body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture;
    use crate::world::Uid;

    fn wanted() -> Cluster {
        fixture::cluster(json!({"pd": {"config": {
            "schedule": {"region-schedule-limit": 8},
            "lease": 5,
            "labels": [{"b": 1, "a": 2}],
        }}}))
    }

    fn bootstrap() -> PdStart {
        PdStart::Bootstrap(BootstrapRecord { token: "t-1".into(), members: vec![0, 2] })
    }

    fn table(object: &Object) -> toml::Table {
        object.body["data"]["pd.toml"].as_str().expect("text").parse().expect("TOML")
    }

    fn facts(object: &Object) -> ObjectFacts {
        ObjectFacts { uid: Uid("u".into()), body: object.body.clone().into(), deleting: false }
    }

    #[test]
    fn the_file_says_how_to_start_and_what_the_user_wants() {
        let cluster = wanted();
        let first = table(&pd(&cluster, &bootstrap()));
        assert_eq!(
            first["initial-cluster"].as_str(),
            Some(
                "c-pd-0=http://c-pd-0.c-pd-peer.ns.svc:2380,c-pd-2=http://c-pd-2.c-pd-peer.ns.svc:2380"
            )
        );
        assert_eq!(first["initial-cluster-token"].as_str(), Some("t-1"));
        assert_eq!(first["lease"].as_integer(), Some(5));
        assert_eq!(first["schedule"]["region-schedule-limit"].as_integer(), Some(8));
        let later = table(&pd(&cluster, &PdStart::Join));
        assert_eq!(later["join"].as_str(), Some("http://c-pd:2379"));
        assert!(!later.contains_key("initial-cluster") && !first.contains_key("join"));
        assert_eq!(later["labels"], first["labels"]);
    }

    #[test]
    fn how_to_start_is_no_part_of_the_name() {
        let cluster = wanted();
        assert_eq!(pd(&cluster, &bootstrap()).key, pd(&cluster, &PdStart::Join).key);
        let other = fixture::cluster(json!({"pd": {"config": {"lease": 6}}}));
        assert_ne!(pd(&cluster, &PdStart::Join).key, pd(&other, &PdStart::Join).key);
    }

    /// An earlier configuration becomes what it would be now, of its own content.
    #[test]
    fn an_earlier_map_that_says_bootstrap_is_switched_and_keeps_its_content() {
        let earlier = wanted();
        let now = fixture::cluster(json!({"pd": {"config": {"lease": 6}}}));
        let old = pd(&earlier, &bootstrap());
        let switched = joined(&now, &old.key, &facts(&old)).expect("it says bootstrap");
        assert_eq!(switched, pd(&earlier, &PdStart::Join));
        assert_eq!(joined(&now, &switched.key, &facts(&switched)), None);
    }

    #[test]
    fn other_objects_and_texts_are_left_alone() {
        let cluster = wanted();
        let store = tikv(&cluster);
        assert_eq!(joined(&cluster, &store.key, &facts(&store)), None);
        let mut broken = pd(&cluster, &bootstrap());
        broken.body["data"]["pd.toml"] = json!("initial-cluster = ");
        assert_eq!(joined(&cluster, &broken.key, &facts(&broken)), None);
    }
}
