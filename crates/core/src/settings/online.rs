//! Which items change while a server runs, and since which version?
//!
//! An item that is not in these tables is changed by a restart. TiKV's table holds the items that
//! its documentation calls dynamically modifiable *and* whose field is not `online_config(skip)` in
//! a module with a registered manager, read at every release tag from v4.0.0 to v8.5.7: TiKV
//! answers 200 for a field of a module without a manager and does nothing. PD's table holds the
//! sections that PD reads from the file once in its life and from etcd afterwards, so that a restart
//! would change nothing; `POST /config` takes them (`server/api/config.go`), [`FOUNDING_ONLY`] apart.
//!
//! The configuration half of a revision leaves these items out. A key that is added here later
//! changes the revision of the clusters that set it and so restarts their pods: it then needs a
//! generation of its own in the revision.

use crate::cluster::Version;
use crate::world::Component;

/// Items that change online since one version.
#[derive(Debug)]
pub struct Online {
    /// First version that takes them over: major, minor, patch.
    pub since: (u64, u64, u64),
    /// Dotted keys; a trailing `.*` stands for a whole section.
    pub keys: &'static [&'static str],
}

/// PD's sections that etcd keeps, and the log level, which is the leader's alone and lost with its
/// process.
pub static ONLINE_PD: &[Online] = &[
    Online {
        since: (4, 0, 0),
        keys: &[
            "schedule.*",
            "replication.*",
            "pd-server.*",
            "replication-mode.*",
            "label-property.*",
            "log.level",
        ],
    },
    Online { since: (7, 2, 0), keys: &["keyspace.*"] },
    Online { since: (8, 0, 0), keys: &["micro-service.*"] },
];

/// PD's section that neither a restart nor `POST /config` changes ("config prefix label-property not
/// found", PD v8.5.7 `server/api/config.go`): what the first start read counts until `pd-ctl`, whose
/// own call for it does not take TOML's shape, changes it.
const FOUNDING_ONLY: &str = "label-property";

/// Is this an item of PD that only its first start takes from the configuration?
pub fn is_founding_only(item: &str) -> bool {
    item.split('.').next() == Some(FOUNDING_ONLY)
}

/// Column families of `rocksdb`: an item `rocksdb.<family>.<key>` is listed as `rocksdb.*cf.<key>`.
pub const FAMILIES: [&str; 4] = ["defaultcf", "writecf", "lockcf", "raftcf"];

/// TiKV's items.
pub static ONLINE_TIKV: &[Online] = &[
    Online {
        since: (4, 0, 0),
        keys: &[
            "raftstore.raft-max-inflight-msgs",
            "raftstore.raft-log-gc-tick-interval",
            "raftstore.raft-log-gc-threshold",
            "raftstore.raft-log-gc-count-limit",
            "raftstore.raft-log-gc-size-limit",
            "raftstore.raft-max-size-per-msg",
            "raftstore.raft-entry-max-size",
            "raftstore.raft-entry-cache-life-time",
            "raftstore.split-region-check-tick-interval",
            "raftstore.region-split-check-diff",
            "raftstore.region-compact-check-interval",
            "raftstore.region-compact-check-step",
            "raftstore.region-compact-min-tombstones",
            "raftstore.region-compact-tombstones-percent",
            "raftstore.pd-heartbeat-tick-interval",
            "raftstore.pd-store-heartbeat-tick-interval",
            "raftstore.snap-mgr-gc-tick-interval",
            "raftstore.snap-gc-timeout",
            "raftstore.lock-cf-compact-interval",
            "raftstore.lock-cf-compact-bytes-threshold",
            "raftstore.messages-per-tick",
            "raftstore.max-peer-down-duration",
            "raftstore.max-leader-missing-duration",
            "raftstore.abnormal-leader-missing-duration",
            "raftstore.peer-stale-state-check-interval",
            "raftstore.consistency-check-interval",
            "raftstore.raft-store-max-leader-lease",
            "raftstore.merge-check-tick-interval",
            "raftstore.cleanup-import-sst-interval",
            "raftstore.local-read-batch-size",
            "coprocessor.split-region-on-table",
            "coprocessor.batch-split-limit",
            "coprocessor.region-max-size",
            "coprocessor.region-split-size",
            "coprocessor.region-max-keys",
            "coprocessor.region-split-keys",
            "pessimistic-txn.wait-for-lock-timeout",
            "pessimistic-txn.wake-up-delay-duration",
            "pessimistic-txn.pipelined",
            "gc.ratio-threshold",
            "gc.batch-keys",
            "gc.max-write-bytes-per-sec",
            "rocksdb.max-total-wal-size",
            "rocksdb.max-background-jobs",
            "rocksdb.max-open-files",
            "rocksdb.compaction-readahead-size",
            "rocksdb.bytes-per-sync",
            "rocksdb.wal-bytes-per-sync",
            "rocksdb.writable-file-max-buffer-size",
            "rocksdb.*cf.write-buffer-size",
            "rocksdb.*cf.max-write-buffer-number",
            "rocksdb.*cf.max-bytes-for-level-base",
            "rocksdb.*cf.target-file-size-base",
            "rocksdb.*cf.level0-file-num-compaction-trigger",
            "rocksdb.*cf.level0-slowdown-writes-trigger",
            "rocksdb.*cf.level0-stop-writes-trigger",
            "rocksdb.*cf.max-compaction-bytes",
            "rocksdb.*cf.max-bytes-for-level-multiplier",
            "rocksdb.*cf.disable-auto-compactions",
            "rocksdb.*cf.soft-pending-compaction-bytes-limit",
            "rocksdb.*cf.hard-pending-compaction-bytes-limit",
            "rocksdb.*cf.titan.blob-run-mode",
        ],
    },
    Online { since: (4, 0, 3), keys: &["storage.block-cache.capacity", "backup.num-threads"] },
    Online { since: (4, 0, 9), keys: &["rocksdb.max-background-flushes"] },
    Online {
        since: (5, 0, 0),
        keys: &["gc.enable-compaction-filter", "gc.compaction-filter-skip-version-check"],
    },
    Online {
        since: (5, 1, 0),
        keys: &[
            "split.qps-threshold",
            "split.byte-threshold",
            "split.split-balance-score",
            "split.split-contained-score",
        ],
    },
    Online {
        since: (5, 4, 0),
        keys: &[
            "pessimistic-txn.in-memory",
            "raftstore.apply-pool-size",
            "raftstore.store-pool-size",
        ],
    },
    Online {
        since: (6, 1, 0),
        keys: &[
            "quota.foreground-cpu-time",
            "quota.foreground-write-bandwidth",
            "quota.foreground-read-bandwidth",
            "quota.max-delay-duration",
            "raftstore.apply-max-batch-size",
            "raftstore.store-max-batch-size",
            "readpool.unified.max-thread-count",
            "server.grpc-memory-pool-quota",
            "server.max-grpc-send-msg-len",
            "server.raft-msg-max-batch-size",
            "server.concurrent-send-snap-limit",
            "server.concurrent-recv-snap-limit",
            "storage.scheduler-worker-pool-size",
        ],
    },
    Online {
        since: (6, 2, 0),
        keys: &[
            "log.level",
            "quota.background-cpu-time",
            "quota.background-write-bandwidth",
            "quota.background-read-bandwidth",
            "quota.enable-auto-tune",
            "server.simplify-metrics",
            "split.region-cpu-overload-threshold-ratio",
        ],
    },
    Online { since: (6, 3, 0), keys: &["readpool.unified.auto-adjust-pool-size"] },
    Online { since: (6, 4, 0), keys: &["raftstore.apply-yield-write-size"] },
    Online { since: (6, 6, 0), keys: &["raftstore.store-io-pool-size"] },
    Online { since: (7, 0, 0), keys: &["server.snap-io-max-bytes-per-sec"] },
    Online {
        since: (7, 6, 0),
        keys: &[
            "raftstore.periodic-full-compact-start-max-cpu",
            "readpool.unified.max-tasks-per-worker",
        ],
    },
    Online { since: (8, 1, 0), keys: &["raftstore.max-apply-unpersisted-log-limit"] },
];

/// Does a running server of this version take the item over? Where the order of the version is
/// unknown (`nightly`), only what v4.0.0 has counts.
pub fn is_online(component: Component, version: &Version, key: &str) -> bool {
    let table = match component {
        Component::Pd => ONLINE_PD,
        Component::Tikv => ONLINE_TIKV,
    };
    let listed = by_family(key);
    table.iter().filter(|row| is_old_enough(version, row.since)).any(|row| {
        row.keys.iter().any(|known| match known.strip_suffix('*') {
            Some(section) => listed.starts_with(section),
            None => listed == *known,
        })
    })
}

fn is_old_enough(version: &Version, since: (u64, u64, u64)) -> bool {
    let (major, minor, patch) = since;
    version.at_least(major, minor, patch).unwrap_or(since == (4, 0, 0))
}

/// `rocksdb.writecf.x` as it is listed: `rocksdb.*cf.x`.
fn by_family(key: &str) -> String {
    let rest = key.strip_prefix("rocksdb.").and_then(|rest| rest.split_once('.'));
    match rest {
        Some((family, item)) if FAMILIES.contains(&family) => format!("rocksdb.*cf.{item}"),
        Some(_) | None => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_online_since_its_version() {
        for (component, version, key, online) in [
            (Component::Pd, "v8.5.7", "schedule.leader-schedule-limit", true),
            (Component::Pd, "v4.0.0", "replication-mode.dr-auto-sync.dr", true),
            (Component::Pd, "v8.5.7", "log.level", true),
            (Component::Pd, "v8.5.7", "log.format", false),
            (Component::Pd, "v8.5.7", "lease", false),
            (Component::Pd, "v7.1.6", "keyspace.wait-region-split", false),
            (Component::Pd, "v7.2.0", "keyspace.wait-region-split", true),
            (Component::Pd, "v7.6.0", "micro-service.enable-scheduling-fallback", false),
            (Component::Pd, "v8.0.0", "micro-service.enable-scheduling-fallback", true),
            (Component::Pd, "nightly", "keyspace.wait-region-split", false),
            (Component::Pd, "v8.5.7", "schedule", false),
            (Component::Pd, "v8.5.7", "schedules.x", false),
            (Component::Tikv, "v8.5.7", "log.level", true),
            (Component::Tikv, "v6.1.7", "log.level", false),
            (Component::Tikv, "nightly", "log.level", false),
            (Component::Tikv, "nightly", "gc.batch-keys", true),
            (Component::Tikv, "v8.5.7", "rocksdb.writecf.write-buffer-size", true),
            (Component::Tikv, "v8.5.7", "rocksdb.othercf.write-buffer-size", false),
            (Component::Tikv, "v8.5.7", "rocksdb.writecf.block-size", false),
            (Component::Tikv, "v8.5.7", "raftdb.max-open-files", false),
            (Component::Tikv, "v8.5.7", "storage.engine", false),
            (Component::Tikv, "v4.0.2", "storage.block-cache.capacity", false),
            (Component::Tikv, "v4.0.3", "storage.block-cache.capacity", true),
        ] {
            let found = is_online(component, &Version::parse(version), key);
            assert_eq!(found, online, "{component} {version} {key}");
        }
    }

    #[test]
    fn no_key_is_listed_twice_and_rows_are_in_order() {
        for table in [ONLINE_PD, ONLINE_TIKV] {
            let mut keys: Vec<_> = table.iter().flat_map(|row| row.keys).collect();
            let all = keys.len();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), all);
            assert!(table.is_sorted_by(|a, b| a.since < b.since));
        }
    }
}
