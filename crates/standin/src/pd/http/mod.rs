//! What answers on PD's port besides gRPC? The HTTP API v1 and v2. A follower passes a request on
//! to the leader unless it is asked not to.

mod cluster;
mod local;
mod members;
mod metrics;
mod proxy;
mod stores;
mod v2;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value};

use super::lead::Lead;
use super::refusal::Refusal;
use super::server::Server;
use super::version::Feature;

/// Content type of most answers.
const JSON: &str = "application/json; charset=UTF-8";
/// Content type of API v2.
const JSON_V2: &str = "application/json; charset=utf-8";
/// Content type of the router and the redirector.
const TEXT: &str = "text/plain; charset=utf-8";
/// A request with this header is answered by the contacted member itself.
const ALLOW_FOLLOWER: &str = "pd-allow-follower-handle";
/// Set by a follower that passes a request on.
const REDIRECTOR: &str = "pd-redirector";

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
    /// Splits a request's target and takes over the rest.
    pub fn new(method: Method, target: String, headers: HeaderMap, body: Bytes) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let path = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let query = query.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(key), decode(value))
        });
        Self { query: query.collect(), path, method, headers, body, target }
    }

    /// The path after its first `skip` parts, to match on.
    pub fn route(&self, skip: usize) -> Vec<&str> {
        self.path.iter().skip(skip).map(String::as_str).collect()
    }

    /// The first parameter of this name.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every parameter of this name.
    pub fn parameters<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The body as a JSON object; anything else is bad input.
    pub fn object(&self) -> Result<Map<String, Value>, Refusal> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Refusal::input("json: cannot unmarshal value into Go value of type map")),
            Err(error) => Err(Refusal::input(error.to_string())),
        }
    }
}

/// `%2F` and `+` of a path or query.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.filter(|_| *first == b'%').and_then(|h| u8::from_str_radix(h, 16).ok());
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer before it becomes a response.
#[derive(Clone, Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Answer {
    fn typed(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }

    /// 200 with indented JSON, as API v1 writes it.
    pub fn json(value: &Value) -> Self {
        Self::json_with(StatusCode::OK, value)
    }

    /// Indented JSON with a status.
    pub fn json_with(status: StatusCode, value: &Value) -> Self {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        Self::typed(status, JSON, format!("{text}\n"))
    }

    /// 200 with a JSON string.
    pub fn said(text: &str) -> Self {
        Self::json(&text.into())
    }

    /// Compact JSON, as API v2 writes it.
    pub fn json_v2(status: StatusCode, value: &Value) -> Self {
        Self::typed(status, JSON_V2, value.to_string())
    }

    /// Plain text of the router or the redirector.
    pub fn text(status: StatusCode, text: &str) -> Self {
        let mut answer = Self::typed(status, TEXT, format!("{text}\n"));
        answer.headers.push(("x-content-type-options", "nosniff".into()));
        answer
    }

    /// A status and nothing else.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// No such path in API v1.
    pub fn not_found() -> Self {
        Self::text(StatusCode::NOT_FOUND, "404 page not found")
    }

    /// The HTTP response.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(Full::new(self.body)).unwrap_or_default()
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        if !refusal.as_object {
            return Self::json_with(refusal.status, &refusal.message.into());
        }
        let body = serde_json::json!({"code": "input", "msg": refusal.message, "data": {}});
        let mut answer = Self::json_with(refusal.status, &body);
        answer.headers.push(("tidb-error-code", "input".into()));
        answer
    }
}

/// Answers one request.
pub async fn answer(server: &Arc<Server>, ask: Ask) -> Answer {
    match ask.route(0).as_slice() {
        ["health"] => local::etcd_health(server).await,
        ["metrics"] => metrics::answer(server).await,
        ["pd", "api", "v2", ..] => v2::answer(server, &ask).await,
        ["pd", "api", "v1", ..] => v1(server, &ask).await,
        _ => Answer::not_found(),
    }
}

async fn v1(server: &Arc<Server>, ask: &Ask) -> Answer {
    let route = ask.route(3);
    let own = server.options.version.has(Feature::LocalAnswers)
        && (matches!(route.as_slice(), ["health" | "ping" | "status" | "version"])
            || (ask.method == Method::GET && route == ["config"]));
    let here = own || ask.headers.contains_key(ALLOW_FOLLOWER) || server.is_leader().await;
    if here {
        return handle(server, ask).await;
    }
    if ask.headers.contains_key(REDIRECTOR) {
        let text = "[PD:apiutil:ErrRedirectToNotLeader]redirect to not leader";
        return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, text);
    }
    proxy::pass_on(server, ask).await
}

/// Answers as this member: with the leader's state if it leads, else with what every member has.
async fn handle(server: &Arc<Server>, ask: &Ask) -> Answer {
    let route = ask.route(3);
    let found = match local::answer(server, ask, &route).await {
        Some(answer) => return answer,
        None => members::answer(server, ask, &route).await,
    };
    if let Some(result) = found {
        return result.unwrap_or_else(Answer::from);
    }
    let mut guard = server.lead().await;
    let result = match guard.as_mut() {
        Some(lead) => on_leader(server, lead, ask, &route),
        None => on_follower(ask, &route),
    };
    match server.commit(&mut guard).await {
        Ok(()) => result.unwrap_or_else(Answer::from),
        Err(refusal) => refusal.into(),
    }
}

fn on_leader(
    server: &Server,
    lead: &mut Lead,
    ask: &Ask,
    route: &[&str],
) -> Result<Answer, Refusal> {
    stores::answer(lead, ask, route)
        .or_else(|| cluster::answer(server, lead, ask, route))
        .unwrap_or_else(|| Ok(Answer::not_found()))
}

/// What a follower can say itself: it has no cluster object.
fn on_follower(ask: &Ask, route: &[&str]) -> Result<Answer, Refusal> {
    match (ask.method.as_str(), route) {
        ("GET", ["regions", "count"]) => Ok(cluster::region_count(0)),
        (_, ["stores" | "store" | "schedulers" | "regions" | "region" | "operators", ..]) => {
            Err(Refusal::not_bootstrapped())
        }
        _ => Ok(Answer::not_found()),
    }
}
