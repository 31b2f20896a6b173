//! Which of a script's commands does a finding need?

/// The script without everything that can be left out while `fails` still holds, in the order in
/// which large pieces are tried before small ones (delta debugging). The seed and the first cluster
/// stay.
pub fn smaller(script: &[String], fails: impl Fn(&[String]) -> bool) -> Vec<String> {
    let mut kept = script.to_vec();
    let mut piece = kept.len() / 2;
    while piece > 0 {
        let mut from = 0;
        while from < kept.len() {
            let tried = without(&kept, from, piece);
            if tried.len() < kept.len() && fails(&tried) {
                kept = tried;
            } else {
                from += piece;
            }
        }
        piece /= 2;
    }
    kept
}

fn without(script: &[String], from: usize, piece: usize) -> Vec<String> {
    let stays = |command: &str| command.starts_with("seed ") || command.starts_with("create c ");
    let cut = from..from + piece;
    let kept = script.iter().enumerate().filter(|(at, line)| !cut.contains(at) || stays(line));
    kept.map(|(_, line)| line.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_finding_needs_is_what_is_left() {
        let script: Vec<String> =
            ["seed 1", "create c pd=1", "a", "tick 9", "b", "c", "d"].map(str::to_owned).into();
        let has = |script: &[String], line: &str| script.iter().any(|l| l == line);
        let left = smaller(&script, |script| has(script, "b") && has(script, "tick 9"));
        assert_eq!(left, ["seed 1", "create c pd=1", "tick 9", "b"]);
    }
}
