//! What would happen if one guard were not there?
//!
//! A mutant is the real operator without one guard, and reckless beside: whatever step that guard
//! alone refuses, it takes. So nothing but the guard that was removed stands between it and the
//! data, and the auditor must complain. With all guards in place the same recklessness takes what
//! all of them allow, and the auditor must have nothing to say.
//!
//! A rule without a guard refuses no step: a planner that names it goes no further. The mutant's
//! planner goes on.

mod candidates;

use std::cell::RefCell;
use std::collections::BTreeMap;

use candidates::candidates;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Plan, Scene, Step, plan, plan_without};
use tikv_operator_core::rules::RULES;
use tikv_operator_core::world::World;

use crate::operator::Brain;

/// The same step is not taken more often in one run: where a server refuses it, others get a turn.
const TRIES: usize = 8;

/// What the mutant of this thread is and has done.
#[derive(Default)]
struct Nature {
    removed: Option<&'static str>,
    tried: BTreeMap<String, usize>,
    taken: Vec<String>,
    alone: BTreeMap<&'static str, usize>,
}

thread_local! {
    static NATURE: RefCell<Nature> = RefCell::new(Nature::default());
}

/// An operator without this rule: no planner is held back by it, and every step is taken that its guard
/// alone refuses. For one run, in this thread.
pub fn without(rule: &'static str) -> Brain {
    NATURE.set(Nature { removed: Some(rule), ..Nature::default() });
    Brain { plan: mutant, ..Brain::default() }
}

/// An operator with all guards, which takes every step that they allow.
pub fn reckless() -> Brain {
    NATURE.set(Nature::default());
    Brain { plan: dare, ..Brain::default() }
}

/// The real operator, watched: [`alone`] says afterwards which guards held something alone.
pub fn watched() -> Brain {
    NATURE.set(Nature::default());
    Brain { plan: watch, ..Brain::default() }
}

/// How often each rule alone refused a step since [`watched`], or was named by the plan.
pub fn alone() -> BTreeMap<&'static str, usize> {
    NATURE.with_borrow(|nature| nature.alone.clone())
}

/// The steps that the mutant of this thread took beside the plan, in order.
pub fn taken() -> Vec<String> {
    NATURE.with_borrow(|nature| nature.taken.clone())
}

fn note(step: &Step, world: &World) {
    let name = format!("{} {}", world.now, candidates::name(step));
    NATURE.with_borrow_mut(|nature| nature.taken.push(name));
}

fn mutant(cluster: &Cluster, world: &World) -> Plan {
    let Some(removed) = NATURE.with_borrow(|nature| nature.removed) else {
        return plan(cluster, world);
    };
    let mut plan = plan_without(cluster, world, removed);
    let scene = Scene::new(cluster, world);
    let held = candidates(&scene).into_iter().find(|step| {
        refuses(removed, step, &scene) && sole_refusal(step, &scene) == Some(removed) && try_(step)
    });
    if let Some(step) = held {
        note(&step, world);
        plan.steps = vec![step];
    }
    plan
}

fn dare(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    // What the real one does in this pass changes what the guards have looked at.
    if !plan.steps.is_empty() {
        return plan;
    }
    let scene = Scene::new(cluster, world);
    let mut steps = candidates(&scene);
    let turn = usize::try_from(world.now.as_second()).unwrap_or_default() * 7;
    let length = steps.len().max(1);
    steps.rotate_left(turn % length);
    let allowed = |step: &Step| RULES.iter().all(|rule| allows(rule.guard, step, &scene));
    if let Some(step) = steps.into_iter().take(8).find(allowed) {
        note(&step, world);
        plan.steps.push(step);
    }
    plan
}

fn watch(cluster: &Cluster, world: &World) -> Plan {
    let plan = plan(cluster, world);
    let scene = Scene::new(cluster, world);
    let mut found: Vec<&'static str> = plan.waits.iter().map(|wait| wait.rule.name).collect();
    found.extend(candidates(&scene).iter().filter_map(|step| sole_refusal(step, &scene)));
    NATURE.with_borrow_mut(|nature| {
        for rule in found {
            *nature.alone.entry(rule).or_default() += 1;
        }
    });
    plan
}

/// The one guard that refuses a step, where no other does.
fn sole_refusal(step: &Step, scene: &Scene<'_>) -> Option<&'static str> {
    let mut refusing = RULES.iter().filter(|rule| !allows(rule.guard, step, scene));
    let first = refusing.next()?;
    refusing.next().is_none().then_some(first.name)
}

fn refuses(rule: &str, step: &Step, scene: &Scene<'_>) -> bool {
    let mut rules = RULES.iter().filter(|known| known.name == rule);
    rules.any(|known| !allows(known.guard, step, scene))
}

fn allows(guard: Option<tikv_operator_core::rules::Guard>, step: &Step, scene: &Scene<'_>) -> bool {
    guard.is_none_or(|guard| guard(step, scene).is_ok())
}

/// Has this step turns left? Steps are told apart by what they do, not by when.
fn try_(step: &Step) -> bool {
    let name = candidates::name(step);
    NATURE.with_borrow_mut(|nature| {
        let tried = nature.tried.entry(name).or_default();
        *tried += 1;
        // A plan is made twice in a pass: from the caches and live.
        *tried <= 2 * TRIES
    })
}
