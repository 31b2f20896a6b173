//! Where do the servers' log lines go? To stderr, or to the file that flag or configuration name;
//! time, level and message, much like PD's and TiKV's.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::units;

/// How much a line matters.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// For whoever debugs the stand-in.
    Debug,
    /// What happened.
    Info,
    /// What should not happen often.
    Warn,
    /// What failed.
    Error,
    /// The process ends.
    Fatal,
}

static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);
static FILE: OnceLock<Mutex<File>> = OnceLock::new();

/// Lines below the level that `word`, a value of `log.level`, names are left out from now on.
pub fn set_level(word: &str) {
    let level = match word {
        "trace" | "debug" => Level::Debug,
        "warn" | "warning" => Level::Warn,
        "error" => Level::Error,
        "critical" | "fatal" => Level::Fatal,
        _other => Level::Info,
    };
    LEAST.store(level as u8, Ordering::Relaxed);
}

/// Sends the log to `path` from now on, creating its directory.
pub fn to_file(path: &Path) -> Result<(), String> {
    let open = || {
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        OpenOptions::new().create(true).append(true).open(path)
    };
    let file = open().map_err(|error| format!("log file {}: {error}", path.display()))?;
    drop(FILE.set(Mutex::new(file)));
    Ok(())
}

/// Writes what happened.
pub fn info(text: &str) {
    line(Level::Info, text);
}

/// Writes what should not happen often.
pub fn warn(text: &str) {
    line(Level::Warn, text);
}

/// Writes one line. A line that cannot be written is lost: there is nowhere else to say so.
pub fn line(level: Level, text: &str) {
    if (level as u8) < LEAST.load(Ordering::Relaxed) {
        return;
    }
    let level = format!("{level:?}").to_uppercase();
    let text = format!("[{}] [{level}] {text}\n", units::rfc3339(units::now_nanos()));
    drop(match FILE.get().map(Mutex::lock) {
        Some(Ok(mut file)) => file.write_all(text.as_bytes()),
        Some(Err(_)) | None => std::io::stderr().write_all(text.as_bytes()),
    });
}
