//! Which cases are there, in what order, and how did they end?

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cases;
use crate::control::Control;
use crate::diagnose::diagnose;
use crate::promise;
use crate::scene::Scene;
use crate::sidecases::{self, End};
use crate::standstill;

/// How a case ended when nothing was wrong.
pub(crate) enum Verdict {
    /// Everything that it looked at held; a few words on what was measured.
    Held(String),
    /// It could not look, and why. Never counted as passed.
    NotRun(String),
}

/// With what a case may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// With nothing: it stops the operator, breaks a node, listens for silence, measures what a
    /// client notices, or looks at the cluster that several cases share.
    Alone,
    /// With others that look at a namespace of their own only.
    Side,
}

/// One promise and its proof.
pub(crate) struct Case {
    /// Name, as in `--only`.
    pub(crate) name: &'static str,
    /// With what it may run at the same time.
    pub(crate) lane: Lane,
    /// Run with `--all` or by its name only.
    pub(crate) long: bool,
    /// The promise.
    pub(crate) proves: &'static str,
    /// Longest time that it may take, in seconds.
    pub(crate) bound: u64,
    /// How it is shown that the proof can fail; `None`: by an edit of the case (CONTRIBUTING.md).
    pub(crate) control: Option<Control>,
    /// The proof.
    pub(crate) run: fn(&Scene) -> Result<Verdict>,
}

/// All cases, those that run alone in an order that starts few clusters: the first ten share one.
const CASES: [Case; 51] = [
    cases::basic::START,
    cases::basic::WRITES,
    // While nothing else is on its way in or out.
    cases::quiet::CASE,
    cases::furniture::CASE,
    cases::operator_gone::CASE,
    cases::standby::CASE,
    cases::woken::CASE,
    cases::task_delay::CASE,
    cases::task_killed::CASE,
    cases::namespace_gone::CASE,
    cases::recreate::SAME,
    cases::manifests::FOUNDING,
    cases::manifests::ONLY_VERSION,
    cases::neighbours::CASE,
    cases::bad_input::CASE,
    cases::strangers::CASE,
    cases::recreate::FOREIGN,
    cases::bootstrap::LATE_MEMBER,
    cases::bootstrap::VOLUMES_LOST,
    cases::life_roll::CASE,
    cases::life_scale::CASE,
    cases::life_pd::CASE,
    cases::failover_pd::CASE,
    cases::failover_store::CASE,
    cases::failover_store::LEADER_CASE,
    cases::failover_store::UNSEEN_CASE,
    cases::absence::CASE,
    cases::absence::REBOOTS_CASE,
    cases::zone_gone::CASE,
    cases::force_deleted::CASE,
    cases::read_only::CASE,
    cases::slow_disk::CASE,
    cases::partition::CASE,
    cases::operator_killed::CASE,
    cases::api_frozen::CASE,
    cases::quorum_lost::CASE,
    cases::late_names::CASE,
    cases::drain::CASE,
    cases::tasks::GATE,
    cases::tasks::VERB,
    cases::task_examples::BACKUP,
    cases::task_examples::COMPACTION,
    cases::task_verbs::CASE,
    cases::task_page::CASE,
    cases::task_disk::CASE,
    cases::task_examples::VERIFY,
    cases::drain_roll::CASE,
    cases::revert::CASE,
    cases::revert::CONFIG_CASE,
    cases::online_config::CASE,
    cases::grow::CASE,
];

/// The cases of these names; without names all, the long ones if asked for.
pub(crate) fn select(only: &[String], all: bool) -> Result<Vec<&'static Case>> {
    if let Some(unknown) = only.iter().find(|name| !CASES.iter().any(|c| c.name == **name)) {
        let names: Vec<_> = CASES.iter().map(|c| c.name).collect();
        bail!("there is no case \"{unknown}\"; the cases are {}", names.join(", "));
    }
    let named = |case: &&Case| only.iter().any(|name| name == case.name);
    let chosen = |case: &&Case| if only.is_empty() { all || !case.long } else { named(case) };
    Ok(CASES.iter().filter(chosen).collect())
}

/// The cases of these names, each of which must have a control.
pub(crate) fn select_controlled(names: &[String]) -> Result<Vec<&'static Case>> {
    let have: Vec<_> = CASES.iter().filter(|case| case.control.is_some()).collect();
    if let Some(unknown) = names.iter().find(|name| !have.iter().any(|c| c.name == **name)) {
        let have: Vec<_> = have.iter().map(|case| case.name).collect();
        bail!("no case \"{unknown}\" has a control; {} have", have.join(", "));
    }
    Ok(have.into_iter().filter(|case| names.iter().any(|name| name == case.name)).collect())
}

/// Prints what there is.
pub(crate) fn list() {
    for case in &CASES {
        let long = if case.long { " (--all)" } else { "" };
        println!("{:<16} {}{long}", case.name, case.proves);
        if let Some(Control { sabotage, says }) = &case.control {
            println!("{:<16} control: {sabotage}; says \"{says}\"", "");
        }
    }
}

/// Runs them; true if all passed that could be run.
pub(crate) fn run(scene: &Scene, cases: &[&Case]) -> bool {
    let begin = Instant::now();
    let (mut passed, mut failed, mut not_run) = (0, 0, 0);
    // A single case stays in this process, and those under controls do, which are few.
    let many = cases.len() > 1 && !scene.controlled;
    let aside = |case: &&&Case| many && case.lane == Lane::Side;
    let names: Vec<&str> = cases.iter().filter(aside).map(|case| case.name).collect();
    for case in cases.iter().filter(|case| !aside(case)) {
        let start = Instant::now();
        let result = standstill::repeated(scene, case.name, || complete(scene, one(scene, case)));
        let took = start.elapsed().as_secs_f64();
        match result {
            Ok(Verdict::Held(measured)) => {
                passed += 1;
                println!("PASS  {:<16} {took:.1} s  {measured}", case.name);
            }
            Ok(Verdict::NotRun(why)) => {
                not_run += 1;
                println!("NOT RUN  {:<16} {why}", case.name);
            }
            Err(e) => {
                failed += 1;
                println!("FAIL  {:<16} {took:.1} s  {e:#}", case.name);
                diagnose(scene);
            }
        }
        scene.leave_case();
    }
    for end in sidecases::run(&names) {
        match end {
            End::Passed => passed += 1,
            End::NotRun => not_run += 1,
            End::Failed => failed += 1,
        }
    }
    let total = begin.elapsed().as_secs();
    println!("end to end: {passed} passed, {failed} failed, {not_run} not run in {total} s");
    if promise::missed() > 0 {
        println!("promises missed: {}", promise::missed());
    }
    failed == 0
}

/// Runs a case in this process, under its control if that is asked for.
fn one(scene: &Scene, case: &Case) -> Result<Verdict> {
    let control = case.control.as_ref().filter(|_| scene.controlled);
    let what = control.map_or(case.proves.to_owned(), |c| format!("control: {}", c.sabotage));
    println!("RUN   {:<16} {what}", case.name);
    let start = Instant::now();
    let result = (case.run)(scene);
    let result = bounded(result, start.elapsed(), case.bound);
    match control {
        Some(control) => control.judge(result),
        None => result,
    }
}

/// Where everything is at hand nothing may be left out.
fn complete(scene: &Scene, result: Result<Verdict>) -> Result<Verdict> {
    match result? {
        Verdict::NotRun(why) if scene.complete => {
            bail!("left out, which it may not be here: {why}")
        }
        verdict @ (Verdict::Held(_) | Verdict::NotRun(_)) => Ok(verdict),
    }
}

fn bounded(result: Result<Verdict>, took: Duration, bound: u64) -> Result<Verdict> {
    let verdict = result?;
    if took > Duration::from_secs(bound) {
        bail!("everything held, but it took longer than its bound of {bound} s");
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_for_contributors_has_a_control_of_every_case_as_it_is_in_the_code() {
        let page = include_str!("../../../CONTRIBUTING.md");
        for case in &CASES {
            let start = format!("| `{}` | ", case.name);
            let rows: Vec<_> = page.lines().filter(|line| line.starts_with(&start)).collect();
            assert!(!rows.is_empty(), "no control of {}", case.name);
            let Some(Control { sabotage, says }) = &case.control else { continue };
            let row = format!("{start}{sabotage} | {says} |");
            assert!(rows.contains(&row.as_str()), "{row}");
        }
    }

    #[test]
    fn only_cases_with_a_control_run_under_one() {
        let select = |name: &str| select_controlled(&[name.to_owned()]);
        assert!(select("absence").is_ok_and(|cases| cases.len() == 1));
        assert!(select("basic").is_err_and(|e| e.to_string().contains("absence, ")));
    }
}
