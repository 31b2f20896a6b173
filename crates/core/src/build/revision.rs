//! Was a pod made from what the user asks for now?
//!
//! The revision is a hash of the checked *inputs* that shape a pod, never of the rendered pod, so a
//! newer operator, which renders differently, restarts nothing. It keeps three promises:
//!
//! - **Meaning, not text.** Keys are sorted, quantities are values (`1Gi` is `1024Mi`), a
//!   configuration is the same as map and as TOML. Lists keep their order: in Kubernetes it means
//!   something (environment, init containers).
//! - **Written, not resolved.** Where this program has a default ([`Explicit`]), only a value that
//!   the user wrote is an input. A newer operator with another default leaves the revision alone;
//!   the difference shows when pods are next made.
//! - **Additive.** Inputs that are unset or empty leave no trace in the hash, so a field that a
//!   newer operator adds changes no revision until someone sets it. A change to the meaning or the
//!   name of an input would: `tests/revisions.txt` holds the revisions of fixtures, and they must
//!   not change between releases.
//!
//! No inputs: configuration items that change online ([`settings::is_online`]: they are applied to
//! the running servers, and restart nothing), the number of members, sizes and classes of volumes, Services, delays and limits, how PD starts, the names of the cluster and its objects, which cannot change.
//!
//! A revision has two halves, `<pod>-<config>`, because `configUpdateStrategy: InPlace` must not
//! restart pods for a configuration, nor must switching to it or back.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use tikv_operator_api::v1alpha1::DnsPolicy;

use super::{Prepared, hash, part};
use crate::cluster::{Cluster, Component as Settings, ConfigUpdateStrategy, Explicit, Quantity};
use crate::settings;
use crate::world::{Component, Revision};

/// Version of this list of inputs. Raising it changes every revision, which restarts every pod.
const FORMAT: u32 = 1;
/// Digits per half.
const DIGITS: usize = 10;

/// Everything that shapes a pod, the configuration apart.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inputs<'a> {
    format: u32,
    component: &'a str,
    version: &'a str,
    #[serde(flatten)]
    explicit: &'a Explicit,
    #[serde(skip_serializing_if = "is_empty")]
    pull_secrets: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    requests: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    storage_volumes: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_sub_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_domain: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    prefer_ipv6: bool,
    #[serde(flatten)]
    placement: Placement<'a>,
    #[serde(flatten)]
    contents: Contents<'a>,
}

/// Where the pod runs and how it is labelled.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Placement<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority_class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    node_selector: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_empty")]
    tolerations: &'a [Value],
    #[serde(skip_serializing_if = "is_empty")]
    topology_spread: &'a [Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_config: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_policy: Option<DnsPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<&'a str>,
}

/// What is in the pod beside our defaults.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Contents<'a> {
    #[serde(skip_serializing_if = "Map::is_empty")]
    pod_security: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    container_security: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "is_empty")]
    env: &'a [Value],
    #[serde(skip_serializing_if = "is_empty")]
    env_from: &'a [Value],
    #[serde(skip_serializing_if = "is_empty")]
    init_containers: &'a [Value],
    #[serde(skip_serializing_if = "is_empty")]
    containers: &'a [Value],
    #[serde(skip_serializing_if = "is_empty")]
    pod_volumes: &'a [Value],
    #[serde(skip_serializing_if = "is_empty")]
    mounts: &'a [Value],
    #[serde(skip_serializing_if = "is_empty")]
    overlays: &'a [Value],
}

/// The revision of the pods that the spec asks for now.
pub fn revision(cluster: &Cluster, component: Component) -> Revision {
    Prepared::of_component(&cluster.prepared().revisions, component).whole.clone()
}

/// A revision, and its half that a configuration does not change.
#[derive(Debug)]
pub(super) struct Halves {
    whole: Revision,
    pod: String,
}

/// What [`revision`] and [`is_current`] compare with.
pub(super) fn halves(cluster: &Cluster, component: Component) -> Halves {
    let part = part(cluster, component);
    let config = settings::restart_part(component, &part.version, &part.config);
    let config = hash::hex(&hash::canonical(&config), DIGITS);
    let pod = pod_half(cluster, component);
    Halves { whole: Revision(format!("{pod}-{config}")), pod }
}

/// Is a pod of this revision what the spec asks for? With `configUpdateStrategy: InPlace` a pod
/// with another configuration is: it is never restarted for that.
pub fn is_current(cluster: &Cluster, component: Component, of_pod: &Revision) -> bool {
    let wanted = Prepared::of_component(&cluster.prepared().revisions, component);
    match part(cluster, component).config_update {
        ConfigUpdateStrategy::RollingUpdate => *of_pod == wanted.whole,
        ConfigUpdateStrategy::InPlace => {
            let half = of_pod.0.split_once('-').map_or(of_pod.0.as_str(), |(pod, _)| pod);
            half == wanted.pod
        }
    }
}

fn pod_half(cluster: &Cluster, component: Component) -> String {
    let inputs = inputs(cluster, component);
    // Maps with text keys always serialise; were that to change, an empty text would still be
    // equal to itself and restart nothing.
    let value = serde_json::to_value(inputs).unwrap_or_default();
    hash::hex(&hash::canonical(&value), DIGITS)
}

fn inputs(cluster: &Cluster, component: Component) -> Inputs<'_> {
    let part = part(cluster, component);
    let capacity = match component {
        Component::Pd => None,
        Component::Tikv => cluster.tikv.capacity.as_ref(),
    };
    Inputs {
        format: FORMAT,
        component: component.as_str(),
        version: part.version.as_str(),
        explicit: &part.explicit,
        pull_secrets: &part.pull_secrets,
        requests: values(&part.resources.requests),
        limits: values(&part.resources.limits),
        capacity: capacity.map(Quantity::units),
        storage_volumes: part
            .volumes
            .iter()
            .map(|volume| (volume.name.as_str(), volume.mount_path.as_str()))
            .collect(),
        data_sub_dir: part.data_sub_dir.as_deref(),
        cluster_domain: cluster.domain.as_deref(),
        prefer_ipv6: cluster.prefer_ipv6,
        placement: placement(part),
        contents: contents(part),
    }
}

fn placement(part: &Settings) -> Placement<'_> {
    Placement {
        affinity: part.affinity.as_ref(),
        priority_class: part.priority_class.as_deref(),
        scheduler: part.scheduler.as_deref(),
        node_selector: &part.node_selector,
        annotations: &part.annotations,
        labels: &part.labels,
        tolerations: &part.tolerations,
        topology_spread: &part.topology_spread,
        dns_config: part.dns_config.as_ref(),
        dns_policy: part.dns_policy,
        service_account: part.service_account.as_deref(),
    }
}

fn contents(part: &Settings) -> Contents<'_> {
    Contents {
        pod_security: &part.pod_security,
        container_security: &part.container_security,
        env: &part.env,
        env_from: &part.env_from,
        init_containers: &part.init_containers,
        containers: &part.containers,
        pod_volumes: &part.pod_volumes,
        mounts: &part.mounts,
        overlays: &part.overlays,
    }
}

/// Values in thousandths, as text: they may exceed what JSON numbers hold.
fn values(quantities: &BTreeMap<String, Quantity>) -> BTreeMap<&str, String> {
    quantities.iter().map(|(name, q)| (name.as_str(), q.milli().to_string())).collect()
}

// The signature is serde's for slices behind a reference.
#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)]
fn is_empty<T>(list: &&[T]) -> bool {
    list.is_empty()
}
