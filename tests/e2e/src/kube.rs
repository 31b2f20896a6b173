//! How do the cases talk to Kubernetes?
//!
//! By path and JSON, one blocking call each: a case reads like the `kubectl` session that it
//! stands for, and no type of the operator's hides what is really on the wire.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::{Method, Request};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::timeline::Timeline;

/// Longest time for one answer.
const CALL: Duration = Duration::from_secs(30);
/// Pause between two looks while waiting.
const POLL: Duration = Duration::from_millis(250);

/// No answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", CALL.as_secs())]
struct Silence;

/// A connection to the cluster under test.
#[derive(Clone)]
pub(crate) struct Kube {
    runtime: Arc<Runtime>,
    client: Client,
}

impl Kube {
    /// Connects by a kubeconfig file (default: as `kubectl` finds it) and, maybe, a context in it.
    pub(crate) fn connect(file: Option<&Path>, context: Option<&str>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start of the async runtime")?;
        let client = runtime.block_on(async {
            let kubeconfig = match file {
                Some(file) => Kubeconfig::read_from(file)?,
                None => Kubeconfig::read()?,
            };
            let options =
                KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { runtime: Arc::new(runtime), client })
    }

    /// One request; the answer's text, or the server's refusal as an error.
    fn call(&self, method: &Method, path: &str, kind: &str, body: Vec<u8>) -> Result<String> {
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(http::header::CONTENT_TYPE, kind)
            .header(http::header::ACCEPT, "application/json, */*")
            .body(body)?;
        self.send(request)
    }

    fn send(&self, request: Request<Vec<u8>>) -> Result<String> {
        let what = format!("{} {}", request.method(), request.uri());
        self.runtime.block_on(async {
            match tokio::time::timeout(CALL, self.client.request_text(request)).await {
                Ok(Ok(text)) => Ok(text),
                Ok(Err(e)) => Err(anyhow::Error::from(e).context(what)),
                Err(_) => Err(anyhow::Error::from(Silence).context(what)),
            }
        })
    }

    fn json(&self, method: &Method, path: &str, kind: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let text = self.call(method, path, kind, body)?;
        serde_json::from_str(&text).with_context(|| format!("answer of {path} is not JSON: {text}"))
    }

    /// GET as text: logs, PD's answers through the API server's proxy.
    pub(crate) fn text(&self, path: &str) -> Result<String> {
        self.call(&Method::GET, path, "application/json", Vec::new())
    }

    /// GET as text with one more header, which the API server's proxies pass on.
    pub(crate) fn text_with(&self, path: &str, (name, value): (&str, &str)) -> Result<String> {
        self.send(Request::get(path).header(name, value).body(Vec::new())?)
    }

    /// GET.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        self.json(&Method::GET, path, "application/json", &Value::Null)
    }

    /// GET; `None` where there is no such object.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Value>> {
        match self.get(path) {
            Ok(object) => Ok(Some(object)),
            Err(e) if status_code(&e) == Some(404) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The `items` of a list.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Value>> {
        match self.get(path)?.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => bail!("{path} is not a list"),
        }
    }

    /// POST: create. Unknown fields are an error.
    pub(crate) fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let strict = format!("{path}?fieldValidation=Strict");
        self.json(&Method::POST, &strict, "application/json", object)
    }

    /// POST without a body, as text: a question to PD through the API server's proxy that changes
    /// something there.
    pub(crate) fn post(&self, path: &str) -> Result<String> {
        self.call(&Method::POST, path, "application/json", Vec::new())
    }

    /// PATCH with merge semantics.
    pub(crate) fn merge(&self, path: &str, change: &Value) -> Result<Value> {
        self.json(&Method::PATCH, path, "application/merge-patch+json", change)
    }

    /// DELETE with a grace time in seconds (`None`: the object's own); absent objects are fine.
    pub(crate) fn delete(&self, path: &str, grace: Option<u32>) -> Result<()> {
        let path = match grace {
            Some(seconds) => format!("{path}?gracePeriodSeconds={seconds}"),
            None => path.to_owned(),
        };
        match self.json(&Method::DELETE, &path, "application/json", &Value::Null) {
            Ok(_) => Ok(()),
            Err(e) if status_code(&e) == Some(404) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Watches a collection or one object (by `fieldSelector`) in the background.
    pub(crate) fn watch(&self, path: &str) -> Timeline {
        Timeline::start(&self.runtime, self.client.clone(), path.to_owned())
    }
}

/// The HTTP status of a refusal by the API server.
pub(crate) fn status_code(error: &anyhow::Error) -> Option<u16> {
    error.chain().find_map(|cause| match cause.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    })
}

/// Whether an error says nothing about the product: a server was busy or away for a moment.
fn is_passing(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
        Some(_) => true,
        None => cause.downcast_ref::<Silence>().is_some(),
    })
}

/// Looks until `look` finds something, for at most `limit`; then says what was last in the way.
///
/// `look` answers `Ok(Err(why not yet))` while there is nothing. An error ends the wait at once,
/// unless it only says that a server was busy or away.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let looked = match look() {
            Ok(looked) => looked,
            Err(e) if is_passing(&e) => Err(format!("{e:#}")),
            Err(e) => return Err(e.context(format!("while waiting for {what}"))),
        };
        match looked {
            Ok(found) => return Ok(found),
            Err(why) if start.elapsed() >= limit => {
                bail!("{what}: not within {} s ({why})", limit.as_secs())
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_outlives_a_silent_server_and_nothing_else() {
        let mut looks = 0;
        let found = until("it", Duration::from_secs(10), || {
            looks += 1;
            if looks < 3 {
                Err(anyhow::Error::from(Silence).context("GET /x"))
            } else {
                Ok(Ok(looks))
            }
        });
        assert_eq!(found.ok(), Some(3));
        let wrong = until("it", Duration::from_secs(10), || -> Result<Result<(), String>> {
            bail!("the store's id changed")
        });
        assert!(wrong.is_err_and(|e| format!("{e:#}").contains("the store's id changed")));
        let never =
            until("it", Duration::ZERO, || -> Result<Result<(), String>> { Err(Silence.into()) });
        assert!(never.is_err_and(|e| format!("{e:#}").contains("no answer within 30 s")));
    }
}
