//! Which kinds of object does the operator call the API server about?

use kube::core::{ApiResource, GroupVersionKind};
use tikv_operator_core::world::Kind;

/// A kind of object, with what its URL and a role need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Our own.
    Cluster,
    /// What a cluster is made of.
    Part(Kind),
    /// What pods run on. Only read.
    Node,
    /// Our other own.
    Task,
    /// What a task is done by.
    Job,
}

impl Resource {
    /// Those that clusters need and that are in namespaces: each is watched, in each scope.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Part(Kind::Service),
        Self::Part(Kind::ConfigMap),
        Self::Part(Kind::PodDisruptionBudget),
        Self::Part(Kind::PersistentVolumeClaim),
        Self::Part(Kind::Pod),
    ];

    /// API group, empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Cluster | Self::Task => tikv_operator_api::GROUP,
            Self::Job => "batch",
            Self::Part(Kind::PodDisruptionBudget) => "policy",
            Self::Node
            | Self::Part(
                Kind::Service | Kind::ConfigMap | Kind::PersistentVolumeClaim | Kind::Pod,
            ) => "",
        }
    }

    /// API version.
    pub fn version(self) -> &'static str {
        match self {
            Self::Cluster | Self::Task => "v1alpha1",
            Self::Part(_) | Self::Node | Self::Job => "v1",
        }
    }

    /// `kind` in manifests.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Cluster => "TikvCluster",
            Self::Part(kind) => kind.as_str(),
            Self::Node => "Node",
            Self::Task => "TikvTask",
            Self::Job => "Job",
        }
    }

    /// The name in URLs and roles.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Cluster => "tikvclusters",
            Self::Part(Kind::Service) => "services",
            Self::Part(Kind::ConfigMap) => "configmaps",
            Self::Part(Kind::PodDisruptionBudget) => "poddisruptionbudgets",
            Self::Part(Kind::PersistentVolumeClaim) => "persistentvolumeclaims",
            Self::Part(Kind::Pod) => "pods",
            Self::Node => "nodes",
            Self::Task => "tikvtasks",
            Self::Job => "jobs",
        }
    }

    /// `apiVersion` in manifests.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// What the client needs to make URLs.
    pub fn api(self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group(), self.version(), self.kind());
        ApiResource::from_gvk_with_plural(&gvk, self.plural())
    }
}
