//! How does each step become a call?

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tikv_operator_api::conditions::READY;
use tikv_operator_api::labels;
use tikv_operator_api::v1alpha1::TikvClusterStatus;
use tikv_operator_core::build::{applied, marks_to_annotations};
use tikv_operator_core::facts::{Owner, owner_words, resource_facts, volume_facts};
use tikv_operator_core::plan::Step;
use tikv_operator_core::report::{self, Failure, FailureKind, Outcome};
use tikv_operator_core::world::{Component, Kind, Object, ObjectKey, Revision, Trial, World};

use super::wire::{Answer, Call, Wire};
use super::{Look, Operator, Pass, servers};
use crate::clock::SECOND;
use crate::kube::{Key, Kube, Reason, Subresource, Verb, at, set, set_finalizer, text};
use crate::universe::{NAMESPACE, Universe};

/// Least time between two writes of a status that differs in words and counts only.
const SOFT: u64 = 10 * SECOND;
/// As [`SOFT`], while the cluster is not Ready and words change with every pod.
const SOFT_WHILE_MOVING: u64 = 30 * SECOND;
/// As [`SOFT`], for a spec that was edited without turning a condition.
const EDITED: u64 = SECOND;
/// The operator's finalizer.
pub const FINALIZER: &str = "tikv.org/volumes";

impl Operator {
    /// Does the steps in order. A refusal holds up what builds on it, any other failure ends the pass.
    pub(super) fn act(
        &mut self,
        universe: &mut Universe,
        look: &mut Look,
        steps: &[Step],
        pass: &mut Pass,
    ) {
        for step in steps {
            let mut refused = pass.outcomes.iter().filter(|outcome| outcome.result.is_err());
            if refused.any(|outcome| step.builds_on(&outcome.step, &self.cluster)) {
                continue;
            }
            let answer = {
                let mut wire = self.wire(universe, pass);
                do_step(&mut wire, look, step)
            };
            if pass.crashed {
                return;
            }
            let result = self.judge(universe, &look.world, step, answer);
            let refused = result.as_ref().is_err_and(|f| f.kind == FailureKind::Refused);
            if matches!(step, Step::TransferPdLeader { .. }) && !refused {
                self.gave_leadership();
            }
            let ends = result.as_ref().is_err_and(|f| f.kind != FailureKind::Refused);
            if let Step::TryPod { component, revision, .. } = step {
                self.note_trial(*component, revision, &result, universe.now);
            }
            if let (Step::Apply { object, .. }, Ok(())) = (step, &result) {
                self.remember_applied(object, universe.now);
            }
            let outcome = Outcome { step: step.clone(), result };
            self.configured(&outcome, universe.now);
            if let Step::SetStoreConfig { store, .. } = step {
                self.memory.store_configs.remove(store);
            }
            pass.outcomes.push(outcome);
            if ends {
                return;
            }
        }
    }

    /// An answer alone is one: a server that does not give any has refused nothing.
    fn note_trial(
        &mut self,
        component: Component,
        revision: &Revision,
        result: &Result<(), Failure>,
        now: u64,
    ) {
        let refused = match result {
            Ok(()) => None,
            Err(failure) if failure.kind == FailureKind::Refused => Some(failure.message.clone()),
            Err(_) => return,
        };
        let trial = Trial { revision: revision.clone(), refused };
        self.memory.trials.insert(component, (trial, now));
    }

    fn remember_applied(&mut self, object: &Object, now: u64) {
        let hash = applied(object).unwrap_or_default();
        let before = self.memory.applied.get(&object.key).filter(|(known, _, _)| known == hash);
        let times = before.map_or(1, |(_, times, _)| times + 1);
        self.memory.applied.insert(object.key.clone(), (hash.to_owned(), times, now));
    }

    /// One status apply, if the status says something new. Words and counts that move along with
    /// a start are held back; the return value is when they are due.
    pub(super) fn write_status(
        &mut self,
        universe: &mut Universe,
        look: &mut Look,
        status: &TikvClusterStatus,
        pass: &mut Pass,
    ) -> Option<u64> {
        let old = &look.world.resource.status;
        if !report::worth_writing(old, status) {
            return None;
        }
        let due = self.memory.reported.map_or(0, |at| at + rest(old, status));
        if universe.now < due {
            return Some(due);
        }
        // A write that fails counts too: others who write all the time must not make us do so.
        self.memory.reported = Some(universe.now);
        let now = universe.now;
        let mut wire = self.wire(universe, pass);
        let written = apply_status(&mut wire, look, status) == Answer::Done;
        pass.wrote_status = written;
        (!written).then_some(now + SECOND)
    }

    fn wire<'a>(&'a mut self, universe: &'a mut Universe, pass: &'a mut Pass) -> Wire<'a> {
        Wire {
            universe,
            dice: &mut self.dice,
            faults: self.faults,
            written: &mut self.written,
            writes: &mut pass.writes,
            crashed: &mut pass.crashed,
        }
    }

    /// What kind of failure is it? A name that is taken is looked at: ours from an answer that was
    /// lost, or a stranger's.
    fn judge(
        &mut self,
        universe: &Universe,
        world: &World,
        step: &Step,
        answer: Answer,
    ) -> Result<(), Failure> {
        if let Step::ResizeVolume { name, .. } = step {
            match &answer {
                Answer::Done => self.memory.growth.remove(name),
                Answer::Refused(refusal) if matches!(refusal.code, 403 | 422) => {
                    let words = (refusal.message.clone(), universe.now);
                    self.memory.growth.insert(name.clone(), words)
                }
                Answer::Refused(_) | Answer::None => None,
            };
        }
        let refusal = match answer {
            Answer::Done => return Ok(()),
            Answer::None => {
                let message = "no answer from the API server".to_owned();
                return Err(Failure { kind: FailureKind::Unavailable, message });
            }
            Answer::Refused(refusal) => refusal,
        };
        let mut kind = match refusal.code {
            404 | 409 | 410 => FailureKind::Stale,
            _ if refusal.is_of_another() => FailureKind::Stale,
            401 | 429 | 503 => FailureKind::Unavailable,
            // A store says 500 to what it does not take; of others that is no last word.
            500.. if !matches!(step, Step::SetStoreConfig { .. }) => FailureKind::Unavailable,
            _ => FailureKind::Refused,
        };
        if let (Step::Create(object), Reason::AlreadyExists) = (step, refusal.reason) {
            let key = &object.key;
            let found = universe.kube.get(key.kind.as_str(), &key.name);
            match found {
                // A create whose answer was lost.
                Some(found) if is_ours(found, key.kind, world) => return Ok(()),
                Some(found) => {
                    self.memory.met.insert(key.clone(), (owner_words(found), universe.now));
                    kind = FailureKind::Foreign;
                }
                None => {}
            }
        }
        Err(Failure { kind, message: refusal.to_string() })
    }
}

/// How long after the last write this change may be written: at once where it matters to a
/// program that waits for it.
fn rest(old: &TikvClusterStatus, new: &TikvClusterStatus) -> u64 {
    let turned = |status: &TikvClusterStatus| {
        let conditions = status.conditions.iter();
        conditions.map(|c| (c.type_.clone(), c.status.clone())).collect::<Vec<_>>()
    };
    let ready = || new.conditions.iter().any(|c| c.type_ == READY && c.status == "True");
    if old.cluster_id != new.cluster_id
        || old.bootstrap != new.bootstrap
        || turned(old) != turned(new)
        || report::is_event(old, new)
    {
        0
    } else if old.observed_generation != new.observed_generation {
        EDITED
    } else if ready() {
        SOFT
    } else {
        SOFT_WHILE_MOVING
    }
}

fn do_step(wire: &mut Wire<'_>, look: &mut Look, step: &Step) -> Answer {
    let world = &look.world;
    match step {
        Step::AddFinalizer => finalizer(wire, look, true),
        Step::ReleaseFinalizer => finalizer(wire, look, false),
        Step::RecordBootstrap(_) | Step::RecordClusterId(_) => {
            match report::with_record(world, step) {
                Some(status) => apply_status(wire, look, &status),
                None => Answer::Done,
            }
        }
        Step::Create(object) => create(wire, object),
        Step::TryPod { pod, .. } => try_pod(wire, pod),
        Step::Apply { object, uid } => apply(wire, object, &uid.0),
        Step::Prune { key, uid } => delete(wire, &key_of(key), &uid.0),
        Step::MarkVolume { name, uid, marks } => {
            let key = Key::new("PersistentVolumeClaim", name);
            let annotations = marks_to_annotations(marks);
            merge(wire, &key, &uid.0, json!({"metadata": {"annotations": annotations}}))
        }
        Step::SetStoreUp { pod, uid, up } => {
            let status = if *up { "True" } else { "False" };
            let gate = json!({"type": labels::STORE_UP_GATE, "status": status});
            let status = json!({"metadata": {"uid": uid}, "status": {"conditions": [gate]}});
            let key = Key::new("Pod", pod);
            let call = Call { verb: Verb::Apply, key: key.clone(), uid: Some(&uid.0) };
            wire.call(call, |kube| kube.merge_status(&key, &status))
        }
        Step::DeletePod { name, uid, .. } => delete(wire, &Key::new("Pod", name), &uid.0),
        Step::DeleteVolume { name, uid, version } => {
            let key = Key::new("PersistentVolumeClaim", name);
            let call = Call { verb: Verb::Delete, key: key.clone(), uid: Some(&uid.0) };
            wire.call(call, |kube| kube.delete_version(&key, Some(&uid.0), Some(version)))
        }
        Step::Mark { key, uid, annotations, labels } => {
            let marks = marks(annotations, labels);
            merge(wire, &key_of(key), &uid.0, json!({"metadata": marks}))
        }
        Step::ResizeVolume { name, uid, size } => {
            let resources = json!({"requests": {"storage": size}});
            let key = Key::new("PersistentVolumeClaim", name);
            merge(wire, &key, &uid.0, json!({"spec": {"resources": resources}}))
        }
        Step::EvictLeaders { .. }
        | Step::StopEvicting { .. }
        | Step::OfflineStore { .. }
        | Step::KeepStore { .. }
        | Step::TransferPdLeader { .. }
        | Step::RemovePdMember { .. }
        | Step::SetPdConfig { .. }
        | Step::SetStoreConfig { .. }
        | Step::SetStoreLabels { .. }
        | Step::LockMaintenance { .. }
        | Step::UnlockMaintenance { .. } => servers::do_step(wire, look, step),
    }
}

/// What is written on an object: `None` takes a key away.
type Marks = BTreeMap<String, Option<String>>;

/// Marks to be set or taken away; a place without any is not named.
fn marks(annotations: &Marks, labels: &Marks) -> Value {
    let mut metadata = json!({});
    for (place, marks) in [("annotations", annotations), ("labels", labels)] {
        if !marks.is_empty() {
            set(&mut metadata, &[place], json!(marks));
        }
    }
    metadata
}

/// Pods and furniture name their controller; a volume is ours by its labels and its name.
fn is_ours(found: &Value, kind: Kind, world: &World) -> bool {
    let resource = &world.resource;
    match kind {
        Kind::PersistentVolumeClaim => volume_facts(&resource.name, found).is_some(),
        Kind::Pod | Kind::Service | Kind::ConfigMap | Kind::PodDisruptionBudget => {
            Owner { name: &resource.name, uid: &resource.uid }.controls(found)
        }
    }
}

impl Look {
    /// What this pass has written itself is no news.
    fn renew(&mut self, kube: &Kube) {
        let Some(resource) = kube.find("TikvCluster", &self.world.resource.name) else { return };
        text(resource, "/metadata/resourceVersion").clone_into(&mut self.version);
        if let Some(facts) = resource_facts(resource, FINALIZER) {
            self.world.resource = facts;
            self.resource = Arc::clone(resource);
        }
    }
}

fn key_of(key: &ObjectKey) -> Key {
    Key::new(key.kind.as_str(), &key.name)
}

/// A dry run makes nothing, and that the name is taken says nothing of the pod.
fn try_pod(wire: &mut Wire<'_>, pod: &Object) -> Answer {
    if wire.dice.chance(wire.faults.unavailable) {
        return Answer::None;
    }
    match wire.universe.kube.try_create(&pod.body) {
        Err(refusal) if refusal.reason != Reason::AlreadyExists => Answer::Refused(refusal),
        Ok(()) | Err(_) => Answer::Done,
    }
}

fn create(wire: &mut Wire<'_>, object: &Object) -> Answer {
    let mut body = object.body.clone();
    set(&mut body, &["metadata", "namespace"], json!(NAMESPACE));
    let call = Call { verb: Verb::Create, key: key_of(&object.key), uid: None };
    wire.call(call, |kube| kube.create(body).map(|_| ()))
}

fn apply(wire: &mut Wire<'_>, object: &Object, uid: &str) -> Answer {
    let mut body = object.body.clone();
    set(&mut body, &["metadata", "uid"], json!(uid));
    let call = Call { verb: Verb::Apply, key: key_of(&object.key), uid: Some(uid) };
    wire.call(call, |kube| kube.apply(body, Subresource::Main))
}

/// A status write: exactly this incarnation of the resource, at exactly this version, so that a
/// status computed from an old view is refused.
fn apply_status(wire: &mut Wire<'_>, look: &mut Look, status: &TikvClusterStatus) -> Answer {
    let uid = look.world.resource.uid.0.as_str();
    let status = serde_json::to_value(status).unwrap_or_default();
    let mut body = json!({
        "kind": "TikvCluster",
        "metadata": {
            "name": look.world.resource.name,
            "uid": uid,
            "resourceVersion": look.version,
        },
    });
    set(&mut body, &["status"], status);
    let key = Key::of(&body);
    let call = Call { verb: Verb::ApplyStatus, key, uid: Some(uid) };
    let answer = wire.call(call, |kube| kube.apply(body, Subresource::Status));
    if answer == Answer::Done {
        look.renew(&wire.universe.kube);
    }
    answer
}

fn delete(wire: &mut Wire<'_>, key: &Key, uid: &str) -> Answer {
    let uid = Some(uid).filter(|uid| !uid.is_empty());
    let call = Call { verb: Verb::Delete, key: key.clone(), uid };
    wire.call(call, |kube| kube.delete(key, uid))
}

/// A merge patch with `metadata.uid` in it.
fn merge(wire: &mut Wire<'_>, key: &Key, uid: &str, mut wanted: Value) -> Answer {
    set(&mut wanted, &["metadata", "uid"], json!(uid));
    let call = Call { verb: Verb::Apply, key: key.clone(), uid: Some(uid) };
    wire.call(call, |kube| kube.merge(key, &wanted))
}

/// Ours alone: the version at which the list was read guards those of others.
fn finalizer(wire: &mut Wire<'_>, look: &mut Look, on: bool) -> Answer {
    let mut wanted = json!({"metadata": {
        "resourceVersion": look.version,
        "finalizers": at(&look.resource, "/metadata/finalizers"),
    }});
    set_finalizer(&mut wanted, FINALIZER, on);
    let key = Key::new("TikvCluster", &look.world.resource.name);
    let uid = look.world.resource.uid.0.clone();
    let answer = merge(wire, &key, &uid, wanted);
    if answer == Answer::Done {
        look.renew(&wire.universe.kube);
    }
    answer
}
