//! Which processes are the lab's?
//!
//! Those in its cgroup, and nothing else: every program of the lab joins it before it runs, children
//! and containers stay in it, and no other process ever enters it. So nothing is found by name, an
//! interrupted start loses no process, and a recycled pid is never taken for ours.
//!
//! cgroup v1 has one tree per controller, each of which gets the lab's directories; v2 has one tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

const ROOT: &str = "/sys/fs/cgroup";

/// The cgroup trees of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trees {
    /// Mount points.
    roots: Vec<PathBuf>,
    /// Whether there is the one tree of version 2.
    unified: bool,
}

impl Trees {
    /// Reads which trees this machine has.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        let trees = Self::from_mountinfo(&mounts);
        if trees.roots.is_empty() {
            bail!("no cgroup file system is mounted below {ROOT}");
        }
        Ok(trees)
    }

    fn from_mountinfo(mounts: &str) -> Self {
        let mut first = BTreeSet::new();
        let mut second = BTreeSet::new();
        for line in mounts.lines() {
            let Some((mount, source)) = line.split_once(" - ") else { continue };
            let Some(point) = mount.split(' ').nth(4) else { continue };
            if !point.starts_with(ROOT) {
                continue;
            }
            match source.split(' ').next() {
                Some("cgroup") => first.insert(PathBuf::from(point)),
                Some("cgroup2") => second.insert(PathBuf::from(point)),
                Some(_) | None => false,
            };
        }
        // In the hybrid layout the version 2 tree has no controllers: containers do not use it.
        let unified = first.is_empty();
        Self { roots: if unified { second } else { first }.into_iter().collect(), unified }
    }

    /// Makes a group and those above it in every tree, able to hold containers.
    pub(crate) fn create(&self, group: &str) -> Result<()> {
        for root in &self.roots {
            let mut dir = root.clone();
            for part in group.split('/') {
                if self.unified {
                    delegate_controllers(&dir);
                }
                let parent = dir.clone();
                dir.push(part);
                if !dir.is_dir() {
                    fs::create_dir(&dir)
                        .with_context(|| format!("cannot create the cgroup {}", dir.display()))?;
                }
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    inherit_cpuset(&parent.join(file), &dir.join(file));
                }
            }
            if self.unified && group.ends_with("/pods") {
                delegate_controllers(&dir);
            }
        }
        Ok(())
    }

    /// The files into which a process writes its pid to join the group.
    pub(crate) fn membership_files(&self, group: &str) -> Vec<PathBuf> {
        self.roots.iter().map(|root| root.join(group).join("cgroup.procs")).collect()
    }

    /// The processes of a group and of all groups below it.
    pub(crate) fn processes(&self, group: &str) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for root in &self.roots {
            for dir in with_children(&root.join(group)) {
                // A group that ends while it is read has no processes.
                let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            }
        }
        found
    }

    /// Whether the process is in the group now, in any tree.
    pub(crate) fn contains(group: &str, pid: i32) -> bool {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        is_member(&text, group)
    }

    /// Whether any tree has the group.
    pub(crate) fn exists(&self, group: &str) -> bool {
        self.roots.iter().any(|root| root.join(group).is_dir())
    }

    /// Stops every process of the group where it stands, as a hung machine does, or lets it run on.
    pub(crate) fn freeze(&self, group: &str, frozen: bool) -> Result<()> {
        let (file, value, done) = if self.unified {
            let dir = self.first(group)?;
            let state = if frozen { "1" } else { "0" };
            (
                dir.join("cgroup.freeze"),
                state,
                (dir.join("cgroup.events"), format!("frozen {state}")),
            )
        } else {
            let dir = Path::new(ROOT).join("freezer").join(group);
            let file = dir.join("freezer.state");
            let state = if frozen { "FROZEN" } else { "THAWED" };
            (file.clone(), state, (file, state.to_owned()))
        };
        fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))?;
        let begin = Instant::now();
        while !fs::read_to_string(&done.0)?.contains(&done.1) {
            if begin.elapsed() > Duration::from_secs(10) {
                bail!("the processes of {group} did not reach the state {value} within 10 s");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether the group was frozen by [`Trees::freeze`].
    pub(crate) fn is_frozen(&self, group: &str) -> bool {
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        if self.unified {
            self.first(group).is_ok_and(|dir| read(dir.join("cgroup.freeze")).trim() == "1")
        } else {
            let file = Path::new(ROOT).join("freezer").join(group).join("freezer.self_freezing");
            read(file).trim() == "1"
        }
    }

    /// Lets the group of a process write only so often a second to a disk, or as often as it likes.
    pub(crate) fn limit_writes(&self, pid: i32, disk: &str, most: Option<u32>) -> Result<()> {
        let file = format!("/proc/{pid}/cgroup");
        let groups = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let controller = if self.unified { "" } else { "blkio" };
        let group = group_of(&groups, controller)
            .with_context(|| format!("the process {pid} is in no cgroup that counts writes"))?;
        let root = Path::new(ROOT).join(controller).join(group.trim_start_matches('/'));
        let (file, limit) = if self.unified {
            let most = most.map_or("max".to_owned(), |most| most.to_string());
            ("io.max", format!("{disk} wiops={most}"))
        } else {
            ("blkio.throttle.write_iops_device", format!("{disk} {}", most.unwrap_or(0)))
        };
        let file = root.join(file);
        fs::write(&file, limit).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Removes a group and all below it; its processes must have ended.
    pub(crate) fn remove(&self, group: &str) -> Result<()> {
        let begin = Instant::now();
        for root in &self.roots {
            loop {
                let mut dirs = with_children(&root.join(group));
                dirs.reverse();
                let mut last = None;
                for dir in dirs {
                    if let Err(error) = fs::remove_dir(&dir) {
                        last = Some((dir, error));
                    }
                }
                let Some((dir, error)) = last else { break };
                // The kernel lets go of a group a moment after its last process.
                if begin.elapsed() > Duration::from_secs(10) {
                    return Err(error)
                        .with_context(|| format!("cannot remove the cgroup {}", dir.display()));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    fn first(&self, group: &str) -> Result<PathBuf> {
        self.roots.first().map(|root| root.join(group)).context("no cgroup tree")
    }
}

/// Lets groups below `dir` use every controller that `dir` has (cgroup v2).
fn delegate_controllers(dir: &Path) {
    let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        // One at a time: a controller that cannot be delegated must not keep back the others; the
        // kubelet says which ones it misses.
        drop(fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")));
    }
}

/// A new cpuset group of v1 has no CPUs and takes no process until it is given some.
fn inherit_cpuset(parent: &Path, child: &Path) {
    let own = fs::read_to_string(child).unwrap_or_default();
    if child.exists() && own.trim().is_empty() {
        let value = fs::read_to_string(parent).unwrap_or_default();
        drop(fs::write(child, value.trim()));
    }
}

/// The directory and all below it, parents first; none if it does not exist.
fn with_children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut all = vec![dir.to_path_buf()];
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(with_children(&entry.path()));
        }
    }
    all
}

/// The group of a process in the tree of one controller, or with an empty name in the one of version 2.
fn group_of<'a>(proc_cgroup: &'a str, controller: &str) -> Option<&'a str> {
    let mut lines = proc_cgroup.lines().filter_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(group)
    });
    lines.next()
}

/// Inside a container the kernel shows the container's own groups before ours.
fn is_member(proc_cgroup: &str, group: &str) -> bool {
    proc_cgroup.lines().any(|line| {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        format!("{path}/").contains(&format!("/{group}/"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
30 1 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
32 30 0:28 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    const V2: &str =
        "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";

    #[test]
    fn both_versions_are_told_apart() {
        let first = Trees::from_mountinfo(V1);
        assert!(!first.unified);
        assert_eq!(
            first.roots,
            [Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup/freezer")]
        );
        let second = Trees::from_mountinfo(V2);
        assert!(second.unified);
        assert_eq!(second.roots, [Path::new("/sys/fs/cgroup")]);
    }

    #[test]
    fn membership_is_by_whole_path_components() {
        let text = "12:pids:/lab/node-1/system\n0::/user.slice";
        assert!(is_member(text, "lab"));
        assert!(is_member(text, "lab/node-1"));
        assert!(is_member(text, "lab/node-1/system"));
        assert!(is_member("5:pids:/docker/1a/lab/node-1", "lab"));
        assert!(!is_member(text, "lab/node"));
        assert!(!is_member(text, "lab/node-2"));
        assert!(!is_member("", "lab"));
    }

    #[test]
    fn a_process_has_a_group_in_each_tree() {
        let text = "7:blkio:/lab/pods/a\n6:cpu,cpuacct:/lab/pods/b\n0::/lab/pods/c";
        assert_eq!(group_of(text, "blkio"), Some("/lab/pods/a"));
        assert_eq!(group_of(text, "cpuacct"), Some("/lab/pods/b"));
        assert_eq!(group_of(text, ""), Some("/lab/pods/c"));
        assert_eq!(group_of(text, "memory"), None);
    }

    #[test]
    fn groups_are_listed_parents_first() {
        let root = std::env::temp_dir().join(format!("xtask-groups-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        assert_eq!(with_children(&root), [root.clone(), root.join("a"), root.join("a/b")]);
        fs::remove_dir_all(&root).unwrap();
        assert!(with_children(&root).is_empty());
    }
}
