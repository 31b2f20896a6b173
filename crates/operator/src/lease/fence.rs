//! May a write be sent now?
//!
//! Before every call that changes something, in Kubernetes, in PD or in a store, the holder checks,
//! by the monotonic clock, that its lease outlasts the call. So a paused or cut-off process that
//! wakes up late changes nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedRwLockReadGuard, RwLock},
    time::Instant,
};

/// The lease does not cover the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not hold the lease for long enough to write")]
pub struct Fenced;

/// Leave to send one write; the lease is not given back while it is held.
#[derive(Debug)]
pub struct Permit {
    until: Instant,
    _in_flight: OwnedRwLockReadGuard<()>,
}

impl Permit {
    /// Time that is left of the lease, by what is known now: a call that takes longer than the
    /// least that was asked for ends with it.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// What the lease allows; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    valid_until: Arc<Mutex<Option<Instant>>>,
    in_flight: Arc<RwLock<()>>,
}

impl Fence {
    /// A fence that lets nothing through yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leave for one call that takes at most `call`.
    pub async fn permit(&self, call: Duration) -> Result<Permit, Fenced> {
        let guard = Arc::clone(&self.in_flight).read_owned().await;
        let valid = *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner);
        match valid {
            Some(until) if Instant::now() + call < until => Ok(Permit { until, _in_flight: guard }),
            Some(_) | None => Err(Fenced),
        }
    }

    /// Is the lease held now?
    pub fn is_open(&self) -> bool {
        let valid = *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner);
        valid.is_some_and(|until| Instant::now() < until)
    }

    /// The lease may be relied on until then.
    pub fn open(&self, until: Instant) {
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Lets no further write through.
    pub fn close(&self) {
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Closes, and waits until the writes that were let through have ended.
    pub async fn drain(&self) {
        self.close();
        let _all_ended = self.in_flight.write().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_write_needs_a_lease_that_outlasts_it() {
        let fence = Fence::new();
        assert_eq!(fence.permit(CALL).await.unwrap_err(), Fenced);
        fence.open(Instant::now() + Duration::from_secs(15));
        assert!(fence.permit(CALL).await.is_ok());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(fence.is_open());
        assert_eq!(fence.permit(CALL).await.unwrap_err(), Fenced);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(!fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn draining_waits_for_the_write_in_hand_and_lets_no_other_start() {
        let fence = Fence::new();
        fence.open(Instant::now() + Duration::from_secs(15));
        let permit = fence.permit(CALL).await.unwrap();
        let draining = tokio::spawn({
            let fence = fence.clone();
            async move { fence.drain().await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!draining.is_finished());
        drop(permit);
        draining.await.unwrap();
        assert_eq!(fence.permit(CALL).await.unwrap_err(), Fenced);
    }
}
