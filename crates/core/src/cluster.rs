//! What is wanted, checked?
//!
//! [`Cluster`] is what [`crate::check::check`] makes of a raw `TikvCluster`: defaults filled in,
//! cluster-wide settings merged into the components, texts parsed into types. Nothing behind it
//! sees the raw spec, and nothing in it can be wrong in a way that the raw spec could.

mod explicit;
mod member;
mod scalar;
mod warning;

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

pub use explicit::Explicit;
pub use member::{
    ClientService, Component, ConfigUpdateStrategy, DnsPolicy, Failover, PdSpec, Probe, PullPolicy,
    ReclaimPolicy, Resources, ScalePolicy, ServiceType, Storage, StorageVolume, TikvSpec,
};
pub use scalar::{ClusterName, Quantity, Version};
pub use warning::Warning;

use crate::build::Prepared;
use crate::world::Uid;

/// A checked cluster, with what follows from it alone.
///
/// One spec is planned with again and again: names, hashes and objects that depend on nothing else
/// are prepared once, at first use, and shared by clones. Whoever changes a setting drops them.
#[derive(Clone, Debug)]
pub struct Cluster {
    checked: Checked,
    prepared: Arc<OnceLock<Prepared>>,
}

impl Cluster {
    /// What follows from the settings alone.
    pub(crate) fn prepared(&self) -> &Prepared {
        self.prepared.get_or_init(|| Prepared::of(self))
    }
}

impl From<Checked> for Cluster {
    fn from(checked: Checked) -> Self {
        Self { checked, prepared: Arc::default() }
    }
}

impl Deref for Cluster {
    type Target = Checked;

    fn deref(&self) -> &Checked {
        &self.checked
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Checked {
        self.prepared = Arc::default();
        &mut self.checked
    }
}

impl PartialEq for Cluster {
    fn eq(&self, other: &Self) -> bool {
        self.checked == other.checked
    }
}

/// The settings of a checked cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Name of the resource: a DNS-1035 label within [`tikv_operator_api::names::CLUSTER_NAME_MAX`].
    pub name: ClusterName,
    /// Namespace of the resource and of all its objects.
    pub namespace: String,
    /// Uid of the resource.
    pub uid: Uid,
    /// Generation of the spec that was checked.
    pub generation: i64,
    /// `spec.paused`.
    pub paused: bool,
    /// `spec.clusterDomain`: appended to every address.
    pub domain: Option<String>,
    /// `spec.preferIPv6`: listen on `[::]`.
    pub prefer_ipv6: bool,
    /// The placement drivers.
    pub pd: PdSpec,
    /// The stores.
    pub tikv: TikvSpec,
    /// Values that are allowed and unwise: field and sentence. Each becomes a condition message.
    pub warnings: Vec<Warning>,
}
