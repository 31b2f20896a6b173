//! Does a lab, whole or interrupted at any moment, leave this machine as it found it?

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::topology::Layout;
use super::{Lab, down, preflight};
use crate::tools::shell;

/// Moments, in seconds after its start, at which `up` is killed. The last is near its end.
const INTERRUPTIONS: &[f32] = &[0.05, 0.3, 0.8, 2.0, 5.0, 12.0];

/// What a lab could leave behind. Each line of each command is one fact.
const VIEWS: &[(&str, &str)] = &[
    ("interfaces", "ip -oneline link show | cut -d' ' -f2"),
    ("routes", "ip -4 route show table all"),
    ("network namespaces", "ls /run/netns 2>/dev/null || true"),
    ("mounts", "cut -d' ' -f5 /proc/self/mountinfo"),
    ("packet filter rules", "iptables-save 2>/dev/null | grep -v '^#' || true"),
    ("cgroups", "find /sys/fs/cgroup -maxdepth 3 -type d"),
    (
        "kernel settings",
        "cd /proc/sys; grep -H . fs/inotify/max_user_instances kernel/keys/root_max* kernel/panic \
         kernel/panic_on_oops vm/overcommit_memory vm/panic_on_oom net/ipv4/ip_forward",
    ),
    (
        "directories",
        "ls -d /run/tikv* /var/lib/tikv* /etc/cni /opt/* /opt/cni /run/containerd* /run/netns \
         /usr/libexec/kubernetes /var/lib/cni /var/lib/kubelet /var/log/containers /var/log/pods \
         /var/lib/containerd /etc/containerd /run/nri /var/run/nri 2>/dev/null || true",
    ),
    // Every program of a lab has a path of it among its arguments, shims included.
    ("programs", "ps -eo stat=,args= | grep '^[^Z].*tikv-operator-lab' | grep -v grep || true"),
];

/// Runs every case; the first that leaves something ends the test with an error.
pub(super) fn run() -> Result<()> {
    preflight::may_run()?;
    if !down::leftovers(&Layout::of_this_machine())?.is_empty() {
        bail!("a lab exists; take it down first with `cargo xtask lab down`");
    }
    let before = Facts::read()?;
    let begin = Instant::now();
    {
        let lab = Lab::up(Some(1))?;
        shell::output(lab.kubectl()?.args(["create", "namespace", "selftest"]))?;
        // A volume, a pod and a Service: each makes things of its own on the machine.
        shell::output_with_input(lab.kubectl()?.args(["apply", "-f", "-"]), POD)?;
        let wait = ["-n", "selftest", "wait", "--for=condition=Ready", "pod/a", "--timeout=60s"];
        shell::output(lab.kubectl()?.args(wait)).context("the pod of the self test")?;
    }
    down::down()?;
    before.check("a whole lab")?;
    for moment in INTERRUPTIONS {
        let mut up = Command::new(std::env::current_exe()?)
            .args(["lab", "up", "--nodes", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_secs_f32(*moment));
        up.kill()?;
        up.wait()?;
        down::down()?;
        before.check(&format!("a lab killed after {moment} s"))?;
    }
    println!(
        "a whole lab and {} interrupted ones left nothing behind ({:.0} s)",
        INTERRUPTIONS.len(),
        begin.elapsed().as_secs_f32()
    );
    Ok(())
}

const POD: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "selftest"},
   "spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}},
  {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a", "namespace": "selftest"},
   "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}},
  {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "selftest", "labels": {"app": "a"}},
   "spec": {
     "containers": [{"name": "a", "image": "localhost/tikv-operator-lab/busybox:1",
       "command": ["sleep", "1000"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
     "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "a"}}]}}
]}"#;

/// What the views showed at one moment.
struct Facts(Vec<(&'static str, BTreeSet<String>)>);

impl Facts {
    fn read() -> Result<Self> {
        let mut facts = Vec::new();
        for (name, script) in VIEWS {
            let text = shell::output(Command::new("sh").args(["-c", script]))?;
            facts.push((*name, text.lines().map(str::to_owned).collect()));
        }
        Ok(Self(facts))
    }

    /// Compares with the present; things that go away a moment after their process get that moment.
    fn check(&self, after: &str) -> Result<()> {
        let begin = Instant::now();
        loop {
            let now = Self::read()?;
            let changed = self.changes(&now);
            if changed.is_empty() {
                return Ok(());
            }
            if begin.elapsed() > Duration::from_secs(5) {
                bail!("after {after} this machine is not as before:\n{}", changed.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for ((name, old), (_, new)) in self.0.iter().zip(&now.0) {
            changes.extend(new.difference(old).map(|line| format!("{name}: + {line}")));
            changes.extend(old.difference(new).map(|line| format!("{name}: - {line}")));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_in_either_direction_is_seen() {
        let facts = |lines: &[&str]| {
            Facts(vec![("mounts", lines.iter().map(|line| (*line).to_owned()).collect())])
        };
        assert!(facts(&["/a"]).changes(&facts(&["/a"])).is_empty());
        assert_eq!(facts(&["/a"]).changes(&facts(&["/b"])), ["mounts: + /b", "mounts: - /a"]);
    }
}
