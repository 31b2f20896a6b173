//! What does the lab remember between two commands?

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::topology::Layout;

/// The lab's own record, in `lab.json` of its run directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Number of nodes.
    pub(crate) nodes: u8,
    /// Whether `up` came to its end; a lab that did not is taken down by the next command.
    pub(crate) complete: bool,
    /// The boot of this machine in which it was started.
    pub(crate) boot: String,
    /// Directories of the programs that it was started with.
    pub(crate) programs: Vec<String>,
}

impl State {
    /// Reads the record; none if there is no lab or the file is not whole.
    pub(crate) fn read(layout: &Layout) -> Option<Self> {
        serde_json::from_slice(&fs::read(layout.run().join("lab.json")).ok()?).ok()
    }

    /// Writes the record.
    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        write_atomically(&layout.run().join("lab.json"), &serde_json::to_vec_pretty(self)?)
    }
}

/// The identity of the current boot.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Keeps two commands from changing the lab at once; the kernel releases it however its holder ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who should be waited for.
    pub(crate) fn take() -> Result<Self> {
        // A directory that always exists: a file of our own would be left behind by `down`.
        let file = File::open("/run").context("cannot open /run")?;
        if file.try_lock().is_err() {
            bail!("another `cargo xtask lab` command is changing the lab; wait for it to end");
        }
        Ok(Self { _file: file })
    }
}

/// Replaces a file in one step.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
}
