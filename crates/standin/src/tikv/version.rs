//! Which TiKV does the store say that it is, and what does that one have? v8.5.7 unless told
//! otherwise, by `--as-version`, `STANDIN_TIKV_VERSION` or `STANDIN_VERSION`.

use std::fmt;

/// The version that the stand-in's behaviour was observed or looked up for.
const DEFAULT: &str = "8.5.7";

/// A version such as `9.0.0-beta.2`, kept without its `v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// Takes the first of the given versions; with or without `v`.
    pub fn choose(asked: impl IntoIterator<Item = Option<String>>) -> Self {
        let asked = asked.into_iter().flatten().find(|version| !version.is_empty());
        let version = asked.unwrap_or_else(|| DEFAULT.to_owned());
        Self(version.trim_start_matches('v').to_owned())
    }

    /// As it stands in PD's store record, without `v`.
    pub fn bare(&self) -> &str {
        &self.0
    }

    fn number(&self, place: usize) -> u64 {
        let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
        self.0.split(['.', '-']).nth(place).and_then(|part| digits(part).parse().ok()).unwrap_or(0)
    }

    /// `/ready` exists since 9.0; every v8.5 answers 404.
    pub fn has_ready(&self) -> bool {
        self.number(0) >= 9
    }

    /// A stopping store evicts its leaders first since v8.5.5.
    pub fn evicts_when_stopping(&self) -> bool {
        (self.number(0), self.number(1), self.number(2)) >= (8, 5, 5)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_bring_their_features() {
        let version = |text: &str| Version::choose([Some(text.to_owned())]);
        assert_eq!(Version::choose([None, Some(String::new())]).to_string(), "v8.5.7");
        assert!(!version("v8.5.7").has_ready() && version("9.0.0-beta.2").has_ready());
        assert!(
            !version("v8.5.4").evicts_when_stopping() && version("v8.5.5").evicts_when_stopping()
        );
        assert_eq!(version("v9.0.0-beta.2").bare(), "9.0.0-beta.2");
    }
}
