//! Is a spec one that can be built, and what is the way out where it is not?
//!
//! The API server has checked most of it before; here the same rules run again (a definition may be
//! older or newer than this program, and offline tools have no API server), and those that it
//! cannot evaluate: configuration, merged settings, what lies inside Kubernetes' own types. The
//! answer is either a [`Cluster`], which nothing behind it doubts again, or every problem at once.

mod cluster;
mod component;
mod config;
mod defaults;
mod keys;
mod level;
mod merge;
mod merged;
mod overlay;
mod problems;
mod rejection;
mod reserved;
mod scalars;
mod shapes;
mod structure;
mod volumes;

pub use rejection::{Problem, Rejection};
pub(crate) use scalars::duration;

use serde_json::Value;
use tikv_operator_api::TikvCluster;
use tikv_operator_api::names::Component;
use tikv_operator_api::v1alpha1::RunComponent;

use crate::cluster::Cluster;
pub(crate) use problems::Problems;

/// Largest configuration of a component, in bytes of TOML. A ConfigMap holds 1 MiB and `kubectl
/// apply` 256 KiB for a whole manifest; TiKV's commented template with every key is 70 KiB.
pub const CONFIG_MAX: usize = 128 * 1024;

/// Why an item of the configuration is not a user's to set, with the way out.
pub(crate) fn reserved_item(component: RunComponent, item: &str) -> Option<&'static str> {
    let component = match component {
        RunComponent::Pd => Component::Pd,
        RunComponent::Tikv => Component::Tikv,
    };
    reserved::reserved(component, item).map(|reserved| reserved.instead)
}

/// Checks a resource as the API server hands it out.
pub fn check(resource: &TikvCluster) -> Result<Cluster, Rejection> {
    let mut problems = Problems::default();
    structure::check(resource, &mut problems);
    let mut cluster = cluster::assemble(resource, &mut problems);
    cluster.warnings = problems.finish()?;
    Ok(cluster)
}

/// Checks a resource of which nothing is known, not even that it has the right types.
///
/// Fields that this program does not know become warnings: the definition may be newer than it.
pub fn check_value(resource: &Value) -> Result<Cluster, Rejection> {
    let mut problems = Problems::default();
    let resource = structure::as_stored(resource);
    structure::check_value(&resource, &mut problems);
    let typed: TikvCluster = match serde_json::from_value(resource) {
        Ok(typed) => typed,
        Err(error) => {
            if problems.is_empty() {
                problems.reject("spec", format!("Cannot be read: {error}."));
            }
            return Err(problems.rejection());
        }
    };
    let mut cluster = cluster::assemble(&typed, &mut problems);
    cluster.warnings = problems.finish()?;
    Ok(cluster)
}
