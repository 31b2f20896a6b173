//! Which rule should have stopped what was found?
//!
//! The table of removed guards says what the auditor finds without each of them
//! (`tests/mutations.tsv`): read the other way round, it names the suspects.

const TABLE: &str = include_str!("../tests/mutations.tsv");

/// The rules without which the auditor finds the same.
pub fn suspects(finding: &str) -> Vec<&'static str> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
    let rows = rows.filter_map(|line| {
        let mut columns = line.split('\t');
        Some((columns.next()?, columns.nth(1)?))
    });
    let mut rules: Vec<&str> = rows
        .filter(|(_, found)| !found.is_empty() && finding.contains(found))
        .map(|(rule, _)| rule)
        .collect();
    rules.dedup();
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_the_rules_that_prevent_it() {
        assert!(suspects("9 s: F19 a foreign volume is never mounted: x").len() == 1);
        assert!(suspects("I9 not at rest").is_empty());
    }
}
