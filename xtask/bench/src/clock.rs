//! How much processor time did this take?

use std::time::{Duration, Instant};

/// What the kernel counts for the running thread: nanoseconds on a processor come first.
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

/// Runs `work`; its processor time, or the time on the wall where the kernel does not count.
pub(crate) fn took<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let (wall, before) = (Instant::now(), on_processor());
    let done = work();
    let used = before.zip(on_processor()).map(|(before, after)| after.saturating_sub(before));
    (used.filter(|used| !used.is_zero()).unwrap_or_else(|| wall.elapsed()), done)
}

fn on_processor() -> Option<Duration> {
    let text = std::fs::read_to_string(SCHEDSTAT).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
