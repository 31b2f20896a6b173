//! An API server that says no at first: every first write of an object conflicts, and what a watch
//! begins from is too old. Requests are changed on their way, so the refusals are the server's own.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::FutureExt;
use http::{Method, Request, Response, StatusCode};
use kube::{
    Client, Config,
    api::DeleteParams,
    client::{Body, ClientBuilder},
};
use serde_json::{Value, json};
use tower::{Layer, Service};

use crate::{
    PATIENCE,
    operator::{Operator, create_cluster},
    outage::wire,
    server::api,
    stage::Stage,
};

/// What is said no to, and how often that was.
#[derive(Clone, Default)]
struct Contrary(Arc<Whims>);

#[derive(Default)]
struct Whims {
    /// Writes by method and path that conflict, or did: each does once.
    written: Option<Mutex<BTreeSet<String>>>,
    /// Watches by path that begin with a version that is too old, or did: each does once.
    watched: Option<Mutex<BTreeSet<String>>>,
    conflicts: AtomicUsize,
    /// Watches that were begun from too old a version.
    old: AtomicUsize,
}

impl Contrary {
    fn writes() -> Self {
        Self(Arc::new(Whims { written: Some(Mutex::default()), ..Whims::default() }))
    }

    fn watches() -> Self {
        Self(Arc::new(Whims { watched: Some(Mutex::default()), ..Whims::default() }))
    }

    /// Every watch begins from too old a version once more.
    fn again(&self) {
        self.0.watched.as_ref().unwrap().lock().unwrap().clear();
    }

    fn client(&self, config: Config) -> Client {
        ClientBuilder::try_from(config).unwrap().with_layer(self).build()
    }

    fn conflicts(&self) -> usize {
        self.0.conflicts.load(Ordering::SeqCst)
    }

    fn old(&self) -> usize {
        self.0.old.load(Ordering::SeqCst)
    }

    /// The request as the server gets it.
    fn changed(&self, request: Request<Body>) -> Request<Body> {
        let path = request.uri().path().to_owned();
        let is_first = |known: &Option<Mutex<BTreeSet<String>>>, what: String| {
            known.as_ref().is_some_and(|known| known.lock().unwrap().insert(what))
        };
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        if watches && is_first(&self.0.watched, path.clone()) {
            self.0.old.fetch_add(1, Ordering::SeqCst);
            return too_old(request);
        }
        // What is made by POST is there or not; versions are for what there is.
        let writes = [Method::PATCH, Method::PUT, Method::DELETE].contains(request.method());
        let apart = path.contains("/leases") || path.contains("/events");
        if writes && !apart && is_first(&self.0.written, format!("{} {path}", request.method())) {
            return outdated(request);
        }
        request
    }
}

/// A watch from the first version of all, which no server remembers.
fn too_old(request: Request<Body>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap().split('&').map(|pair| match pair.split_once('=') {
        Some(("resourceVersion", _)) => "resourceVersion=1",
        _ => pair,
    });
    let query: Vec<&str> = query.collect();
    parts.uri = format!("{}?{}", parts.uri.path(), query.join("&")).parse().unwrap();
    Request::from_parts(parts, body)
}

/// A write for a version that the object does not have.
fn outdated(request: Request<Body>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    let bytes = body.collect_bytes().now_or_never().unwrap().unwrap();
    let mut body: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({}));
    let field = if parts.method == Method::DELETE { "preconditions" } else { "metadata" };
    body[field]["resourceVersion"] = json!("1");
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Request::from_parts(parts, Body::from(serde_json::to_vec(&body).unwrap()))
}

impl<S> Layer<S> for Contrary {
    type Service = ContraryService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ContraryService { inner, contrary: self.clone() }
    }
}

#[derive(Clone)]
struct ContraryService<S> {
    inner: S,
    contrary: Contrary,
}

impl<S, B> Service<Request<Body>> for ContraryService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let contrary = self.contrary.clone();
        let call = self.inner.call(contrary.changed(request));
        Box::pin(async move {
            let answer = call.await?;
            if answer.status() == StatusCode::CONFLICT {
                contrary.0.conflicts.fetch_add(1, Ordering::SeqCst);
            }
            Ok(answer)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_every_first_write_of_an_object_conflicts_and_the_cluster_is_made_and_changed() {
    let stage = Stage::new("conflicts", "c").await;
    let Stage { admin, namespace, pd, .. } = &stage;
    create_cluster(admin, namespace, "c").await;
    let contrary = Contrary::writes();
    let client = contrary.client(stage.config.clone());
    let _operator = Operator::start(client, namespace, "operator", &pd.address);
    stage.ready("c").await;
    let made = contrary.conflicts();
    assert!(made >= 5, "{made} conflicts only");
    let before = stage.pod_uids().await;
    let services = api(admin, "", "Service", namespace);
    let start = Instant::now();
    services.delete("c-pd-peer", &DeleteParams::default()).await.unwrap();
    while services.get_opt("c-pd-peer").await.unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "the Service does not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stage.ready("c").await;
    assert_eq!(stage.pod_uids().await, before);
    println!("{made} writes conflicted");
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_watches_whose_version_is_too_old_begin_anew_and_no_pod_is_touched() {
    let mut stage = Stage::new("gone", "c").await;
    let cut = wire(&mut stage.config).await;
    let Stage { admin, namespace, pd, .. } = &stage;
    create_cluster(admin, namespace, "c").await;
    let contrary = Contrary::watches();
    let client = contrary.client(stage.config.clone());
    let _operator = Operator::start(client, namespace, "operator", &pd.address);
    stage.ready("c").await;
    let first = contrary.old();
    assert!(first >= 5, "{first} watches began too early");
    let before = stage.pod_uids().await;

    contrary.again();
    cut.store(true, Ordering::SeqCst);
    let services = api(admin, "", "Service", namespace);
    services.delete("c-pd-peer", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    cut.store(false, Ordering::SeqCst);
    let start = Instant::now();
    while services.get_opt("c-pd-peer").await.unwrap().is_none() || contrary.old() < 2 * first {
        let old = contrary.old() - first;
        assert!(start.elapsed() < PATIENCE, "{old} watches began too early, nothing comes back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stage.ready("c").await;
    assert_eq!(stage.pod_uids().await, before);
}
