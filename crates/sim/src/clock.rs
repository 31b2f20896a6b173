//! What time is it in the model? Milliseconds since a fixed beginning.

use jiff::{SignedDuration, Timestamp};

/// One second in the unit of the model's clock.
pub const SECOND: u64 = 1000;

/// 2026-01-01T00:00:00Z, in seconds since the epoch: the beginning of every run.
const BEGINNING: i64 = 1_767_225_600;

/// The instant that is `now` milliseconds after the beginning.
pub fn instant(now: u64) -> Timestamp {
    let beginning = Timestamp::from_second(BEGINNING).unwrap_or(Timestamp::UNIX_EPOCH);
    beginning + span(now)
}

/// A span of `millis` milliseconds.
pub fn span(millis: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// Milliseconds from the beginning to an instant; none where it was before.
pub fn millis(instant: Timestamp) -> u64 {
    let since = instant.as_millisecond().saturating_sub(BEGINNING * 1000);
    u64::try_from(since).unwrap_or_default()
}

/// The instant as Kubernetes writes times: whole seconds.
pub fn rfc3339(now: u64) -> String {
    instant(now - now % SECOND).to_string()
}
