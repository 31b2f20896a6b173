//! Random runs of the simulator for as long as one likes; called by `cargo xtask sim`.
//!
//! `seeds FIRST COUNT SECONDS` plays random histories, stops at the first that ends badly and makes
//! its script as small as it can; `seed N` plays one and prints its script; `script FILE` plays a
//! script again; `digests FIRST COUNT` prints a number for each history, the same where the same
//! happened; `exhaustive FILE …` looks at every moment that situations can come to.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tikv_operator_sim::failure;
use tikv_operator_sim::history::{self, Verdict, smaller};
use tikv_operator_sim::queue::each;
use tikv_operator_sim::search::{Effort, Situation, search};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let failed = match words.as_slice() {
        ["seeds", first, count, seconds] => {
            let number = |word: &str| word.parse().unwrap_or_default();
            many(number(first), number(count), number(seconds))
        }
        ["digests", first, count] => {
            digests(first.parse().unwrap_or_default(), count.parse().unwrap_or_default());
            false
        }
        ["exhaustive", files @ ..] => exhaustive(files),
        ["seed", seed] => {
            let verdict = history::run(seed.parse().unwrap_or_default(), |_| {});
            println!("{}", verdict.script.join("\n"));
            say(&verdict, &format!("cargo xtask sim --seed {seed}"))
        }
        ["script", file] => match std::fs::read_to_string(file) {
            Ok(text) => {
                let verdict = history::replay_verdict(&commands(&text), |_| {});
                say(&verdict, &format!("cargo xtask sim --script {file}"))
            }
            Err(error) => {
                eprintln!("{file}: {error}");
                true
            }
        },
        _ => {
            eprintln!("seeds FIRST COUNT SECONDS | seed N | script FILE | digests FIRST COUNT");
            eprintln!("exhaustive FILE ...");
            true
        }
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.strip_prefix("> ").unwrap_or(line).trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// What was found, and whether that is anything.
fn say(verdict: &Verdict, again: &str) -> bool {
    let failed = !verdict.findings.is_empty();
    if failed {
        println!("{}", failure::describe(verdict, again));
    }
    println!("{} findings", verdict.findings.len());
    failed
}

/// A number for each history: the same where the same happened in it. What makes runs faster must
/// not change any.
fn digests(first: u64, count: u64) {
    let seeds: Vec<u64> = (first..first.saturating_add(count)).collect();
    let all = each(&seeds, |seed| history::digest(*seed));
    for (seed, digest) in seeds.iter().zip(all) {
        println!("{seed} {digest:016x}");
    }
}

/// Looks at every moment of each situation. Says whether one ends badly or is not whole.
fn exhaustive(files: &[&str]) -> bool {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let effort = Effort { threads, most: usize::MAX, ..Effort::default() };
    let mut failed = false;
    for file in files {
        let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
        let searched = text.and_then(|text| Situation::read(&name, &text)).map(|situation| {
            let searched = search(&situation, effort);
            println!("{name}: {}", searched.summary());
            searched
        });
        match searched {
            Ok(searched) if searched.is_clean() => {}
            Ok(searched) => {
                failed = true;
                println!("{}", searched.findings.join("\n"));
                println!("the script that leads there (cargo xtask sim --script FILE):");
                searched.script.iter().for_each(|line| println!("> {line}"));
            }
            Err(words) => {
                eprintln!("{words}");
                failed = true;
            }
        }
    }
    failed
}

/// Plays seeds until they are all played or the time is over. Says whether one ends badly.
fn many(first: u64, count: u64, seconds: u64) -> bool {
    let (begun, mut next, end) = (Instant::now(), first, first.saturating_add(count));
    while next < end && begun.elapsed() < Duration::from_secs(seconds) {
        let seeds: Vec<u64> = (next..end.min(next + 1000)).collect();
        let bad = each(&seeds, |seed| {
            let verdict = history::run(*seed, |_| {});
            (!verdict.findings.is_empty()).then_some((*seed, verdict))
        });
        next += seeds.len() as u64;
        let took = begun.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = (next - first) as f64 / took;
        println!("{} runs in {took:.0} s, {rate:.0} runs/s", next - first);
        if let Some((seed, verdict)) = bad.into_iter().flatten().next() {
            println!("seed {seed} ends badly:");
            show_smaller(&verdict);
            say(&verdict, &failure::again(seed));
            return true;
        }
    }
    false
}

/// Prints the commands without which the first finding is not there.
fn show_smaller(verdict: &Verdict) {
    let Some(first) = verdict.findings.first() else { return };
    let what = kind(first);
    let fails = |script: &[String]| {
        history::replay(script, |_| {}).iter().any(|finding| kind(finding) == what)
    };
    println!("the smallest script with it (cargo xtask sim --script FILE):");
    for command in smaller(&verdict.script, fails) {
        println!("> {command}");
    }
}

/// The invariant of a finding, without when and where.
fn kind(finding: &str) -> &str {
    let told = finding.split_once(" s: ").map_or(finding, |(_, told)| told);
    told.split(':').next().unwrap_or(told).split(" not at rest").next().unwrap_or(told)
}
