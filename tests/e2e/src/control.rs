//! Does a case turn red when what it promises is not so?
//!
//! A case that cannot fail proves nothing. Under its control it runs as it always does, but for one
//! sabotage in the middle, and has to fail with certain words: one that is red for another reason
//! has proved nothing either.

use anyhow::{Result, bail, ensure};

use crate::suite::Verdict;

/// Why a case has to fail.
pub(crate) struct Control {
    /// What is wrong on purpose.
    pub(crate) sabotage: &'static str,
    /// Words in what the case says then.
    pub(crate) says: &'static str,
}

impl Control {
    /// Judges the end of a case that ran under its control: good is what is bad without it.
    pub(crate) fn judge(&self, result: Result<Verdict>) -> Result<Verdict> {
        let said = match result {
            Ok(Verdict::Held(measured)) => bail!("green in spite of its control: {measured}"),
            Ok(Verdict::NotRun(why)) => return Ok(Verdict::NotRun(why)),
            Err(e) => format!("{e:#}"),
        };
        ensure!(said.contains(self.says), "red, but not with \"{}\": {said}", self.says);
        Ok(Verdict::Held(format!("red: {said}")))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn only_red_with_the_right_words_is_good() {
        let control = Control { sabotage: "", says: "a replacement was made" };
        let judged = |result| control.judge(result).map_err(|e| e.to_string());
        let red = judged(Err(anyhow!("a replacement was made: {{}}").context("reboot 3")));
        assert!(matches!(red, Ok(Verdict::Held(said)) if said.starts_with("red: reboot 3: a ")));
        let other = judged(Err(anyhow!("no such pod")));
        assert!(
            other.is_err_and(|e| e.contains("not with \"a replacement was made\": no such pod"))
        );
        let green = judged(Ok(Verdict::Held("nothing lost".to_owned())));
        assert!(green.is_err_and(|e| e.contains("in spite of its control: nothing lost")));
        let blind = judged(Ok(Verdict::NotRun("no lab".to_owned())));
        assert!(matches!(blind, Ok(Verdict::NotRun(why)) if why == "no lab"));
    }
}
