//! What is wanted of each component?

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};
pub use tikv_operator_api::v1alpha1::{
    ConfigUpdateStrategy, DnsPolicy, PullPolicy, ReclaimPolicy, ServiceType,
};

use super::{Explicit, Quantity, Version};

/// PD.
#[derive(Clone, Debug, PartialEq)]
pub struct PdSpec {
    /// What PD shares with TiKV.
    pub common: Component,
    /// Wanted number of members, at least 1.
    pub replicas: u32,
    /// The client Service.
    pub service: ClientService,
}

/// TiKV.
#[derive(Clone, Debug, PartialEq)]
pub struct TikvSpec {
    /// What TiKV shares with PD.
    pub common: Component,
    /// Wanted number of stores, at least 1.
    pub replicas: u32,
    /// `limits.storage`: the capacity that TiKV reports to PD; `None`: the volume's.
    pub capacity: Option<Quantity>,
    /// Node labels that become store labels.
    pub store_labels: Vec<String>,
    /// How long evicting leaders may make no progress.
    pub evict_leader_timeout: Duration,
    /// How long to wait for leaders to return.
    pub leader_return_timeout: Duration,
    /// How many stores join or leave at a time.
    pub scale: ScalePolicy,
}

/// Settings of one component: its own merged over the cluster-wide ones, defaults filled in.
///
/// Values of Kubernetes' own types are as the user wrote them; the named lists are merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Image with tag: `pingcap/pd:v8.5.7`.
    pub image: String,
    /// The tag of the image.
    pub version: Version,
    /// When images are pulled.
    pub pull_policy: PullPolicy,
    /// Names of pull secrets.
    pub pull_secrets: Vec<String>,
    /// Requests and limits of the container, without `storage`.
    pub resources: Resources,
    /// The data volume.
    pub storage: Storage,
    /// Additional volumes, by name.
    pub volumes: Vec<StorageVolume>,
    /// Directory below the data volume; `None`: the volume itself.
    pub data_sub_dir: Option<String>,
    /// The configuration as the user wants it, without any key that the operator owns.
    pub config: toml::Table,
    /// What a change of `config` does.
    pub config_update: ConfigUpdateStrategy,
    /// Run on the node's network.
    pub host_network: bool,
    /// `None`: the default anti-affinity.
    pub affinity: Option<Value>,
    /// PriorityClass.
    pub priority_class: Option<String>,
    /// Scheduler.
    pub scheduler: Option<String>,
    /// Node labels to require.
    pub node_selector: BTreeMap<String, String>,
    /// Annotations for pods, no reserved key among them.
    pub annotations: BTreeMap<String, String>,
    /// Labels for pods, no reserved key among them.
    pub labels: BTreeMap<String, String>,
    /// Tolerations.
    pub tolerations: Vec<Value>,
    /// Spread constraints, each with a topologyKey.
    pub topology_spread: Vec<Value>,
    /// Merged over the default pod security context.
    pub pod_security: Map<String, Value>,
    /// Merged over the default security context of our container.
    pub container_security: Map<String, Value>,
    /// Seconds from SIGTERM to SIGKILL.
    pub grace_seconds: i64,
    /// Environment of our container; no reserved name among them.
    pub env: Vec<Value>,
    /// Environment sources of our container.
    pub env_from: Vec<Value>,
    /// Containers that run before ours.
    pub init_containers: Vec<Value>,
    /// Containers that run next to ours.
    pub containers: Vec<Value>,
    /// Additional volumes of the pod.
    pub pod_volumes: Vec<Value>,
    /// Additional mounts of our container.
    pub mounts: Vec<Value>,
    /// DNS settings of the pod.
    pub dns_config: Option<Value>,
    /// DNS policy; `None`: by `host_network`.
    pub dns_policy: Option<DnsPolicy>,
    /// ServiceAccount; `None`: the namespace's.
    pub service_account: Option<String>,
    /// Mount the token.
    pub automount_token: bool,
    /// Timing of the readiness probe.
    pub probe: Probe,
    /// TZ.
    pub timezone: String,
    /// Overlays of the pod (`metadata`, `spec`), to be merged in this order over the built one.
    pub overlays: Vec<Value>,
    /// What happens to volumes that are no longer needed.
    pub reclaim: ReclaimPolicy,
    /// How failed members are replaced.
    pub failover: Failover,
    /// The component is to be stopped.
    pub suspended: bool,
    /// Which of the values above the user wrote and which are this program's defaults.
    pub explicit: Explicit,
}

/// Requests and limits by resource name, `storage` apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Requests.
    pub requests: BTreeMap<String, Quantity>,
    /// Limits.
    pub limits: BTreeMap<String, Quantity>,
}

/// A volume to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Its size.
    pub size: Quantity,
    /// Its class; `None`: the cluster's default class.
    pub class: Option<String>,
}

/// An additional volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageVolume {
    /// Its name, unique in the component.
    pub name: String,
    /// Where it is mounted.
    pub mount_path: String,
    /// What to claim.
    pub storage: Storage,
}

/// The client Service of PD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientService {
    /// Its type.
    pub type_: ServiceType,
    /// Annotations, no reserved key among them.
    pub annotations: BTreeMap<String, String>,
    /// Labels, no reserved key among them.
    pub labels: BTreeMap<String, String>,
    /// Address to ask the load balancer for.
    pub load_balancer_ip: Option<String>,
    /// Cluster address, or `None` the word.
    pub cluster_ip: Option<String>,
    /// Name of the port.
    pub port_name: String,
    /// Ranges that the load balancer admits.
    pub source_ranges: Vec<String>,
    /// Class of the load balancer.
    pub load_balancer_class: Option<String>,
}

/// Timing of the readiness probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Seconds before the first one.
    pub initial_delay_seconds: i32,
    /// Seconds between two.
    pub period_seconds: i32,
}

/// How failed members are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    /// How long a member must be lost.
    pub after: Duration,
    /// How long a replaced member's volume is kept.
    pub quarantine: Duration,
    /// Replacements at a time; 0 turns it off.
    pub max: u32,
}

/// How many stores join or leave at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalePolicy {
    /// Stores that leave at a time, at least 1.
    pub scale_in: u32,
    /// Stores that join at a time, at least 1.
    pub scale_out: u32,
}

impl Component {
    /// A component of which nothing is said yet. Only `check` makes one, and fills it in.
    pub(crate) fn blank() -> Self {
        Self {
            image: String::new(),
            version: Version::parse(""),
            pull_policy: PullPolicy::IfNotPresent,
            pull_secrets: Vec::new(),
            resources: Resources::default(),
            storage: Storage { size: Quantity::new("0".to_owned(), 0), class: None },
            volumes: Vec::new(),
            data_sub_dir: None,
            config: toml::Table::new(),
            config_update: ConfigUpdateStrategy::default(),
            host_network: false,
            affinity: None,
            priority_class: None,
            scheduler: None,
            node_selector: BTreeMap::new(),
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            tolerations: Vec::new(),
            topology_spread: Vec::new(),
            pod_security: Map::new(),
            container_security: Map::new(),
            grace_seconds: 0,
            env: Vec::new(),
            env_from: Vec::new(),
            init_containers: Vec::new(),
            containers: Vec::new(),
            pod_volumes: Vec::new(),
            mounts: Vec::new(),
            dns_config: None,
            dns_policy: None,
            service_account: None,
            automount_token: false,
            probe: Probe { initial_delay_seconds: 0, period_seconds: 1 },
            timezone: String::new(),
            overlays: Vec::new(),
            reclaim: ReclaimPolicy::default(),
            failover: Failover { after: Duration::ZERO, quarantine: Duration::ZERO, max: 0 },
            suspended: false,
            explicit: Explicit::default(),
        }
    }
}
