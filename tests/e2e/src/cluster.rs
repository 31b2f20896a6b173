//! What does one cluster under test look like from the outside?

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::kube::{Kube, until};

/// Longest time for the small clusters of this suite to start, their images being on the nodes.
pub(crate) const START: Duration = Duration::from_mins(3);

/// A cluster by its name, and how to ask about it.
#[derive(Clone)]
pub(crate) struct Cluster {
    kube: Kube,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

/// Which incarnation of a pod it is, and how often its containers were restarted in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation {
    uid: String,
    restarts: u64,
}

impl Incarnation {
    /// It is the same pod, whatever became of its containers.
    pub(crate) fn is_same_pod(&self, other: &Self) -> bool {
        self.uid == other.uid
    }
}

impl Cluster {
    /// Creates the resource from a manifest; unknown fields are refused.
    pub(crate) fn create(kube: &Kube, namespace: &str, manifest: &Value) -> Result<Self> {
        let created = kube.create(&collection(namespace), manifest)?;
        Self::named(kube, namespace, text(&created, "/metadata/name").context("unnamed")?)
    }

    /// A cluster that need not exist.
    pub(crate) fn named(kube: &Kube, namespace: &str, name: &str) -> Result<Self> {
        ensure!(!name.is_empty(), "a cluster has a name");
        Ok(Self { kube: kube.clone(), namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// Path of the resource.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", collection(&self.namespace), self.name)
    }

    /// Path of a collection of the core API in its namespace.
    pub(crate) fn core(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    /// Path of the same collection, of this cluster's objects only.
    fn owned(&self, plural: &str) -> String {
        format!("{}?labelSelector=tikv.org/cluster={}", self.core(plural), self.name)
    }

    /// The resource.
    pub(crate) fn get(&self) -> Result<Value> {
        self.kube.get(&self.path())
    }

    /// Changes the spec or labels.
    pub(crate) fn merge(&self, patch: &Value) -> Result<()> {
        self.kube.merge(&self.path(), patch).map(drop)
    }

    /// The recorded cluster id, once there is one.
    pub(crate) fn recorded_id(&self) -> Result<Option<String>> {
        Ok(text(&self.get()?, "/status/clusterId").map(str::to_owned))
    }

    /// Waits until `Ready` is true for the present spec.
    pub(crate) fn wait_ready(&self, limit: Duration) -> Result<Value> {
        until(&format!("{} Ready", self.name), limit, || {
            let object = self.get()?;
            Ok(if is_ready(&object) { Ok(object) } else { Err(summary(&object)) })
        })
    }

    /// Waits until a condition has this status and its message holds every word in `words`.
    pub(crate) fn wait_condition(
        &self,
        kind: &str,
        status: &str,
        words: &[&str],
        limit: Duration,
    ) -> Result<String> {
        until(&format!("condition {kind}={status} naming {words:?}"), limit, || {
            let object = self.get()?;
            let Some(found) = condition(&object, kind) else {
                return Ok(Err(format!("no condition {kind}; {}", summary(&object))));
            };
            let message = text(found, "/message").unwrap_or_default().to_owned();
            let fits = text(found, "/status") == Some(status)
                && words.iter().all(|word| message.contains(word));
            Ok(if fits { Ok(message) } else { Err(found.to_string()) })
        })
    }

    /// Its pods, by name, one component or both.
    pub(crate) fn pods(&self, component: Option<Component>) -> Result<BTreeMap<String, Value>> {
        let pods = self.kube.list(&self.owned("pods"))?;
        Ok(by_name(pods)
            .filter(|(_, pod)| {
                component.is_none_or(|c| {
                    label(pod, tikv_operator_api::labels::COMPONENT) == Some(c.as_str())
                })
            })
            .collect())
    }

    /// Uid and container restarts of each pod: equal before and after means that nothing restarted.
    pub(crate) fn incarnations(&self) -> Result<BTreeMap<String, Incarnation>> {
        let pods = self.pods(None)?;
        Ok(pods.iter().map(|(name, pod)| (name.clone(), incarnation(pod))).collect())
    }

    /// Its volume claims, by name.
    pub(crate) fn claims(&self) -> Result<BTreeMap<String, Value>> {
        Ok(by_name(self.kube.list(&self.owned("persistentvolumeclaims"))?).collect())
    }

    /// Deletes the resource and waits until it and its pods are gone.
    pub(crate) fn delete(&self, limit: Duration) -> Result<()> {
        self.kube.delete(&self.path(), None)?;
        until(&format!("{} and its pods gone", self.name), limit, || {
            let left = self.pods(None)?.into_keys().collect::<Vec<_>>();
            let resource = self.kube.find(&self.path())?.is_some();
            Ok(match (resource, left.is_empty()) {
                (false, true) => Ok(()),
                (true, _) => Err("the resource still exists".to_owned()),
                (false, false) => Err(format!("pods left: {left:?}")),
            })
        })
    }

    /// Host and port at which clients in the cluster reach PD.
    pub(crate) fn pd_address(&self) -> String {
        format!("{}-pd.{}:2379", self.name, self.namespace)
    }
}

/// Path of the clusters of a namespace.
pub(crate) fn collection(namespace: &str) -> String {
    format!("/apis/tikv.org/v1alpha1/namespaces/{namespace}/tikvclusters")
}

/// A string in an object, by JSON pointer.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// A label's value.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

/// A condition of an object, by type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|c| text(c, "/type") == Some(kind))
}

/// `Ready` is true, and for the generation that is stored now.
pub(crate) fn is_ready(object: &Value) -> bool {
    let observed = object.pointer("/status/observedGeneration");
    condition(object, "Ready").and_then(|c| text(c, "/status")) == Some("True")
        && observed.is_some()
        && observed == object.pointer("/metadata/generation")
}

/// The sentence in the status.
pub(crate) fn summary(object: &Value) -> String {
    text(object, "/status/summary").unwrap_or("no summary yet").to_owned()
}

/// All containers of the pod run and are ready, its gates included.
pub(crate) fn pod_ready(pod: &Value) -> bool {
    condition(pod, "Ready").and_then(|c| text(c, "/status")) == Some("True")
}

/// Items by name.
pub(crate) fn by_name(items: Vec<Value>) -> impl Iterator<Item = (String, Value)> {
    items.into_iter().filter_map(|item| {
        let name = text(&item, "/metadata/name")?.to_owned();
        Some((name, item))
    })
}

fn incarnation(pod: &Value) -> Incarnation {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    let restarts = statuses
        .into_iter()
        .flatten()
        .filter_map(|s| s.get("restartCount").and_then(Value::as_u64))
        .sum();
    Incarnation { uid: text(pod, "/metadata/uid").unwrap_or_default().to_owned(), restarts }
}

/// Fails, naming the pods, unless the same incarnations are there as before.
pub(crate) fn unchanged(
    before: &BTreeMap<String, Incarnation>,
    after: &BTreeMap<String, Incarnation>,
) -> Result<()> {
    ensure!(!before.is_empty(), "there were no pods to compare with");
    let changed: Vec<_> = before.iter().filter(|(n, i)| after.get(*n) != Some(i)).collect();
    let new: Vec<_> = after.keys().filter(|n| !before.contains_key(*n)).collect();
    if changed.is_empty() && new.is_empty() {
        return Ok(());
    }
    bail!("restarted, replaced or gone: {changed:?}; new: {new:?}; now {after:?}")
}

/// Fails unless the same volumes are there as before, none of which was made again under its name.
pub(crate) fn same_volumes(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> Result<()> {
    let uids = |claims: &BTreeMap<String, Value>| -> BTreeMap<String, Option<String>> {
        let uid = |claim: &Value| text(claim, "/metadata/uid").map(str::to_owned);
        claims.iter().map(|(name, claim)| (name.clone(), uid(claim))).collect()
    };
    let (before, after) = (uids(before), uids(after));
    ensure!(before == after, "volumes came or went: {before:?}, now {after:?}");
    Ok(())
}

/// A namespace in which Pod Security's strictest level is enforced.
pub(crate) fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_counts_for_the_present_generation_only() {
        let object = |generation: i64, status: &str| {
            json!({
                "metadata": { "generation": generation },
                "status": {
                    "observedGeneration": 2,
                    "conditions": [{ "type": "Ready", "status": status }],
                },
            })
        };
        assert!(is_ready(&object(2, "True")));
        assert!(!is_ready(&object(3, "True")));
        assert!(!is_ready(&object(2, "False")));
        assert!(!is_ready(&json!({ "metadata": { "generation": 1 } })));
    }

    #[test]
    fn a_volume_made_again_is_another_one() {
        let claims = |name: &str, uid: &str| {
            BTreeMap::from([(name.to_owned(), json!({ "metadata": { "uid": uid } }))])
        };
        assert!(same_volumes(&claims("v", "a"), &claims("v", "a")).is_ok());
        assert!(same_volumes(&claims("v", "a"), &claims("v", "b")).is_err());
        assert!(same_volumes(&claims("v", "a"), &claims("w", "a")).is_err());
    }

    #[test]
    fn a_restart_in_place_and_a_new_pod_are_changes() {
        let pods = |uid: &str, restarts: u64| {
            BTreeMap::from([("p".to_owned(), Incarnation { uid: uid.to_owned(), restarts })])
        };
        assert!(unchanged(&pods("a", 0), &pods("a", 0)).is_ok());
        assert!(unchanged(&pods("a", 0), &pods("a", 1)).is_err());
        assert!(unchanged(&pods("a", 0), &pods("b", 0)).is_err());
        assert!(unchanged(&pods("a", 0), &BTreeMap::new()).is_err());
        assert!(unchanged(&BTreeMap::new(), &BTreeMap::new()).is_err());
    }
}
