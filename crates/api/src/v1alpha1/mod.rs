//! What is in version `v1alpha1` of the resource?

mod cluster;
mod component;
mod pd;
mod service;
mod status;
mod storage;
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
    TikvStatus, WaitStatus,
};
pub use storage::StorageVolume;
pub use tikv::{ScalePolicy, TikvSpec};
pub use value::{DurationText, QuantityText, Raw};
