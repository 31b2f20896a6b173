//! How many checks did a suite make, and did it make any?

use anyhow::Result;

use super::suites::{Counts, Suite};

/// Counts of one suite or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Score {
    /// Held.
    pub(crate) passed: u64,
    /// Did not hold.
    pub(crate) failed: u64,
    /// Could not be tried here. Never counted as passed.
    pub(crate) not_run: u64,
    /// Promises of speed that were missed while other suites ran beside.
    pub(crate) missed: u64,
}

impl Score {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            not_run: self.not_run + other.not_run,
            missed: self.missed + other.missed,
        }
    }
}

/// The score of a suite from its log and its end, and why it failed if it did.
pub(crate) fn judge(suite: &Suite, log: &str, result: Result<()>) -> (Score, Option<String>) {
    let mut error = result.err().map(|e| format!("{e:#}"));
    let mut score = match suite.counts {
        Counts::Once => Score { passed: u64::from(error.is_none()), ..Score::default() },
        Counts::Tests => count(log),
    };
    if error.is_none() && score.failed > 0 {
        error = Some(format!("{} failed", score.failed));
    }
    if error.is_none() && score.passed == 0 {
        error = Some("it ended well, but its log shows no test that ran".to_owned());
    }
    if error.is_some() && score.failed == 0 {
        score.failed = 1;
    }
    (score, error)
}

/// How closing lines of test programs begin.
const CLOSING: [&str; 3] = ["test result: ", "end to end: ", "promises missed: "];

/// Sums up the closing lines of test programs: libtest's and the end-to-end suite's.
fn count(log: &str) -> Score {
    log.lines()
        .filter(|l| CLOSING.iter().any(|words| l.starts_with(words)))
        .map(|line| Score {
            passed: before(line, "passed"),
            failed: before(line, "failed"),
            not_run: before(line, "not run") + before(line, "ignored"),
            missed: line
                .strip_prefix("promises missed: ")
                .and_then(|n| n.parse().ok())
                .unwrap_or(0),
        })
        .fold(Score::default(), Score::and)
}

/// The number before a word, as in `3 passed`.
fn before(line: &str, word: &str) -> u64 {
    let number = line.split(word).next().filter(|head| head.len() < line.len());
    number.and_then(|head| head.split_whitespace().last()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::suites::SUITES;

    fn suite(name: &str) -> &'static Suite {
        SUITES.iter().find(|s| s.name == name).unwrap()
    }

    #[test]
    fn closing_lines_are_summed_up() {
        let log = "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                   test result: FAILED. 2 passed; 3 failed; 0 ignored\n\
                   end to end: 4 passed, 1 failed, 2 not run in 9 s\npromises missed: 2\n";
        assert_eq!(count(log), Score { passed: 13, failed: 4, not_run: 3, missed: 2 });
    }

    #[test]
    fn a_suite_that_ran_nothing_has_failed() {
        let (score, error) = judge(suite("unit"), "Finished", Ok(()));
        assert_eq!((score.passed, score.failed), (0, 1));
        assert!(error.is_some());
        assert_eq!(judge(suite("fmt"), "", Ok(())).0.passed, 1);
    }

    #[test]
    fn a_failed_command_is_a_failure_whatever_the_log_says() {
        let log = "test result: ok. 7 passed; 0 failed; 0 ignored\n";
        let (score, error) = judge(suite("unit"), log, Err(anyhow::anyhow!("did not compile")));
        assert_eq!((score.passed, score.failed), (7, 1));
        assert!(error.is_some_and(|e| e.contains("compile")));
    }
}
