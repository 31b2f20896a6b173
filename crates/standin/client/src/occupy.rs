//! How does a disk get full? By a file that grows until nothing more fits: the test's stand-in for
//! whatever fills disks.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde_json::json;

use crate::Summary;

const BLOCK: usize = 1 << 20;

/// Writes `path` until the disk is full.
pub(crate) fn run(path: &Path) -> Result<Summary, String> {
    let mut file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut written = 0_u64;
    // Whole blocks first, then what is left of the last one.
    for size in [BLOCK, 1 << 12, 1] {
        let block = vec![b'x'; size];
        loop {
            match file.write(&block) {
                Ok(0) => break,
                Ok(count) => written += count as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
        }
    }
    Ok(Summary {
        json: json!({ "command": "occupy", "bytes": written }),
        sentence: format!("{written} bytes in {}; nothing more fits", path.display()),
        passed: true,
    })
}
