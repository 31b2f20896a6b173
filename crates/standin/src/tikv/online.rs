//! Which keys can be changed while the store runs, and what does it answer for the others? As
//! recorded from a real one: the whole call is refused on the first key that cannot be changed.
//! The list is that of TiKV's documentation ("Modify TiKV configuration dynamically").

use serde_json::{Map, Value};

use super::config::Config;

/// Sections with their online keys.
const ONLINE: [(&str, &[&str]); 15] = [
    ("log", &["level"]),
    (
        "raftstore",
        &[
            "raft-max-inflight-msgs",
            "raft-log-gc-tick-interval",
            "raft-log-gc-threshold",
            "raft-log-gc-count-limit",
            "raft-log-gc-size-limit",
            "raft-max-size-per-msg",
            "raft-entry-max-size",
            "raft-entry-cache-life-time",
            "max-apply-unpersisted-log-limit",
            "split-region-check-tick-interval",
            "region-split-check-diff",
            "pd-heartbeat-tick-interval",
            "pd-store-heartbeat-tick-interval",
            "snap-mgr-gc-tick-interval",
            "snap-gc-timeout",
            "lock-cf-compact-interval",
            "lock-cf-compact-bytes-threshold",
            "messages-per-tick",
            "max-peer-down-duration",
            "max-leader-missing-duration",
            "abnormal-leader-missing-duration",
            "peer-stale-state-check-interval",
            "consistency-check-interval",
            "raft-store-max-leader-lease",
            "merge-check-tick-interval",
            "cleanup-import-sst-interval",
            "local-read-batch-size",
            "apply-yield-write-size",
            "apply-pool-size",
            "store-pool-size",
            "apply-max-batch-size",
            "store-max-batch-size",
            "store-io-pool-size",
            "periodic-full-compact-start-max-cpu",
        ],
    ),
    ("readpool.unified", &["max-thread-count", "max-tasks-per-worker", "auto-adjust-pool-size"]),
    (
        "coprocessor",
        &[
            "split-region-on-table",
            "batch-split-limit",
            "region-max-size",
            "region-split-size",
            "region-max-keys",
            "region-split-keys",
        ],
    ),
    (
        "pessimistic-txn",
        &["wait-for-lock-timeout", "wake-up-delay-duration", "pipelined", "in-memory"],
    ),
    (
        "quota",
        &[
            "foreground-cpu-time",
            "foreground-write-bandwidth",
            "foreground-read-bandwidth",
            "background-cpu-time",
            "background-write-bandwidth",
            "background-read-bandwidth",
            "enable-auto-tune",
            "max-delay-duration",
        ],
    ),
    (
        "gc",
        &[
            "ratio-threshold",
            "batch-keys",
            "max-write-bytes-per-sec",
            "enable-compaction-filter",
            "compaction-filter-skip-version-check",
        ],
    ),
    (
        "server",
        &[
            "grpc-memory-pool-quota",
            "max-grpc-send-msg-len",
            "snap-io-max-bytes-per-sec",
            "concurrent-send-snap-limit",
            "concurrent-recv-snap-limit",
            "raft-msg-max-batch-size",
            "simplify-metrics",
            "graceful-shutdown-timeout",
        ],
    ),
    ("storage", &["scheduler-worker-pool-size"]),
    ("storage.block-cache", &["capacity"]),
    ("import", &["num-threads"]),
    ("backup", &["num-threads"]),
    (
        "split",
        &[
            "qps-threshold",
            "byte-threshold",
            "region-cpu-overload-threshold-ratio",
            "split-balance-score",
            "split-contained-score",
        ],
    ),
    (
        "cdc",
        &[
            "min-ts-interval",
            "old-value-cache-memory-quota",
            "sink-memory-quota",
            "incremental-scan-speed-limit",
            "incremental-scan-concurrency",
        ],
    ),
    ("storage.io-rate-limit", &["max-bytes-per-sec"]),
];

/// Online keys of `rocksdb` and `raftdb`.
const ONLINE_DB: [&str; 8] = [
    "max-total-wal-size",
    "max-background-jobs",
    "max-background-flushes",
    "max-open-files",
    "compaction-readahead-size",
    "bytes-per-sync",
    "wal-bytes-per-sync",
    "writable-file-max-buffer-size",
];

/// Online keys of each column family of `rocksdb` and `raftdb`.
const ONLINE_CF: [&str; 13] = [
    "block-cache-size",
    "write-buffer-size",
    "max-write-buffer-number",
    "max-bytes-for-level-base",
    "target-file-size-base",
    "level0-file-num-compaction-trigger",
    "level0-slowdown-writes-trigger",
    "level0-stop-writes-trigger",
    "max-compaction-bytes",
    "max-bytes-for-level-multiplier",
    "disable-auto-compactions",
    "soft-pending-compaction-bytes-limit",
    "hard-pending-compaction-bytes-limit",
];

fn is_online(path: &str) -> bool {
    let Some((section, key)) = path.rsplit_once('.') else { return false };
    let listed = ONLINE.iter().any(|(name, keys)| *name == section && keys.contains(&key));
    let database = matches!(section, "rocksdb" | "raftdb") && ONLINE_DB.contains(&key);
    let family = section.split_once('.').is_some_and(|(database, family)| {
        matches!(database, "rocksdb" | "raftdb") && family.ends_with("cf")
    });
    listed || database || (family && ONLINE_CF.contains(&key))
}

/// Changes all of `changes` or nothing; the reason as the real one words it.
pub fn change(config: &mut Config, changes: &Map<String, Value>) -> Result<(), String> {
    let mut changed = config.clone();
    for (path, value) in changes {
        if let Some(part) = first_unknown(config, path) {
            return Err(format!("unexpect fields: {}", part.replace('-', "_")));
        }
        if !is_online(path) {
            let key = path.rsplit('.').next().unwrap_or_default().replace('-', "_");
            return Err(format!("config {key} can not be changed"));
        }
        changed.set(path, value).map_err(|reason| {
            // Without the key, as recorded.
            reason.split(" for key ").next().unwrap_or_default().to_owned()
        })?;
    }
    *config = changed;
    Ok(())
}

/// The first part of a dotted path that TiKV does not know.
fn first_unknown<'a>(config: &Config, path: &'a str) -> Option<&'a str> {
    if config.get(path).is_some() {
        return None;
    }
    let mut known = String::new();
    for part in path.split('.') {
        known = if known.is_empty() { part.to_owned() } else { format!("{known}.{part}") };
        if config.get(&known).is_none() {
            return Some(part);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_key_exists() {
        let config = Config::defaults().unwrap();
        let missing: Vec<String> = ONLINE
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}")))
            .filter(|path| config.get(path).is_none())
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_refused_call_changes_nothing() {
        let mut config = Config::defaults().unwrap();
        let before = config.shown().clone();
        let changes = serde_json::json!({
            "server.snap-io-max-bytes-per-sec": "32MiB", "server.grpc-concurrency": 3
        });
        let reason = change(&mut config, changes.as_object().unwrap()).unwrap_err();
        assert_eq!(reason, "config grpc_concurrency can not be changed");
        assert_eq!(*config.shown(), before);
    }
}
