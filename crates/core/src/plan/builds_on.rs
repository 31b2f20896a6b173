//! Which later steps of a plan wait for one that was refused?
//!
//! The steps of a plan are done in order. Where a server refuses one (a quota, an admission check, a
//! value that is not valid), it refuses it again until somebody acts, and that may be never: a
//! Service that is not accepted must not keep a lost store from being replaced. So a refused step
//! holds up what was planned on the belief that it would be done, and nothing else.

use tikv_operator_api::labels;

use super::Step;
use crate::world::{Component, Kind, Object, Slot, StoreId};

impl Step {
    /// Was this step planned on the belief that `refused`, a step before it in the plan of
    /// `cluster`, would be done?
    pub fn builds_on(&self, refused: &Self, cluster: &str) -> bool {
        match refused {
            Self::Create(object) => self.needs(object, cluster),
            // A pod reads the file as it is: PD's says whether a member without data joins.
            Self::Apply { object, .. } => {
                object.key.kind == Kind::ConfigMap && self.needs(object, cluster)
            }
            Self::EvictLeaders { store }
            | Self::StopEvicting { store }
            | Self::OfflineStore { store, .. }
            | Self::KeepStore { store } => self.store() == Some(*store),
            // What is written down comes before what is done.
            Self::AddFinalizer
            | Self::ReleaseFinalizer
            | Self::RecordBootstrap(_)
            | Self::RecordClusterId(_)
            | Self::MarkVolume { .. }
            | Self::Mark { .. } => true,
            Self::TryPod { .. }
            | Self::Prune { .. }
            | Self::SetStoreUp { .. }
            | Self::DeletePod { .. }
            | Self::DeleteVolume { .. }
            | Self::ResizeVolume { .. }
            | Self::TransferPdLeader { .. }
            | Self::RemovePdMember { .. }
            | Self::SetPdConfig { .. }
            | Self::SetStoreConfig { .. }
            | Self::SetStoreLabels { .. }
            | Self::LockMaintenance { .. }
            | Self::UnlockMaintenance { .. } => false,
        }
    }

    /// Does the step make or take down a pod that cannot run without `object`?
    fn needs(&self, object: &Object, cluster: &str) -> bool {
        let Some(pod) = self.pod(cluster) else { return false };
        let of = component(object);
        match object.key.kind {
            Kind::ConfigMap => of == Some(pod.component),
            // Stores reach PD through its Service.
            Kind::Service => of == Some(pod.component) || of == Some(Component::Pd),
            // The first PD members start together, when all their volumes exist.
            Kind::PersistentVolumeClaim => {
                of == Some(pod.component)
                    && (pod.component == Component::Pd || ordinal(object) == Some(pod.ordinal))
            }
            Kind::PodDisruptionBudget | Kind::Pod => false,
        }
    }

    /// The slot of the pod that the step makes or takes down.
    fn pod(&self, cluster: &str) -> Option<Slot> {
        let made = if let Self::Create(object) = self { Some(object) } else { None };
        let made = made.filter(|object| object.key.kind == Kind::Pod).map(|pod| &pod.key.name);
        let taken = if let Self::DeletePod { name, .. } = self { Some(name) } else { None };
        Slot::of_pod(cluster, made.or(taken)?)
    }

    /// The store that the step changes in PD.
    fn store(&self) -> Option<StoreId> {
        if let Self::EvictLeaders { store }
        | Self::StopEvicting { store }
        | Self::OfflineStore { store, .. }
        | Self::KeepStore { store } = self
        {
            return Some(*store);
        }
        None
    }
}

fn label<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object.body.get("metadata")?.get("labels")?.get(key)?.as_str()
}

fn component(object: &Object) -> Option<Component> {
    let named = label(object, labels::COMPONENT)?;
    Component::ALL.into_iter().find(|component| component.as_str() == named)
}

fn ordinal(object: &Object) -> Option<u32> {
    label(object, labels::ORDINAL)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::{ObjectKey, PdMemberId, Uid, VolumeMarks};

    fn object(kind: Kind, name: &str, component: &str, ordinal: &str) -> Object {
        let labels = json!({labels::COMPONENT: component, labels::ORDINAL: ordinal});
        Object { key: ObjectKey::new(kind, name), body: json!({"metadata": {"labels": labels}}) }
    }

    fn create(kind: Kind, name: &str, component: &str, ordinal: &str) -> Step {
        Step::Create(object(kind, name, component, ordinal))
    }

    fn apply(kind: Kind, component: &str) -> Step {
        Step::Apply { object: object(kind, "x", component, ""), uid: Uid("u".to_owned()) }
    }

    fn taken(name: &str) -> Step {
        let (uid, reason) = (Uid("u".to_owned()), String::new());
        Step::DeletePod { name: name.to_owned(), uid, reason }
    }

    /// One step of every sort that may come later.
    fn later() -> Vec<(&'static str, Step)> {
        let (store, address) = (StoreId(1), "a".to_owned());
        vec![
            ("pd-0", create(Kind::Pod, "c-pd-0", "pd", "0")),
            ("pd-1", create(Kind::Pod, "c-pd-1", "pd", "1")),
            ("tikv-0", create(Kind::Pod, "c-tikv-0", "tikv", "0")),
            ("tikv-1", create(Kind::Pod, "c-tikv-1", "tikv", "1")),
            ("-tikv-1", taken("c-tikv-1")),
            ("-pd-1", taken("c-pd-1")),
            ("claim", create(Kind::PersistentVolumeClaim, "tikv-c-tikv-3", "tikv", "3")),
            ("offline-1", Step::OfflineStore { store, address }),
            ("evict-2", Step::EvictLeaders { store: StoreId(2) }),
            ("remove", Step::RemovePdMember { id: PdMemberId(1), name: "c-pd-1".to_owned() }),
            ("config", Step::SetPdConfig { item: "a".to_owned(), value: json!(1) }),
            ("budget", apply(Kind::PodDisruptionBudget, "tikv")),
        ]
    }

    #[test]
    fn a_refused_step_holds_up_what_needs_it_and_nothing_else() {
        let all: Vec<&str> = later().into_iter().map(|(name, _)| name).collect();
        let mark = Step::MarkVolume {
            name: "a".to_owned(),
            uid: Uid("u".to_owned()),
            marks: VolumeMarks::default(),
        };
        let address = "a".to_owned();
        for (what, refused, held) in [
            ("a Service that stands", apply(Kind::Service, "pd"), vec![]),
            (
                "the stores' Service",
                create(Kind::Service, "c-tikv-peer", "tikv", ""),
                vec!["tikv-0", "tikv-1", "-tikv-1"],
            ),
            (
                "PD's Service",
                create(Kind::Service, "c-pd", "pd", ""),
                vec!["pd-0", "pd-1", "tikv-0", "tikv-1", "-tikv-1", "-pd-1"],
            ),
            ("PD's settings", apply(Kind::ConfigMap, "pd"), vec!["pd-0", "pd-1", "-pd-1"]),
            ("a budget", apply(Kind::PodDisruptionBudget, "pd"), vec![]),
            (
                "a store's volume",
                create(Kind::PersistentVolumeClaim, "tikv-c-tikv-1", "tikv", "1"),
                vec!["tikv-1", "-tikv-1"],
            ),
            (
                "another store's volume",
                create(Kind::PersistentVolumeClaim, "tikv-c-tikv-0", "tikv", "0"),
                vec!["tikv-0"],
            ),
            (
                "a PD member's volume",
                create(Kind::PersistentVolumeClaim, "pd-c-pd-2", "pd", "2"),
                vec!["pd-0", "pd-1", "-pd-1"],
            ),
            ("a pod", create(Kind::Pod, "c-tikv-4", "tikv", "4"), vec![]),
            ("a pod's deletion", taken("c-tikv-0"), vec![]),
            ("a setting", Step::SetPdConfig { item: "b".to_owned(), value: json!(2) }, vec![]),
            ("a removal", Step::OfflineStore { store: StoreId(1), address }, vec!["offline-1"]),
            ("a mark", mark, all.clone()),
            ("a record", Step::AddFinalizer, all),
        ] {
            let found: Vec<&str> = later()
                .iter()
                .filter(|(_, step)| step.builds_on(&refused, "c"))
                .map(|(name, _)| *name)
                .collect();
            assert_eq!(found, held, "{what}");
        }
    }
}
