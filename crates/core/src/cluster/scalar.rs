//! Which single values does a checked cluster have?

use std::fmt;

/// A cluster's name, proven to be a DNS-1035 label that leaves room for every derived name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(String);

impl ClusterName {
    /// Only `check` makes one.
    pub(crate) fn proven(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A quantity: the user's text, which goes to Kubernetes unchanged, and its value, for comparison.
#[derive(Clone, Debug)]
pub struct Quantity {
    text: String,
    /// Value in thousandths (Kubernetes rounds finer ones up).
    milli: i128,
}

impl Quantity {
    pub(crate) fn new(text: String, milli: i128) -> Self {
        Self { text, milli }
    }

    /// The text as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Value in thousandths of the unit.
    pub fn milli(&self) -> i128 {
        self.milli
    }

    /// Value in whole units (bytes), rounded up.
    pub fn units(&self) -> u64 {
        u64::try_from(self.milli.div_euclid(1000) + i128::from(self.milli.rem_euclid(1000) > 0))
            .unwrap_or(if self.milli < 0 { 0 } else { u64::MAX })
    }
}

/// Quantities are equal when their values are: `1Gi` and `1024Mi` restart nothing.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.milli == other.milli
    }
}

impl Eq for Quantity {}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A version: any image tag, with its order where it parses as a semantic version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    tag: String,
    parts: Option<(u64, u64, u64)>,
    pre: Option<String>,
}

impl Version {
    /// Reads a tag; `v8.5.7`, `8.5.7` and `v9.0.0-beta.2` have an order, `nightly` has none.
    pub fn parse(tag: &str) -> Self {
        let text = tag.strip_prefix('v').unwrap_or(tag);
        let (core, pre) = match text.split_once('-') {
            Some((core, pre)) => (core, Some(pre.to_owned())),
            None => (text, None),
        };
        let mut numbers = core.split('.').map(|n| {
            let digits = !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
            if digits { n.parse::<u64>().ok() } else { None }
        });
        let parts = match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None) => {
                Some((major, minor, patch))
            }
            (_, _, _, _) => None,
        };
        Self { tag: tag.to_owned(), pre: parts.and(pre), parts }
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.tag
    }

    /// Major, minor, patch where the tag is a semantic version; otherwise its order is unknown.
    pub fn semver(&self) -> Option<(u64, u64, u64)> {
        self.parts
    }

    /// True where the version is known to be at least this one. A pre-release counts as older than
    /// its release. `None` where the order is unknown.
    pub fn at_least(&self, major: u64, minor: u64, patch: u64) -> Option<bool> {
        let wanted = (major, minor, patch);
        self.parts.map(|parts| if self.pre.is_some() { parts > wanted } else { parts >= wanted })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_tag_is_a_version_and_only_semver_has_an_order() {
        assert_eq!(Version::parse("v8.5.7").semver(), Some((8, 5, 7)));
        assert_eq!(Version::parse("8.5.7").semver(), Some((8, 5, 7)));
        assert_eq!(Version::parse("v8.5.7").at_least(8, 5, 5), Some(true));
        assert_eq!(Version::parse("v8.5.4").at_least(8, 5, 5), Some(false));
        assert_eq!(Version::parse("v9.0.0-beta.2").at_least(9, 0, 0), Some(false));
        assert_eq!(Version::parse("v9.0.0-beta.2").at_least(8, 5, 5), Some(true));
        for tag in
            ["nightly", "v8", "v8.5", "8.5.x", "v8.5.7.1", "v+8.5.7", "v8.5.99999999999999999999"]
        {
            assert_eq!(Version::parse(tag).semver(), None, "{tag}");
            assert_eq!(Version::parse(tag).at_least(0, 0, 0), None, "{tag}");
        }
    }

    #[test]
    fn a_quantity_is_its_value() {
        let one = Quantity::new("1Gi".to_owned(), 1 << 30);
        let same = Quantity::new("1024Mi".to_owned(), 1 << 30);
        assert_eq!(one, same);
        assert_eq!(Quantity::new("1500m".to_owned(), 1500).units(), 2);
        assert_eq!(Quantity::new("-1".to_owned(), -1000).units(), 0);
    }
}
