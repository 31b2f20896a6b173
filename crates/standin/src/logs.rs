//! Where do the servers' log lines go? To stderr, or to the file that flag or configuration name;
//! time, level and message, much like PD's and TiKV's.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use env_logger::Target;
use log::LevelFilter;

/// Begins the log: in `file`, whose directory is made, or on stderr where that is empty.
pub fn start(file: &Path, level: &str) -> Result<()> {
    let mut builder = env_logger::Builder::new();
    builder.filter_module("standin", LevelFilter::Trace);
    builder.format(|out, line| {
        let now = jiff::Timestamp::now();
        writeln!(out, "[{now}] [{}] {}", line.level(), line.args())
    });
    if !file.as_os_str().is_empty() {
        let failed = || format!("log file {}", file.display());
        std::fs::create_dir_all(file.parent().unwrap_or(file)).with_context(failed)?;
        let opened = OpenOptions::new().create(true).append(true).open(file);
        builder.target(Target::Pipe(Box::new(opened.with_context(failed)?)));
    }
    builder.init();
    set_level(level);
    Ok(())
}

/// Lines below the level that `word`, a value of `log.level`, names are left out from now on.
pub fn set_level(word: &str) {
    log::set_max_level(match word {
        "warning" => LevelFilter::Warn,
        "critical" | "fatal" => LevelFilter::Error,
        word => word.parse().unwrap_or(LevelFilter::Info),
    });
}
