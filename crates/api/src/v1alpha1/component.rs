//! Which settings exist cluster-wide and again for each component?
//!
//! A component's scalar or object replaces the cluster-wide one. Maps are merged, the component's
//! entries win. Lists whose entries have names are merged by name, a component's entry replaces
//! the whole cluster-wide entry of that name; lists without names are replaced as a whole.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, Raw};
use crate::schema::fragment;

/// Settings of pods and volumes, cluster-wide with override per component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// When images are pulled. Default: IfNotPresent. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PullPolicy")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Secrets of this namespace with registry credentials. Merged by name. Default: none.
    /// A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::references")]
    pub image_pull_secrets: Option<Vec<LocalReference>>,
    /// Run on the node's network; ports 2379, 2380, 20160 and 20180 must be free there.
    /// Default: false. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// Kubernetes' Affinity. Default: spread over nodes where possible (preferred anti-affinity).
    /// A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::raw")]
    pub affinity: Option<Raw>,
    /// PriorityClass of the pods. Default: none. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = fragment::DNS_SUBDOMAIN))]
    pub priority_class_name: Option<String>,
    /// Scheduler of the pods. Default: the cluster's default scheduler. A change restarts the
    /// pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = fragment::DNS_SUBDOMAIN))]
    pub scheduler_name: Option<String>,
    /// Labels that a node must have. Merged. Default: none. A change restarts the pods, one at a
    /// time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fragment::label_map")]
    pub node_selector: BTreeMap<String, String>,
    /// Annotations of the pods. Merged. Keys under tikv.org/ are reserved. Default: none. A change
    /// restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fragment::annotation_map")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the pods. Merged. Keys under tikv.org/ and the app.kubernetes.io labels that the
    /// operator sets are reserved. Default: none. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fragment::label_map")]
    pub labels: BTreeMap<String, String>,
    /// Kubernetes' Tolerations. A component's list replaces the cluster-wide one. Default: none.
    /// A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::raws")]
    pub tolerations: Option<Vec<Raw>>,
    /// Kubernetes' TopologySpreadConstraints; the component's labels are selected where
    /// labelSelector is absent. A component's list replaces the cluster-wide one. Default: none.
    /// A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::raws")]
    pub topology_spread_constraints: Option<Vec<Raw>>,
    /// Kubernetes' PodSecurityContext. Default: numeric non-root user and fsGroup 1000,
    /// fsGroupChangePolicy OnRootMismatch, seccomp RuntimeDefault; what is set here is merged over
    /// that. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::raw")]
    pub pod_security_context: Option<Raw>,
    /// Kubernetes' SecurityContext of the PD or TiKV container. Default: no privilege escalation,
    /// all capabilities dropped, read-only root filesystem; what is set here is merged over that.
    /// A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::raw")]
    pub security_context: Option<Raw>,
    /// Seconds from SIGTERM to SIGKILL. Default: 60 for PD; 120 for TiKV, which moves its leaders
    /// away first. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub termination_grace_period_seconds: Option<i64>,
    /// What a change of config does: RollingUpdate restarts the pods where the change needs it,
    /// InPlace never restarts them. Default: RollingUpdate. A change restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConfigUpdateStrategy")]
    pub config_update_strategy: Option<ConfigUpdateStrategy>,
    /// Kubernetes' EnvVars of the PD or TiKV container. Merged by name. TZ is reserved for
    /// timezone. Default: none. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::named")]
    pub env: Option<Vec<Raw>>,
    /// Kubernetes' EnvFromSources of the PD or TiKV container. A component's list replaces the
    /// cluster-wide one. Default: none. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::raws")]
    pub env_from: Option<Vec<Raw>>,
    /// Kubernetes' Containers that run before PD or TiKV. Merged by name. Default: none. A change
    /// restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::named")]
    pub init_containers: Option<Vec<Raw>>,
    /// Kubernetes' Containers that run next to PD or TiKV. Merged by name; the name of the
    /// component (pd, tikv) is reserved. Default: none. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::named")]
    pub additional_containers: Option<Vec<Raw>>,
    /// Kubernetes' Volumes of the pods. Merged by name; pd, tikv, config, tmp and the names in
    /// storageVolumes are reserved. Default: none. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::named")]
    pub additional_volumes: Option<Vec<Raw>>,
    /// Kubernetes' VolumeMounts of the PD or TiKV container. Merged by mountPath. Default: none.
    /// A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::mounts")]
    pub additional_volume_mounts: Option<Vec<Raw>>,
    /// Kubernetes' PodDNSConfig. Default: none. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::raw")]
    pub dns_config: Option<Raw>,
    /// Kubernetes' DNS policy. Default: ClusterFirst; ClusterFirstWithHostNet with hostNetwork.
    /// A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DnsPolicy")]
    pub dns_policy: Option<DnsPolicy>,
    /// ServiceAccount of the pods. Default: the namespace's default one. A change restarts the
    /// pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = fragment::DNS_SUBDOMAIN))]
    pub service_account: Option<String>,
    /// Mount the ServiceAccount's token. PD and TiKV do not need it. Default: false. A change
    /// restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Timing of the readiness probe, which is TCP on the client port. A change restarts the pods,
    /// one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<ProbeTiming>,
    /// Time zone of the processes (environment variable TZ). Default: UTC. A change restarts the
    /// pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_+/-]+$"))]
    pub timezone: Option<String>,
    /// StorageClass of the volumes. Default: the cluster's default class. Holds for volumes that
    /// are created from now on; an existing volume keeps its class. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = fragment::DNS_SUBDOMAIN))]
    pub storage_class_name: Option<String>,
    /// What happens to the volumes of removed members and of a deleted cluster. Default: Retain.
    /// Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ReclaimPolicy")]
    pub pv_reclaim_policy: Option<ReclaimPolicy>,
    /// How failed members are replaced. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// Replacements that may exist at a time, per component; 0 turns replacing off. Default: 3.
    /// Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_failover_count: Option<i32>,
    /// Stops the pods of the component (of all, cluster-wide) and keeps the volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend_action: Option<SuspendAction>,
    /// Anything else of the pod: metadata and spec of a PodTemplateSpec, merged over the built pod
    /// by strategic merge, the cluster-wide one first. What the operator owns (name, hostname,
    /// subdomain, arguments, identity, its labels) is refused. Default: none. A change restarts
    /// the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::raw")]
    pub pod_template: Option<Raw>,
}

/// A reference to an object of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalReference {
    /// Name of the object.
    pub name: String,
}

/// When images are pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Before each start of a container.
    Always,
    /// Only where the node does not have the image.
    IfNotPresent,
    /// Never: the node must have the image.
    Never,
}

/// Kubernetes' DNS policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsPolicy {
    /// Cluster DNS first, also with hostNetwork.
    ClusterFirstWithHostNet,
    /// Cluster DNS first.
    ClusterFirst,
    /// The node's DNS.
    Default,
    /// Only what dnsConfig says.
    None,
}

/// What a change of `config` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfigUpdateStrategy {
    /// Restart the pods, one at a time, where the change needs it.
    #[default]
    RollingUpdate,
    /// Never restart pods because of it.
    InPlace,
}

/// What happens to volumes that are no longer needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// They stay, marked, until a person deletes them.
    #[default]
    Retain,
    /// They are deleted once the data is proven to be elsewhere, or the cluster is deleted.
    Delete,
}

/// How failed members are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// How long a member must be lost, by PD's word and by Kubernetes', before its replacement is
    /// created. Default: 10m, at least 1m. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<DurationText>,
    /// How long the volume of a replaced member is kept, whatever the reclaim policy. Default: 24h.
    /// Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<DurationText>,
}

/// Timing of the readiness probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeTiming {
    /// Seconds from the start of the container to the first probe. Default: 0. A change restarts
    /// the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub initial_delay_seconds: Option<i32>,
    /// Seconds between probes. Default: 2. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub period_seconds: Option<i32>,
}

/// Stopping without deleting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuspendAction {
    /// Stop the pods and keep the volumes (the name is TiDB Operator's; there is no StatefulSet
    /// here). Default: false. A change stops or starts the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend_stateful_set: Option<bool>,
}
