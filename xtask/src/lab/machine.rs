//! What makes a directory and a process look like a machine of its own?
//!
//! One process that does nothing holds a network and a mount namespace; every program of the machine
//! enters them. The directories that container runtimes and kubelets share by convention are the
//! machine's own there. Nothing is mounted in this machine's own namespace, and all of it, networks,
//! links and mounts, ends when the last process of the machine has ended.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cgroup::Trees;
use super::process::{HOLDER, Processes, Service};
use super::topology::{Layout, Machine};

/// Directories with fixed paths in kubelet, containerd, its shim or the CNI library.
const PRIVATE: &[&str] = &[
    "/etc/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

/// `$1` is the file that says that the machine is ready, then pairs of a directory and where it appears.
const HOLD: &str = r#"
set -eu
ready=$1
shift
mount --make-rshared /
while [ $# -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
# A pod reaches its own Service through the bridge: the answer must pass the NAT rules too.
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; fi
: > "$ready"
exec sleep infinity
"#;

/// Starts a machine unless it runs: cgroups, directories, namespaces.
pub(crate) fn start(
    layout: &Layout,
    trees: &Trees,
    processes: &Processes,
    machine: &Machine,
) -> Result<()> {
    if processes.running(machine, HOLDER).is_some() {
        return Ok(());
    }
    trees.create(&machine.system_cgroup())?;
    trees.create(&machine.pods_cgroup())?;
    let run = layout.machine_run(machine);
    fs::create_dir_all(&run)?;
    fs::create_dir_all(layout.machine_data(machine))?;
    let ready = run.join("ready");
    if ready.exists() {
        fs::remove_file(&ready)?;
    }
    let mut hold = Service::new(HOLDER, Path::new("unshare"))
        .args(["--net", "--mount", "--propagation", "slave", "--", "sh", "-c", HOLD, HOLDER])
        .arg(&ready);
    for shared in PRIVATE {
        make_mount_point(layout, Path::new(shared))?;
        let own = run.join("private").join(shared.trim_start_matches('/').replace('/', "-"));
        fs::create_dir_all(&own)?;
        hold = hold.arg(&own).arg(*shared);
    }
    processes.start_holder(machine, hold)?;
    let begin = Instant::now();
    while !ready.exists() {
        if processes.running(machine, HOLDER).is_none() || begin.elapsed() > Duration::from_secs(10)
        {
            bail!(
                "the machine {} did not start; see {}",
                machine.name,
                layout.logs().join(format!("{}-{HOLDER}.log", machine.name)).display()
            );
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Makes a directory of this machine to mount on, and remembers it first so that `down` takes it away.
fn make_mount_point(layout: &Layout, dir: &Path) -> Result<()> {
    let mut missing: Vec<&Path> = dir.ancestors().take_while(|part| !part.exists()).collect();
    missing.reverse();
    for part in missing {
        let mut list = OpenOptions::new().create(true).append(true).open(created_list(layout))?;
        writeln!(list, "{}", part.display())?;
        fs::create_dir(part).with_context(|| format!("cannot create {}", part.display()))?;
    }
    Ok(())
}

/// Removes the directories that were made as mount points, unless somebody uses them by now.
pub(crate) fn remove_mount_points(layout: &Layout) {
    let list = fs::read_to_string(created_list(layout)).unwrap_or_default();
    for dir in list.lines().rev() {
        // Not empty: another program put something there, and it stays.
        drop(fs::remove_dir(dir));
    }
}

fn created_list(layout: &Layout) -> std::path::PathBuf {
    layout.run().join("created-directories")
}
