//! Which of PD's settings follow from an edit of the spec?
//!
//! PD reads these sections from its file once in its life and keeps them in etcd afterwards, so
//! they are set through its API. What was set is remembered item by item, as a hash on the
//! connection ConfigMap: an item is set when the spec gives it another value than was applied last,
//! and never because somebody changed it in PD. Such a change is drift: reported, not reverted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::Draft;
use super::{Scene, Step};
use crate::build::hash;
use crate::cluster::Cluster;
use crate::rules;
use crate::settings::{self, Items};
use crate::world::{ConfigItem, Kind, ObjectFacts, ObjectKey, PdFacts};

/// Annotation on the connection ConfigMap: JSON, the hash of each item of PD's configuration as it
/// was last applied.
pub(crate) const APPLIED_PD_CONFIG: &str = "tikv.org/applied-pd-config";

/// Hashes by item.
type Applied = BTreeMap<String, String>;

/// Sets what the spec gives another value than was applied last, and notes what PD has taken.
pub(super) fn apply(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let (Some(pd), Some((key, connection))) = (scene.pd(), connection(scene)) else {
        return;
    };
    // Before the first store PD refuses to change what its placement rules depend on.
    if !pd.bootstrapped {
        return;
    }
    let before = applied(connection);
    let wanted = items(scene);
    let mut now = before.clone();
    now.retain(|item, _| wanted.contains_key(item));
    for (item, value) in wanted {
        if pending(scene, &before, item, pd) && is_live(item, value, pd, draft) {
            now.insert(item.clone(), hash_of(scene, item, pd).into_owned());
        }
    }
    for (item, value) in wanted.iter().filter(|(item, _)| pending(scene, &now, item, pd)) {
        set(scene, item, value, draft);
    }
    if now != before {
        let text = serde_json::to_string(&now).unwrap_or_default();
        let annotations = BTreeMap::from([(APPLIED_PD_CONFIG.to_owned(), Some(text))]);
        let uid = connection.uid.clone();
        let step = Step::Mark { key: key.clone(), uid, annotations, labels: BTreeMap::new() };
        draft.propose(key.to_string(), step);
    }
}

/// What is to be set, as far as is noted and heard; for a forecast. Where nothing is noted, what
/// `before` wanted is taken for set.
pub(super) fn outstanding<'a>(
    scene: &Scene<'a>,
    before: Option<&Cluster>,
) -> Vec<(&'a String, &'a Value)> {
    let Some(pd) = scene.pd().filter(|pd| pd.bootstrapped) else { return Vec::new() };
    let noted = connection(scene).filter(|(_, facts)| note(facts, APPLIED_PD_CONFIG).is_some());
    let noted = noted.map(|(_, facts)| applied(facts));
    let was_set = |item: &String, value: &Value| match (&noted, before) {
        (Some(noted), _) => !pending(scene, noted, item, pd),
        (None, Some(before)) => is_in(&before.prepared().pd_online, item, value),
        (None, None) => false,
    };
    let is_live = |item: &String, value: &Value| {
        let live = pd.config.as_ref().and_then(|config| settings::live(config, item));
        live.is_some_and(|live| settings::same(value, live))
    };
    let items = items(scene).iter();
    items.filter(|(item, value)| !was_set(item, value) && !is_live(item, value)).collect()
}

/// Do the items have this one, with this value?
pub(super) fn is_in(items: &Items, item: &str, value: &Value) -> bool {
    items.get(item).is_some_and(|known| settings::same(known, value))
}

/// The items of PD in the spec that change online.
pub(crate) fn items<'a>(scene: &Scene<'a>) -> &'a Items {
    &scene.cluster.prepared().pd_online
}

/// Was this value applied before? Then a difference is drift.
pub(crate) fn was_applied(scene: &Scene<'_>, pd: &PdFacts, item: &str) -> bool {
    connection(scene).is_some_and(|(_, facts)| !pending(scene, &applied(facts), item, pd))
}

fn pending(scene: &Scene<'_>, applied: &Applied, item: &str, pd: &PdFacts) -> bool {
    applied.get(item).map(String::as_str) != Some(&*hash_of(scene, item, pd))
}

/// PD keeps its log level in the leader's process alone, so it is applied once per leader.
fn hash_of<'a>(scene: &Scene<'a>, item: &str, pd: &PdFacts) -> Cow<'a, str> {
    let prepared = scene.cluster.prepared();
    if item == "log.level" {
        let level = prepared.pd_online.get(item).map(settings::canonical).unwrap_or_default();
        return Cow::Owned(hash::of_setting(&format!("{level}@{}", pd.leader.id)));
    }
    Cow::Borrowed(prepared.pd_hashes.get(item).map_or("", String::as_str))
}

pub(super) fn connection<'a>(scene: &Scene<'a>) -> Option<(&'a ObjectKey, &'a ObjectFacts)> {
    let name = tikv_operator_api::names::connection(scene.name());
    let key = ObjectKey::new(Kind::ConfigMap, name);
    scene.world.objects.get_key_value(&key).filter(|(_, facts)| !facts.deleting)
}

/// An annotation of the connection ConfigMap.
pub(super) fn note<'a>(connection: &'a ObjectFacts, key: &str) -> Option<&'a str> {
    connection.body.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

fn applied(connection: &ObjectFacts) -> Applied {
    let text = note(connection, APPLIED_PD_CONFIG);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Does PD have this value already? Notes where that cannot be known.
fn is_live(item: &str, value: &Value, pd: &PdFacts, draft: &mut Draft<'_>) -> bool {
    if let Some(config) = &pd.config {
        return settings::live(config, item).is_some_and(|live| settings::same(value, live));
    }
    let detail = format!("{item} is set when PD has said what it has now");
    draft.wait("spec.pd.config", &rules::CONFIG_NOT_READ, detail);
    false
}

fn set(scene: &Scene<'_>, item: &str, value: &Value, draft: &mut Draft<'_>) {
    let Some(config) = scene.pd().and_then(|pd| pd.config.as_ref()) else {
        return;
    };
    let subject = format!("spec.pd.config.{item}");
    let live = settings::live(config, item);
    let refusal = scene.world.config_refusals.get(&ConfigItem::Pd(item.to_owned()));
    let why = if settings::is_founding_only(item) {
        Some(format!(
            "PD takes {item} from its configuration at its first start only; change it with `pd-ctl \
             config set label-property`, or remove it from spec.pd.config"
        ))
    } else if live.is_none() {
        Some(format!("PD does not have {item}; remove it from spec.pd.config"))
    } else {
        let refusal = refusal.filter(|refusal| settings::same(&refusal.value, value));
        refusal.map(|refusal| format!("PD refuses {item} = {value}: {}", refusal.words))
    };
    if !why.is_some_and(|why| draft.holds(&subject, &rules::CONFIG_REFUSED, why)) {
        let value = live.map_or_else(|| value.clone(), |live| settings::as_shown(value, live));
        draft.propose(subject, Step::SetPdConfig { item: item.to_owned(), value });
    }
}
