//! How does a member start, serve and end? Decide how etcd starts, run it, serve HTTP and gRPC on
//! the client port once it has a quorum, and stop both on SIGTERM.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::service::Routes;
use tower::ServiceExt;

use super::campaign;
use super::etcd::Etcd;
use super::etcd_process::{Ended, EtcdProcess};
use super::grpc::PdService;
use super::http::{Ask, answer};
use super::join;
use super::log;
use super::membership_grpc::{KeyspaceService, MembershipService};
use super::options::Options;
use super::refusal::Refusal;
use super::server::Server;
use crate::proto::etcdserverpb::cluster_server::ClusterServer;
use crate::proto::keyspacepb::keyspace_server::KeyspaceServer;
use crate::proto::pdpb::pd_server::PdServer;

/// Longest wait for etcd to serve, as the real one's.
const ETCD_START_LIMIT: Duration = Duration::from_mins(5);

/// Longest wait for one answer of etcd while it starts.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Largest HTTP body that is read.
const BODY_LIMIT: usize = 16 << 20;

/// Runs a member until a signal ends it: the process's exit code, or why it could not run.
pub async fn run(options: Options) -> Result<u8, String> {
    for warning in &options.warnings {
        log::line(&format!("warning: {warning}"));
    }
    let mut signals = Signals::new()?;
    let founding = join::prepare(&options).await?;
    let mut process = EtcdProcess::start(&options, &founding)?;
    let etcd = Etcd::on_socket(&process.socket);
    let started = tokio::select! {
        code = signals.next() => Err(code),
        result = start(&mut process, &options, etcd) => Ok(result),
    };
    let server = match started {
        Ok(Ok(server)) => server,
        Ok(Err(text)) => {
            process.stop().await;
            return Err(text);
        }
        Err(code) => {
            process.stop().await;
            return Ok(code);
        }
    };
    for url in options.client_urls.split(',') {
        let listener = listen(url).await?;
        tokio::spawn(accept(listener, Arc::clone(&server)));
    }
    tokio::spawn(campaign::run(Arc::clone(&server)));
    let code = supervise(&server, &mut process, &mut signals).await;
    // Leading ends before etcd does, so that the next leader need not wait for the lease.
    if server.is_leader().await {
        let gone = [(server.leader_key(), None)];
        drop(server.etcd.write_while((&server.leader_key(), &server.leader_value()), &gone).await);
    }
    process.stop().await;
    code
}

/// Until a signal comes. A removed member goes on without its etcd (trap 6).
async fn supervise(
    server: &Server,
    process: &mut EtcdProcess,
    signals: &mut Signals,
) -> Result<u8, String> {
    tokio::select! {
        code = signals.next() => return Ok(code),
        ended = process.ended() => match ended {
            Ended::Removed => server.removed.store(true, Ordering::SeqCst),
            Ended::Failed(text) => return Err(text),
        },
    }
    log::line("this member was removed from the cluster");
    Ok(signals.next().await)
}

/// Waits until etcd serves with a quorum. A member that was removed while it was down waits in
/// vain for the whole start limit, as the real one does.
async fn start(
    process: &mut EtcdProcess,
    options: &Options,
    etcd: Etcd,
) -> Result<Arc<Server>, String> {
    let limit = tokio::time::sleep(ETCD_START_LIMIT);
    tokio::pin!(limit);
    let ended = tokio::select! {
        server = serving(options, &etcd) => return Ok(server),
        () = &mut limit => return Err("etcd did not start in time".into()),
        ended = process.ended() => ended,
    };
    match ended {
        Ended::Failed(text) => Err(text),
        Ended::Removed => {
            limit.await;
            Err("etcd did not start in time: the member was removed".into())
        }
    }
}

/// Asks until etcd answers what only a quorum can.
async fn serving(options: &Options, etcd: &Etcd) -> Arc<Server> {
    loop {
        let asked = Server::new(options.clone(), etcd.clone());
        match tokio::time::timeout(ANSWER_LIMIT, asked).await {
            Ok(Ok(server)) => return server,
            Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The signals that end the process: SIGTERM with code 0, others with 1.
struct Signals([(Signal, u8); 4]);

impl Signals {
    fn new() -> Result<Self, String> {
        let of = |kind| signal(kind).map_err(|error| format!("cannot catch signals: {error}"));
        Ok(Self([
            (of(SignalKind::terminate())?, 0),
            (of(SignalKind::interrupt())?, 1),
            (of(SignalKind::hangup())?, 1),
            (of(SignalKind::quit())?, 1),
        ]))
    }

    async fn next(&mut self) -> u8 {
        let [(term, zero), (int, one), (hup, two), (quit, three)] = &mut self.0;
        tokio::select! {
            _ = term.recv() => *zero,
            _ = int.recv() => *one,
            _ = hup.recv() => *two,
            _ = quit.recv() => *three,
        }
    }
}

async fn listen(url: &str) -> Result<TcpListener, String> {
    let address = url.strip_prefix("http://").ok_or_else(|| format!("{url} is not an http URL"))?;
    let address = address.trim_end_matches('/');
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    let routes = Routes::new(PdServer::new(PdService(Arc::clone(&server))))
        .add_service(KeyspaceServer::new(KeyspaceService(Arc::clone(&server))))
        .add_service(ClusterServer::new(MembershipService(Arc::clone(&server))));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: wait for some to come free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        drop(stream.set_nodelay(true));
        let (routes, server) = (routes.clone(), Arc::clone(&server));
        let service = hyper::service::service_fn(move |request| {
            serve(request, routes.clone(), Arc::clone(&server))
        });
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// One request: gRPC by its content type, else the HTTP API.
async fn serve(
    request: http::Request<Incoming>,
    routes: Routes,
    server: Arc<Server>,
) -> Result<http::Response<tonic::body::Body>, Infallible> {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return routes.oneshot(request.map(tonic::body::Body::new)).await;
    }
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let answered = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => {
            let body: Bytes = body.to_bytes();
            answer(&server, Ask::new(parts.method, target.to_owned(), parts.headers, body)).await
        }
        Err(error) => Refusal::bad(error.to_string()).into(),
    };
    Ok(answered.into_response().map(tonic::body::Body::new))
}
