//! Do the Services, ConfigMaps and disruption budgets stand as they should?
//!
//! Furniture is applied in full and in no order that matters, except that it comes before the pods
//! that mount or need it.

use std::borrow::Cow;

use jiff::SignedDuration;

use super::draft::Draft;
use super::{Identity, Scene, Step, spare};
use crate::build::{self, Furnishing, PdStart};
use crate::rules;
use crate::world::{Component, Kind, Object, ObjectFacts};

/// The same manifest is applied so often in a row before somebody else counts as the owner of a
/// field.
const OFTEN: u32 = 3;
/// From then on it is applied this often.
const REST: SignedDuration = SignedDuration::from_mins(5);

/// Everything that should stand. Also the list by which pruning knows what is wanted.
pub(super) fn wanted<'a>(scene: &Scene<'a>) -> Vec<Cow<'a, Object>> {
    if matches!(scene.identity, Identity::Unborn) {
        return Vec::new();
    }
    let mut objects = build::furniture(
        scene.cluster,
        &Furnishing {
            start: scene.pd_start(),
            pd_available: spare::min_available(scene, Component::Pd),
            tikv_available: spare::min_available(scene, Component::Tikv),
        },
    );
    if spare::comes_later(scene) {
        let later = spare::budget(scene, Component::Tikv);
        objects.retain(|object| object.key != later);
    }
    objects
}

/// [`wanted`], for tests that put it into a world.
#[cfg(test)]
pub(crate) fn owned(scene: &Scene<'_>) -> Vec<Object> {
    scene.furniture().iter().map(|object| Object::clone(object)).collect()
}

/// Creates what is missing and applies what differs.
pub(super) fn arrange(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    for object in scene.furniture() {
        let subject = || object.key.to_string();
        match scene.world.objects.get(&object.key) {
            None => {
                draft.propose(subject(), Step::Create(Object::clone(object)));
            }
            Some(facts) if facts.deleting => {
                let subject = subject();
                let detail = format!("{subject} is being deleted; it is made again when gone");
                if !draft.holds(&subject, &rules::OBJECT_GOING_AWAY, detail) {
                    draft.propose(subject, Step::Create(Object::clone(object)));
                }
            }
            Some(facts) if !build::same(object, facts) => apply(scene, object, facts, draft),
            Some(_) => {}
        }
    }
    if scene.pd_start() == PdStart::Join {
        end_bootstrap_mode(scene, draft);
    }
}

/// Applies the disruption budgets that stand and differ, and nothing else.
pub(super) fn open_budgets(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let budgets = scene.furniture().iter().filter(|o| o.key.kind == Kind::PodDisruptionBudget);
    for object in budgets {
        let stands = scene.world.objects.get(&object.key).filter(|facts| !facts.deleting);
        if let Some(facts) = stands.filter(|facts| !build::same(object, facts)) {
            apply(scene, object, facts, draft);
        }
    }
}

/// What somebody changes by hand is put back at once. What is changed back each time has another
/// hand on it, which is quicker than we are: an admission webhook, another controller.
fn apply(scene: &Scene<'_>, object: &Object, facts: &ObjectFacts, draft: &mut Draft<'_>) {
    let subject = object.key.to_string();
    let before = scene.world.applied.get(&object.key);
    let before = before.filter(|before| Some(before.hash.as_str()) == build::applied(object));
    if let Some(before) = before.filter(|before| before.times >= OFTEN) {
        let field = build::difference(object, facts).unwrap_or_default();
        let detail = format!(
            "{field} of {subject} is changed back each time that it is set: find the admission \
             webhook or the controller that does it. It is set again every {} min",
            REST.as_mins()
        );
        if draft.holds(&subject, &rules::CHANGED_BACK, detail) && before.ago < REST {
            return;
        }
    }
    let step = Step::Apply { object: object.clone(), uid: facts.uid.clone() };
    draft.propose(subject, step);
}

/// Earlier PD ConfigMaps that still say "bootstrap" are switched too: a pod that mounts one may
/// restart in place at any time.
fn end_bootstrap_mode(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let current = build::config_map_name(scene.cluster, Component::Pd);
    for (key, facts) in &scene.world.objects {
        if key.kind != Kind::ConfigMap || key.name == current || facts.deleting {
            continue;
        }
        if let Some(object) = build::joined(scene.cluster, key, facts) {
            draft.propose(key.to_string(), Step::Apply { object, uid: facts.uid.clone() });
        }
    }
}
