//! Which volumes does a member have beside its data volume?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::QuantityText;
use crate::schema::fragment;

/// An additional volume of every member of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageVolume {
    /// Name, part of the volume claim's name: `tikv-<name>-<cluster>-tikv-0`.
    #[schemars(length(min = 1, max = 63), regex(pattern = fragment::DNS_LABEL))]
    pub name: String,
    /// Size: a quantity such as 100Gi. Growth expands the volumes online; volumes never shrink.
    /// Restarts nothing.
    pub storage_size: QuantityText,
    /// Where it is mounted: an absolute path outside the data directory, /tmp and /etc. A change
    /// is refused.
    #[schemars(length(min = 2, max = 256), regex(pattern = fragment::ABSOLUTE_PATH))]
    pub mount_path: String,
    /// StorageClass of this volume. Default: the component's storageClassName. Holds for volumes
    /// that are created from now on. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = fragment::DNS_SUBDOMAIN))]
    pub storage_class_name: Option<String>,
}
