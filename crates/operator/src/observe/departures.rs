//! Is a look over before it ends, because a pod that it asks about is gone?
//!
//! PD pings its members for a health answer, for up to 3 s each, and a pod that has just ended
//! answers nobody. A look that began before the pod was gone waits for that, and tells nothing that
//! could be acted on: the pod's successor is made from the next look. So it is begun anew.

use tokio::sync::broadcast;

use crate::controller::Key;

/// Departures that may be unread; who has missed some takes them for one of its own.
const UNREAD: usize = 64;
/// Looks that are begun anew in a row: after that one is waited for, whatever goes.
pub(super) const ANEW: usize = 3;

/// Tells looks about pods that are gone; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Departures(broadcast::Sender<Key>);

impl Default for Departures {
    fn default() -> Self {
        Self(broadcast::Sender::new(UNREAD))
    }
}

impl Departures {
    /// A pod of this cluster is gone.
    pub(super) fn tell(&self, key: &Key) {
        // Without a look in hand nobody listens.
        let _ = self.0.send(key.clone());
    }

    /// Departures from now on.
    pub(super) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Hears of departures since it was made.
pub(super) struct Listener(broadcast::Receiver<Key>);

impl Listener {
    /// Returns when a pod of this cluster is gone, or when that cannot be excluded.
    pub(super) async fn gone(mut self, key: &Key) {
        loop {
            match self.0.recv().await {
                Ok(of) if of == *key => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    async fn hears(listener: Listener) -> bool {
        tokio::time::timeout(Duration::from_millis(50), listener.gone(&key("a"))).await.is_ok()
    }

    #[tokio::test]
    async fn only_departures_of_the_own_cluster_since_then_are_heard() {
        let departures = Departures::default();
        departures.tell(&key("a"));
        assert!(!hears(departures.listen()).await, "of before");
        let listener = departures.listen();
        departures.tell(&key("b"));
        assert!(!hears(listener).await, "another cluster's");
        let listener = departures.listen();
        departures.tell(&key("b"));
        departures.tell(&key("a"));
        assert!(hears(listener).await);
        let listener = departures.listen();
        (0..=UNREAD).for_each(|_| departures.tell(&key("b")));
        assert!(hears(listener).await, "some were missed");
    }
}
