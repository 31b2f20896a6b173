//! How does a lab end so that nothing of it is left, whatever state it is in?

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cgroup::Trees;
use super::topology::{CGROUP, HOST_LINK, Layout};
use super::{machine, network, preflight, process, state, sysctl};
use crate::tools::shell;

/// Takes the lab down; no lab is no error.
pub(crate) fn down() -> Result<()> {
    preflight::may_run()?;
    let layout = Layout::of_this_machine();
    let _lock = state::Lock::take()?;
    let begin = Instant::now();
    if leftovers(&layout)?.is_empty() {
        eprintln!("there is no lab");
        return Ok(());
    }
    take_down(&layout)?;
    eprintln!("the lab is down ({:.1} s)", begin.elapsed().as_secs_f32());
    Ok(())
}

/// Ends processes, then what only they kept alive, then files; the records go last, so that an
/// interrupted call can be repeated.
pub(super) fn take_down(layout: &Layout) -> Result<()> {
    let trees = Trees::of_this_machine()?;
    if trees.exists(CGROUP) {
        thaw_all(&trees);
        process::end_group(&trees, CGROUP, None)?;
    }
    network::remove_host_link()?;
    unmount_below(&[layout.run(), layout.data()])?;
    trees.remove(CGROUP)?;
    sysctl::restore(layout)?;
    remove_tree(layout.data())?;
    machine::remove_mount_points(layout);
    remove_tree(layout.run())?;
    let left = leftovers(layout)?;
    if !left.is_empty() {
        bail!("these parts of the lab could not be removed: {}", left.join("; "));
    }
    Ok(())
}

/// What there is of a lab on this machine.
pub(crate) fn leftovers(layout: &Layout) -> Result<Vec<String>> {
    let trees = Trees::of_this_machine()?;
    let mut found = Vec::new();
    let processes = trees.processes(CGROUP);
    if !processes.is_empty() {
        found.push(format!("{} processes", processes.len()));
    }
    if trees.exists(CGROUP) {
        found.push(format!("the cgroup {CGROUP}"));
    }
    if network::host_link_exists() {
        found.push(format!("the interface {HOST_LINK}"));
    }
    for dir in [layout.run(), layout.data()] {
        if dir.exists() {
            found.push(format!("the directory {}", dir.display()));
        }
        found.extend(mounts_below(dir)?.into_iter().map(|mount| format!("the mount {mount}")));
    }
    Ok(found)
}

/// A frozen process of cgroup v1 does not even take SIGKILL.
fn thaw_all(trees: &Trees) {
    for number in 0..=super::topology::MOST_NODES {
        let name = if number == 0 { "control".to_owned() } else { format!("node-{number}") };
        let group = format!("{CGROUP}/{name}");
        if trees.is_frozen(&group) {
            // If it stays frozen its processes do not end, and that is reported.
            drop(trees.freeze(&group, false));
        }
    }
}

fn mounts_below(dir: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.filter(|point| Path::new(point).starts_with(dir)).map(str::to_owned).collect())
}

/// Nothing is mounted here in a lab that ran its course; a volume of a test may be.
fn unmount_below(dirs: &[&Path]) -> Result<()> {
    for dir in dirs {
        for mount in mounts_below(dir)?.iter().rev() {
            shell::output(Command::new("umount").arg("--lazy").arg(mount))?;
        }
    }
    Ok(())
}

/// Removes a directory; the mounts of ended processes may hold it for a moment longer.
fn remove_tree(dir: &Path) -> Result<()> {
    let begin = Instant::now();
    loop {
        match fs::remove_dir_all(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if begin.elapsed() > Duration::from_secs(10) => {
                return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
