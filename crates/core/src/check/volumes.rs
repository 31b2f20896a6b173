//! Which paths may a user mount, and which volumes are asked for?

use std::collections::BTreeSet;

use tikv_operator_api::names::{self, MOUNTED, RESERVED_VOLUMES};
use tikv_operator_api::v1alpha1::StorageVolume as Raw;

use super::problems::Problems;
use super::scalars;
use crate::cluster::{Quantity, Storage, StorageVolume};

/// Would a mount at this path hide a directory that the operator mounts?
pub(super) fn hides_ours(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let below = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    MOUNTED.iter().any(|ours| below(path, ours) || below(ours, path))
}

/// Reads `storageVolumes`; the class of the data volume holds where an entry has none.
pub(super) fn read(
    volumes: &[Raw],
    class: Option<&String>,
    path: &str,
    problems: &mut Problems,
) -> Vec<StorageVolume> {
    let mut paths = BTreeSet::new();
    let mut read = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let at = format!("{path}.storageVolumes[{index}]");
        if RESERVED_VOLUMES.contains(&volume.name.as_str()) {
            problems.broken(format!("{at}.name"), "storage-volume-name");
        }
        if hides_ours(&volume.mount_path) {
            problems.broken(format!("{at}.mountPath"), "storage-volume-path");
        } else if !paths.insert(volume.mount_path.as_str()) {
            problems.broken(format!("{at}.mountPath"), "storage-volumes-apart");
        }
        let size = size(&volume.storage_size.0, &format!("{at}.storageSize"), problems);
        if size.milli() == 0 {
            problems.broken(format!("{at}.storageSize"), "storage-volume-size");
        }
        read.push(StorageVolume {
            name: volume.name.clone(),
            mount_path: volume.mount_path.clone(),
            storage: Storage { size, class: volume.storage_class_name.as_ref().or(class).cloned() },
        });
    }
    read
}

/// Reads a quantity; zero stands in for one that cannot be read.
pub(super) fn size(text: &str, path: &str, problems: &mut Problems) -> Quantity {
    scalars::quantity(text).unwrap_or_else(|| {
        problems.reject(
            path,
            format!(
                "Is {text:?}, which is not a quantity such as 500m, 2 or 10Gi, or is too large."
            ),
        );
        Quantity::new("0".to_owned(), 0)
    })
}

/// Directories of a component that outlive a container.
pub(super) fn directories(component: names::Component, volumes: &[StorageVolume]) -> Vec<String> {
    let data = std::iter::once(names::data_dir(component).to_owned());
    data.chain(volumes.iter().map(|volume| volume.mount_path.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_stay_out_of_our_directories() {
        for bad in [
            "/",
            "/var",
            "/var/lib/",
            "/var/lib/tikv",
            "/var/lib/tikv/x",
            "/etc",
            "/tmp/",
            "/tmp/a",
        ] {
            assert!(hides_ours(bad), "{bad}");
        }
        for good in ["/var/lib/tikv2", "/data", "/etc/ssl", "/tmpfs", "/var/log"] {
            assert!(!hides_ours(good), "{good}");
        }
    }
}
