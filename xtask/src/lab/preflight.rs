//! Can this machine hold a lab at all? If not: which one thing is in the way?

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::topology::{HOST_LINK, Layout};
use crate::tools::{INSTEAD, debian, shell};

/// Makes and uses, in namespaces that end with it, everything that a lab is made of.
const PROBE: &str = "ip link add probe0 type bridge \
     && ip link add probe1 type veth peer name probe2 \
     && iptables -t nat -A OUTPUT -d 10.96.0.1/32 -p tcp -m comment --comment probe -m statistic \
        --mode random --probability 0.5 -j DNAT --to-destination 10.91.1.2";

/// Whether this user may run a lab here at all; asks nothing that takes time.
pub(crate) fn may_run() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the lab needs Linux; use a Linux machine, {INSTEAD}");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the lab needs root for its network namespaces; run it as root, {INSTEAD}");
    }
    Ok(())
}

/// Checks what a new lab needs, installing missing Debian packages.
pub(crate) fn check(layout: &Layout) -> Result<()> {
    may_run()?;
    debian::ensure(debian::FOR_LAB)?;
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !systems.lines().any(|line| line.ends_with("\toverlay"))
        && shell::output(Command::new("modprobe").arg("overlay")).is_err()
    {
        bail!(
            "the lab needs a kernel with overlayfs (CONFIG_OVERLAY_FS); use another machine, {INSTEAD}"
        );
    }
    // Without this module packets that cross a bridge skip the Service rules; it may be built in.
    drop(shell::output(Command::new("modprobe").arg("br_netfilter")));
    let probe = Command::new("unshare").args(["--net", "--mount", "sh", "-c", PROBE]).output();
    match probe {
        Ok(done) if done.status.success() => {}
        Ok(done) => bail!(
            "the lab needs a kernel with network namespaces, bridges, veth and iptables NAT; use another \
             machine, {INSTEAD} ({})",
            String::from_utf8_lossy(&done.stderr).trim()
        ),
        Err(error) => bail!("the lab needs `unshare` of util-linux, {INSTEAD} ({error})"),
    }
    addresses_are_free()?;
    disk_suits(layout.data())
}

/// A route of this machine into the lab's ranges would send the lab's traffic elsewhere.
fn addresses_are_free() -> Result<()> {
    let routes = shell::output(Command::new("ip").args(["-4", "route", "show", "table", "all"]))?;
    let taken = routes.lines().find(|line| {
        !line.contains(&format!("dev {HOST_LINK}"))
            && line.split_whitespace().take(2).any(|word| {
                ["10.90.0.", "10.91.", "10.96."].iter().any(|range| word.starts_with(range))
            })
    });
    taken.map_or(Ok(()), |line| {
        bail!(
            "this machine already uses addresses of the lab (`{}`); remove that route, {INSTEAD}",
            line.trim()
        )
    })
}

/// Containers' file systems cannot be stacked on an overlay, as in a container.
fn disk_suits(data: &Path) -> Result<()> {
    let mut dir = data.to_path_buf();
    while !dir.exists() && dir.pop() {}
    let kind =
        shell::output(Command::new("stat").args(["--file-system", "--format=%T"]).arg(&dir))?;
    if kind.trim().starts_with("overlay") {
        bail!(
            "{} is on an overlay, on which containers cannot run; set TIKV_OPERATOR_LAB_DATA to a \
             directory on a real disk, {INSTEAD}",
            dir.display()
        );
    }
    Ok(())
}
