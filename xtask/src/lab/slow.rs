//! How does the disk under one container become slow?
//!
//! Its cgroup may write only so often a second to the device under a volume; all others keep their
//! pace, also those on the same disk. What a process writes and syncs itself is counted, which is what
//! a database waits for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use super::cgroup::Trees;

/// Which container writes slowly.
#[derive(Debug, Clone, Args)]
pub(crate) struct SlowDisk {
    /// The pod's namespace.
    namespace: String,
    /// The pod.
    pod: String,
    /// The container.
    container: String,
    /// Where the volume is mounted in it.
    #[arg(long, value_name = "PATH")]
    mount: PathBuf,
    /// Writes a second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    iops: u32,
    /// Gives it its pace back.
    #[arg(long)]
    end: bool,
}

impl SlowDisk {
    /// The container: namespace, pod and name.
    pub(super) fn named(&self) -> [&String; 3] {
        [&self.namespace, &self.pod, &self.container]
    }

    /// Slows the container with this process down, or ends that.
    pub(super) fn apply(&self, trees: &Trees, pid: i32) -> Result<()> {
        let file = format!("/proc/{pid}/mountinfo");
        let mounts = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let mounted = device_of(&mounts, &self.mount);
        let mounted = mounted.with_context(|| {
            format!("no block device is mounted at {} in {}", self.mount.display(), self.pod)
        })?;
        let device = whole_disk(Path::new("/sys/dev/block"), &mounted)?;
        trees.limit_writes(pid, &device, (!self.end).then_some(self.iops))
    }
}

/// `major:minor` of what is mounted there last; none if that is no block device.
fn device_of(mountinfo: &str, mount: &Path) -> Option<String> {
    let at = |line: &&str| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == mount);
    let device = mountinfo.lines().rfind(at)?.split(' ').nth(2)?;
    (!device.starts_with("0:")).then(|| device.to_owned())
}

/// The disk that a partition belongs to: writes are counted for whole disks only.
fn whole_disk(devices: &Path, device: &str) -> Result<String> {
    let directory = devices.join(device);
    if !directory.join("partition").exists() {
        return Ok(device.to_owned());
    }
    let parent = fs::canonicalize(&directory)
        .with_context(|| format!("no block device {device}"))?
        .parent()
        .map(|disk| disk.join("dev"))
        .with_context(|| format!("{device} is a partition of no disk"))?;
    let text =
        fs::read_to_string(&parent).with_context(|| format!("cannot read {}", parent.display()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_counts_and_memory_is_no_device() {
        let mounts = "\
31 30 0:27 / /tmp rw - tmpfs tmpfs rw
32 30 254:0 /a /var/lib/tikv rw - ext4 /dev/vda rw
33 30 7:3 / /var/lib/tikv rw - ext4 /dev/loop3 rw
34 30 254:0 /b /var/lib/tikv/data rw - ext4 /dev/vda rw";
        let device = |mount: &str| device_of(mounts, Path::new(mount));
        assert_eq!(device("/var/lib/tikv").as_deref(), Some("7:3"));
        assert_eq!(device("/tmp"), None);
        assert_eq!(device("/var/lib"), None);
    }

    #[test]
    fn a_partition_counts_as_its_disk() {
        let root = std::env::temp_dir().join(format!("xtask-disks-{}", std::process::id()));
        let disk = root.join("vdb");
        fs::create_dir_all(disk.join("vdb1")).unwrap();
        fs::write(disk.join("dev"), "254:16\n").unwrap();
        fs::write(disk.join("vdb1/partition"), "1\n").unwrap();
        std::os::unix::fs::symlink(&disk, root.join("254:16")).unwrap();
        std::os::unix::fs::symlink(disk.join("vdb1"), root.join("254:17")).unwrap();
        assert_eq!(whole_disk(&root, "254:17").unwrap(), "254:16");
        assert_eq!(whole_disk(&root, "254:16").unwrap(), "254:16");
        fs::remove_dir_all(&root).unwrap();
    }
}
