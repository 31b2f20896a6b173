//! What are the metrics called, and which values can their labels have?

use tikv_operator_core::report::FailureKind;

/// A metric, for its registration and for the documentation.
#[derive(Clone, Copy, Debug)]
pub struct MetricRow {
    /// Its full name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

pub(super) const RECONCILES: &str = "tikv_operator_reconciles_total";
pub(super) const RECONCILE_SECONDS: &str = "tikv_operator_reconcile_seconds";
pub(super) const STEPS: &str = "tikv_operator_steps_total";
pub(super) const API_CALLS: &str = "tikv_operator_api_calls_total";
pub(super) const FORBIDDEN: &str = "tikv_operator_api_forbidden_total";
pub(super) const WATCH_FAILURES: &str = "tikv_operator_watch_failures_total";
pub(super) const PD_CALLS: &str = "tikv_operator_pd_calls_total";
pub(super) const STORE_CALLS: &str = "tikv_operator_store_calls_total";
pub(super) const LEADER: &str = "tikv_operator_leader";
pub(super) const CLUSTERS: &str = "tikv_operator_clusters";
pub(super) const WAITS: &str = "tikv_operator_waits";

/// All metrics.
pub const METRICS: &[MetricRow] = &[
    MetricRow {
        name: RECONCILES,
        kind: "counter",
        labels: &["outcome"],
        help: "Passes over a cluster.",
    },
    MetricRow {
        name: RECONCILE_SECONDS,
        kind: "histogram",
        labels: &[],
        help: "Time that a pass over a cluster took, in seconds.",
    },
    MetricRow {
        name: STEPS,
        kind: "counter",
        labels: &["step", "outcome"],
        help: "Steps that were tried.",
    },
    MetricRow {
        name: API_CALLS,
        kind: "counter",
        labels: &["verb", "resource", "outcome"],
        help: "Calls to the API server, watches and the lease apart.",
    },
    MetricRow {
        name: FORBIDDEN,
        kind: "counter",
        labels: &["verb", "resource"],
        help: "Calls that the API server refused because the operator's role lacks a verb.",
    },
    MetricRow {
        name: WATCH_FAILURES,
        kind: "counter",
        labels: &["resource"],
        help: "Watches that failed and were opened again.",
    },
    MetricRow {
        name: PD_CALLS,
        kind: "counter",
        labels: &["endpoint", "outcome"],
        help: "Calls to PD.",
    },
    MetricRow {
        name: STORE_CALLS,
        kind: "counter",
        labels: &["endpoint", "outcome"],
        help: "Calls to the status ports of stores.",
    },
    MetricRow {
        name: LEADER,
        kind: "gauge",
        labels: &[],
        help: "1 while this replica holds the lease and acts, else 0.",
    },
    MetricRow {
        name: CLUSTERS,
        kind: "gauge",
        labels: &["condition", "status"],
        help: "Clusters by condition, on the replica that acts.",
    },
    MetricRow {
        name: WAITS,
        kind: "gauge",
        labels: &["rule"],
        help: "Clusters in which a rule holds a step, on the replica that acts.",
    },
];

/// How a call, a step or a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// As wanted.
    Ok,
    /// Refused for a reason that the next look at the world will show, or that someone must mend: a
    /// conflict, a precondition, another's object, a quota.
    Refused,
    /// Anything else.
    Failed,
}

impl From<FailureKind> for CallOutcome {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Stale | FailureKind::Refused | FailureKind::Foreign => Self::Refused,
            FailureKind::Unavailable => Self::Failed,
        }
    }
}

impl CallOutcome {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What a call to the API server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVerb {
    /// Read one.
    Get,
    /// Read many.
    List,
    /// Follow many.
    Watch,
    /// Make one.
    Create,
    /// Change one (server-side apply included).
    Patch,
    /// Remove one.
    Delete,
}

impl ApiVerb {
    /// The verb as roles name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// The classes of calls to PD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PdEndpoint {
    /// Member list and leader.
    Members,
    /// Which members answer.
    Health,
    /// All stores.
    Stores,
    /// All stores, where `Stores` does not exist.
    StoresByState,
    /// Stores whose leaders are being moved away.
    Evicting,
    /// The configuration in force.
    Config,
    /// Replication settings, where the leader's configuration was not to be had.
    Replicate,
    /// Number of regions.
    Regions,
    /// All regions, where there are fewer stores than replicas wanted.
    AllRegions,
    /// Are all regions replicated?
    Replicated,
    /// Regions that lack a peer.
    MissPeer,
    /// Regions with a peer that was not heard for long.
    DownPeer,
    /// Regions with a peer that lags behind.
    PendingPeer,
    /// Has the first region all its peers, where `Replicated` does not exist.
    ClusterStatus,
    /// The lock for disruptive work.
    Maintenance,
    /// Is an online unsafe recovery going on?
    UnsafeRecovery,
    /// How far a store is emptied.
    Progress,
}

impl PdEndpoint {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Health => "health",
            Self::Stores | Self::StoresByState => "stores",
            Self::Evicting => "evict-leader",
            Self::Config | Self::Replicate => "config",
            Self::Regions
            | Self::AllRegions
            | Self::Replicated
            | Self::MissPeer
            | Self::DownPeer
            | Self::PendingPeer => "regions",
            Self::ClusterStatus => "status",
            Self::Maintenance => "maintenance",
            Self::UnsafeRecovery => "unsafe-recovery",
            Self::Progress => "progress",
        }
    }
}

/// The classes of changes in PD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PdChange {
    /// Stores whose leaders are to be moved away.
    Evict,
    /// Removal of a store, and its cancellation.
    StoreState,
    /// Labels of a store.
    Label,
    /// A move of the leadership.
    Transfer,
    /// Removal of a member.
    RemoveMember,
    /// An item of the configuration.
    Configure,
    /// The lock for disruptive work.
    Lock,
}

impl PdChange {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evict => "set-evict-leader",
            Self::StoreState => "set-store-state",
            Self::Label => "set-store-labels",
            Self::Transfer => "transfer-leader",
            Self::RemoveMember => "remove-member",
            Self::Configure => "set-config",
            Self::Lock => "set-maintenance",
        }
    }
}

/// The classes of calls to the status port of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEndpoint {
    /// Its metrics, for the regions that it leads.
    Leaders,
    /// Its configuration.
    Config,
    /// A change of its configuration.
    Configure,
}

impl StoreEndpoint {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leaders => "metrics",
            Self::Config => "config",
            Self::Configure => "set-config",
        }
    }
}

/// How a call to PD or a store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PdOutcome {
    /// A usable answer.
    Ok,
    /// PD said no, or that it has no leader.
    Refused,
    /// No complete answer in time.
    Slow,
    /// No connection, or it broke.
    Unreachable,
    /// An answer that cannot be used.
    Unusable,
}

impl PdOutcome {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Slow => "slow",
            Self::Unreachable => "unreachable",
            Self::Unusable => "unusable",
        }
    }
}
