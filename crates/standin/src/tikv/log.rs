//! Where do the store's log lines go, and what do they look like? Much like TiKV's: Unix
//! time, level, place, message, to stderr or the file that `--log-file` or `log.file.filename` names.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl Level {
    /// Reads a value of `log.level`; unknown words mean `info`.
    pub fn parse(word: &str) -> Self {
        match word {
            "trace" | "debug" => Self::Debug,
            "warn" | "warning" => Self::Warn,
            "error" => Self::Error,
            "critical" | "fatal" => Self::Fatal,
            _other => Self::Info,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);
static FILE: OnceLock<Mutex<File>> = OnceLock::new();

/// Lines below `level` are left out from now on.
pub fn set_level(level: Level) {
    LEAST.store(level as u8, Ordering::Relaxed);
}

/// Sends lines to `path` from now on.
pub fn to_file(path: &Path) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    // Set once, at start.
    let _ = FILE.set(Mutex::new(file));
    Ok(())
}

/// Writes one line. A line that cannot be written is lost: there is nowhere else to say so.
pub fn line(level: Level, message: &str) {
    if (level as u8) < LEAST.load(Ordering::Relaxed) {
        return;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let text = format!("[{seconds}.{millis:03}] [{}] [standin] [{message:?}]\n", level.word());
    let _ = match FILE.get().map(Mutex::lock) {
        Some(Ok(mut file)) => file.write_all(text.as_bytes()),
        Some(Err(_)) | None => std::io::stderr().write_all(text.as_bytes()),
    };
}
