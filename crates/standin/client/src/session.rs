//! How does `tikv-check` keep a usable client through failures? The crate's client remembers a
//! region's leader when it cannot even connect to it, so after a failure a new client is made, at
//! most once a second for all workers together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tikv_client::{Backoff, Config, Error, RawClient};
use tokio::sync::Mutex;

/// One request, with the crate's own retries inside it.
const ATTEMPT: Duration = Duration::from_secs(5);
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
    client: Arc<Mutex<(RawClient, Instant)>>,
}

impl Session {
    /// Connects, trying until `patience` is over.
    pub(crate) async fn connect(pd: &[String], patience: Duration) -> Result<Self, String> {
        let deadline = Instant::now() + patience;
        loop {
            match connect(pd).await {
                Ok(client) => {
                    let client = Arc::new(Mutex::new((client, Instant::now())));
                    return Ok(Self { pd: Arc::new(pd.to_vec()), client });
                }
                Err(reason) if Instant::now() >= deadline => {
                    return Err(format!("cannot connect to PD: {reason}"));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn client(&self) -> RawClient {
        self.client.lock().await.0.clone()
    }

    async fn renew(&self) {
        let mut held = self.client.lock().await;
        if held.1.elapsed() > Duration::from_secs(1) {
            if let Ok(client) = connect(&self.pd).await {
                held.0 = client;
            }
            held.1 = Instant::now();
        }
    }

    /// One put.
    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<(), Failure> {
        let client = self.client().await;
        self.attempt(client.put(key.to_owned(), value.to_owned())).await
    }

    /// One put without the crate's retries, so that it is applied at most once.
    pub(crate) async fn put_once(&self, key: &str, value: &str) -> Result<(), Failure> {
        let client = self.client().await;
        let once = client.with_backoff(Backoff::no_backoff());
        let outcome = self.attempt(once.put(key.to_owned(), value.to_owned())).await;
        if outcome.is_err() {
            // Without retries the client learns no new leader from a refusal; a read teaches it.
            let _ = self.get(key).await;
        }
        outcome
    }

    /// One read.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<String>, Failure> {
        let client = self.client().await;
        let value = self.attempt(client.get(key.to_owned())).await?;
        Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Reads until it gets an answer or the deadline is over.
    pub(crate) async fn get_until(
        &self,
        key: &str,
        deadline: Instant,
    ) -> Result<Option<String>, Failure> {
        let mut last = Failure::Unknown("no time left".to_owned());
        while Instant::now() < deadline {
            match self.get(key).await {
                Ok(value) => return Ok(value),
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
        self.renew().await;
        Err(failure)
    }
}

/// Region errors come before anything is written; what is not known to be harmless may have been
/// done. The enum is the crate's and not exhaustive.
#[allow(clippy::wildcard_enum_match_arm)]
fn refused(error: &Error) -> bool {
    match error {
        Error::RegionError(_) | Error::LeaderNotFound { .. } => true,
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
