//! Does a task hold what is about to be done?
//!
//! An upgrade is announced in `status.upgrade` before the first member that runs well is restarted
//! for it, if any task asks for that. A task with `gate: before` then holds it until its run for that
//! announcement has succeeded; its time limit and its attempts bound that. It holds the restart of
//! members that run well. What makes a pod for another reason (a repair, a drain, a replacement, a new
//! member) goes on, with the image of before.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tikv_operator_api::v1alpha1::{RunKey, RunOutcome, UpgradeStatus};

use super::draft::Draft;
use super::rows::Member;
use super::{Scene, Severity, Step, calm, restart};
use crate::build;
use crate::cluster::Version;
use crate::rules::{self, RULES, Rule};
use crate::world::{Component, Gate, Gates, Object, Slot};

/// How far the clocks of the API server and of the operator may be apart.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);
/// A task that has not even taken the announcement up after so long does not work.
const UNHEARD: SignedDuration = SignedDuration::from_mins(10);

impl<'a> Scene<'a> {
    /// The images that the spec asks for, as one text.
    pub(crate) fn wanted_images(&self) -> String {
        let images = Component::ALL.map(|component| self.common(component).image.as_str());
        images.join(", ")
    }

    /// Members that stay and whose pods were made from an earlier spec with another image.
    pub(crate) fn behind(&self) -> Vec<(Slot, Option<&'a str>)> {
        let slots = Component::ALL.into_iter().flat_map(|component| self.wanted(component));
        let behind = slots.filter_map(|slot| {
            let pod = self.member(slot).pod?;
            let image = pod.image.as_deref();
            let other = image.is_some_and(|image| image != self.common(slot.component).image);
            (other && !self.is_current(slot.component, pod)).then_some((slot, image))
        });
        behind.collect()
    }

    /// The announcement of the upgrade that goes on.
    fn announced(&self) -> Option<&'a UpgradeStatus> {
        let upgrade = self.world.resource.status.upgrade.as_ref()?;
        (upgrade.finished.is_none() && upgrade.to == self.wanted_images()).then_some(upgrade)
    }

    /// An upgrade that had begun is taken back: all that is to be done is to bring back the images of
    /// before. Nothing holds that, since what failed may have failed because of the new images.
    pub(crate) fn is_taken_back(&self) -> bool {
        let upgrade = self.world.resource.status.upgrade.as_ref();
        let going = upgrade.filter(|it| it.finished.is_none() && it.to != self.wanted_images());
        going.is_some_and(|upgrade| {
            let from: BTreeSet<&str> = upgrade.from.split(", ").collect();
            let mut behind = self.behind().into_iter();
            behind.all(|(slot, _)| from.contains(self.common(slot.component).image.as_str()))
        })
    }
}

/// One reason why an upgrade may not go on.
struct Hold {
    rule: &'static Rule,
    detail: String,
}

impl Hold {
    fn before(detail: String) -> Self {
        Self { rule: &rules::GATE_BEFORE_UPGRADE, detail }
    }

    fn failed(detail: String) -> Self {
        Self { rule: &rules::GATE_FAILED, detail }
    }
}

/// Is the restart of this member for another image held by a task? Notes why.
pub(super) fn holds(scene: &Scene<'_>, member: &Member<'_>, draft: &mut Draft<'_>) -> bool {
    if !calm::serves(scene, member) || !scene.behind().iter().any(|(slot, _)| *slot == member.slot)
    {
        return false;
    }
    // Leaders are not sent back and forth for an answer that is missing for a moment.
    let unknown = matches!(scene.world.gates, Gates::Unknown(_));
    if (unknown && restart::is_marked(member)) || is_refused(scene, member) {
        return false;
    }
    note(closed(scene), &member.slot.pod_name(scene.name()), draft)
}

/// The first reason why a task holds the restart of this member, for whoever asks before an edit.
pub(super) fn first_hold(
    scene: &Scene<'_>,
    member: &Member<'_>,
) -> Option<(&'static Rule, String)> {
    let behind =
        calm::serves(scene, member) && scene.behind().iter().any(|(slot, _)| *slot == member.slot);
    let hold = behind.then(|| closed(scene)).into_iter().flatten().next()?;
    Some((hold.rule, hold.detail))
}

/// The pod of a slot, as it is made now: while a task holds the upgrade with the image of before, so
/// that a repair, a drain, a replacement or a new member does not bring the new one past it.
pub(super) fn pod(scene: &Scene<'_>, slot: Slot) -> Object {
    let Some(image) = image_of_before(scene, slot) else {
        return build::pod(scene.cluster, slot);
    };
    let mut before = scene.cluster.clone();
    let common = match slot.component {
        Component::Pd => &mut before.pd.common,
        Component::Tikv => &mut before.tikv.common,
    };
    // The revision tells of it too: the pod is restarted when the gate opens.
    if repository(image) != repository(&common.image) {
        common.explicit.base_image = Some(repository(image).to_owned());
    }
    common.version = version_of(image);
    image.clone_into(&mut common.image);
    build::pod(&before, slot)
}

/// The version that a pod of this slot runs when it is made now ([`pod`]).
pub(crate) fn version_made<'a>(scene: &Scene<'a>, slot: Slot) -> Cow<'a, Version> {
    match image_of_before(scene, slot) {
        Some(image) => Cow::Owned(version_of(image)),
        None => Cow::Borrowed(&scene.common(slot.component).version),
    }
}

/// The first image that fits of those that members of this component run which are behind, while a task
/// holds the upgrade; where none is left, of the one that was announced. One does not fit that is
/// older than what wrote the slot's data.
fn image_of_before<'a>(scene: &Scene<'a>, slot: Slot) -> Option<&'a str> {
    if closed(scene).is_empty() {
        return None;
    }
    let serves = |slot: Slot| calm::serves(scene, &scene.member(slot));
    let behind = scene.behind().into_iter();
    let run = behind.filter(|(other, _)| other.component == slot.component && serves(*other));
    let wanted = &scene.common(slot.component).image;
    let announced = scene.announced().into_iter().flat_map(|upgrade| upgrade.from.split(", "));
    let announced = announced.filter(|image| repository(image) == repository(wanted));
    let wrote = scene.member(slot).volume.and_then(|volume| volume.marks.written_by.as_deref());
    let wrote = wrote.and_then(|wrote| Version::parse(wrote).semver());
    // A version without an order is taken: what ran before ran on these data.
    let fits = |image: &&str| {
        let has = version_of(image).semver();
        has.zip(wrote).is_none_or(|(has, wrote)| has >= wrote)
    };
    run.filter_map(|(_, image)| image).chain(announced).find(fits)
}

/// The version that an image's tag names.
fn version_of(image: &str) -> Version {
    let rest = image.strip_prefix(repository(image)).unwrap_or_default();
    let tag = rest.split('@').next().unwrap_or_default();
    Version::parse(tag.trim_start_matches(':'))
}

/// An image without its tag or digest.
fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let tag = name.rfind(':').filter(|at| !name[*at..].contains('/'));
    tag.map_or(name, |at| &name[..at])
}

fn note(holds: Vec<Hold>, pod: &str, draft: &mut Draft<'_>) -> bool {
    let mut held = false;
    for Hold { rule, detail } in holds {
        held |= draft.holds(pod, rule, detail);
    }
    held
}

/// Would the restart be refused for what the spec says, whatever a task answers? Then there is nothing
/// to announce, and that rule says what to change.
fn is_refused(scene: &Scene<'_>, member: &Member<'_>) -> bool {
    let Some(pod) = member.pod else { return false };
    let name = member.slot.pod_name(scene.name());
    let restart = Step::DeletePod { name, uid: pod.uid.clone(), reason: String::new() };
    let mut held = RULES.iter().filter(|rule| rule.severity == Severity::Held);
    held.any(|rule| rule.guard.is_some_and(|guard| guard(&restart, scene).is_err()))
}

/// Why the upgrade to what the spec asks for may not go on; nothing where it may.
fn closed(scene: &Scene<'_>) -> Vec<Hold> {
    if !scene.world.gates.ask() {
        return Vec::new();
    }
    let mut holds = unanswered(scene);
    holds.retain(|hold| scene.asks(hold.rule));
    holds
}

fn unanswered(scene: &Scene<'_>) -> Vec<Hold> {
    let announced = scene.announced();
    let skipped = scene.world.resource.skip_gate.as_ref();
    if announced.is_some_and(|it| skipped == Some(&it.id)) || scene.is_taken_back() {
        return Vec::new();
    }
    let gates = match &scene.world.gates {
        Gates::Unknown(why) => {
            let way = announced.map(|it| skip(scene, it)).unwrap_or_default();
            return vec![Hold::before(format!(
                "it is not known whether a TikvTask holds the upgrade: {why}. The operator needs \
                 get, list and watch on tikvtasks (deploy/tikv-operator.yaml). {way}"
            ))];
        }
        Gates::Known(gates) => gates,
    };
    let gates = gates.iter().filter(|gate| !gate.suspended);
    let Some(announced) = announced else {
        let names: Vec<&str> = gates.map(|gate| gate.task.as_str()).collect();
        let detail = format!("the upgrade is announced to tasks first: {}", names.join(", "));
        return vec![Hold::before(detail)];
    };
    let way = skip(scene, announced);
    let before = gates.filter(|gate| gate.before && existed_at(gate.created, announced));
    let waited = scene.world.now.duration_since(announced.since.0);
    before.filter_map(|gate| held_by(gate, announced, waited, &way)).collect()
}

/// Did a task exist when the upgrade was announced? Its time is the API server's, the other one the
/// operator's: what is that close counts as having existed, so that no gate is passed over because
/// a clock is slow.
pub(crate) fn existed_at(created: Timestamp, announced: &UpgradeStatus) -> bool {
    created.duration_since(announced.since.0) <= CLOCKS_DIFFER
}

/// The way on without the tasks, once: a command that can be pasted.
fn skip(scene: &Scene<'_>, announced: &UpgradeStatus) -> String {
    format!(
        "To go on once without it: kubectl annotate --overwrite --namespace {} tikvcluster {} {}={}",
        scene.cluster.namespace,
        scene.cluster.name,
        tikv_operator_api::labels::SKIP_GATE,
        announced.id
    )
}

fn held_by(
    gate: &Gate,
    announced: &UpgradeStatus,
    waited: SignedDuration,
    skip: &str,
) -> Option<Hold> {
    let task = &gate.task;
    if let Some(problem) = &gate.problem {
        return Some(Hold::failed(format!(
            "task {task} is to run before the upgrade and cannot: {problem} {skip}"
        )));
    }
    let Some(answer) = gate.answer.as_ref().filter(|answer| answer.id == announced.id) else {
        if waited >= UNHEARD {
            return Some(Hold::failed(format!(
                "task {task} is to run before the upgrade and has not taken it up for {} min: see its \
                 conditions and the operator's log. {skip}",
                UNHEARD.as_mins()
            )));
        }
        return Some(Hold::before(format!("task {task} is to run before the upgrade. {skip}")));
    };
    match answer.outcome {
        RunOutcome::Succeeded | RunOutcome::Skipped => None,
        RunOutcome::Failed | RunOutcome::Replaced => {
            let words = answer.message.as_deref().unwrap_or("no reason");
            Some(Hold::failed(format!(
                "task {task} was to run before the upgrade and failed: {words}. Edit the task, and it \
                 runs again. {skip}"
            )))
        }
        RunOutcome::Pending | RunOutcome::Running => {
            let run = answer.run.as_ref().map_or("?", RunKey::as_str);
            Some(Hold::before(format!("task {task} runs before the upgrade (run {run}). {skip}")))
        }
    }
}
