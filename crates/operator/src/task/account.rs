//! How is something done with no more rights than a task's service account has?
//!
//! The operator asks for a short-lived token of the account (TokenRequest) and makes the call with
//! that token alone. So what the account may not do, no task does as it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, header::CONTENT_TYPE};
use kube::{Client, Config, config::AuthInfo};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    kubernetes::{Kubernetes, words},
    lease::Fenced,
};

/// How long a token is valid: the least that the API server gives.
const VALID: Duration = Duration::from_mins(10);
/// A client is used for so long.
const KEPT: Duration = Duration::from_mins(5);
/// Time for the token.
const TIME: Duration = Duration::from_secs(5);

/// Clients that act as service accounts; clones share them.
#[derive(Clone)]
pub struct Accounts {
    kubernetes: Kubernetes,
    /// How to reach the API server; none where the operator was not told.
    config: Option<Config>,
    known: Arc<Mutex<Known>>,
}

/// Clients by namespace and name, with the time until which they are used.
type Known = BTreeMap<(String, String), (Instant, Client)>;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The account does not exist.
    #[error(
        "serviceAccountName: there is no service account {0} in this namespace. Create it or name \
         another"
    )]
    Unknown(String),
    /// No token was given.
    #[error("no token of service account {0}: {1}")]
    Refused(String, String),
    /// The operator's role does not have it.
    #[error(
        "the operator may not act as service account {0} in this namespace. Allow it with \
         deploy/optional/task-accounts.yaml"
    )]
    NotAllowed(String),
    /// This replica may not ask for one now.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The operator does not know how to reach the API server as somebody else.
    #[error("this operator cannot act as a service account")]
    NoConfig,
}

impl AccountError {
    /// May it work another time without an edit?
    pub fn passes(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::NotAllowed(_) | Self::Refused(..) | Self::Fenced(_) => true,
            Self::NoConfig => false,
        }
    }
}

impl Accounts {
    /// Accounts whose tokens are asked for by `kubernetes`.
    pub fn new(kubernetes: Kubernetes, config: Option<Config>) -> Self {
        Self { kubernetes, config, known: Arc::default() }
    }

    /// A client that acts as the account.
    pub async fn client(&self, namespace: &str, name: &str) -> Result<Client, AccountError> {
        let config = self.config.as_ref().ok_or(AccountError::NoConfig)?;
        let key = (namespace.to_owned(), name.to_owned());
        let now = Instant::now();
        let known = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, (until, _)| *until > now);
            known.get(&key).map(|(_, client)| client.clone())
        };
        if let Some(client) = known {
            return Ok(client);
        }
        let token = self.token(namespace, name).await?;
        let client = client(config, &token)
            .map_err(|error| AccountError::Refused(name.to_owned(), words(&error)))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, (now + KEPT, client.clone()));
        Ok(client)
    }

    async fn token(&self, namespace: &str, name: &str) -> Result<String, AccountError> {
        let refused = |words: String| AccountError::Refused(name.to_owned(), words);
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "expirationSeconds": VALID.as_secs() },
        });
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(|error| refused(error.to_string()))?;
        let _permit = self.kubernetes.fence().permit(TIME).await?;
        let asked = self.kubernetes.client().request::<Value>(request);
        let answer = match tokio::time::timeout(TIME, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                return Err(AccountError::Unknown(name.to_owned()));
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                return Err(AccountError::NotAllowed(name.to_owned()));
            }
            Ok(Err(error)) => return Err(refused(words(&error))),
            Err(_) => return Err(refused("no answer in time".to_owned())),
        };
        let token = answer.pointer("/status/token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| refused("the answer holds none".to_owned()))
    }
}

/// A client with this token and nothing else of the operator's own credentials.
fn client(config: &Config, token: &str) -> kube::Result<Client> {
    let mut config = config.clone();
    config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
    Client::try_from(config)
}
