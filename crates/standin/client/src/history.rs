//! Is there an order of all attempts on a register in which each read finds the last write, and in
//! which none leaves its own time? Then the register is linearizable.
//!
//! Values of a register's writes are unique, so the reads of a value belong to one write, and the
//! question is answered without search (Gibbons and Korach, "Testing Shared Memories", 1997): from
//! the first end to the last begin of what belongs to a value the register must hold it, and no
//! two values may claim the same moment. A write whose outcome is unknown, or that was refused, may
//! take effect at any time after its begin, or never.

use std::collections::BTreeMap;

use crate::books::Attempt;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Registers with at least one read that was answered.
    pub(crate) registers: usize,
    /// Attempts that were judged.
    pub(crate) judged: usize,
    /// What cannot have happened in any order, in words.
    pub(crate) violations: Vec<String>,
}

/// All attempts on one value of a register, in microseconds; the run began at 1, and before it, at
/// 0, nothing was written to any register.
#[derive(Clone, Copy, Debug)]
struct Claim {
    /// Begin of the write.
    written: u64,
    first_end: u64,
    last_begin: u64,
}

/// Judges the history of each register in the books.
pub(crate) fn judge(attempts: &[Attempt]) -> Judgement {
    let mut registers = BTreeMap::<&str, Vec<&Attempt>>::new();
    for attempt in attempts.iter().filter(|attempt| attempt.kind != "put") {
        registers.entry(&attempt.key).or_default().push(attempt);
    }
    let mut judgement = Judgement::default();
    for (key, attempts) in registers {
        judgement.registers += usize::from(attempts.iter().any(|attempt| is_answer(attempt)));
        judgement.judged += attempts.len();
        if let Err(reason) = judge_register(&attempts) {
            judgement.violations.push(format!("{key}: {reason}"));
        }
    }
    judgement
}

fn is_answer(attempt: &Attempt) -> bool {
    attempt.kind == "read" && attempt.outcome == "ok"
}

fn judge_register(attempts: &[&Attempt]) -> Result<(), String> {
    let nothing = Claim { written: 0, first_end: 0, last_begin: 0 };
    let mut claims = BTreeMap::<Option<&str>, Claim>::from([(None, nothing)]);
    for write in attempts.iter().filter(|attempt| attempt.kind == "write") {
        let (begin, end) = times(write);
        // Without an end it fits anywhere after its begin, also after everything else.
        let first_end = if write.outcome == "ok" { end } else { u64::MAX };
        let claim = Claim { written: begin, first_end, last_begin: begin };
        if claims.insert(write.value.as_deref(), claim).is_some() {
            return Err(format!("{:?} was written twice", write.value));
        }
    }
    for read in attempts.iter().filter(|attempt| is_answer(attempt)) {
        let Some(claim) = claims.get_mut(&read.value.as_deref()) else {
            return Err(format!("{} was read, which nobody wrote", shown(read.value.as_deref())));
        };
        let (begin, end) = times(read);
        if end < claim.written {
            return Err(format!("{} was read before it was written", shown(read.value.as_deref())));
        }
        claim.first_end = claim.first_end.min(end);
        claim.last_begin = claim.last_begin.max(begin);
    }
    disjoint(&claims)
}

fn times(attempt: &Attempt) -> (u64, u64) {
    (attempt.start_us.saturating_add(1), attempt.end_us.saturating_add(1))
}

fn shown(value: Option<&str>) -> String {
    value.map_or("nothing".to_owned(), |value| format!("\"{value}\""))
}

/// No value may be held while another one must be.
fn disjoint(claims: &BTreeMap<Option<&str>, Claim>) -> Result<(), String> {
    let (mut held, short): (Vec<_>, Vec<_>) =
        claims.iter().partition(|(_, claim)| claim.first_end < claim.last_begin);
    held.sort_by_key(|(_, claim)| claim.first_end);
    for pair in held.windows(2) {
        if let [(before, one), (after, other)] = pair
            && one.last_begin > other.first_end
        {
            return Err(format!(
                "{} was still read at {} us, after {} was there at {} us",
                shown(**before),
                one.last_begin,
                shown(**after),
                other.first_end
            ));
        }
    }
    for (value, claim) in short {
        // All of its attempts overlap: one moment between these two is enough for it.
        let until = held.partition_point(|(_, other)| other.first_end < claim.last_begin);
        let around = until.checked_sub(1).and_then(|last| held.get(last));
        if let Some((other, zone)) = around
            && claim.first_end < zone.last_begin
        {
            return Err(format!(
                "{} was there between {} and {} us, all of which belongs to {}",
                shown(*value),
                claim.last_begin,
                claim.first_end,
                shown(**other)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(kind: &'static str, value: u64, (start_us, end_us): (u64, u64)) -> Attempt {
        Attempt {
            kind,
            key: "k".to_owned(),
            value: (value > 0).then(|| value.to_string()),
            start_us,
            end_us,
            unix_ms: 0,
            outcome: "ok",
            error: None,
        }
    }

    fn write(value: u64, start: u64, end: u64) -> Attempt {
        attempt("write", value, (start, end))
    }

    /// A read; value 0 is nothing.
    fn read(value: u64, start: u64, end: u64) -> Attempt {
        attempt("read", value, (start, end))
    }

    fn lost(mut write: Attempt) -> Attempt {
        write.outcome = "unknown";
        write
    }

    fn holds(history: &[Attempt]) -> bool {
        judge(history).violations.is_empty()
    }

    #[test]
    fn reads_find_the_last_write() {
        assert!(holds(&[
            read(0, 0, 1),
            write(1, 2, 3),
            read(1, 4, 5),
            write(2, 6, 7),
            read(2, 8, 9)
        ]));
        assert!(!holds(&[write(1, 2, 3), write(2, 6, 7), read(1, 8, 9)]), "a stale read");
        assert!(!holds(&[write(1, 2, 3), read(0, 4, 5)]), "a lost write");
        assert!(!holds(&[write(1, 2, 3), read(2, 4, 5)]), "a value from nowhere");
        assert!(!holds(&[read(1, 0, 1), write(1, 2, 3)]), "a value from the future");
        assert!(!holds(&[
            write(1, 0, 9),
            write(2, 0, 9),
            read(1, 10, 11),
            read(2, 12, 13),
            read(1, 14, 15)
        ]));
    }

    #[test]
    fn attempts_at_the_same_time_may_be_in_either_order() {
        assert!(holds(&[write(1, 0, 9), write(2, 1, 8), read(1, 10, 11)]));
        assert!(holds(&[write(1, 0, 9), write(2, 1, 8), read(2, 10, 11)]));
        assert!(holds(&[write(1, 0, 9), read(0, 1, 2), read(1, 3, 4)]));
        assert!(!holds(&[write(1, 0, 9), read(1, 1, 2), read(0, 3, 4)]), "back to what was before");
    }

    #[test]
    fn a_write_of_unknown_outcome_may_come_late_or_never() {
        let old = || write(1, 0, 1);
        assert!(holds(&[old(), lost(write(2, 2, 7)), read(1, 8, 9)]));
        assert!(holds(&[old(), lost(write(2, 2, 7)), read(1, 8, 9), read(2, 10, 11)]));
        assert!(!holds(&[old(), lost(write(2, 2, 7)), read(2, 8, 9), read(1, 10, 11)]));
        let mut failed = read(1, 12, 13);
        failed.outcome = "unknown";
        assert!(holds(&[old(), write(2, 2, 7), failed]), "a read without an answer says nothing");
    }

    #[test]
    fn registers_are_judged_apart_and_puts_not_at_all() {
        let mut other = read(0, 4, 5);
        other.key = "other".to_owned();
        let mut put = attempt("put", 7, (0, 1));
        put.key = "unique".to_owned();
        let judgement = judge(&[write(1, 2, 3), read(1, 4, 5), other, put]);
        assert_eq!(judgement, Judgement { registers: 2, judged: 3, violations: Vec::new() });
    }

    /// Whether some order explains what is left, by trying all of them.
    fn explained(left: &[Attempt], holds: Option<&str>) -> bool {
        let end =
            |attempt: &Attempt| if attempt.outcome == "ok" { attempt.end_us } else { u64::MAX };
        let earliest = left.iter().map(end).min().unwrap_or(0);
        if left.iter().all(|attempt| attempt.outcome != "ok") {
            return true;
        }
        left.iter().enumerate().any(|(index, next)| {
            let mut rest = left.to_vec();
            rest.remove(index);
            let value = next.value.as_deref();
            let fits = next.start_us <= earliest && (next.kind == "write" || value == holds);
            fits && explained(&rest, if next.kind == "write" { value } else { holds })
        })
    }

    #[test]
    fn the_verdict_is_that_of_trying_all_orders() {
        let mut seed = 7_u64;
        let mut draw = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let writes = 1 + draw(3);
            let mut history = Vec::new();
            // Times are even for begins and odd for ends: ties are no question here.
            for value in 1..=writes {
                let begin = draw(12) * 2;
                let one = write(value, begin, begin + 1 + draw(6) * 2);
                history.push(if draw(4) == 0 { lost(one) } else { one });
            }
            for _ in 0..=draw(3) {
                let begin = draw(12) * 2;
                history.push(read(draw(writes + 1), begin, begin + 1 + draw(6) * 2));
            }
            let expected = explained(&history, None);
            assert_eq!(holds(&history), expected, "{history:#?}");
            *(if expected { &mut good } else { &mut bad }) += 1;
        }
        assert!(good > 2_000 && bad > 2_000, "{good} good, {bad} bad histories");
    }
}
