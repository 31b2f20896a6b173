//! Which cases are there, in what order, and how did they end?

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cases;
use crate::diagnose::diagnose;
use crate::scene::Scene;

/// How a case ended when nothing was wrong.
pub(crate) enum Verdict {
    /// Everything that it looked at held; a few words on what was measured.
    Held(String),
    /// It could not look, and why. Never counted as passed.
    NotRun(String),
}

/// One promise and its proof.
pub(crate) struct Case {
    /// Name, as in `--only`.
    pub(crate) name: &'static str,
    /// The promise.
    pub(crate) proves: &'static str,
    /// Longest time that it may take, in seconds.
    pub(crate) bound: u64,
    /// The proof.
    pub(crate) run: fn(&Scene) -> Result<Verdict>,
}

/// All cases, in an order that starts few clusters: the first six share one.
const CASES: [Case; 22] = [
    cases::basic::START,
    cases::basic::WRITES,
    // While nothing else is on its way in or out.
    cases::quiet::CASE,
    cases::furniture::CASE,
    cases::operator_gone::CASE,
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
    cases::drain::CASE,
    cases::online_config::CASE,
    cases::grow::CASE,
];

/// The cases of these names, or all.
pub(crate) fn select(only: &[String]) -> Result<Vec<&'static Case>> {
    if let Some(unknown) = only.iter().find(|name| !CASES.iter().any(|c| c.name == **name)) {
        let names: Vec<_> = CASES.iter().map(|c| c.name).collect();
        bail!("there is no case \"{unknown}\"; the cases are {}", names.join(", "));
    }
    Ok(CASES.iter().filter(|c| only.is_empty() || only.iter().any(|n| n == c.name)).collect())
}

/// Prints what there is.
pub(crate) fn list() {
    for case in &CASES {
        println!("{:<16} {}", case.name, case.proves);
    }
}

/// Runs them; true if all passed that could be run.
pub(crate) fn run(scene: &Scene, cases: &[&Case]) -> bool {
    let begin = Instant::now();
    let (mut passed, mut failed, mut not_run) = (0, 0, 0);
    for case in cases {
        println!("RUN   {:<16} {}", case.name, case.proves);
        let start = Instant::now();
        let result = bounded((case.run)(scene), start.elapsed(), case.bound);
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
    let total = begin.elapsed().as_secs();
    println!("end to end: {passed} passed, {failed} failed, {not_run} not run in {total} s");
    failed == 0
}

fn bounded(result: Result<Verdict>, took: Duration, bound: u64) -> Result<Verdict> {
    let verdict = result?;
    if took > Duration::from_secs(bound) {
        bail!("everything held, but it took longer than its bound of {bound} s");
    }
    Ok(verdict)
}
