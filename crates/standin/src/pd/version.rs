//! Which PD does the stand-in claim to be, and what did that PD not have yet? `pd-server` can be
//! started as an older version; what that version lacks answers 404 as it did there.

use std::fmt;

/// A PD release, `v8.5.7` unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Default for Version {
    /// The release whose recordings the stand-in is tested against.
    fn default() -> Self {
        Self { major: 8, minor: 5, patch: 7 }
    }
}

/// Parts of PD's API that came after v4.0, with the release that brought them (read in the sources
/// of PD's release tags; see `docs/versions.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// GET `/regions/replicated`.
    Replicated,
    /// The same answers words instead of `true` and `false`.
    ReplicatedInWords,
    /// A removal that leaves too few stores is refused.
    EnoughStores,
    /// GET `/stores/progress`.
    Progress,
    /// GET `/stores/check`.
    StoresCheck,
    /// A follower without a leader waits for one before it answers 503.
    LeaderWait,
    /// GET `/pd/api/v2/ready`; 500 before bootstrap through v8.5.7.
    Ready,
    /// `/health`, `/ping`, `/status`, `/version` and GET `/config` answered by the contacted
    /// member itself instead of the leader; the evict-stopping-store scheduler.
    LocalAnswers,
    /// `/pd/api/v2/maintenance`.
    Maintenance,
}

impl Version {
    /// Reads `v8.5.7`, `8.5.7` or `9.0.0-beta.2`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let release = text.split(['-', '+']).next()?;
        let mut parts = release.split('.').map(str::parse);
        let version = Self {
            major: parts.next()?.ok()?,
            minor: parts.next()?.ok()?,
            patch: parts.next()?.ok()?,
        };
        parts.next().is_none().then_some(version)
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
            Feature::LocalAnswers => (8, 5, 5),
            Feature::Maintenance => (8, 5, 7),
        };
        // v9.0.0 branched off before the later releases of v8.5 got these.
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
        assert_eq!(Version::parse("latest"), None);
        assert_eq!(Version::parse("8.5"), None);
    }
}
