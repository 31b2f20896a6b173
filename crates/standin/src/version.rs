//! Which release does a stand-in claim to be, and what did that release not have yet? Both can be
//! started as an older one; what that lacks is absent as it was there.

use std::fmt;

/// A release, `v8.5.7` unless told otherwise; what comes behind its three numbers counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Default for Version {
    /// The release whose recordings the stand-in for PD is tested against.
    fn default() -> Self {
        Self { major: 8, minor: 5, patch: 7 }
    }
}

/// What came after v4.0.0 of that which the operator meets: the release that brought it (read in the
/// sources of the release tags; see `docs/versions.md`).
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    since: Version,
    /// PD v9.0.0 branched off before the later releases of v8.5 got some.
    in_9: bool,
}

const fn since(major: u64, minor: u64, patch: u64) -> Feature {
    Feature { since: Version { major, minor, patch }, in_9: true }
}

impl Feature {
    /// PD: `initial-cluster-token`.
    pub const CLUSTER_TOKEN: Self = since(4, 0, 6);
    /// PD: error codes in bodies, `[PD:cluster:ErrNotBootstrapped]…`.
    pub const ERROR_CODES: Self = since(4, 0, 8);
    /// PD: `physically_destroyed`; and a tombstone stays one.
    pub const DESTROYED: Self = since(5, 0, 0);
    /// PD: kinds of peers, GET `/regions/check/learner-peer`.
    pub const PEER_ROLES: Self = since(5, 0, 0);
    /// PD: the evict-slow-store scheduler.
    pub const SLOW_STORES: Self = since(5, 2, 0);
    /// PD: GET `/regions/replicated`.
    pub const REPLICATED: Self = since(5, 3, 0);
    /// The same answers words instead of `true` and `false`.
    pub const REPLICATED_IN_WORDS: Self = since(6, 0, 0);
    /// PD: GET `/admin/unsafe/remove-failed-stores/show`.
    pub const UNSAFE_RECOVERY: Self = since(5, 3, 0);
    /// The same answers objects instead of texts.
    pub const UNSAFE_RECOVERY_STAGES: Self = since(6, 1, 0);
    /// PD: `node_state` of a store.
    pub const NODE_STATE: Self = since(6, 0, 0);
    /// PD: a list of a scheduler says why there is none before the first store.
    pub const NO_LIST_REASON: Self = since(6, 1, 0);
    /// PD: a removal that leaves too few stores is refused.
    pub const ENOUGH_STORES: Self = since(6, 1, 0);
    /// PD: GET `/stores/progress`.
    pub const PROGRESS: Self = since(6, 1, 0);
    /// PD: GET `/stores/check`.
    pub const STORES_CHECK: Self = since(7, 5, 0);
    /// PD: a follower without a leader waits for one before it answers 503.
    pub const LEADER_WAIT: Self = since(8, 1, 1);
    /// PD: `batch` of evict-leader.
    pub const BATCH: Self = since(8, 3, 0);
    /// PD: GET `/pd/api/v2/ready`; 500 before bootstrap through v8.5.7.
    pub const READY: Self = since(8, 5, 2);
    /// PD: `/health`, `/ping`, `/status`, `/version` and GET `/config` answered by the contacted
    /// member itself instead of the leader; the evict-stopping-store scheduler.
    pub const LOCAL_ANSWERS: Self = Self { in_9: false, ..since(8, 5, 5) };
    /// PD: `/pd/api/v2/maintenance`.
    pub const MAINTENANCE: Self = Self { in_9: false, ..since(8, 5, 7) };
    /// TiKV: `--advertise-status-addr`.
    pub const ADVERTISE_STATUS: Self = since(4, 0, 1);
    /// TiKV: `storage.enable-ttl`.
    pub const TTL: Self = since(5, 0, 0);
    /// TiKV: `storage.api-version`.
    pub const API_VERSION: Self = since(5, 3, 0);
    /// TiKV: PUT `/config/reload`; and a file that cannot be written is named as the reason.
    pub const CONFIG_RELOAD: Self = since(5, 4, 0);
    /// TiKV: GET `/engine_type`.
    pub const ENGINE_TYPE: Self = since(7, 1, 0);
    /// TiKV: POST `/config?persist=false`.
    pub const UNPERSISTED: Self = since(7, 4, 0);
    /// TiKV: a store that is asked to stop has its leaders moved first.
    pub const GRACEFUL_STOP: Self = since(8, 5, 5);
    /// TiKV: GET `/ready`.
    pub const STORE_READY: Self = since(9, 0, 0);
}

impl Version {
    /// Reads `v8.5.7`, `8.5.7` or `9.0.0-beta.2`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let semver::Version { major, minor, patch, .. } =
            semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()?;
        Some(Self { major, minor, patch })
    }

    /// Whether this release has `feature`.
    pub fn has(self, feature: Feature) -> bool {
        self >= feature.since && (feature.in_9 || self.major != 9)
    }

    /// Whether a store of this version may join a cluster of version `cluster`: same or later
    /// major.minor; the patch does not matter.
    pub fn compatible_with(self, cluster: Self) -> bool {
        (self.major, self.minor) >= (cluster.major, cluster.minor)
    }

    /// `8.5.7`, as `cluster-version` shows it.
    pub fn bare(self) -> String {
        format!("{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.bare())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_arrive_in_their_release() {
        let at = |text| Version::parse(text).unwrap();
        assert!(!at("v4.0.0").has(Feature::READY));
        assert!(!at("v8.5.1").has(Feature::READY));
        assert!(at("v8.5.2").has(Feature::READY));
        assert!(!at("v8.5.4").has(Feature::LOCAL_ANSWERS));
        assert!(at("v8.5.7").has(Feature::MAINTENANCE));
        assert!(!at("9.0.0-beta.2").has(Feature::LOCAL_ANSWERS));
        assert!(at("v26.3.4").has(Feature::LOCAL_ANSWERS));
        assert!(!at("v8.5.7").has(Feature::STORE_READY));
        assert!(at("9.0.0-beta.2").has(Feature::STORE_READY));
        assert!(!at("v8.5.4").has(Feature::GRACEFUL_STOP));
        assert!(at("v8.5.5").has(Feature::GRACEFUL_STOP));
        // As the recorded TiKV of that name.
        assert!(at("9.0.0-beta.2").has(Feature::GRACEFUL_STOP));
        assert!(!at("v4.0.7").has(Feature::ERROR_CODES) && at("v4.0.8").has(Feature::ERROR_CODES));
        assert_eq!(Version::parse("latest"), None);
        assert_eq!(Version::parse("8.5"), None);
    }
}
