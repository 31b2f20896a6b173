//! What follows from a manifest?

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;
use tikv_operator_api::TikvCluster;
use tikv_operator_api::v1alpha1::TikvClusterStatus;
use tikv_operator_core::build::{self, Furnishing, PdStart};
use tikv_operator_core::check::{Problem, check};
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Plan, plan};
use tikv_operator_core::world::{
    Component, Kind, Object, ObjectKey, ResourceFacts, Revision, Slot, Uid, VolumeMarks, World,
};

use crate::motion;

/// Delays and limits that show only while something goes on: these are looked at in the scenes of
/// [`motion`]. Others are not, since a pod that is made there carries its revision, which is a hash
/// of what is asked for and so would make everything look like an effect.
const IN_MOTION: [&str; 10] = [
    "configUpdateStrategy",
    "evictLeaderTimeout",
    "waitLeaderTransferBackTimeout",
    "scaleInParallelism",
    "scaleOutParallelism",
    "failover.after",
    "failover.quarantine",
    "maxFailoverCount",
    "suspendAction.suspendStatefulSet",
    "storeLabels",
];

/// The effect of one change, from none to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// None at all.
    Nothing,
    /// The spec is refused with a sentence that names the field.
    Refused,
    /// The cluster is built as before, and a sentence names the field.
    Said,
    /// The plan is another one.
    Planned,
    /// An object is another one.
    Built,
}

/// Everything that follows from a manifest.
pub(crate) enum Seen {
    /// It is refused.
    Refused(Vec<Problem>),
    /// It is accepted.
    Accepted(Box<Outcome>),
}

/// What an accepted manifest leads to.
pub(crate) struct Outcome {
    cluster: String,
    manifest: Value,
    objects: Vec<Object>,
    plan: Plan,
    /// Fields that a condition will name.
    named: BTreeSet<String>,
    /// What the pods of each component are marked with.
    revisions: [Revision; 2],
}

impl Seen {
    /// Are pods another revision than `before`, so that a change restarts them? `None` where either
    /// is refused.
    pub(crate) fn restarts(&self, before: &Self) -> Option<bool> {
        let (Self::Accepted(before), Self::Accepted(after)) = (before, self) else { return None };
        Some(before.revisions != after.revisions)
    }

    /// Are pods built differently than `before`?
    pub(crate) fn rebuilds(&self, before: &Self) -> bool {
        let (Self::Accepted(before), Self::Accepted(after)) = (before, self) else { return false };
        let first = |outcome: &Outcome, slot: Slot| -> Option<Value> {
            let name = slot.pod_name(&outcome.cluster);
            let key = ObjectKey::new(Kind::Pod, name);
            outcome.objects.iter().find(|o| o.key == key).map(|o| o.body.clone())
        };
        [Slot::pd(0), Slot::tikv(0)].iter().any(|slot| first(before, *slot) != first(after, *slot))
    }
}

impl Effect {
    /// What a change at `path` did.
    pub(crate) fn between(before: &Seen, after: &Seen, path: &str) -> Self {
        let Seen::Accepted(before) = before else { panic!("a fixture is refused") };
        match after {
            Seen::Refused(problems) if problems.iter().any(|p| is_about(p, path)) => Self::Refused,
            Seen::Accepted(after) if after.objects != before.objects => Self::Built,
            Seen::Accepted(after) if after.plan != before.plan => Self::Planned,
            Seen::Accepted(after)
                if IN_MOTION.iter().any(|name| path.ends_with(name))
                    && motion::plans(&after.manifest) != motion::plans(&before.manifest) =>
            {
                Self::Planned
            }
            Seen::Accepted(after)
                if [before, after].iter().any(|o| o.named.iter().any(|f| is_at(f, path))) =>
            {
                Self::Said
            }
            Seen::Refused(_) | Seen::Accepted(_) => Self::Nothing,
        }
    }
}

/// Is `field` the one at `path`, or a part of it? `spec.pd.tolerations[1].key` is about
/// `spec.pd.tolerations`.
fn is_at(field: &str, path: &str) -> bool {
    field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A problem is about a field that it stands at, also where a cluster-wide setting turns out wrong
/// in a component, and about one that its sentence names from next to it (`loadBalancerIP` at
/// `spec.pd.service.type`).
fn is_about(problem: &Problem, path: &str) -> bool {
    let (parent, name) = path.rsplit_once('.').expect("a field below spec");
    let in_component = |component: &str| {
        let path = path.replacen("spec.", &format!("spec.{component}."), 1);
        is_at(&problem.field, &path)
    };
    is_at(&problem.field, path)
        || in_component("pd")
        || in_component("tikv")
        || (is_at(&problem.field, parent)
            && problem.sentence.to_lowercase().contains(&name.to_lowercase()))
}

/// Looks at a manifest through a blindfold.
pub(crate) fn look(manifest: &Value, blindfold: fn(&mut Value)) -> Seen {
    let mut manifest = manifest.clone();
    blindfold(&mut manifest);
    let resource: TikvCluster = serde_json::from_value(manifest.clone()).expect("a TikvCluster");
    match check(&resource) {
        Err(rejection) => Seen::Refused(rejection.problems),
        Ok(cluster) => Seen::Accepted(Box::new(Outcome {
            cluster: cluster.name.to_string(),
            manifest,
            revisions: Component::ALL.map(|component| build::revision(&cluster, component)),
            objects: objects(&cluster),
            plan: plan(&cluster, &nothing_exists()),
            named: cluster.warnings.iter().map(|warning| warning.field.clone()).collect(),
        })),
    }
}

/// Every object that the cluster will have, revisions left out: they are hashes of what is asked
/// for, and so would make everything look like an effect.
fn objects(cluster: &Cluster) -> Vec<Object> {
    let slots = |component, count| (0..count).map(move |ordinal| Slot { component, ordinal });
    let pd: Vec<Slot> = slots(Component::Pd, cluster.pd.replicas).collect();
    let tikv: Vec<Slot> = slots(Component::Tikv, cluster.tikv.replicas).collect();
    let members = [pd, tikv].concat();
    let furnishing = Furnishing {
        start: PdStart::Join,
        pd_available: cluster.pd.replicas,
        tikv_available: cluster.tikv.replicas,
    };
    let furniture = build::furniture(cluster, &furnishing);
    let mut objects: Vec<_> = furniture.into_iter().map(Cow::into_owned).collect();
    for slot in members {
        let mut pod = build::pod(cluster, slot);
        let annotations = pod.body["metadata"]["annotations"].as_object_mut();
        annotations.expect("annotations").remove(tikv_operator_api::labels::REVISION);
        objects.push(pod);
        objects.extend(build::claims(cluster, slot, &VolumeMarks::default()));
    }
    objects
}

fn nothing_exists() -> World {
    let resource = ResourceFacts {
        name: "c".into(),
        uid: Uid("u".into()),
        generation: 1,
        deleting_since: None,
        finalizer: false,
        orphans: false,
        skip_gate: None,
        status: TikvClusterStatus::default(),
    };
    World::bare("2026-11-22T12:00:00Z".parse().expect("a time"), resource)
}
