//! What went wrong with a call to PD, and what may be concluded from it?
//!
//! Only [`PdError::NotBootstrapped`] and [`PdError::NotFound`] say something about the cluster.
//! Everything else says that this call gave no answer, and nothing follows from that.

use serde::Deserialize;

use crate::{lease::Fenced, metrics::PdOutcome};

/// Longest text of an answer that is kept for people, in characters.
const TEXT_MAX: usize = 200;

/// A call to PD that did not give a usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PdError {
    /// No connection: refused, no such name, or not within the connect limit.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke, or what came is not HTTP.
    #[error("broken answer: {0}")]
    Broken(String),
    /// No complete answer in time.
    #[error("no complete answer within {0} s")]
    Slow(u64),
    /// The body exceeds its limit; it was not read on.
    #[error("answer longer than {0} bytes")]
    TooLong(usize),
    /// PD has a leader, but no store has ever registered. Not a failure.
    #[error("not bootstrapped: no store has registered yet")]
    NotBootstrapped,
    /// 404: no such thing, or an endpoint that this version does not have.
    #[error("not found: {0}")]
    NotFound(String),
    /// Any other status than 2xx, redirects included (PD proxies, it never redirects).
    #[error("status {status}: {text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// PD's reason.
        text: String,
    },
    /// 200, but the body is not what the endpoint is known to answer.
    #[error("unusable answer: {0}")]
    Malformed(String),
    /// An answer that did not come through a PD leader.
    #[error("no leader: {0}")]
    NoLeader(String),
    /// Not sent: this replica may not change anything now.
    #[error(transparent)]
    Fenced(#[from] Fenced),
}

impl PdError {
    /// The class under which the call is counted.
    pub fn outcome(&self) -> PdOutcome {
        match self {
            Self::Connect(_) | Self::Broken(_) => PdOutcome::Unreachable,
            Self::Slow(_) => PdOutcome::Slow,
            Self::TooLong(_) | Self::Malformed(_) => PdOutcome::Unusable,
            Self::NotBootstrapped
            | Self::NotFound(_)
            | Self::Refused { .. }
            | Self::NoLeader(_)
            | Self::Fenced(_) => PdOutcome::Refused,
        }
    }

    /// Does it say nothing but that this member could not? Then another one may.
    pub fn is_of_member(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Broken(_)
            | Self::Slow(_)
            | Self::TooLong(_)
            | Self::Malformed(_)
            | Self::NoLeader(_)
            | Self::Refused { status: 502..=504 | 429, .. } => true,
            // A follower between two leaders, a member that has not started or is closing.
            Self::Refused { status: 500, text } => {
                ["ErrRedirect", "ErrServerNotStarted", "ErrLeaderNil", "leader is nil"]
                    .iter()
                    .any(|word| text.contains(word))
            }
            Self::NotBootstrapped | Self::NotFound(_) | Self::Refused { .. } | Self::Fenced(_) => {
                false
            }
        }
    }

    /// The meaning of a status other than 2xx, in any of PD's three error shapes.
    pub fn from_status(status: u16, body: &[u8]) -> Self {
        let text = error_text(body);
        match status {
            // From every endpoint that needs the cluster object; before v4.0.8 the text alone, without
            // the code.
            500 if text.contains("ErrNotBootstrapped")
                || text.starts_with("TiKV cluster not bootstrapped") =>
            {
                Self::NotBootstrapped
            }
            404 => Self::NotFound(text),
            _ => Self::Refused { status, text },
        }
    }
}

/// PD's reason from an error body: a JSON string (most handlers), an object with `msg` (bad
/// input) or `error` (v2), or plain text (redirector, router). The API server's own, where it stands
/// between: an object with `message`.
fn error_text(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Coded {
        #[serde(alias = "error", alias = "message")]
        msg: String,
    }
    let text = serde_json::from_slice::<String>(body)
        .or_else(|_| serde_json::from_slice::<Coded>(body).map(|coded| coded.msg))
        .unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned());
    shorten(&text)
}

/// One line of at most `TEXT_MAX` characters, fit for a log and a status.
pub fn shorten(text: &str) -> String {
    let clean = text.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty());
    let line = clean.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_error_shapes_are_read() {
        let string = br#""[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first""#;
        assert_eq!(PdError::from_status(500, string), PdError::NotBootstrapped);
        // PD v4.0.0 to v4.0.7.
        let codeless = br#""TiKV cluster not bootstrapped, please start TiKV first""#;
        assert_eq!(PdError::from_status(500, codeless), PdError::NotBootstrapped);
        let object = br#"{"code":"input","msg":"bad id","data":null}"#;
        assert_eq!(PdError::from_status(400, object).to_string(), "status 400: bad id");
        let plain = b"[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader\n";
        assert_eq!(
            PdError::from_status(503, plain).to_string(),
            "status 503: [PD:apiutil:ErrRedirectNoLeader]redirect finds no leader"
        );
        assert_eq!(
            PdError::from_status(404, b"404 page not found").to_string(),
            "not found: 404 page not found"
        );
    }

    #[test]
    fn a_page_of_text_becomes_one_short_line() {
        let page = "<html>\n\u{1b}[31m".to_owned() + &"ä ".repeat(10_000);
        let line = shorten(&page);
        assert_eq!(line.chars().count(), TEXT_MAX + 1);
        assert!(!line.contains('\n') && !line.contains('\u{1b}'));
    }

    #[test]
    fn not_bootstrapped_is_believed_with_status_500_only() {
        let body = br#""ErrNotBootstrapped""#;
        assert!(matches!(PdError::from_status(503, body), PdError::Refused { status: 503, .. }));
    }
}
