//! What does each object of a cluster look like?
//!
//! Builders take the checked [`Cluster`] and return complete objects as JSON. They decide nothing:
//! the same cluster gives the same bytes. Furniture (Services, ConfigMaps, disruption budgets, the
//! connection) carries a hash of itself, by which [`same`] sees what is to be applied; pods carry
//! the [`revision`] of what the user asked for, so that a newer operator restarts nothing.

mod address;
mod budget;
mod config;
mod container;
mod fields;
pub(crate) mod hash;
pub(crate) use hash::hex as hash_hex;
pub mod marks;
mod metadata;
mod overlay;
mod pod;
mod prepared;
mod revision;
mod same;
mod security;
mod service;
mod volume;

pub use address::store_address;
pub use config::{PdStart, config_map_name, joined};
pub use container::drains_itself;
pub use marks::{
    EVICTING, LEAVING, REPLACES, RETIRED, marks_from_annotations, marks_to_annotations,
};
pub use pod::pod;
pub(crate) use prepared::{Prepared, slot_at};
pub use revision::{is_current, revision};
pub use same::{APPLIED, applied, difference, same};
pub use volume::{claims, mark_replacement};

use std::borrow::Cow;

use crate::cluster::{self, Cluster};
use crate::world::{Component, Object};

/// What furniture depends on beside the spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Furnishing {
    /// How PD members start now.
    pub start: PdStart,
    /// PD pods that an eviction must leave.
    pub pd_available: u32,
    /// TiKV pods that an eviction must leave.
    pub tikv_available: u32,
}

/// Everything of a cluster that is neither pod nor volume: client and peer Services, the current
/// ConfigMaps, disruption budgets, the connection.
pub fn furniture<'a>(cluster: &'a Cluster, furnishing: &Furnishing) -> Vec<Cow<'a, Object>> {
    let prepared = cluster.prepared().furnished(cluster);
    let mut objects: Vec<_> = prepared.services.iter().map(Cow::Borrowed).collect();
    objects.push(match &furnishing.start {
        PdStart::Join => Cow::Borrowed(&prepared.pd_config),
        start @ PdStart::Bootstrap(record) => {
            let made = || (record.clone(), config::pd(cluster, start));
            match prepared.pd_first.get_or_init(made) {
                (of, first) if of == record => Cow::Borrowed(first),
                _ => Cow::Owned(config::pd(cluster, start)),
            }
        }
    });
    objects.push(Cow::Borrowed(&prepared.tikv_config));
    let numbers =
        [(Component::Pd, furnishing.pd_available), (Component::Tikv, furnishing.tikv_available)];
    objects.extend(numbers.map(|(component, number)| {
        let made = prepared.budgets.iter().find(|(of, n, _)| (*of, *n) == (component, number));
        made.map_or_else(
            || Cow::Owned(budget::budget(cluster, component, number)),
            |(_, _, budget)| Cow::Borrowed(budget),
        )
    }));
    objects.push(Cow::Borrowed(&prepared.connection));
    objects
}

/// The settings of one component.
fn part(cluster: &Cluster, component: Component) -> &cluster::Component {
    match component {
        Component::Pd => &cluster.pd.common,
        Component::Tikv => &cluster.tikv.common,
    }
}
