//! Which kernel settings change while a lab runs, and how do they get their old values back?

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::topology::Layout;

/// Settings of the whole machine that a kubelet writes at its start, and the one that we raise.
const CHANGED: &[&str] = &[
    "fs/inotify/max_user_instances",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Kubelets and runtimes watch many files as one user; the usual limit of 128 ends at about six nodes.
const WATCHERS: u64 = 8192;

/// Remembers the values, once per lab, and raises what is too low.
pub(crate) fn save_and_raise(layout: &Layout) -> Result<()> {
    let path = saved(layout);
    if !path.exists() {
        let values: BTreeMap<&str, String> = CHANGED
            .iter()
            .filter_map(|name| {
                Some((*name, fs::read_to_string(file(name)).ok()?.trim().to_owned()))
            })
            .collect();
        super::state::write_atomically(&path, &serde_json::to_vec_pretty(&values)?)?;
    }
    let watchers = file("fs/inotify/max_user_instances");
    let now = fs::read_to_string(&watchers)?.trim().parse::<u64>().unwrap_or(0);
    if now < WATCHERS {
        fs::write(&watchers, WATCHERS.to_string()).context("cannot raise the inotify limit")?;
    }
    Ok(())
}

/// Puts the remembered values back.
pub(crate) fn restore(layout: &Layout) -> Result<()> {
    let Ok(text) = fs::read(saved(layout)) else { return Ok(()) };
    let values: BTreeMap<String, String> =
        serde_json::from_slice(&text).context("the saved kernel settings are not readable")?;
    for (name, value) in values.iter().filter(|(name, _)| CHANGED.contains(&name.as_str())) {
        let path = file(name);
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() != value) {
            fs::write(&path, value).with_context(|| format!("cannot restore {name}"))?;
        }
    }
    Ok(())
}

fn saved(layout: &Layout) -> PathBuf {
    layout.run().join("sysctls.json")
}

fn file(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}
