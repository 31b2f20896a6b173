//! What does a person need to know of a run that ended badly?
//!
//! The invariant and what was seen, the step that did it, the rules that should have stopped it, and
//! how to have the run again.

use crate::history::Verdict;
use crate::rules::suspects;

/// All of that in lines. `again` is the command that plays the run again.
pub fn describe(verdict: &Verdict, again: &str) -> String {
    let mut lines = Vec::new();
    for finding in &verdict.findings {
        lines.push(finding.clone());
        let rules = suspects(finding);
        let rules = if rules.is_empty() { "no rule alone".to_owned() } else { rules.join(", ") };
        lines.push(format!("  should have been stopped by: {rules}"));
    }
    lines.push("the operator's last steps until the first of these:".to_owned());
    lines.extend(verdict.steps.iter().map(|step| format!("  {step}")));
    lines.push(format!("again: {again}"));
    lines.join("\n")
}

/// How to play a seed again.
pub fn again(seed: u64) -> String {
    format!("cargo xtask sim --seed {seed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_invariant_step_rule_and_command() {
        let verdict = Verdict {
            findings: vec!["9 s: F19 a foreign volume is never mounted: Pod c-pd-1".to_owned()],
            steps: vec!["9 s: create Pod c-pd-1".to_owned()],
            ..Verdict::default()
        };
        let text = describe(&verdict, &again(7));
        for part in ["F19 ", "create Pod c-pd-1", "unmarked-volume", "cargo xtask sim --seed 7"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let verdict = Verdict { findings: vec!["I9 not at rest".to_owned()], ..verdict };
        assert!(describe(&verdict, "x").contains("no rule alone"));
    }
}
