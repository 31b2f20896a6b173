//! What does the operator tell kubelet and Prometheus over HTTP?
//!
//! `/livez`: the event loop turns. `/readyz`: the watch caches are filled. `/metrics`.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, time::Instant};

use crate::metrics::Metrics;

/// The loop beats every second; a gap this long means that it hangs.
const DEAD_AFTER: Duration = Duration::from_secs(30);
/// Time for a client to send its request.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// How the operator fares; clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    start: Instant,
    last_beat: Arc<AtomicU64>,
    ready: Arc<AtomicBool>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Alive, not ready.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            last_beat: Arc::new(AtomicU64::new(0)),
            ready: Arc::new(AtomicBool::new(false)),
        }
    }

    /// The loop turned.
    pub fn beat(&self) {
        self.last_beat.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// The caches are filled, or no longer are.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        let last = Duration::from_secs(self.last_beat.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last) < DEAD_AFTER
    }
}

/// Answers on `address` until the process ends.
pub async fn serve(address: SocketAddr, health: Health, metrics: Metrics) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    serve_on(listener, health, metrics).await
}

/// Answers on a listener that is already bound.
pub async fn serve_on(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
) -> std::io::Result<()> {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, say: the next client may be luckier.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (health, metrics) = (health.clone(), metrics.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request.method(), request.uri().path(), &health, &metrics);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a client's connection ended");
            }
        });
    }
}

fn answer(
    method: &Method,
    path: &str,
    health: &Health,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if method != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match path {
        "/livez" if health.is_alive() => text(StatusCode::OK, "ok\n"),
        "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "the event loop hangs\n"),
        "/readyz" if health.ready.load(Ordering::Relaxed) => text(StatusCode::OK, "ok\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "the watch caches are not filled\n"),
        "/metrics" => match metrics.encode() {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        _ => text(StatusCode::NOT_FOUND, "/livez, /readyz and /metrics are here\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &str, health: &Health) -> StatusCode {
        answer(&Method::GET, path, health, &Metrics::new()).status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_not_alive() {
        let health = Health::new();
        assert_eq!(status("/livez", &health), StatusCode::OK);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(status("/livez", &health), StatusCode::SERVICE_UNAVAILABLE);
        health.beat();
        assert_eq!(status("/livez", &health), StatusCode::OK);
    }

    #[tokio::test]
    async fn ready_means_that_the_caches_are_filled() {
        let health = Health::new();
        assert_eq!(status("/readyz", &health), StatusCode::SERVICE_UNAVAILABLE);
        health.set_ready(true);
        assert_eq!(status("/readyz", &health), StatusCode::OK);
        assert_eq!(status("/metrics", &health), StatusCode::OK);
        assert_eq!(status("/", &health), StatusCode::NOT_FOUND);
        let post = answer(&Method::POST, "/livez", &health, &Metrics::new());
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
