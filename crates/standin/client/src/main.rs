//! Does a cluster keep what it acknowledged, and how long is it away? `tikv-check` asks as a user
//! would: with the published `tikv-client` crate, RawKV, API V1, through PD. It runs unchanged
//! against a real TiKV and against the stand-ins.
//!
//! `write` puts keys, `verify` reads them back, `continuous` writes while something happens to the
//! cluster, then reads back all that was acknowledged and judges the histories of its registers.
//! Summaries are JSON on stdout; the exit code is 1 when a key is missing or a history impossible.

mod books;
mod continuous;
mod control;
mod fill;
mod history;
mod keys;
mod occupy;
mod options;
mod session;

use std::process::ExitCode;

use options::{Command, Options};

const USAGE: &str = "\
tikv-check write --pd HOST:PORT[,HOST:PORT] --prefix P --count N [--workers W] [--patience S]
tikv-check verify --pd HOST:PORT[,HOST:PORT] --prefix P --count N [--workers W] [--patience S]
tikv-check occupy --file FILE    (grows FILE until the disk is full)
tikv-check continuous --pd HOST:PORT[,HOST:PORT] --prefix P --seconds S --rate R --books FILE
    [--registers K] [--patience S] [--control PORT: GET /stop ends the run]
patience: seconds after which a key that cannot be read or written counts as failed (60)";

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => return complain(&format!("{reason}\n{USAGE}")),
    };
    let outcome = match options.command {
        Command::Write => fill::write(&options).await,
        Command::Verify => fill::verify(&options).await,
        Command::Continuous => continuous::run(&options).await,
        Command::Occupy => occupy::run(&options.file.clone().unwrap_or_default()),
    };
    match outcome {
        Ok(summary) => print(&summary),
        Err(reason) => complain(&reason),
    }
}

/// What a command found.
pub(crate) struct Summary {
    json: serde_json::Value,
    /// One sentence for whoever looks.
    sentence: String,
    passed: bool,
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn print(summary: &Summary) -> ExitCode {
    println!("{}", summary.json);
    eprintln!("{}", summary.sentence);
    if summary.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[allow(clippy::print_stderr)]
fn complain(reason: &str) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::FAILURE
}
