//! How do cases run side by side?
//!
//! Each in a process of its own, this very program with `--only`: what it prints stays together,
//! and nothing is shared but the cluster and the operator in it.

use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::{Context, Result};

/// Cases at the same time: most of a case's time is spent waiting for servers.
const AT_ONCE: usize = 3;

/// How a case in a process of its own ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It passed.
    Passed,
    /// It could not look.
    NotRun,
    /// It failed, or the process did.
    Failed,
}

/// Runs the cases of these names and prints each one's lines when it has ended.
pub(crate) fn run(names: &[&str]) -> Vec<End> {
    let (queue, ends) = (Mutex::new(names.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(names.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(name) = next else { return };
                    let end = match one(name) {
                        Ok((lines, end)) => {
                            print!("{lines}");
                            end
                        }
                        Err(e) => {
                            println!("FAIL  {name:<16} {e:#}");
                            End::Failed
                        }
                    };
                    ends.lock().unwrap_or_else(PoisonError::into_inner).push(end);
                }
            });
        }
    });
    ends.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn one(name: &str) -> Result<(String, End)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(without_selection(std::env::args().skip(1))).args(["--only", name]);
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let mut lines: String = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| !line.starts_with("end to end:"))
        .flat_map(|line| [line, "\n"])
        .collect();
    lines.push_str(&String::from_utf8_lossy(&output.stderr));
    let said = |word: &str| lines.lines().any(|line| line.starts_with(&format!("{word}  {name}")));
    let end = match (output.status.success(), said("PASS"), said("NOT RUN")) {
        (true, true, _) => End::Passed,
        (true, false, true) => End::NotRun,
        (true, false, false) | (false, _, _) => End::Failed,
    };
    Ok((lines, end))
}

/// The arguments but for the choice of cases.
fn without_selection(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut skip = false;
    for argument in arguments {
        if skip {
            skip = false;
        } else if argument == "--only" {
            skip = true;
        } else if !argument.starts_with("--only=") {
            kept.push(argument);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_choice_of_cases_is_dropped() {
        let words = "--version v1 --only a --only=b --all --only c --lab /x";
        let kept = without_selection(words.split_whitespace().map(str::to_owned));
        assert_eq!(kept.join(" "), "--version v1 --all --lab /x");
    }
}
