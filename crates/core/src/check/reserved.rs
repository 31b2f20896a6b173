//! Which keys of PD's and TiKV's configuration are the operator's?
//!
//! Names, addresses, data directories, how PD starts and certificate paths follow from the pod; a
//! user's value would start a server that nobody finds, or on an empty directory. Keys are compared
//! in lower case with `_` as `-`: PD's TOML reader ignores case. Sources: PD v8.5 `server/config`,
//! TiKV v8.5 `src/config`.

use tikv_operator_api::names::Component;

/// A key that is refused, and where its value comes from instead.
#[derive(Debug)]
pub(super) struct Reserved {
    /// Dotted key; a trailing `*` stands for any rest.
    pub(super) key: &'static str,
    /// The way out.
    pub(super) instead: &'static str,
}

const NAME: &str = "The operator names members after their pods. Remove it.";
const ADDRESS: &str = "The operator sets addresses and ports. Remove it.";
const DATA: &str = "The data directory is the volume; dataSubDir chooses a directory below it. \
                    Remove it.";
const START: &str = "The operator decides how PD starts, once. Remove it.";
const CERTIFICATES: &str = "Certificates come with tlsCluster. Remove it.";
const ENDPOINTS: &str = "TiKV reaches PD by the cluster's own Service. Remove it.";
const CAPACITY: &str = "Set limits.storage instead.";
const LABELS: &str = "Labels differ from store to store. Set storeLabels instead.";

const fn key(key: &'static str, instead: &'static str) -> Reserved {
    Reserved { key, instead }
}

const PD: &[Reserved] = &[
    key("name", NAME),
    key("data-dir", DATA),
    key("client-urls", ADDRESS),
    key("peer-urls", ADDRESS),
    key("advertise-client-urls", ADDRESS),
    key("advertise-peer-urls", ADDRESS),
    key("initial-cluster*", START),
    key("join", START),
    key("force-new-cluster", START),
    key("security.cacert-path", CERTIFICATES),
    key("security.cert-path", CERTIFICATES),
    key("security.key-path", CERTIFICATES),
    key("security.ssl-ca-bytes", CERTIFICATES),
    key("security.ssl-cert-bytes", CERTIFICATES),
    key("security.ssl-key-bytes", CERTIFICATES),
];

const TIKV: &[Reserved] = &[
    key("pd.endpoints", ENDPOINTS),
    key("server.addr", ADDRESS),
    key("server.advertise-addr", ADDRESS),
    key("server.status-addr", ADDRESS),
    key("server.advertise-status-addr", ADDRESS),
    key("server.labels", LABELS),
    key("storage.data-dir", DATA),
    key("raft-store.capacity", CAPACITY),
    key("security.ca-path", CERTIFICATES),
    key("security.cert-path", CERTIFICATES),
    key("security.key-path", CERTIFICATES),
];

/// Keys whose value is a path that the server writes to: it must lie on a volume, since the root
/// filesystem is read-only and does not outlive the container.
const PD_PATHS: &[&str] = &["log.file.filename", "log-file"];
const TIKV_PATHS: &[&str] = &[
    "log.file.filename",
    "log-file",
    "slow-log-file",
    "raft-engine.dir",
    "raft-engine.spill-dir",
    "raft-store.raftdb-path",
    "raftdb.wal-dir",
    "raftdb.info-log-dir",
    "rocksdb.wal-dir",
    "rocksdb.info-log-dir",
    "rocksdb.titan.dirname",
    "log-backup.temp-path",
    "backup-stream.temp-path",
];

/// The reserved key that this one is, if it is one.
pub(super) fn reserved(component: Component, key: &str) -> Option<&'static Reserved> {
    let table = match component {
        Component::Pd => PD,
        Component::Tikv => TIKV,
    };
    let key = normal(key);
    table.iter().find(|reserved| match reserved.key.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == reserved.key,
    })
}

/// Is the value of this key a path that the server writes to?
pub(super) fn is_path(component: Component, key: &str) -> bool {
    let table = match component {
        Component::Pd => PD_PATHS,
        Component::Tikv => TIKV_PATHS,
    };
    table.contains(&normal(key).as_str())
}

fn normal(key: &str) -> String {
    key.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_hide_a_key() {
        for key in ["data-dir", "data_dir", "Data-Dir", "initial-cluster-token", "initial_cluster"]
        {
            assert!(reserved(Component::Pd, key).is_some(), "{key}");
        }
        assert!(reserved(Component::Tikv, "Storage.data_dir").is_some());
        // The same word elsewhere is another key.
        assert!(reserved(Component::Tikv, "data-dir").is_none());
        assert!(reserved(Component::Pd, "log.name").is_none());
    }

    #[test]
    fn tables_are_in_normal_form() {
        for reserved in PD.iter().chain(TIKV) {
            assert_eq!(normal(reserved.key), reserved.key);
            assert!(reserved.instead.ends_with('.'));
        }
        for path in PD_PATHS.iter().chain(TIKV_PATHS) {
            assert_eq!(normal(path), *path);
        }
    }
}
