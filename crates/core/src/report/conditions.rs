//! How do facts and waits become conditions?

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tikv_operator_api::conditions as types;

use super::ready::Obstacle;
use super::{Failure, FailureKind, Outcome};
use crate::plan::{Plan, Scene, Severity, Step, Wait};
use crate::world::World;

/// Kubernetes' limit on a condition's message.
const MESSAGE_MAX: usize = 32_768;

/// A condition before it gets its times.
struct Draft {
    type_: &'static str,
    status: bool,
    reason: String,
    message: String,
}

/// The conditions after a pass.
pub(super) fn of_pass(
    scene: &Scene<'_>,
    plan: &Plan,
    outcomes: &[Outcome],
    obstacle: Option<&Obstacle>,
) -> Vec<Condition> {
    let drafts = [
        ready(obstacle),
        progressing(plan),
        degraded(plan, outcomes),
        paused(scene),
        unsupported(scene),
    ];
    finish(drafts, scene.world, scene.cluster.generation)
}

/// The conditions when the spec was rejected. Whether the cluster works is not known from the spec,
/// so `Ready` stays as it was.
pub(super) fn of_rejection(world: &World, message: &str) -> Vec<Condition> {
    let old = &world.resource.status.conditions;
    let was = |type_: &str| old.iter().find(|c| c.type_ == type_);
    let keep = |type_: &'static str, reason: &str| Draft {
        type_,
        status: was(type_).is_some_and(|c| c.status == "True"),
        reason: was(type_).map_or_else(|| reason.to_owned(), |c| c.reason.clone()),
        message: was(type_).map_or_else(|| message.to_owned(), |c| c.message.clone()),
    };
    let invalid = |type_, status| Draft {
        type_,
        status,
        reason: "InvalidSpec".to_owned(),
        message: message.to_owned(),
    };
    let drafts = [
        keep(types::READY, "InvalidSpec"),
        invalid(types::PROGRESSING, false),
        invalid(types::DEGRADED, true),
        keep(types::PAUSED, "InvalidSpec"),
        keep(types::UNSUPPORTED, "InvalidSpec"),
    ];
    finish(drafts, world, world.resource.generation)
}

/// Says of conditions that were computed from an earlier spec that the present one was rejected.
pub(super) fn reject(conditions: &mut [Condition], world: &World, message: &str) {
    for condition in conditions {
        condition.observed_generation = Some(world.resource.generation);
        if condition.type_ == types::DEGRADED {
            let before =
                world.resource.status.conditions.iter().find(|c| c.type_ == types::DEGRADED);
            let before = before.filter(|c| c.status == "True");
            let fault = (condition.status == "True").then(|| condition.message.clone());
            "True".clone_into(&mut condition.status);
            "InvalidSpec".clone_into(&mut condition.reason);
            let all = [Some(message.to_owned()), fault].into_iter().flatten().collect::<Vec<_>>();
            condition.message = all.join("; ").chars().take(MESSAGE_MAX).collect();
            condition.last_transition_time =
                before.map_or(Time(world.now), |c| c.last_transition_time.clone());
        }
    }
}

fn ready(obstacle: Option<&Obstacle>) -> Draft {
    Draft {
        type_: types::READY,
        status: obstacle.is_none(),
        reason: obstacle.map_or("AllMembersServe", |o| o.reason).to_owned(),
        message: obstacle.map_or_else(
            || "PD has a leader, all stores are Up, every region is fully replicated".to_owned(),
            |o| o.message.clone(),
        ),
    }
}

fn progressing(plan: &Plan) -> Draft {
    let moving: Vec<&Wait> = with(plan, Severity::Progress).collect();
    // A restored Service or a moved budget is done with its step: no need to say twice that the
    // cluster moved and settled.
    let steps = plan.steps.iter().any(|step| !step.is_furniture());
    let status = steps || !moving.is_empty();
    let (reason, message) = match (moving.first(), status) {
        (Some(wait), _) => {
            (camel(wait.rule.name), sentences(moving.iter().map(|wait| wait.detail.as_str())))
        }
        (None, true) => ("Acting".to_owned(), format!("{} steps to take", plan.steps.len())),
        (None, false) => held(plan),
    };
    Draft { type_: types::PROGRESSING, status, reason, message }
}

/// Nothing moves: all is done, or the rest of the spec is held.
fn held(plan: &Plan) -> (String, String) {
    let held: Vec<&Wait> = with(plan, Severity::Held).collect();
    match held.first() {
        Some(wait) => {
            (camel(wait.rule.name), sentences(held.iter().map(|wait| wait.detail.as_str())))
        }
        None => ("Settled".to_owned(), "nothing is left to do".to_owned()),
    }
}

fn degraded(plan: &Plan, outcomes: &[Outcome]) -> Draft {
    let mut faults: Vec<(String, String)> =
        with(plan, Severity::Degraded).map(|w| (camel(w.rule.name), w.detail.clone())).collect();
    // The refused growth of a volume has a wait of its own, which stays while it is asked again.
    let untold = |o: &&Outcome| !matches!(o.step, Step::ResizeVolume { .. });
    for failure in outcomes.iter().filter(untold).filter_map(|o| o.result.as_ref().err()) {
        if let Some(reason) = reason_of(failure) {
            faults.push((reason.to_owned(), failure.message.clone()));
        }
    }
    let reason = faults.first().map_or_else(|| "AsExpected".to_owned(), |(r, _)| r.clone());
    let message = if faults.is_empty() {
        "no fault is known".to_owned()
    } else {
        sentences(faults.iter().map(|(_, message)| message.as_str()))
    };
    Draft { type_: types::DEGRADED, status: !faults.is_empty(), reason, message }
}

/// A failure that someone must deal with. Stale views and absent servers pass by themselves.
fn reason_of(failure: &Failure) -> Option<&'static str> {
    match failure.kind {
        FailureKind::Refused => Some("CallRefused"),
        FailureKind::Foreign => Some("ForeignObject"),
        FailureKind::Stale | FailureKind::Unavailable => None,
    }
}

fn paused(scene: &Scene<'_>) -> Draft {
    let status = scene.cluster.paused;
    let (reason, message) = if status {
        ("SpecPaused", "spec.paused is true: only status is written")
    } else {
        ("NotPaused", "the operator acts on this cluster")
    };
    Draft { type_: types::PAUSED, status, reason: reason.to_owned(), message: message.to_owned() }
}

/// This version acts on every field or refuses it; values that are allowed and unwise are named.
fn unsupported(scene: &Scene<'_>) -> Draft {
    let warnings = &scene.cluster.warnings;
    let named: Vec<String> =
        warnings.iter().map(|w| format!("{}: {}", w.field, w.sentence)).collect();
    let (reason, message) = if named.is_empty() {
        ("AllSupported", "every field that is set is acted on".to_owned())
    } else {
        ("Warnings", named.join("; "))
    };
    Draft { type_: types::UNSUPPORTED, status: false, reason: reason.to_owned(), message }
}

fn with(plan: &Plan, severity: Severity) -> impl Iterator<Item = &Wait> {
    plan.waits.iter().filter(move |w| w.severity == severity)
}

/// The sentences, each once: several subjects may be held for one reason.
fn sentences<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let mut once: Vec<&str> = Vec::new();
    for sentence in all {
        if !once.contains(&sentence) {
            once.push(sentence);
        }
    }
    once.join("; ")
}

/// `regions-replicated` -> `RegionsReplicated`: condition reasons are CamelCase.
pub(super) fn camel(rule: &str) -> String {
    rule.split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().chain(letters).collect::<String>()
            })
        })
        .collect()
}

fn finish<const N: usize>(drafts: [Draft; N], world: &World, generation: i64) -> Vec<Condition> {
    drafts
        .into_iter()
        .map(|draft| {
            let status = if draft.status { "True" } else { "False" };
            let before = world
                .resource
                .status
                .conditions
                .iter()
                .find(|c| c.type_ == draft.type_ && c.status == status);
            Condition {
                type_: draft.type_.to_owned(),
                status: status.to_owned(),
                reason: draft.reason,
                message: draft.message.chars().take(MESSAGE_MAX).collect(),
                last_transition_time: before
                    .map_or(Time(world.now), |c| c.last_transition_time.clone()),
                observed_generation: Some(generation),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::camel;

    #[test]
    fn rule_names_become_reasons() {
        assert_eq!(camel("pd-joins-one-at-a-time"), "PdJoinsOneAtATime");
    }
}
