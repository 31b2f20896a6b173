//! Which thing is meant? One type per kind of identity, so that none is taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use tikv_operator_api::names;
pub use tikv_operator_api::names::Component;

/// A place for one pod and its volumes: `pd-0`, `tikv-3`. Never an identity in PD: a slot may hold
/// one store after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Whose slot.
    pub component: Component,
    /// The number behind the name, from 0.
    pub ordinal: u32,
}

impl Slot {
    /// The slot of a PD member.
    pub fn pd(ordinal: u32) -> Self {
        Self { component: Component::Pd, ordinal }
    }

    /// The slot of a store.
    pub fn tikv(ordinal: u32) -> Self {
        Self { component: Component::Tikv, ordinal }
    }

    /// The slot whose pod in `cluster` has this name, if it is one.
    pub fn of_pod(cluster: &str, pod: &str) -> Option<Self> {
        Component::ALL.into_iter().find_map(|component| {
            names::ordinal(cluster, component, pod).map(|ordinal| Self { component, ordinal })
        })
    }

    /// The slot whose main volume claim in `cluster` has this name, if it is one.
    pub fn of_claim(cluster: &str, claim: &str) -> Option<Self> {
        Component::ALL.into_iter().find_map(|component| {
            let pod = claim.strip_prefix(component.as_str())?.strip_prefix('-')?;
            names::ordinal(cluster, component, pod).map(|ordinal| Self { component, ordinal })
        })
    }

    /// `<cluster>-pd-0`: the name of the pod, and of the PD member.
    pub fn pod_name(self, cluster: &str) -> String {
        names::pod(cluster, self.component, self.ordinal)
    }

    /// `pd-<cluster>-pd-0`: the name of the main volume claim, as a `StatefulSet` would name it.
    pub fn claim_name(self, cluster: &str) -> String {
        names::data_volume(cluster, self.component, self.ordinal)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.component, self.ordinal)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// A TiKV store as PD numbers it. An emptied volume gets a new one.
    StoreId
}
number_id! {
    /// A PD member as etcd numbers it.
    PdMemberId
}
number_id! {
    /// The identity of the cluster that PD makes once, at bootstrap. Exceeds 2^53.
    ClusterId
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// The uid that Kubernetes gave to one incarnation of an object.
    Uid
}
text_id! {
    /// A hash of the checked inputs that a pod was made from. Equal inputs, equal revision,
    /// whatever version of the operator made the pod.
    Revision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_found_by_its_pods_name_only() {
        assert_eq!(Slot::of_pod("a", "a-pd-0"), Some(Slot::pd(0)));
        assert_eq!(Slot::of_pod("a", "a-tikv-12"), Some(Slot::tikv(12)));
        for foreign in
            ["a-pd", "a-pd-", "a-pd-00", "a-pd-+1", "a-pd-x", "b-pd-0", "a-b-pd-0", "a-pd-0-0"]
        {
            assert_eq!(Slot::of_pod("a", foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_slot_is_found_by_its_main_claims_name_only() {
        for slot in [Slot::pd(0), Slot::tikv(12)] {
            assert_eq!(Slot::of_claim("a", &slot.claim_name("a")), Some(slot));
        }
        for foreign in ["a-pd-0", "pd-a-tikv-0", "tikv-raft-a-tikv-0", "pd-b-pd-0", "pd-a-pd-00"] {
            assert_eq!(Slot::of_claim("a", foreign), None, "{foreign}");
        }
    }

    #[test]
    fn names_are_those_of_the_stateful_set_world() {
        assert_eq!(Slot::pd(0).pod_name("basic"), "basic-pd-0");
        assert_eq!(Slot::tikv(2).claim_name("basic"), "tikv-basic-tikv-2");
    }
}
