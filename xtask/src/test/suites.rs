//! Which suites are there, what does each prove, and by which commands?

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::job::Job;
use crate::lab::Lab;
use crate::products::{self, STANDIN, WHOLE};
use crate::tools;

/// A group of checks that is run, timed and repeated as one.
pub(crate) struct Suite {
    /// Its name, as in `--only`.
    pub(crate) name: &'static str,
    /// What it proves.
    pub(crate) what: &'static str,
    /// What its passing tests are counted by.
    pub(crate) counts: Counts,
    /// Show its lines as they come: it is long, and they are few.
    pub(crate) live: bool,
    /// Only with `--all` or by name.
    pub(crate) long: bool,
    /// Beside what it runs.
    pub(crate) lane: Lane,
    /// The commands; making them ready may build programs. The argument is `--all`.
    pub(crate) jobs: fn(bool) -> Result<Vec<Job>>,
}

/// What may a suite have running beside itself?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Nothing: it keeps all cores busy, and what it finds is wanted first.
    Alone,
    /// Suites on the lab: it needs nothing but this machine.
    Beside,
    /// Suites beside the lab: it uses the lab and mostly waits for it. Its cases that measure what a
    /// client notices come last, when the others are done.
    Lab,
}

/// How many checks did a suite make?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// One: it holds or it does not.
    Once,
    /// As many as its log says; a log that says none is a failure.
    Tests,
}

/// All of them, quickest answers first.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "fmt",
        what: "every file is formatted",
        counts: Counts::Once,
        live: false,
        long: false,
        lane: Lane::Alone,
        jobs: |_| Ok(both(&["fmt", "--all", "--check"])),
    },
    Suite {
        name: "clippy",
        what: "no lint complains, in both workspaces",
        counts: Counts::Once,
        live: false,
        long: false,
        lane: Lane::Alone,
        jobs: |_| Ok(both(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    },
    Suite {
        name: "build",
        what: "everything that the other suites run can be built, with its tests",
        counts: Counts::Once,
        live: false,
        long: false,
        lane: Lane::Alone,
        jobs: |_| {
            let mut jobs = both(&[&["build"], WHOLE].concat());
            // As the README has it: a package by itself selects other features than the whole.
            jobs.push(Job::cargo(&["build", "--package", "kubectl-tikv"]));
            jobs.push(Job::cargo(&["xtask", "tools"]));
            Ok(jobs)
        },
    },
    Suite {
        name: "gen",
        what: "generated files are those that the sources generate",
        counts: Counts::Once,
        live: false,
        long: false,
        lane: Lane::Alone,
        jobs: |_| Ok(vec![Job::cargo(&["xtask", "gen", "--check"])]),
    },
    Suite {
        name: "unit",
        what: "rules, builders, planner",
        counts: Counts::Tests,
        live: false,
        long: false,
        lane: Lane::Alone,
        jobs: |_| {
            Ok(vec![
                Job::cargo(&["test", "--workspace", "--lib", "--bins", "--no-fail-fast"]),
                Job::cargo(&["test", "--workspace", "--doc"]),
            ])
        },
    },
    Suite {
        name: "doc",
        what: "documentation builds without a warning",
        counts: Counts::Once,
        live: false,
        long: false,
        lane: Lane::Alone,
        jobs: |_| {
            let mut jobs = both(&["doc", "--workspace", "--no-deps"]);
            for job in &mut jobs {
                job.command.env("RUSTDOCFLAGS", "-D warnings");
            }
            Ok(jobs)
        },
    },
    Suite {
        name: "dependencies",
        what: "licences, versions, sources and advisories of what is shipped",
        counts: Counts::Tests,
        live: false,
        long: true,
        lane: Lane::Alone,
        jobs: |_| Ok(vec![Job::cargo(&["xtask", "check", "dependencies"])]),
    },
    Suite {
        name: "coverage",
        what: "lines of what decides that tests reach",
        counts: Counts::Tests,
        live: false,
        long: true,
        lane: Lane::Alone,
        jobs: |_| Ok(vec![Job::cargo(&["xtask", "check", "coverage"])]),
    },
    Suite {
        name: "sim",
        what: "the planner in the simulator, against what can go wrong",
        counts: Counts::Tests,
        live: false,
        long: false,
        lane: Lane::Beside,
        jobs: simulator,
    },
    Suite {
        name: "search",
        what: "every moment of small clusters, the long situations too",
        counts: Counts::Tests,
        live: false,
        long: true,
        lane: Lane::Alone,
        jobs: |_| Ok(vec![search()]),
    },
    Suite {
        name: "integration",
        what: "golden files, command lines, all that needs a real API server, and older releases",
        counts: Counts::Tests,
        live: false,
        long: false,
        lane: Lane::Beside,
        jobs: integration,
    },
    Suite {
        name: "standin",
        what: "the stand-in servers against the recordings of real ones, and against lost data",
        counts: Counts::Tests,
        live: false,
        long: false,
        lane: Lane::Beside,
        jobs: standin,
    },
    Suite {
        name: "lab",
        what: "labs, whole and interrupted, leave nothing behind",
        counts: Counts::Once,
        live: false,
        long: true,
        lane: Lane::Lab,
        jobs: |_| Ok(vec![Job::cargo(&["xtask", "lab", "selftest"])]),
    },
    Suite {
        name: "readme",
        what: "every command of the README, on the lab",
        counts: Counts::Tests,
        live: true,
        long: false,
        lane: Lane::Lab,
        jobs: |_| Ok(vec![Job::cargo(&["xtask", "check", "readme"])]),
    },
    Suite {
        name: "e2e",
        what: "the product on real kubelets",
        counts: Counts::Tests,
        live: true,
        long: false,
        lane: Lane::Lab,
        jobs: |all| {
            let mut words = vec!["xtask", "e2e"];
            words.extend(all.then_some("--all"));
            Ok(vec![Job::cargo(&words)])
        },
    },
    Suite {
        name: "context",
        what: "the end-to-end suite on a cluster that is named, as a user's is",
        counts: Counts::Tests,
        live: true,
        long: true,
        lane: Lane::Lab,
        jobs: context,
    },
];

/// The suite on a cluster that is named, as a user has one: here the lab, under its context's name.
fn context(_all: bool) -> Result<Vec<Job>> {
    let lab = Lab::up(None)?;
    let mut job = Job::cargo(&["xtask", "e2e", "--only", "basic"]);
    job.command
        .args(["--context", Lab::CONTEXT, "--load-with", "cargo xtask lab load-image"])
        .args(["--pd-image", products::STANDIN_PD, "--tikv-image", products::STANDIN_TIKV])
        .args(["--version", products::STANDIN_VERSION])
        .env("KUBECONFIG", lab.kubeconfig());
    Ok(vec![job])
}

/// The same cargo command in both workspaces.
fn both(words: &[&str]) -> Vec<Job> {
    let mut second = words.to_vec();
    // Options of cargo itself go before the options of the tool that it calls.
    let end = second.iter().position(|w| *w == "--").unwrap_or(second.len());
    second.splice(end..end, ["--manifest-path", STANDIN]);
    vec![Job::cargo(words), Job::cargo(&second)]
}

/// The test that all guards together leave nothing to be lost; too long for every run.
const GUARDS: &str = "the_guards_are_enough";

fn simulator(all: bool) -> Result<Vec<Job>> {
    let mut jobs = vec![tests(|package| package == "sim")?];
    if all {
        // The operator ends after each write of each script, not after three.
        for job in &mut jobs {
            job.command.env("CRASHES", "all");
        }
        let words = ["test", "--workspace", "--test", "mutations", "--", "--ignored", GUARDS];
        jobs.push(Job::cargo(&words));
    }
    Ok(jobs)
}

/// The search through the long situations as well, which take many minutes: the short ones are part of
/// `sim`.
fn search() -> Job {
    let mut job = Job::cargo(&["test", "--workspace", "--test", "search"]);
    job.command.args(["--", "--nocapture", "nothing_ends_badly"]).env("LONG", "1");
    job
}

fn integration(_all: bool) -> Result<Vec<Job>> {
    let mut job = tests(|package| package != "sim")?;
    // `kubectl` runs the commands of a page.
    with_programs(&mut job.command, &["etcd", "kube-apiserver", "kubectl"])?;
    // The operator also meets servers of older releases.
    job.command.env("TEST_STANDINS", products::build_standins()?);
    Ok(vec![job])
}

/// The test programs of some packages below `crates/`, chosen by their names: to choose packages
/// would select other features than those that everything was built with.
fn tests(package: fn(&str) -> bool) -> Result<Job> {
    let mut job = Job::cargo(&["test", "--workspace", "--no-fail-fast"]);
    let crates = products::root().join("crates");
    for entry in std::fs::read_dir(&crates).context("crates/")? {
        let entry = entry?;
        let name = entry.file_name();
        // The stand-ins are another workspace.
        if name != "standin" && package(&name.to_string_lossy()) {
            for target in targets(&entry.path().join("tests"))? {
                job.command.args(["--test", &target]);
            }
        }
    }
    Ok(job)
}

/// Names of the test programs in a directory, as cargo finds them; it need not exist.
fn targets(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry?.path();
        let is_program = path.extension().is_some_and(|e| e == "rs");
        if is_program || path.join("main.rs").is_file() {
            found.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    found.sort();
    Ok(found)
}

fn standin(_all: bool) -> Result<Vec<Job>> {
    let mut job =
        Job::cargo(&["test", "--workspace", "--no-fail-fast", "--manifest-path", STANDIN]);
    // These tests wait for clocks more than they compute: more of them than cores run at once.
    job.command.env("RUST_TEST_THREADS", "16");
    with_programs(&mut job.command, &["etcd"])?;
    // What a real PD answers is compared where there is one; elsewhere it counts as not run.
    if std::env::var_os("TEST_PD").is_some() {
        job.command.args(["--", "--include-ignored"]);
    }
    Ok(vec![job])
}

/// Names the programs that tests start themselves: `TEST_ETCD`, `TEST_KUBE_APISERVER`, `TEST_KUBECTL`.
fn with_programs(command: &mut Command, names: &[&str]) -> Result<()> {
    for (name, path) in tools::ensure(names)?.iter() {
        let variable = format!("TEST_{}", name.to_uppercase().replace('-', "_"));
        command.env(variable, path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_workspaces_get_the_same_command() {
        let jobs = both(&["clippy", "--all-targets", "--", "-D", "warnings"]);
        let words: Vec<_> = jobs.iter().map(Job::shown).collect();
        assert_eq!(
            words,
            [
                "cargo clippy --all-targets -- -D warnings".to_owned(),
                format!("cargo clippy --all-targets --manifest-path {STANDIN} -- -D warnings"),
            ]
        );
    }

    #[test]
    fn only_all_has_the_operator_end_after_each_write_of_each_script() {
        for (all, want) in [(false, None), (true, Some("all"))] {
            let jobs = simulator(all).unwrap();
            let mut variables = jobs.iter().flat_map(|job| job.command.get_envs());
            let crashes = variables.find(|(name, _)| *name == "CRASHES");
            assert_eq!(crashes.and_then(|(_, value)| value?.to_str()), want);
        }
    }

    #[test]
    fn the_long_situations_are_looked_at_by_a_suite_of_their_own_with_all() {
        let suite = SUITES.iter().find(|suite| suite.name == "search").unwrap();
        assert!(suite.long);
        let jobs = (suite.jobs)(true).unwrap();
        let is_long = |job: &&Job| job.command.get_envs().any(|(name, _)| name == "LONG");
        let words: Vec<_> = jobs.iter().filter(is_long).map(Job::shown).collect();
        let [words] = &words[..] else { panic!("{words:?}") };
        let named = words.split_whitespace().next_back().unwrap();
        let source = include_str!("../../../crates/sim/tests/search/main.rs");
        assert!(words.contains("--test search"), "{words}");
        assert!(source.contains(&format!("fn {named}")), "it runs no test: {words}");
    }

    #[test]
    fn suites_have_names_of_their_own() {
        let mut names: Vec<_> = SUITES.iter().map(|s| s.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SUITES.len());
    }

    #[test]
    fn the_page_for_contributors_has_every_suite_and_what_all_adds() {
        let page = include_str!("../../../CONTRIBUTING.md");
        for suite in SUITES {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", suite.name)));
            let row = row.unwrap_or_else(|| panic!("no row of {}", suite.name));
            assert_eq!(row.contains("`--all`"), suite.long, "{row}");
        }
    }
}
