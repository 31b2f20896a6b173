//! What does a user write to get a TiKV cluster, and what does the operator write back?
//!
//! This crate is the answer in types: the `TikvCluster` and `TikvTask` resources ([`v1alpha1`]), the names of
//! every object derived from it ([`names`]), the labels and annotations that those objects carry
//! ([`labels`]), the conditions in its status ([`conditions`]), and the schema that the API
//! server checks it against ([`schema`]). No client, no async runtime.

#[cfg(feature = "cases")]
pub mod cases;
pub mod conditions;
pub mod counterpart;
pub mod labels;
pub mod names;
pub mod schema;
pub mod v1alpha1;

pub use schema::{crd, task_crd};
pub use v1alpha1::{
    TikvCluster, TikvClusterSpec, TikvClusterStatus, TikvTask, TikvTaskSpec, TikvTaskStatus,
};

/// API group of every kind in this crate.
pub const GROUP: &str = "tikv.org";
