//! Is a spec that is refused in force?
//!
//! Which specs are wrong is known from those who wrote them; what `check` says of them is not asked. While
//! one is wrong everything else is judged by the valid spec before it. Where several came quickly one after
//! the other, the operator need not have seen the last: which one it goes by it says, and it has to be one
//! that was valid.

use serde_json::Value;

use super::Auditor;
use super::order::{generation, image_tag, main_claims};
use super::removal::note;
use super::wishes::is_rejected;
use crate::history::is_mistaken;
use crate::kube::{Object, Verb, at, name_of, text, uid_of};
use crate::operator::{Pass, Write};
use crate::universe::{InForce, Universe};

const REFUSED: &str = "scenario 7: nothing of a spec that is refused is in force";
const SAID: &str = "scenario 7: a condition says whether the spec is refused";

/// So many valid specs are remembered: none is in force that is older.
const REMEMBERED: usize = 20;

/// What a resource has asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The generation that was looked at last.
    generation: u64,
    /// There was a mistake in one.
    mistakes: bool,
    /// The valid specs, the last one last.
    valid: Vec<InForce>,
}

impl Auditor {
    /// Notes what resources asked for in the changes after this one, and whether there was a mistake in it.
    /// Those between two seconds count: a watch that lags tells of them.
    pub(super) fn note_mistakes(&mut self, universe: &mut Universe, version: usize) {
        let Universe { kube, in_force, .. } = universe;
        for resource in kube.since(version, "TikvCluster") {
            let known = self.asked.entry(uid_of(resource).to_owned()).or_default();
            let generation = generation(resource);
            if known.generation == generation {
                continue;
            }
            known.generation = generation;
            let spec = at(resource, "/spec");
            if is_mistaken(spec) {
                known.mistakes = true;
                let last = known.valid.last().cloned().unwrap_or_default();
                in_force.insert(name_of(resource).to_owned(), last);
            } else {
                known.valid.push(InForce { generation, spec: spec.clone() });
                let surplus = known.valid.len().saturating_sub(REMEMBERED);
                known.valid.drain(..surplus);
                in_force.remove(name_of(resource));
            }
        }
    }

    /// Before what a pass did is judged: it went by one of the valid specs.
    pub(super) fn look_by_what_is_in_force(
        &self,
        universe: &mut Universe,
        cluster: &str,
        pass: &Pass,
    ) {
        let Universe { kube, in_force, .. } = universe;
        let Some(place) = in_force.get_mut(cluster) else { return };
        let resource = kube.get("TikvCluster", cluster);
        let Some(asked) = resource.and_then(|resource| self.asked.get(uid_of(resource))) else {
            return;
        };
        let said = |valid: &&InForce| pass.planned_for == Some(valid.generation);
        let found = asked.valid.iter().find(said).or(asked.valid.last());
        if let Some(found) = found.filter(|found| found.generation != place.generation) {
            *place = found.clone();
        }
    }

    /// Whoever looks at the resource is told whether its spec is refused, as soon as anything is said of it.
    pub(super) fn judge_condition(&mut self, universe: &Universe, cluster: &str, pass: &Pass) {
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let had_mistakes = self.asked.get(uid_of(resource)).is_some_and(|asked| asked.mistakes);
        let seen = at(resource, "/status/observedGeneration").as_u64();
        if !had_mistakes || !pass.wrote_status || seen != Some(generation(resource)) {
            return;
        }
        let mistaken = universe.in_force.contains_key(cluster);
        if is_rejected(resource) != mistaken {
            let what = if mistaken { "is not said to be" } else { "is still said to be" };
            self.find(SAID, format!("{cluster}: the spec {what} refused"));
        }
    }

    /// Something was written while the spec has a mistake in it.
    pub(super) fn judge_mistaken(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(InForce { spec: before, .. }) = universe.in_force.get(cluster) else { return };
        if before.is_null() {
            let what = format!("{} {} and none was valid", write.verb.as_str(), write.key);
            return self.find(REFUSED, what);
        }
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let wanted = at(resource, "/spec");
        if asks_for(universe, cluster, wanted, write)
            && !self.was_asked_for(universe, cluster, write)
        {
            self.find(REFUSED, format!("{} {}", write.verb.as_str(), write.key));
        }
    }

    /// Some valid spec asked for what was written. Not only the last one: an image that a gate holds is of one
    /// before it.
    fn was_asked_for(&self, universe: &Universe, cluster: &str, write: &Write) -> bool {
        let resource = universe.kube.get("TikvCluster", cluster);
        let asked = resource.and_then(|resource| self.asked.get(uid_of(resource)));
        let mut valid = asked.into_iter().flat_map(|asked| &asked.valid);
        valid.any(|valid| asks_for(universe, cluster, &valid.spec, write))
    }
}

/// Does a spec ask for what was made: the version of a pod, one store more, a setting in a file?
fn asks_for(universe: &Universe, cluster: &str, spec: &Value, write: &Write) -> bool {
    let Some(made) = write.after.as_deref() else { return false };
    let component = text(made, "/metadata/labels/app.kubernetes.io~1component");
    match (write.verb, write.key.kind.as_str()) {
        (Verb::Create, "Pod") => text(spec, "/version") == image_tag(made, component),
        (Verb::Create, "PersistentVolumeClaim") if component == "tikv" => {
            note(made, "replaces-store").is_empty() && asks_for_volume(universe, cluster, spec)
        }
        (Verb::Create | Verb::Apply, "ConfigMap") if component == "tikv" => {
            let threads = at(spec, "/tikv/config/server/grpc-concurrency").as_u64();
            threads.is_some_and(|number| {
                let item = format!("grpc-concurrency = {number}");
                at(made, "/data").to_string().contains(&item)
            })
        }
        _ => false,
    }
}

/// With the volume that was made there are as many as the spec has stores, those apart that are replaced.
fn asks_for_volume(universe: &Universe, cluster: &str, spec: &Value) -> bool {
    let is_to_go = |object: &Object| !note(object, "replace").is_empty();
    let stays = |claim: &&Object| {
        let pod = universe.kube.get("Pod", name_of(claim).trim_start_matches("tikv-"));
        note(claim, "leaving").is_empty()
            && note(claim, "replaces-store").is_empty()
            && !is_to_go(claim)
            && !pod.is_some_and(is_to_go)
    };
    let there = main_claims(universe, cluster, "tikv").filter(stays).count() as u64;
    there <= at(spec, "/tikv/replicas").as_u64().unwrap_or(3)
}
