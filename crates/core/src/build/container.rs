//! How are PD and TiKV started?
//!
//! Only `args` are set: the image's own entrypoint runs, and no shell is needed. Everything that
//! the operator owns is a flag, which beats the configuration file in both servers.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tikv_operator_api::names;

use super::fields::Fields;
use super::{address, part, security, volume};
use crate::cluster::{Cluster, Component as Settings, PullPolicy, Quantity, Version};
use crate::world::{Component, Slot};

/// How long a store that cannot move its leaders away by itself waits before it gets SIGTERM, in
/// seconds: time for the operator to see the deletion and move them.
const DRAIN_SECONDS: i64 = 20;

/// The container that the pod is for.
pub(super) fn container(cluster: &Cluster, slot: Slot) -> Value {
    let component = slot.component;
    let part = part(cluster, component);
    let mut env = vec![json!({"name": "TZ", "value": part.timezone.as_str()})];
    env.extend(part.env.iter().cloned());
    Fields::default()
        .with("name", component.as_str())
        .with("image", part.image.as_str())
        .with("imagePullPolicy", pull_policy(part.pull_policy))
        .with("args", args(cluster, slot))
        .with("ports", ports(component))
        .with("env", env)
        .with_list("envFrom", part.env_from.clone())
        .with_some("resources", resources(part))
        .with("volumeMounts", volume::mounts(cluster, component))
        .with("readinessProbe", readiness(part, component))
        .with_some("lifecycle", lifecycle(part, component))
        .with("securityContext", security::of_container(&part.container_security))
        .into()
}

fn args(cluster: &Cluster, slot: Slot) -> Vec<Value> {
    let args = match slot.component {
        Component::Pd => pd_args(cluster, slot),
        Component::Tikv => tikv_args(cluster, slot),
    };
    args.into_iter().map(Value::from).collect()
}

fn pd_args(cluster: &Cluster, slot: Slot) -> Vec<String> {
    let (any, host) = (address::any(cluster), address::host(cluster, slot));
    let (client, peer) = (names::PD_CLIENT_PORT, names::PD_PEER_PORT);
    vec![
        format!("--name={}", slot.pod_name(cluster.name.as_str())),
        format!("--data-dir={}", data_dir(&cluster.pd.common, Component::Pd)),
        format!("--client-urls=http://{any}:{client}"),
        format!("--peer-urls=http://{any}:{peer}"),
        format!("--advertise-client-urls=http://{host}:{client}"),
        format!("--advertise-peer-urls={}", address::peer_url(cluster, slot)),
        format!("--config={}", config_path(Component::Pd)),
    ]
}

fn tikv_args(cluster: &Cluster, slot: Slot) -> Vec<String> {
    let (any, host) = (address::any(cluster), address::host(cluster, slot));
    let (port, status) = (names::TIKV_PORT, names::TIKV_STATUS_PORT);
    let mut args = vec![
        format!("--addr={any}:{port}"),
        format!("--advertise-addr={}", address::store_address(cluster, slot)),
        format!("--status-addr={any}:{status}"),
    ];
    if advertises_status(&cluster.tikv.common.version) {
        args.push(format!("--advertise-status-addr={host}:{status}"));
    }
    args.push(format!("--pd-endpoints={}", address::pd_url(cluster)));
    args.push(format!("--data-dir={}", data_dir(&cluster.tikv.common, Component::Tikv)));
    args.push(format!("--config={}", config_path(Component::Tikv)));
    // A start flag: given only where asked for, so that a volume can grow without a restart. In
    // bytes, since TiKV's "GB" is Kubernetes' "Gi" and its "G" has no counterpart.
    if let Some(capacity) = &cluster.tikv.capacity {
        args.push(format!("--capacity={}B", capacity.units()));
    }
    args
}

/// The flag exists since TiKV v4.0.1; v4.0.0 exits on a flag that it does not know, and shows its
/// listening address as status address. Tags without an order are taken for something newer.
fn advertises_status(version: &Version) -> bool {
    version.at_least(4, 0, 1) != Some(false)
}

/// Does the store move its leaders away on SIGTERM? TiKV does since v8.5.5 (`server.
/// graceful-shutdown-timeout`), and so do the releases after 9.0; the 9.0 betas branched off
/// earlier. Where the version has no order it is not relied on.
pub fn drains_itself(version: &Version) -> bool {
    let beta_of_9 = version.semver().is_some_and(|(major, _, _)| major == 9)
        && version.at_least(9, 0, 0) == Some(false);
    version.at_least(8, 5, 5) == Some(true) && !beta_of_9
}

fn data_dir(part: &Settings, component: Component) -> String {
    let mount = address::data_mount(component);
    match &part.data_sub_dir {
        Some(directory) => format!("{mount}/{directory}"),
        None => mount.to_owned(),
    }
}

fn config_path(component: Component) -> String {
    format!("{}/{}", address::config_mount(component), address::config_file(component))
}

fn ports(component: Component) -> Vec<Value> {
    let ports = match component {
        Component::Pd => [("client", names::PD_CLIENT_PORT), ("peer", names::PD_PEER_PORT)],
        Component::Tikv => [("server", names::TIKV_PORT), ("status", names::TIKV_STATUS_PORT)],
    };
    ports.map(|(name, port)| json!({"name": name, "containerPort": port})).to_vec()
}

fn resources(part: &Settings) -> Option<Value> {
    let wanted = &part.resources;
    let some = !wanted.requests.is_empty() || !wanted.limits.is_empty();
    some.then(|| {
        Fields::default()
            .with_map("requests", &quantities(&wanted.requests))
            .with_map("limits", &quantities(&wanted.limits))
            .into()
    })
}

fn quantities(wanted: &BTreeMap<String, Quantity>) -> BTreeMap<String, String> {
    wanted.iter().map(|(name, quantity)| (name.clone(), quantity.to_string())).collect()
}

/// TCP, because PD's HTTP ready path answers 500 before bootstrap (v8.5) or does not exist, and
/// TiKV's exists after v8.5 only. There is no liveness probe: one would kill a store that replays
/// its log.
fn readiness(part: &Settings, component: Component) -> Value {
    let client_port = match component {
        Component::Pd => names::PD_CLIENT_PORT,
        Component::Tikv => names::TIKV_PORT,
    };
    json!({
        "tcpSocket": {"port": client_port},
        "initialDelaySeconds": part.probe.initial_delay_seconds,
        "periodSeconds": part.probe.period_seconds,
    })
}

/// Stores that do not move their leaders away by themselves are stopped a little later, so that
/// the operator can. kubelet sleeps by itself: no shell in the image is needed.
fn lifecycle(part: &Settings, component: Component) -> Option<Value> {
    let seconds = DRAIN_SECONDS.min(part.grace_seconds / 2);
    match component {
        Component::Pd => None,
        Component::Tikv if drains_itself(&part.version) || seconds < 1 => None,
        Component::Tikv => Some(json!({"preStop": {"sleep": {"seconds": seconds}}})),
    }
}

fn pull_policy(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_newer_than_the_version_is_relied_on() {
        for (tag, status, drains) in [
            ("v4.0.0", false, false),
            ("v4.0.1", true, false),
            ("v8.5.4", true, false),
            ("v8.5.5", true, true),
            ("v9.0.0-beta.2", true, false),
            ("v9.0.0", true, true),
            ("v26.3.1", true, true),
            ("nightly", true, false),
        ] {
            let version = Version::parse(tag);
            assert_eq!(advertises_status(&version), status, "{tag}");
            assert_eq!(drains_itself(&version), drains, "{tag}");
        }
    }
}
