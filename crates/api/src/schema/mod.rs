//! What does the API server check, and what do the same checks say without it?

pub mod fragment;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::v1alpha1::TikvCluster;

/// The `CustomResourceDefinition` to install.
pub fn crd() -> CustomResourceDefinition {
    TikvCluster::crd()
}
