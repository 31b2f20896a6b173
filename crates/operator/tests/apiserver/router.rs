//! What stands for the network and its names: requests go to PD, or to the store that their `Host`
//! header names.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// Serves until it is dropped.
pub(crate) struct Router {
    pub(crate) address: String,
    task: JoinHandle<()>,
}

impl Drop for Router {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Routes {
    pd: String,
    /// What hosts of the store begin with, and where its status port is.
    store: (String, String),
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Router {
    pub(crate) async fn run(pd: &str, store: &str, status: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let store = (store.to_owned(), status.to_owned());
        let routes = Arc::new(Routes { pd: pd.to_owned(), store, client });
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let routes = Arc::clone(&routes);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let routes = Arc::clone(&routes);
                        async move { Ok::<_, Infallible>(routes.pass_on(request).await) }
                    });
                    let io = TokioIo::new(stream);
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        Self { address, task }
    }
}

impl Routes {
    async fn pass_on(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let target = if host.starts_with(&self.store.0) { &self.store.1 } else { &self.pd };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let body = body.collect().await.unwrap().to_bytes();
        let request = Request::builder()
            .method(parts.method)
            .uri(format!("http://{target}{path}"))
            .body(Full::new(body))
            .unwrap();
        let Ok(answer) = self.client.request(request).await else {
            let mut away = Response::new(Full::default());
            *away.status_mut() = StatusCode::BAD_GATEWAY;
            return away;
        };
        let status = answer.status();
        let body = answer.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        let mut passed = Response::new(Full::new(body.unwrap_or_default()));
        *passed.status_mut() = status;
        passed
    }
}
