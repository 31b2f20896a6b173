//! Which settings of running stores follow from the spec?
//!
//! Items that TiKV takes over while it runs are set in its process and not persisted: the next
//! start reads the file that its pod was made with, and they are set again. That the present
//! process has them is noted on its pod, with the process's start. From then on a difference is
//! somebody's change, or a value that TiKV adjusts: drift, reported and not reverted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::config_pd::is_in;
use super::draft::Draft;
use super::rows::Member;
use super::{Scene, Step};
use crate::build::{self, hash};
use crate::cluster::{Cluster, Version};
use crate::rules;
use crate::settings::{self, Items};
use crate::world::{
    Component, ConfigItem, Kind, ObjectKey, PodFacts, Slot, StoreFacts, StoreState,
};

/// Annotation on a store's pod: `<hash of the items>@<start of the process that has them>`.
pub(crate) const APPLIED_CONFIG: &str = "tikv.org/applied-config";

/// Sets what running stores lack, and notes those that have all.
pub(super) fn apply(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if scene.cluster.tikv.common.config.is_empty() {
        return;
    }
    for slot in scene.wanted(Component::Tikv) {
        let member = scene.member(slot);
        if let Some((pod, store)) = running(&member) {
            configure(scene, slot, (pod, store), draft);
        }
    }
}

/// What stores of one version take over of the spec while they run.
#[derive(Debug)]
pub(crate) struct Online<'a> {
    /// The items.
    pub(crate) items: Cow<'a, Items>,
    hash: Cow<'a, str>,
}

impl<'a> Online<'a> {
    /// Of stores that report this version: the one of the spec, but for an upgrade.
    pub(super) fn of(cluster: &'a Cluster, version: &str) -> Self {
        let (prepared, part) = (cluster.prepared(), &cluster.tikv.common);
        let of_spec = part.version.as_str();
        if of_spec.strip_prefix('v').unwrap_or(of_spec) == version {
            let (items, hash) = (&prepared.tikv_online, prepared.tikv_online_hash.as_str());
            return Self { items: Cow::Borrowed(items), hash: Cow::Borrowed(hash) };
        }
        let version = Version::parse(version);
        let items = settings::online_items(Component::Tikv, &version, &part.config);
        Self { hash: Cow::Owned(hash::of_items(&items)), items: Cow::Owned(items) }
    }
}

/// Was this very process given these items? Either the pod says so, or nothing was set since the
/// process started and it started with the file that holds them.
pub(crate) fn was_applied(
    scene: &Scene<'_>,
    pod: &PodFacts,
    store: &StoreFacts,
    online: &Online<'_>,
) -> bool {
    is_noted(scene.cluster, pod, store, online)
}

fn is_noted(cluster: &Cluster, pod: &PodFacts, store: &StoreFacts, online: &Online<'_>) -> bool {
    let noted = pod.annotations.get(APPLIED_CONFIG);
    if let Some(noted) = noted.filter(|noted| noted.ends_with(&format!("@{}", start(store)))) {
        return *noted == stamp(store, online);
    }
    let file = build::config_map_name(cluster, Component::Tikv);
    store.started.is_some() && pod.config_map.as_deref() == Some(file)
}

/// The start of the process to which settings were applied last, as noted on its pod. `None`: that
/// is not noted.
pub fn noted_start(pod: &PodFacts) -> Option<Timestamp> {
    let (_, start) = pod.annotations.get(APPLIED_CONFIG)?.split_once('@')?;
    start.parse().ok()
}

/// What is to be set in any running store, as far as is noted and heard; for a forecast. A store
/// that has not said what it has is taken to have what `before` wanted, if that is noted.
pub(super) fn outstanding(scene: &Scene<'_>, before: Option<&Cluster>) -> Items {
    let mut all = Items::new();
    for slot in scene.wanted(Component::Tikv) {
        let member = scene.member(slot);
        let Some((pod, store)) = running(&member) else { continue };
        let unset = |online: &&Online<'_>| !was_applied(scene, pod, store, online);
        let Some(online) = scene.online(&store.version).filter(unset) else { continue };
        let process = scene.world.processes.get(&store.id);
        let config = process.and_then(|process| process.config.as_ref());
        let noted = before.map(|before| (before, Online::of(before, &store.version)));
        let noted = noted.filter(|(before, online)| is_noted(before, pod, store, online));
        let has = |item: &String, value: &Value| match (config, &noted) {
            (Some(config), _) => {
                settings::live(config, item).is_some_and(|live| settings::same(value, live))
            }
            (None, Some((_, before))) => is_in(&before.items, item, value),
            (None, None) => false,
        };
        let lacking = online.items.iter().filter(|(item, value)| !has(item, value));
        all.extend(lacking.map(|(item, value)| (item.clone(), value.clone())));
    }
    all
}

/// The pod and the store of a slot whose process can be asked.
fn running<'a>(member: &Member<'a>) -> Option<(&'a PodFacts, &'a StoreFacts)> {
    let pod = member.pod.filter(|pod| pod.containers_ready && pod.deleting_since.is_none())?;
    let store = member.store.filter(|store| store.state == StoreState::Up)?;
    Some((pod, store))
}

fn stamp(store: &StoreFacts, online: &Online<'_>) -> String {
    format!("{}@{}", online.hash, start(store))
}

fn start(store: &StoreFacts) -> String {
    store.started.map_or_else(|| "unknown".to_owned(), |at| at.to_string())
}

fn configure(
    scene: &Scene<'_>,
    slot: Slot,
    (pod, store): (&PodFacts, &StoreFacts),
    draft: &mut Draft<'_>,
) {
    let unset =
        |online: &&Online<'_>| !online.items.is_empty() && !was_applied(scene, pod, store, online);
    let Some(online) = scene.online(&store.version).filter(unset) else { return };
    let name = slot.pod_name(scene.name());
    let process = scene.world.processes.get(&store.id);
    let Some(config) = process.and_then(|process| process.config.as_ref()) else {
        let detail = format!("{name} is configured when its store has said what it has now");
        draft.wait(name, &rules::CONFIG_NOT_READ, detail);
        return;
    };
    let mut complete = true;
    for (item, value) in online.items.iter() {
        let live = settings::live(config, item);
        if live.is_some_and(|live| settings::same(value, live)) {
            continue;
        }
        complete = false;
        let held = obstacle(scene, store, item, value, live).is_some_and(|why| {
            let detail = format!(
                "store {} does not take {item} = {value} while it runs ({why}); {name} takes it at \
                 its next restart (annotate the pod with tikv.org/restart=true), or correct \
                 spec.tikv.config",
                store.id
            );
            draft.holds(format!("{name} {item}"), &rules::CONFIG_NEEDS_RESTART, detail)
        });
        if !held {
            set(store, item, value, draft);
        }
    }
    if complete {
        let annotations = BTreeMap::from([(APPLIED_CONFIG.to_owned(), Some(stamp(store, online)))]);
        let key = ObjectKey::new(Kind::Pod, name.clone());
        let uid = pod.uid.clone();
        draft.propose(name, Step::Mark { key, uid, annotations, labels: BTreeMap::new() });
    }
}

/// Why it is no use to ask this store to take the value.
fn obstacle(
    scene: &Scene<'_>,
    store: &StoreFacts,
    item: &str,
    value: &Value,
    live: Option<&Value>,
) -> Option<String> {
    if live.is_none() {
        return Some("it does not list the item".to_owned());
    }
    let refusals = &scene.world.config_refusals;
    let refusal = refusals.get(&ConfigItem::Store(store.id, item.to_owned()))?;
    settings::same(&refusal.value, value).then(|| refusal.words.clone())
}

/// One item a step: TiKV refuses a call with one bad item whole.
fn set(store: &StoreFacts, item: &str, value: &Value, draft: &mut Draft<'_>) {
    let step = Step::SetStoreConfig {
        store: store.id,
        status_address: store.status_address.clone(),
        items: BTreeMap::from([(item.to_owned(), value.clone())]),
    };
    draft.propose(format!("store {}", store.id), step);
}
