//! How does the cluster look to a user while something happens to it? Attempts start at a steady
//! rate, whatever became of the ones before, so that an outage is counted for as long as it lasts.
//! Two of four put a key of their own; the third writes a register, and the fourth reads it soon
//! after. At the end each acknowledged put is read back, and the registers' histories are judged.
//! Whoever does not know beforehand how long the something takes
//! ends the run by `GET /stop` on the control port.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::Summary;
use crate::books::{Attempt, Books};
use crate::control::Stop;
use crate::fill::{ReadBack, read_back};
use crate::history;
use crate::keys;
use crate::options::Options;
use crate::session::{Failure, Session};

/// The length of one availability window.
const WINDOW: u64 = 10_000_000;

/// What the `number`th attempt does.
enum Work {
    Put(String),
    Write(String, String),
    Read(String),
}

fn work(number: u64, options: &Options) -> Work {
    if number % 4 < 2 || options.registers == 0 {
        return Work::Put(keys::key(&options.prefix, number));
    }
    // Seven letters apart, so that they lie in different regions where there are several.
    let register = (number / 4 % options.registers) * 7;
    let key = keys::key(&format!("{}-register", options.prefix), register);
    if number % 4 == 2 { Work::Write(key, format!("{number}")) } else { Work::Read(key) }
}

/// Runs for the options' time and reads back.
pub(crate) async fn run(options: &Options) -> Result<Summary, String> {
    let path = options.books.clone().unwrap_or_default();
    let mut books = Books::begin(&path)?;
    let session = Session::connect(&options.pd, options.patience).await?;
    // Opened after the connection: whoever reaches it knows that the writing has begun.
    let stop = Stop::listen(options.control).await?;
    let (ended, mut endings) = mpsc::unbounded_channel();
    let begin = Instant::now();
    let mut clock = tokio::time::interval(Duration::from_micros(1_000_000 / options.rate));
    for number in 0..options.seconds * options.rate {
        clock.tick().await;
        if stop.is_asked() {
            break;
        }
        let (work, session, ended) = (work(number, options), session.clone(), ended.clone());
        tokio::spawn(async move {
            // The receiver waits for every attempt.
            let _ = ended.send(attempt(work, &session, begin).await);
        });
        while let Ok(attempt) = endings.try_recv() {
            books.record(attempt)?;
        }
    }
    let length = micros(begin.elapsed());
    drop(ended);
    while let Some(attempt) = endings.recv().await {
        books.record(attempt)?;
    }
    let acknowledged = books.attempts().iter().filter(|attempt| attempt.is_acknowledged_put());
    let wanted: Vec<String> = acknowledged.map(|attempt| attempt.key.clone()).collect();
    let back = read_back(&session, wanted, options).await;
    Ok(summary(books.attempts(), &back, length))
}

fn summary(attempts: &[Attempt], back: &ReadBack, length: u64) -> Summary {
    let lost = [back.missing.clone(), back.wrong.clone()].concat();
    let histories = history::judge(attempts);
    let gap = longest_gap(attempts, length) / 1_000;
    let json = json!({
        "command": "continuous",
        "attempts": attempts.len(),
        "acknowledged_puts": back.found + (lost.len() + back.unreadable.len()) as u64,
        "failed": attempts.iter().filter(|attempt| attempt.outcome != "ok").count(),
        "lost": lost.len(),
        "lost_keys": lost.iter().take(100).collect::<Vec<_>>(),
        "unreadable": back.unreadable.len(),
        "unreadable_keys": back.unreadable.iter().take(10).collect::<Vec<_>>(),
        "registers": histories.registers,
        "judged": histories.judged,
        "violations": histories.violations,
        "windows": windows(attempts),
        "longest_gap_ms": gap,
        "failures": failures(attempts),
        "p50_ms": percentile(attempts, 50),
        "p99_ms": percentile(attempts, 99),
    });
    Summary {
        passed: back.is_complete() && histories.violations.is_empty(),
        sentence: format!(
            "{} attempts, {} acknowledged puts lost, {} unreadable, {} of {} registers not \
             linearizable, longest gap {gap} ms",
            attempts.len(),
            lost.len(),
            back.unreadable.len(),
            histories.violations.len(),
            histories.registers,
        ),
        json,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

async fn attempt(work: Work, session: &Session, begin: Instant) -> Attempt {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start_us = micros(begin.elapsed());
    let (kind, key, outcome) = match work {
        Work::Put(key) => {
            let value = keys::value(&key);
            let outcome = session.put(&key, &value).await;
            ("put", key, outcome.map(|()| Some(value)))
        }
        Work::Write(key, value) => {
            let outcome = session.put_once(&key, &value).await;
            // A write that failed may still take effect: its value belongs into the history.
            return ended(("write", key, Some(value)), outcome.err(), (start_us, begin, unix));
        }
        Work::Read(key) => {
            let outcome = session.get(&key).await;
            ("read", key, outcome)
        }
    };
    let (value, failure) = match outcome {
        Ok(value) => (value, None),
        Err(failure) => (None, Some(failure)),
    };
    ended((kind, key, value), failure, (start_us, begin, unix))
}

fn ended(
    (kind, key, value): (&'static str, String, Option<String>),
    failure: Option<Failure>,
    (start_us, begin, unix): (u64, Instant, Duration),
) -> Attempt {
    let outcome = match &failure {
        None => "ok",
        Some(Failure::Refused(_)) => "refused",
        Some(Failure::Unknown(_)) => "unknown",
    };
    Attempt {
        kind,
        key,
        value,
        start_us,
        end_us: micros(begin.elapsed()),
        unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
        outcome,
        error: failure.map(|failure| failure.reason().to_owned()),
    }
}

/// Per 10 s: attempts that began in it, how many of them succeeded, and how slow these were.
fn windows(attempts: &[Attempt]) -> Vec<Value> {
    let mut windows = std::collections::BTreeMap::<u64, Vec<&Attempt>>::new();
    for attempt in attempts {
        windows.entry(attempt.start_us / WINDOW).or_default().push(attempt);
    }
    let row = |(window, attempts): (u64, Vec<&Attempt>)| {
        let (all, ok) = (attempts.len(), attempts.iter().filter(|a| a.outcome == "ok").count());
        // Counts of one window are far below 2^32.
        let small = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        json!({
            "from_s": window * 10,
            "attempts": all,
            "ok": ok,
            "availability": small(ok) / small(all),
            "p99_ms": percentile(attempts, 99),
        })
    };
    windows.into_iter().map(row).collect()
}

/// The longest time in which nothing succeeded, in microseconds; the beginning and the end of the
/// run bound it too.
fn longest_gap(attempts: &[Attempt], length: u64) -> u64 {
    let mut ends: Vec<u64> = attempts
        .iter()
        .filter(|attempt| attempt.outcome == "ok")
        .map(|attempt| attempt.end_us)
        .collect();
    ends.push(length);
    ends.sort_unstable();
    let mut last = 0;
    ends.into_iter().fold(0, |longest, end| {
        let gap = end.saturating_sub(last);
        last = end;
        longest.max(gap)
    })
}

/// The first attempts that failed: Unix milliseconds of their begin, how long they took, and why.
fn failures(attempts: &[Attempt]) -> Vec<Value> {
    let failed = attempts.iter().filter(|attempt| attempt.outcome != "ok");
    let row = |attempt: &Attempt| {
        let took = attempt.end_us.saturating_sub(attempt.start_us) / 1_000;
        json!({"unix_ms": attempt.unix_ms, "took_ms": took, "error": attempt.error})
    };
    failed.take(40).map(row).collect()
}

/// A percentile of the time that successful attempts took, in milliseconds.
fn percentile<'a>(attempts: impl IntoIterator<Item = &'a Attempt>, percent: usize) -> Option<u64> {
    let ok = attempts.into_iter().filter(|attempt| attempt.outcome == "ok");
    let mut times: Vec<u64> =
        ok.map(|attempt| (attempt.end_us - attempt.start_us) / 1_000).collect();
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start_ms: u64, end_ms: u64, outcome: &'static str) -> Attempt {
        Attempt {
            kind: "put",
            key: String::new(),
            value: None,
            start_us: start_ms * 1_000,
            end_us: end_ms * 1_000,
            unix_ms: 0,
            outcome,
            error: None,
        }
    }

    #[test]
    fn an_outage_shows_in_its_window_and_as_the_gap() {
        let attempts = [
            at(100, 110, "ok"),
            at(9_000, 9_050, "ok"),
            at(11_000, 16_000, "unknown"),
            at(17_000, 17_030, "ok"),
        ];
        let windows = windows(&attempts);
        assert_eq!(windows[0]["availability"], 1.0);
        assert_eq!(windows[1]["availability"], 0.5);
        assert_eq!((&windows[0]["p99_ms"], &windows[1]["p99_ms"]), (&json!(50), &json!(30)));
        assert_eq!(longest_gap(&attempts, 18_000_000), 8_940_000);
        assert_eq!(longest_gap(&attempts, 30_000_000), 12_970_000);
        assert_eq!(longest_gap(&[], 5_000_000), 5_000_000);
        assert_eq!((percentile(&attempts, 50), percentile(&attempts, 99)), (Some(30), Some(50)));
    }
}
