//! Was an upgrade held by the tasks that are to run before it?
//!
//! A gate holds what was announced while it existed, by the server's clock. What the operator says of
//! the announcement is believed in one thing: which images it is about.

use serde_json::{Value, json};

use super::Auditor;
use super::order::{image_tag, wanted_version};
use super::removal::{belongs, note};
use super::wishes::is_unknown;
use crate::clock;
use crate::kube::{Object, at, is_deleting, name_of, text, uid_of};
use crate::operator::Write;
use crate::universe::Universe;

const GATE: &str = "design 6: nothing that serves is restarted for an image before its gate opens";
const MADE: &str = "design 6: a pod that is made before a gate opens runs the image of before";

impl Auditor {
    /// Notes when an upgrade was announced first.
    pub(super) fn note_announcement(&mut self, resource: &Object) {
        let id = text(resource, "/status/upgrade/id");
        if !id.is_empty() {
            let by = (uid_of(resource).to_owned(), id.to_owned());
            self.announced.entry(by).or_insert(self.now);
        }
    }

    /// A pod that serves was taken down, and the next one will run another version.
    pub(super) fn judge_gates(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(pod) = write.before.as_deref() else { return };
        let component = component_of(pod);
        if image_tag(pod, component) == wanted_version(universe, cluster, component) {
            return;
        }
        if let Some(gate) = self.closed(universe, cluster, component) {
            let what = format!("{} before {} said so", write.key, name_of(gate));
            self.find(GATE, what);
        }
    }

    /// A pod was made. It brings no image past a closed gate where something tells which one it was
    /// before that the data can be read by.
    pub(super) fn judge_gated_pod(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(pod) = write.after.as_deref() else { return };
        let component = component_of(pod);
        let tag = image_tag(pod, component);
        if tag != wanted_version(universe, cluster, component) {
            return;
        }
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let Some(gate) = self.closed(universe, cluster, component) else { return };
        let claim = format!("{component}-{}", name_of(pod));
        let claim = universe.kube.get("PersistentVolumeClaim", &claim);
        let data = claim.and_then(|claim| numbers(note(claim, "written-by")));
        let reads = |old: &&str| match (numbers(old), &data) {
            (Some(old), Some(data)) => old >= *data,
            (None, _) | (_, None) => true,
        };
        let known = self.announced(universe, cluster).is_some();
        let told = told(resource, component).filter(|_| known);
        let mut before = running(universe, cluster, component).chain(told);
        if let Some(old) = before.find(|old| *old != tag && reads(old)) {
            let what =
                format!("{} as {tag} before {} said so, beside {old}", write.key, name_of(gate));
            self.find(MADE, what);
        }
    }

    /// The first gate that holds the change to the image that the spec asks for. What is made in the
    /// second of a pass comes after it.
    fn closed<'u>(
        &self,
        universe: &'u Universe,
        cluster: &str,
        component: &str,
    ) -> Option<&'u Object> {
        let resource = universe.kube.get("TikvCluster", cluster)?;
        if is_unknown(universe, resource) || is_taken_back(universe, cluster, component) {
            return None;
        }
        let announced = self.announced(universe, cluster);
        if announced.is_some_and(|(id, _)| note(resource, "skip-gate") == id) {
            return None;
        }
        let mut gates = universe.kube.list("TikvTask").filter(|task| is_gate(task, cluster));
        gates.find(|task| {
            announced.is_none_or(|(id, since)| created(task) < since && !is_open(task, cluster, id))
        })
    }

    /// The id of the announced upgrade that goes on, and since when it is announced. What a pass
    /// announces itself comes after all that it makes.
    fn announced<'u>(&self, universe: &'u Universe, cluster: &str) -> Option<(&'u str, u64)> {
        let resource = universe.kube.get("TikvCluster", cluster)?;
        let id = text(resource, "/status/upgrade/id");
        let by = (uid_of(resource).to_owned(), id.to_owned());
        let since = *self.announced.get(&by).filter(|_| is_announced(universe, cluster))?;
        Some((id, since))
    }
}

fn component_of(pod: &Object) -> &str {
    text(pod, "/metadata/labels/app.kubernetes.io~1component")
}

fn created(task: &Object) -> u64 {
    let created = text(task, "/metadata/creationTimestamp").parse();
    created.map_or(0, clock::millis)
}

/// The upgrade in status is that to the versions that the spec asks for.
fn is_announced(universe: &Universe, cluster: &str) -> bool {
    let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return false };
    let wanted = ["pd", "tikv"].map(|component| wanted_version(universe, cluster, component));
    goes_on(resource) && tags(text(resource, "/status/upgrade/to")).map(|(_, tag)| tag).eq(wanted)
}

fn goes_on(resource: &Object) -> bool {
    at(resource, "/status/upgrade/finished").is_null()
}

/// An upgrade that had begun, and the spec asks again for what was there before it.
fn is_taken_back(universe: &Universe, cluster: &str, component: &str) -> bool {
    let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return false };
    let wanted = wanted_version(universe, cluster, component);
    goes_on(resource)
        && !is_announced(universe, cluster)
        && told(resource, component).any(|tag| tag == wanted)
}

/// The tags of a component's images from which the upgrade in status goes.
fn told<'a>(resource: &'a Object, component: &'a str) -> impl Iterator<Item = &'a str> {
    let from = tags(text(resource, "/status/upgrade/from"));
    from.filter(move |(image, _)| image.ends_with(component)).map(|(_, tag)| tag)
}

/// Images in a text, with their tags.
fn tags(images: &str) -> impl Iterator<Item = (&str, &str)> {
    images.split(", ").filter_map(|image| image.rsplit_once(':'))
}

/// The tags that pods of a component run which serve and stay.
fn running<'a>(
    universe: &'a Universe,
    cluster: &'a str,
    component: &'a str,
) -> impl Iterator<Item = &'a str> {
    let pods = universe.kube.list("Pod").filter(move |pod| {
        let claim = format!("{component}-{}", name_of(pod));
        let claim = universe.kube.get("PersistentVolumeClaim", &claim);
        let stays = claim.is_some_and(|claim| note(claim, "retired").is_empty());
        stays
            && belongs(pod, cluster)
            && component_of(pod) == component
            && pod.is_ready()
            && !is_deleting(pod)
    });
    pods.map(move |pod| image_tag(pod, component))
}

/// `v8.5.7` in numbers.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let numbers = version.trim_start_matches('v').split('.').map(str::parse);
    numbers.collect::<Result<_, _>>().ok()
}

fn is_gate(task: &Object, cluster: &str) -> bool {
    let asks = |event: &Value| *event == json!("UpgradeStarting");
    text(task, "/spec/cluster") == cluster
        && text(task, "/spec/gate") == "before"
        && at(task, "/spec/suspend").as_bool() != Some(true)
        && at(task, "/spec/events").as_array().is_some_and(|events| events.iter().any(asks))
        && !is_deleting(task)
}

/// It has run well for the upgrade of this id.
fn is_open(task: &Object, cluster: &str, id: &str) -> bool {
    let mut seen = at(task, "/status/clusters").as_array().into_iter().flatten();
    seen.any(|seen| {
        text(seen, "/name") == cluster
            && text(seen, "/gate/id") == id
            && matches!(text(seen, "/gate/outcome"), "Succeeded" | "Skipped")
    })
}
