//! How large is the filesystem of the data directory, and how much of it is free?

use std::path::Path;

/// Total and free bytes; zeros when the filesystem does not say.
pub fn of(path: &Path) -> (u64, u64) {
    match rustix::fs::statvfs(path) {
        Ok(stat) => (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize),
        Err(_) => (0, 0),
    }
}
