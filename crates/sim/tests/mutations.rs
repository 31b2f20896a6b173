//! Is every guard needed, and are the guards enough?
//!
//! A reckless operator proposes, beside what the real one plans, any step that takes something
//! away: it deletes pods, takes stores offline, retires and deletes volumes, removes members. The
//! guards alone stand between it and the data. With all of them the auditor should find nothing.
//! A long run removes one guard after the other and prints the seed in which the auditor then complains, or
//! that it did not.
//!
//! `MUTANT_SEEDS=200` tries more histories per guard, `RULE=name` only one guard.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Plan, Scene, Step, plan};
use tikv_operator_core::rules::RULES;
use tikv_operator_core::world::{Leaving, PdView, VolumeMarks, World};
use tikv_operator_sim::history;
use tikv_operator_sim::operator::Brain;

thread_local! {
    /// The guard that is removed in this thread.
    static REMOVED: RefCell<Option<&'static str>> = const { RefCell::new(None) };
}

/// Findings about safety; a reckless operator never comes to rest, and need not.
const SAFETY: [&str; 6] = ["I1 ", "I2 ", "I3 ", "I4 ", "F19 ", "F38 "];

fn reckless(cluster: &Cluster, world: &World) -> Plan {
    let scene = Scene::new(cluster, world);
    let mut plan = plan(cluster, world);
    let removed = REMOVED.with_borrow(|removed| *removed);
    let allowed = |step: &Step| {
        let mut rules = RULES.iter().filter(|rule| Some(rule.name) != removed);
        rules.all(|rule| rule.guard.is_none_or(|guard| guard(step, &scene).is_ok()))
    };
    let candidates = candidates(world);
    let second = usize::try_from(world.now.as_second()).unwrap_or_default();
    // What the real one does in this pass changes what the guards have looked at.
    if candidates.is_empty() || !plan.steps.is_empty() {
        return plan;
    }
    let mut rotated = candidates.iter().cycle().skip(second * 7 % candidates.len());
    let tried = rotated.by_ref().take(5.min(candidates.len()));
    if let Some(step) = tried.into_iter().find(|step| allowed(step)) {
        plan.steps.push(step.clone());
    }
    plan
}

/// Everything that could be taken away.
fn candidates(world: &World) -> Vec<Step> {
    let name = &world.resource.name;
    let mut steps = Vec::new();
    for (slot, pod) in &world.pods {
        let reason = "reckless".to_owned();
        steps.push(Step::DeletePod { name: slot.pod_name(name), uid: pod.uid.clone(), reason });
    }
    for (claim, volume) in &world.volumes {
        let (name, uid) = (claim.clone(), volume.uid.clone());
        let leaving = Leaving { since: world.now, reason: "scale-in".to_owned() };
        let marks = [
            VolumeMarks { leaving: Some(leaving), ..VolumeMarks::default() },
            VolumeMarks { retired: true, retired_since: Some(world.now), ..VolumeMarks::default() },
        ];
        let mark = |marks| Step::MarkVolume { name: name.clone(), uid: uid.clone(), marks };
        steps.extend(marks.into_iter().map(mark));
        steps.push(Step::DeleteVolume { name, uid });
    }
    let PdView::Known(pd) = &world.pd else { return steps };
    for store in pd.stores.values() {
        steps.push(Step::OfflineStore { store: store.id, address: store.address.clone() });
    }
    for member in pd.members.values() {
        steps.push(Step::RemovePdMember { id: member.id, name: member.name.clone() });
        steps.push(Step::TransferPdLeader { to: member.name.clone() });
    }
    steps
}

/// The first seed in which the auditor complains, with its words.
fn caught(removed: Option<&'static str>, seeds: u64) -> Option<(u64, String)> {
    REMOVED.set(removed);
    let caught = (0..seeds).find_map(|seed| {
        let brain = Brain { plan: reckless, ..Brain::default() };
        let verdict = history::run_briefly(seed, |harness| harness.brain = brain);
        let unsafe_ = |finding: &String| SAFETY.iter().any(|word| finding.contains(word));
        verdict.findings.into_iter().find(unsafe_).map(|finding| (seed, finding))
    });
    REMOVED.set(None);
    caught
}

fn seeds(default: u64) -> u64 {
    std::env::var("MUTANT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Not yet: in seed 0 a member is removed whose volume does not say that it leaves.
#[test]
#[ignore = "minutes, and it fails: see above"]
fn the_guards_are_enough() {
    if let Some((seed, finding)) = caught(None, seeds(10)) {
        panic!("seed {seed}: {finding}");
    }
}

/// A long run, printed guard by guard: `cargo test -p tikv-operator-sim --test mutations -- --ignored
/// --nocapture`.
#[test]
#[ignore = "minutes for every guard"]
fn every_guard_is_missed() {
    let only = std::env::var("RULE").unwrap_or_default();
    let guards: Vec<&str> = RULES
        .iter()
        .filter(|rule| rule.guard.is_some() && rule.name.contains(&only))
        .map(|rule| rule.name)
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut missed = Vec::new();
        while let Some(name) = guards.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some((seed, finding)) = caught(Some(name), seeds(4)) {
                eprintln!("{name}: seed {seed}: {finding}");
            } else {
                eprintln!("{name}: NOT CAUGHT");
                missed.push(*name);
            }
        }
        missed
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let missed: Vec<&str> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(missed.is_empty(), "no run misses these guards: {missed:?}");
}
