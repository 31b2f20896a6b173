//! Where do the server's log lines go? To stderr, or to the file that the options name.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use super::clock;

static FILE: OnceLock<Mutex<File>> = OnceLock::new();

/// Sends the log to `path` from now on, creating its directory.
pub fn to_file(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    drop(FILE.set(Mutex::new(file)));
    Ok(())
}

/// Writes one line with the time before it. A line that cannot be written is lost.
pub fn line(text: &str) {
    let stamp = clock::rfc3339(clock::now_nanos());
    match FILE.get().map(Mutex::lock) {
        Some(Ok(mut file)) => drop(writeln!(file, "[{stamp}] {text}")),
        Some(Err(_)) | None => drop(writeln!(std::io::stderr(), "[{stamp}] {text}")),
    }
}
