//! How is one HTTP call to PD made, so that nothing that answers can hold or fill the operator?
//!
//! Connect, headers and body have limits of time and size; redirects are never followed.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, header::HOST, uri::Authority};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

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

/// The HTTP client behind all calls to PD.
#[derive(Clone)]
pub struct Transport {
    client: Client<HttpConnector, Empty<Bytes>>,
    limits: Limits,
    /// Where connections go instead of to the member; the `Host` header stays the member's.
    through: Option<Authority>,
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
        Self { client, limits, through }
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
        let request = self.request(member, path)?;
        tokio::time::timeout(time, self.exchange(request, body_max))
            .await
            .unwrap_or_else(|_| Err(PdError::Slow(time.as_secs())))
    }

    fn request(&self, member: &Authority, path: &str) -> Result<Request<Empty<Bytes>>, PdError> {
        let target = self.through.as_ref().unwrap_or(member);
        let uri = Uri::builder()
            .scheme("http")
            .authority(target.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| PdError::Connect(error.to_string()))?;
        Request::get(uri)
            .header(HOST, member.as_str())
            .body(Empty::new())
            .map_err(|error| PdError::Connect(error.to_string()))
    }

    async fn exchange(
        &self,
        request: Request<Empty<Bytes>>,
        body_max: usize,
    ) -> Result<Bytes, PdError> {
        let response = self.client.request(request).await.map_err(|error| {
            let text = shorten(&chain(&error));
            if error.is_connect() { PdError::Connect(text) } else { PdError::Broken(text) }
        })?;
        let status = response.status();
        let limit = if status.is_success() { body_max } else { ERROR_BODY_MAX };
        let body = Limited::new(response.into_body(), limit).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => PdError::TooLong(limit),
            None => PdError::Broken(shorten(&chain(error.as_ref()))),
        })?;
        let bytes = body.to_bytes();
        if status.is_success() {
            Ok(bytes)
        } else {
            Err(PdError::from_status(status.as_u16(), &bytes))
        }
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
