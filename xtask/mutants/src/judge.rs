//! Do tests notice the change that is switched on?
//!
//! Limits are of processor time and memory, never of the clock: on a busy machine a slow run would look
//! like a change that was noticed.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::build::TestProgram;

/// A program of tests, and with which arguments it runs some of them.
#[derive(Clone, Copy, Debug)]
struct Bench(&'static str, &'static [&'static str]);

/// The tests of `core`: the first judge.
const CORE: [Bench; 10] = [
    // What is changed has its own tests, and those of tasks take longer than all others together.
    Bench("core/tikv_operator_core", &["rules::"]),
    Bench("core/tikv_operator_core", &["plan::"]),
    Bench("core/tikv_operator_core", &["--skip=rules::", "--skip=plan::", "--skip=task::"]),
    Bench("core/golden", &[]),
    Bench("core/overlay", &[]),
    Bench("core/settings", &[]),
    Bench("core/revision", &[]),
    Bench("core/rejections", &[]),
    Bench("core/task_rejections", &[]),
    Bench("core/tikv_operator_core", &["task::", "--skip=rules::", "--skip=plan::"]),
];
/// The simulator, the second judge: what costs least comes first.
const SIM: [Bench; 8] = [
    Bench("sim/scripts", &[]),
    Bench("sim/budget", &[]),
    Bench("sim/fleet", &[]),
    Bench("sim/tasks", &[]),
    Bench("sim/mutations", &[]),
    Bench("sim/teeth", &[]),
    Bench("sim/histories", &[]),
    Bench("sim/search", &[]),
];
/// Processor time that a program may take, as a multiple of what it takes without a change.
const PATIENCE: u64 = 8;
/// No program is stopped before it has taken so many seconds.
const LEAST: u64 = 15;
/// Seconds where nobody has seen how many a program takes.
const UNPROVED: u64 = 900;
/// Signals by which somebody ends a run: hangup, interrupt, terminate. They are no finding.
const ENDED: [i32; 3] = [1, 2, 15];
/// Kibibytes of address space: a change that makes a list grow for ever ends here.
const MEMORY: u64 = 6 << 20;

/// A built program of a judge, and how many seconds it may take.
#[derive(Clone, Debug)]
struct Seat {
    program: TestProgram,
    arguments: &'static [&'static str],
    seconds: u64,
}

impl Seat {
    fn new(bench: Bench, built: &[TestProgram], seconds: u64) -> Result<Self> {
        let Bench(name, arguments) = bench;
        let program = built.iter().find(|program| program.name == name);
        let program = program.with_context(|| format!("no tests are called {name}"))?.clone();
        Ok(Self { program, arguments, seconds })
    }
}

/// The programs of a judge, with the seconds that each may take.
#[derive(Debug)]
pub(crate) struct Judge {
    programs: Vec<Seat>,
    /// Random histories that the simulator plays.
    seeds: u64,
    /// Where programs may leave things.
    temporary: PathBuf,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Core,
    Simulator,
}

/// The packages of both, built at once: what they lean on is then built once as well.
pub(crate) const BOTH: [&str; 2] = ["tikv-operator-core", "tikv-operator-sim"];

impl Which {
    pub(crate) fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Core => &["tikv-operator-core"],
            Self::Simulator => &["tikv-operator-sim"],
        }
    }

    fn benches(self) -> &'static [Bench] {
        match self {
            Self::Core => &CORE,
            Self::Simulator => &SIM,
        }
    }
}

impl Judge {
    /// Runs each program without a change: all must pass, and it is seen how long they take.
    pub(crate) fn new(
        which: Which,
        built: &[TestProgram],
        seeds: u64,
        temporary: PathBuf,
    ) -> Result<Self> {
        let mut judge = Self { programs: Vec::new(), seeds, temporary };
        for bench in which.benches() {
            let mut seat = Seat::new(*bench, built, UNPROVED)?;
            let begin = Instant::now();
            if !judge.passes(&seat, 0)? {
                bail!("{} does not pass without a change", seat.program.name);
            }
            let took = begin.elapsed();
            println!("{}: {:.1} s without a change", seat.program.name, took.as_secs_f64());
            seat.seconds = patience(took);
            judge.programs.push(seat);
        }
        Ok(judge)
    }

    /// Does not run them without a change: there is no program without.
    pub(crate) fn unproved(
        which: Which,
        built: &[TestProgram],
        seeds: u64,
        temporary: PathBuf,
    ) -> Result<Self> {
        let seats = which.benches().iter().map(|bench| Seat::new(*bench, built, UNPROVED));
        Ok(Self { programs: seats.collect::<Result<_>>()?, seeds, temporary })
    }

    /// The first program that notices the change of this number.
    pub(crate) fn notices(&self, id: usize) -> Result<Option<String>> {
        for seat in &self.programs {
            if !self.passes(seat, id)? {
                return Ok(Some(seat.program.name.clone()));
            }
        }
        Ok(None)
    }

    fn passes(&self, seat: &Seat, id: usize) -> Result<bool> {
        let Seat { program, arguments, seconds } = seat;
        let limits =
            format!("ulimit -t {seconds}; ulimit -v {MEMORY}; ulimit -c 0; exec \"$0\" -q \"$@\"");
        let status = Command::new("sh")
            .args(["-c", &limits])
            .arg(&program.path)
            .args(*arguments)
            .current_dir(&program.directory)
            .env("MUTANT", id.to_string())
            .env("SEEDS", self.seeds.to_string())
            .env("TMPDIR", &self.temporary)
            .env("RUST_TEST_THREADS", "1")
            .env("RUST_BACKTRACE", "0")
            .env("INSTA_UPDATE", "no")
            // As in .cargo/config.toml: what one history frees the next one takes.
            .env("MIMALLOC_PURGE_DELAY", "-1")
            .env_remove("UPDATE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("cannot start {}", program.path.display()))?;
        match status.signal() {
            Some(by) if ENDED.contains(&by) => bail!("broken off by signal {by}"),
            Some(_) | None => Ok(status.success()),
        }
    }
}

fn patience(took: Duration) -> u64 {
    (took.as_secs() * PATIENCE).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_runs_on_is_stopped() {
        let seat = |path: &str| Seat {
            program: TestProgram {
                name: path.to_owned(),
                path: path.into(),
                directory: "/".into(),
            },
            arguments: &[],
            seconds: 1,
        };
        let judge = Judge { programs: Vec::new(), seeds: 1, temporary: std::env::temp_dir() };
        assert!(judge.passes(&seat("true"), 1).unwrap());
        assert!(!judge.passes(&seat("false"), 1).unwrap());
        assert_eq!(patience(Duration::from_secs(1)), LEAST);
        assert_eq!(patience(Duration::from_secs(20)), 160);
    }
}
