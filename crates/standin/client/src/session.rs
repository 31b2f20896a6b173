//! How does `tikv-check` keep a usable client through failures? The crate's client remembers a
//! region's leader when it cannot even connect to it, and one of its connections that ends is made
//! again without a limit: where the address is that of a pod that is just gone, whoever asks that
//! store waits for half a minute and more, long after it is back elsewhere. So after a failure, and
//! where an answer takes long, a new client is made, at most once a second for all workers together.

use std::sync::{Arc, Mutex as StdMutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tikv_client::{Backoff, Config, Error, RawClient};
use tokio::sync::Mutex;

/// The deadline of an attempt, with all retries inside it.
const ATTEMPT: Duration = Duration::from_secs(5);
/// After this time without an answer, a new client is asked too.
const SLOW: Duration = Duration::from_millis(500);
/// Between two attempts for one key.
const PAUSE: Duration = Duration::from_millis(200);

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The store refused: certainly nothing was written.
    Refused(String),
    /// It may have been written.
    Unknown(String),
}

impl Failure {
    /// The reason.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Refused(reason) | Self::Unknown(reason) => reason,
        }
    }
}

/// The clients of a run; clones share them.
#[derive(Clone)]
pub(crate) struct Session {
    pd: Arc<Vec<String>>,
    client: Arc<RwLock<RawClient>>,
    /// When the last one was made; held while one is being made.
    renewed: Arc<Mutex<Instant>>,
}

impl Session {
    /// Connects, trying until `patience` is over.
    pub(crate) async fn connect(pd: &[String], patience: Duration) -> Result<Self, String> {
        let deadline = Instant::now() + patience;
        loop {
            match connect(pd).await {
                Ok(client) => {
                    return Ok(Self {
                        pd: Arc::new(pd.to_vec()),
                        client: Arc::new(RwLock::new(client)),
                        renewed: Arc::new(Mutex::new(Instant::now())),
                    });
                }
                Err(reason) if Instant::now() >= deadline => {
                    return Err(format!("cannot connect to PD: {reason}"));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn client(&self) -> RawClient {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn renew(self) {
        let mut renewed = self.renewed.lock().await;
        if renewed.elapsed() > Duration::from_secs(1) {
            if let Ok(client) = connect(&self.pd).await {
                *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
            }
            *renewed = Instant::now();
        }
    }

    /// One put, which the crate may send more than once.
    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<(), Failure> {
        let put = |client: RawClient| {
            let (key, value) = (key.to_owned(), value.to_owned());
            async move { client.put(key, value).await }
        };
        self.attempt(self.ask(put)).await
    }

    /// The first answer to what may be asked twice.
    async fn ask<A, F: Future<Output = tikv_client::Result<A>>>(
        &self,
        ask: impl Fn(RawClient) -> F,
    ) -> tikv_client::Result<A> {
        let renewed = async {
            tokio::time::sleep(SLOW).await;
            self.clone().renew().await;
            ask(self.client()).await
        };
        tokio::select! {
            answer = ask(self.client()) => answer,
            answer = renewed => answer,
        }
    }

    /// One put that takes effect at most once: without the crate's retries, and sent again only
    /// where a store said that it did nothing.
    pub(crate) async fn put_once(&self, key: &str, value: &str) -> Result<(), Failure> {
        let tries = async {
            loop {
                let once = self.client().with_backoff(Backoff::no_backoff());
                match once.put(key.to_owned(), value.to_owned()).await {
                    Err(error) if refused(&error) => {
                        // Without retries the client learns no new leader from a refusal; a read
                        // teaches it.
                        drop(self.client().get(key.to_owned()).await);
                        tokio::time::sleep(PAUSE / 10).await;
                    }
                    ended => return ended,
                }
            }
        };
        self.attempt(tries).await
    }

    /// One read.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<String>, Failure> {
        let get = |client: RawClient| {
            let key = key.to_owned();
            async move { client.get(key).await }
        };
        let value = self.attempt(self.ask(get)).await?;
        Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Reads until it gets an answer, or until nobody has had one for this long; `answered` is the
    /// time of the last one.
    pub(crate) async fn get_patiently(
        &self,
        key: &str,
        answered: &StdMutex<Instant>,
        patience: Duration,
    ) -> Result<Option<String>, Failure> {
        let mut last = Failure::Unknown("no time left".to_owned());
        let since = || *answered.lock().unwrap_or_else(PoisonError::into_inner);
        while since().elapsed() < patience {
            match self.get(key).await {
                Ok(value) => {
                    *answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    return Ok(value);
                }
                Err(failure) => last = failure,
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(last)
    }

    async fn attempt<A>(
        &self,
        call: impl Future<Output = tikv_client::Result<A>>,
    ) -> Result<A, Failure> {
        let failure = match tokio::time::timeout(ATTEMPT, call).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if refused(&error) => return Err(Failure::Refused(error.to_string())),
            Ok(Err(error)) => Failure::Unknown(error.to_string()),
            Err(_) => Failure::Unknown("timed out".to_owned()),
        };
        tokio::spawn(self.clone().renew());
        Err(failure)
    }
}

/// The store did nothing, and will not: these are said before a command is proposed. A stale
/// command may have been done after all, by those that the store has lost.
#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is the crate's and not exhaustive")]
fn refused(error: &Error) -> bool {
    match error {
        Error::RegionError(said) => said.stale_command.is_none(),
        Error::LeaderNotFound { .. } => true,
        Error::ExtractedErrors(errors) | Error::MultipleKeyErrors(errors) => {
            !errors.is_empty() && errors.iter().all(refused)
        }
        _other => false,
    }
}

async fn connect(pd: &[String]) -> Result<RawClient, String> {
    let config = Config::default().with_timeout(Duration::from_secs(2));
    let connecting = RawClient::new_with_config(pd.to_vec(), config);
    match tokio::time::timeout(ATTEMPT, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err("timed out".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tikv_client::ProtoRegionError;

    use super::*;

    #[test]
    fn only_what_was_certainly_not_done_is_refused() {
        let region = |stale: bool| {
            let stale_command = stale.then(Default::default);
            Error::RegionError(Box::new(ProtoRegionError { stale_command, ..Default::default() }))
        };
        assert!(refused(&region(false)));
        assert!(!refused(&region(true)));
        assert!(refused(&Error::ExtractedErrors(vec![region(false)])));
        assert!(!refused(&Error::ExtractedErrors(vec![region(false), region(true)])));
        assert!(!refused(&Error::ExtractedErrors(Vec::new())));
    }
}
