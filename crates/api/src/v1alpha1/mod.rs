//! What is in version `v1alpha1` of the resource?

mod cluster;
mod component;
mod pd;
mod service;
mod status;
mod storage;
mod task;
mod tikv;
mod value;

pub use cluster::{TikvCluster, TikvClusterSpec, Tls};
pub use component::{
    ConfigUpdateStrategy, DnsPolicy, Failover, LocalReference, PodSettings, ProbeTiming,
    PullPolicy, ReclaimPolicy, SuspendAction,
};
pub use pd::PdSpec;
pub use service::{ServiceSpec, ServiceType};
pub use status::{
    Bootstrap, Drift, MemberStatus, PdStatus, StoreProgress, StoreStatus, TikvClusterStatus,
    TikvStatus, UpgradeStatus, WaitStatus,
};
pub use storage::StorageVolume;
pub use task::{
    ClusterSelector, CompactRun, ConcurrencyPolicy, ConfigSetRun, Gate, GateStatus, HeaderFrom,
    HttpRun, JobRun, OwnWork, PodsRun, RestartRun, RunComponent, RunKey, RunOutcome, RunStatus,
    ScaleRun, ScheduleStatus, SecretKey, StoreReplaceRun, TaskCluster, TaskEvent, TaskRun,
    TikvTask, TikvTaskSpec, TikvTaskStatus, TlsFrom,
};
pub use tikv::{ScalePolicy, TikvSpec};
pub use value::{DurationText, QuantityText, Raw};
