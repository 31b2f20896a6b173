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

/// What came after v4.0, with the release that brought it (read in the sources of the release tags;
/// see `docs/versions.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// PD: GET `/regions/replicated`.
    Replicated,
    /// The same answers words instead of `true` and `false`.
    ReplicatedInWords,
    /// PD: a removal that leaves too few stores is refused.
    EnoughStores,
    /// PD: GET `/stores/progress`.
    Progress,
    /// PD: GET `/stores/check`.
    StoresCheck,
    /// PD: a follower without a leader waits for one before it answers 503.
    LeaderWait,
    /// PD: GET `/pd/api/v2/ready`; 500 before bootstrap through v8.5.7.
    Ready,
    /// PD: `/health`, `/ping`, `/status`, `/version` and GET `/config` answered by the contacted
    /// member itself instead of the leader; the evict-stopping-store scheduler.
    LocalAnswers,
    /// PD: `/pd/api/v2/maintenance`.
    Maintenance,
    /// TiKV: a store that is asked to stop has its leaders moved first.
    GracefulStop,
    /// TiKV: GET `/ready`.
    StoreReady,
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
        let (major, minor, patch) = match feature {
            Feature::Replicated => (5, 3, 0),
            Feature::ReplicatedInWords => (6, 0, 0),
            Feature::EnoughStores | Feature::Progress => (6, 1, 0),
            Feature::StoresCheck => (7, 5, 0),
            Feature::LeaderWait => (8, 1, 1),
            Feature::Ready => (8, 5, 2),
            Feature::LocalAnswers | Feature::GracefulStop => (8, 5, 5),
            Feature::Maintenance => (8, 5, 7),
            Feature::StoreReady => (9, 0, 0),
        };
        // PD v9.0.0 branched off before the later releases of v8.5 got these.
        let left_out = matches!(feature, Feature::LocalAnswers | Feature::Maintenance);
        self >= Self { major, minor, patch } && !(self.major == 9 && left_out)
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
        assert!(!at("v4.0.0").has(Feature::Ready));
        assert!(!at("v8.5.1").has(Feature::Ready));
        assert!(at("v8.5.2").has(Feature::Ready));
        assert!(!at("v8.5.4").has(Feature::LocalAnswers));
        assert!(at("v8.5.7").has(Feature::Maintenance));
        assert!(!at("9.0.0-beta.2").has(Feature::LocalAnswers));
        assert!(at("v26.3.4").has(Feature::LocalAnswers));
        assert!(!at("v8.5.7").has(Feature::StoreReady));
        assert!(at("9.0.0-beta.2").has(Feature::StoreReady));
        assert!(!at("v8.5.4").has(Feature::GracefulStop));
        assert!(at("v8.5.5").has(Feature::GracefulStop) && at("9.0.0").has(Feature::GracefulStop));
        assert_eq!(Version::parse("latest"), None);
        assert_eq!(Version::parse("8.5"), None);
    }
}
