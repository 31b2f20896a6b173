//! What follows from a spec alone, whatever the world is like?
//!
//! Names with a hash in them, revisions and most furniture. Making them takes many times as long as
//! all decisions of a pass, so [`Cluster`] keeps them from one pass to the next.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::{address, budget, config, hash, revision, service};
use crate::cluster::Cluster;
use crate::settings::{self, Items};
use crate::world::{BootstrapRecord, Component, Object, Slot};

/// What is made once per spec.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Apart, since a pod is made without it.
    furnished: OnceLock<Furnished>,
    /// Names of the present ConfigMaps.
    pub(super) config_names: [String; 2],
    /// The halves of the revisions.
    pub(super) revisions: [revision::Halves; 2],
    /// What follows a pod's name in its store's address.
    store_suffix: String,
    /// The items of TiKV's configuration.
    pub(crate) tikv_items: Items,
    /// Those of them that stores of the spec's own version take over while they run.
    pub(crate) tikv_online: Items,
    /// Their hash.
    pub(crate) tikv_online_hash: String,
    /// The items of PD's configuration.
    pub(crate) pd_items: Items,
    /// Those of them that change online.
    pub(crate) pd_online: Items,
    /// The hash of each of these.
    pub(crate) pd_hashes: BTreeMap<String, String>,
}

/// Furniture that depends on little else than the spec.
#[derive(Debug)]
pub(super) struct Furnished {
    /// The client Service and the headless ones.
    pub(super) services: [Object; 3],
    /// PD's ConfigMap for members that join.
    pub(super) pd_config: Object,
    /// PD's ConfigMap for the first members, by the record of the bootstrap.
    pub(super) pd_first: OnceLock<(BootstrapRecord, Object)>,
    /// TiKV's ConfigMap.
    pub(super) tikv_config: Object,
    /// Disruption budgets that leave as many pods as are wanted, or one less.
    pub(super) budgets: Vec<(Component, u32, Object)>,
    /// The connection.
    pub(super) connection: Object,
}

impl Furnished {
    fn of(cluster: &Cluster) -> Self {
        Self {
            services: [
                service::client(cluster),
                service::peer(cluster, Component::Pd),
                service::peer(cluster, Component::Tikv),
            ],
            pd_config: config::pd(cluster, &config::PdStart::Join),
            pd_first: OnceLock::new(),
            tikv_config: config::tikv(cluster),
            budgets: budgets(cluster),
            connection: service::connection(cluster),
        }
    }
}

impl Prepared {
    /// The furniture of the cluster that all this is of.
    pub(super) fn furnished(&self, cluster: &Cluster) -> &Furnished {
        self.furnished.get_or_init(|| Furnished::of(cluster))
    }

    /// Derives everything else. Calls nothing that asks the cluster for what is being prepared.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let (pd, tikv) = (&cluster.pd.common, &cluster.tikv.common);
        let pd_online = settings::online_items(Component::Pd, &pd.version, &pd.config);
        let tikv_online = settings::online_items(Component::Tikv, &tikv.version, &tikv.config);
        Self {
            furnished: OnceLock::new(),
            config_names: Component::ALL.map(|component| config::content_name(cluster, component)),
            revisions: Component::ALL.map(|component| revision::halves(cluster, component)),
            store_suffix: address::store_suffix(cluster),
            tikv_items: settings::items(&tikv.config),
            tikv_online_hash: hash::of_items(&tikv_online),
            tikv_online,
            pd_items: settings::items(&pd.config),
            pd_hashes: hashes(&pd_online),
            pd_online,
        }
    }

    /// The one of two that is the component's.
    pub(super) fn of_component<T>(both: &[T; 2], component: Component) -> &T {
        let [pd, tikv] = both;
        match component {
            Component::Pd => pd,
            Component::Tikv => tikv,
        }
    }
}

fn hashes(items: &Items) -> BTreeMap<String, String> {
    let hash = |value| hash::of_setting(&settings::canonical(value));
    items.iter().map(|(item, value)| (item.clone(), hash(value))).collect()
}

fn budgets(cluster: &Cluster) -> Vec<(Component, u32, Object)> {
    let wanted = [(Component::Pd, cluster.pd.replicas), (Component::Tikv, cluster.tikv.replicas)];
    let numbers = wanted.into_iter().flat_map(|(of, all)| [(of, all), (of, all.saturating_sub(1))]);
    numbers.map(|(of, number)| (of, number, budget::budget(cluster, of, number))).collect()
}

/// The slot whose store advertises this address.
pub(crate) fn slot_at(cluster: &Cluster, address: &str) -> Option<Slot> {
    let pod = address.strip_suffix(cluster.prepared().store_suffix.as_str())?;
    Slot::of_pod(cluster.name.as_str(), pod).filter(|slot| slot.component == Component::Tikv)
}
