//! Which lines of a log say why a suite failed?

/// Lines of findings that are shown; a log has all of them.
const MOST: usize = 60;
/// Lines after one that says where a test ended early: they hold what it found.
const AFTER_PANIC: usize = 4;
/// Lines of the end, where a compiler or a tool says why it stopped.
const END: usize = 15;

/// What to show of the log of a suite that failed: its findings wherever they are, and its end.
pub(crate) fn findings(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let end = lines.len().saturating_sub(END);
    let mut shown = Vec::new();
    let mut more = 0;
    for line in lines.iter().take(end) {
        let starts = is_finding(line);
        if line.contains("panicked at ") {
            more = AFTER_PANIC + 1;
        }
        if (starts || more > 0) && shown.len() < MOST {
            shown.push(*line);
        }
        more = more.saturating_sub(1);
    }
    if !shown.is_empty() {
        shown.push("…");
    }
    shown.extend(lines.iter().skip(end));
    shown.join("\n")
}

/// libtest's, cargo's and the end-to-end suite's words for what did not hold.
fn is_finding(line: &str) -> bool {
    line.ends_with("... FAILED")
        || ["error: ", "error[", "FAIL ", "FAILED "].iter().any(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_far_from_the_end_is_shown_with_its_words() {
        let passed = "test a ... ok\n".repeat(100);
        let log = format!(
            "{passed}test b ... FAILED\n{passed}thread 'b' panicked at src/b.rs:1:1:\nno leader\n{passed}the end\n"
        );
        let shown = findings(&log);
        for words in ["test b ... FAILED", "panicked at src/b.rs", "no leader", "the end"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(shown.lines().count() < 30, "{shown}");
    }
}
