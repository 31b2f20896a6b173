//! How is one HTTP call to PD or a store made, so that nothing that answers can hold or fill the
//! operator?
//!
//! Connect, headers and body have limits of time and size; redirects are never followed. The operator
//! calls members by name; `kubectl tikv`, outside of the cluster's network, asks its questions
//! through the API server.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, Response, Uri,
    header::{CONTENT_TYPE, HOST},
    uri::Authority,
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use serde_json::Value;
use tikv_operator_api::names::PD_CLIENT_PORT;

use super::error::{PdError, shorten};

/// Longest error body that is read; PD's are a line.
const ERROR_BODY_MAX: usize = 64 * 1024;
/// Space for status line and headers; PD sends a few hundred bytes.
const HEADERS_MAX: usize = 64 * 1024;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For name resolution and the TCP handshake.
    pub connect: Duration,
    /// For the whole call, from connecting to the last byte.
    pub call: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), call: Duration::from_secs(5) }
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// Path and query; what is put into it is percent-encoded already.
    pub path: &'a str,
    /// The body, as JSON.
    pub body: Option<&'a Value>,
}

/// The HTTP client behind all calls to PD and to the status ports of stores.
#[derive(Clone)]
pub struct Transport {
    client: Client<HttpConnector, Full<Bytes>>,
    limits: Limits,
    route: Route,
}

/// How a member is reached.
#[derive(Clone)]
enum Route {
    /// By its name, or at an address that stands for all; the `Host` header stays the member's.
    Network(Option<Authority>),
    /// By the API server's proxy to pods; a member's host begins with the name of its pod.
    ApiServer(kube::Client, String),
}

impl Transport {
    /// A client. With `through`, every connection goes to that address and only the `Host` header
    /// says which member is meant: for an operator that runs where members' names do not resolve.
    pub fn new(limits: Limits, through: Option<Authority>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(limits.connect));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(4)
            .http1_max_buf_size(HEADERS_MAX)
            .build(connector);
        Self { client, limits, route: Route::Network(through) }
    }

    /// A client that asks pods of a namespace through the API server, for whom their network is out
    /// of reach. It asks questions and changes nothing.
    pub fn through_api_server(limits: Limits, client: kube::Client, namespace: String) -> Self {
        Self { route: Route::ApiServer(client, namespace), ..Self::new(limits, None) }
    }

    /// The limits given at creation.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// `GET http://<member><path>`: the body of a 2xx answer, at most `body_max` bytes, within
    /// `time`.
    pub async fn get(
        &self,
        member: &Authority,
        path: &str,
        body_max: usize,
        time: Duration,
    ) -> Result<Bytes, PdError> {
        let request = Call { method: Method::GET, path, body: None };
        self.call(member, &request, body_max, time).await
    }

    /// Makes one call: the body of a 2xx answer, at most `body_max` bytes, within `time`.
    pub async fn call(
        &self,
        member: &Authority,
        call: &Call<'_>,
        body_max: usize,
        time: Duration,
    ) -> Result<Bytes, PdError> {
        let exchange = async {
            match &self.route {
                Route::Network(through) => {
                    let target = through.as_ref().unwrap_or(member);
                    self.exchange(request(target, member, call)?, body_max).await
                }
                Route::ApiServer(client, namespace) => {
                    ask_by_proxy(client, (namespace, member), call, body_max).await
                }
            }
        };
        tokio::time::timeout(time, exchange)
            .await
            .unwrap_or_else(|_| Err(PdError::Slow(time.as_secs())))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        body_max: usize,
    ) -> Result<Bytes, PdError> {
        let response = self.response(request).await?;
        read(response.into_body(), body_max).await
    }

    /// The answer to a request once its head is there; an error where it is not a 2xx.
    async fn response(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, PdError> {
        let response = self.client.request(request).await.map_err(|error| {
            let text = shorten(&chain(&error));
            if error.is_connect() { PdError::Connect(text) } else { PdError::Broken(text) }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = read(response.into_body(), ERROR_BODY_MAX).await?;
        Err(PdError::from_status(status.as_u16(), &body))
    }

    /// `GET http://<member><path>`, read line by line until `wanted` finds what it looks for, or
    /// the end. What comes after that is not read. `limits` are bytes and time.
    pub async fn find<T>(
        &self,
        member: &Authority,
        path: &str,
        (body_max, time): (usize, Duration),
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, PdError> {
        let call = Call { method: Method::GET, path, body: None };
        let Route::Network(through) = &self.route else {
            return Err(PdError::Connect("not to be had through the API server".to_owned()));
        };
        let request = request(through.as_ref().unwrap_or(member), member, &call)?;
        let finding = async {
            let response = self.response(request).await?;
            let mut body = Limited::new(response.into_body(), body_max);
            let mut pending = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| broken(error.as_ref(), body_max))?;
                let Some(data) = frame.data_ref() else { continue };
                let before = pending.len();
                pending.extend_from_slice(data);
                let end = data.iter().rposition(|byte| *byte == b'\n');
                let Some(end) = end.map(|end| before + end + 1) else { continue };
                let rest = pending.split_off(end);
                let lines = String::from_utf8_lossy(&pending);
                if let Some(found) = lines.lines().find_map(&wanted) {
                    return Ok(Some(found));
                }
                pending = rest;
            }
            Ok(String::from_utf8_lossy(&pending).lines().find_map(&wanted))
        };
        tokio::time::timeout(time, finding)
            .await
            .unwrap_or_else(|_| Err(PdError::Slow(time.as_secs())))
    }
}

fn request(
    target: &Authority,
    member: &Authority,
    call: &Call<'_>,
) -> Result<Request<Full<Bytes>>, PdError> {
    let uri = Uri::builder()
        .scheme("http")
        .authority(target.clone())
        .path_and_query(call.path)
        .build()
        .map_err(|error| PdError::Connect(error.to_string()))?;
    let body = call.body.map(ToString::to_string).unwrap_or_default();
    Request::builder()
        .method(&call.method)
        .uri(uri)
        .header(HOST, member.as_str())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(body))
        .map_err(|error| PdError::Connect(error.to_string()))
}

/// Asks a member in its namespace by the API server's proxy.
async fn ask_by_proxy(
    client: &kube::Client,
    (namespace, member): (&str, &Authority),
    call: &Call<'_>,
    body_max: usize,
) -> Result<Bytes, PdError> {
    if call.method != Method::GET {
        return Err(PdError::Connect("only questions go through the API server".to_owned()));
    }
    let pod = member.host().split('.').next().unwrap_or_default();
    let port = member.port_u16().unwrap_or(PD_CLIENT_PORT);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{}", call.path);
    let request = Request::get(path).body(kube::client::Body::empty());
    let request = request.map_err(|error| PdError::Connect(error.to_string()))?;
    // Not `request_text`, which reads all that comes.
    let response = client.send(request).await;
    let response = response.map_err(|error| PdError::Connect(shorten(&chain(&error))))?;
    let status = response.status();
    if status.is_success() {
        return read(response.into_body(), body_max).await;
    }
    let body = read(response.into_body(), ERROR_BODY_MAX).await?;
    Err(PdError::from_status(status.as_u16(), &body))
}

/// The whole of a body; no more of it than `limit` bytes is ever held.
async fn read<B>(body: B, limit: usize) -> Result<Bytes, PdError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let body = Limited::new(body, limit).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| broken(error.as_ref(), limit))
}

fn broken(error: &(dyn Error + 'static), limit: usize) -> PdError {
    match error.downcast_ref::<LengthLimitError>() {
        Some(_) => PdError::TooLong(limit),
        None => PdError::Broken(shorten(&chain(error))),
    }
}

/// An error with its causes, outermost first.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
