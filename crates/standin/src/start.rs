//! How does a server's process begin and end? With the flags that it is given, and with what its
//! main function returns: a code, or the reason of a failure, which goes to the log and stderr.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::version::Version;

/// The flags in their order, without dashes: with one dash or two, and their value behind `=` or as
/// the next word, as the parsers of Go and Rust both read them. `switches` have no value.
pub fn flags(
    arguments: impl IntoIterator<Item = String>,
    switches: &[&str],
) -> Result<Vec<(String, String)>> {
    let mut arguments = arguments.into_iter();
    let mut flags = Vec::new();
    while let Some(argument) = arguments.next() {
        let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        let flag = flag.with_context(|| format!("unexpected argument {argument:?}"))?;
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None if switches.contains(&flag) => (flag, Some("true".to_owned())),
            None => (flag, arguments.next()),
        };
        let value = value.with_context(|| format!("flag needs a value: -{name}"))?;
        flags.push((name.to_owned(), value));
    }
    Ok(flags)
}

/// The release to behave as: what was asked for, else what the environment says, else the default.
/// With it the text that says so, without `v`.
pub fn version(asked: Option<&str>, variable: &str) -> Result<(Version, String)> {
    let from = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let environment = from(variable).or_else(|| from("STANDIN_VERSION"));
    let Some(text) = asked.or(environment.as_deref()) else {
        return Ok((Version::default(), Version::default().bare()));
    };
    let version = Version::parse(text).with_context(|| format!("{text:?} is not a version"))?;
    Ok((version, text.trim_start_matches('v').to_owned()))
}

/// Runs `server` on a runtime whose root task stays on this thread: the kernel kills PD's etcd when
/// the thread that started it ends.
pub fn run(server: impl Future<Output = Result<u8>>) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    runtime.block_on(server).map(ExitCode::from)
}

/// The process's end.
pub fn end(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|reason| {
        eprintln!("[FATAL] {reason:#}");
        log::error!("FATAL: {reason:#}");
        ExitCode::FAILURE
    })
}

/// Prints what was asked for.
pub fn say(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}
