//! How does a server take requests on its ports and answer them? HTTP and gRPC on one listener,
//! over axum; a request is read fully before it is answered.

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::IntoResponse as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value};
use tokio::net::TcpListener;

/// Largest body that is read.
const BODY_LIMIT: usize = 16 << 20;

/// An answer on its way out.
pub type Answer = Response<Body>;

/// A request, read fully.
#[derive(Clone, Debug)]
pub struct Ask {
    /// GET, POST, ….
    pub method: Method,
    /// Path and query as they came.
    pub target: String,
    /// Parts of the path, decoded.
    pub path: Vec<String>,
    /// Parameters in their order.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Ask {
    async fn read(request: Request) -> Result<Self, axum::Error> {
        let (http::request::Parts { method, uri, headers, .. }, body) = request.into_parts();
        let body = axum::body::to_bytes(body, BODY_LIMIT).await?;
        let decode = |part| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into();
        let path = uri.path().split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let query = query.into_owned().collect();
        Ok(Self { method, target: uri.to_string(), path, query, headers, body })
    }

    /// The path after its first `skip` parts, to match on.
    pub fn route(&self, skip: usize) -> Vec<&str> {
        self.path.iter().skip(skip).map(String::as_str).collect()
    }

    /// The first parameter of this name.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters(key).next()
    }

    /// Every parameter of this name.
    pub fn parameters(&self, key: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The body as a JSON object.
    pub fn object(&self) -> serde_json::Result<Map<String, Value>> {
        serde_json::from_slice(&self.body)
    }
}

/// An answer of a content type.
pub fn typed(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Answer {
    (status, [(CONTENT_TYPE, kind)], body.into()).into_response()
}

/// An answer without a content type.
pub fn bare(status: StatusCode, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
}

/// Routes that end at `answer` where no service of `grpc` takes the request.
pub fn routes<F>(grpc: Router, answer: impl Fn(Ask) -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = Answer> + Send,
{
    grpc.fallback(move |request: Request| async move {
        match Ask::read(request).await {
            Ok(ask) => answer(ask).await,
            Err(error) => bare(StatusCode::BAD_REQUEST, error.to_string()),
        }
    })
}

/// Listens on `address` and serves `routes` there until the process ends.
pub async fn serve(address: &str, routes: Router) -> Result<()> {
    let bound = TcpListener::bind(address).await;
    let listener = bound.with_context(|| format!("failed to bind {address}"))?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // Only slower without.
        drop(stream.set_nodelay(true));
    });
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(())
}

/// Asks another server; `None` when it does not answer.
pub async fn ask(
    method: Method,
    url: &str,
    (name, value): (&str, &str),
    body: Bytes,
) -> Option<Answer> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = http::Request::builder().method(method).uri(url).header(name, value);
    let answer = client.request(request.body(Full::new(body)).ok()?).await.ok()?;
    Some(answer.map(Body::new))
}
