//! How does a member start, serve and end? Decide how etcd starts, run it, serve HTTP and gRPC on
//! the client port once it has a quorum, and stop both on SIGTERM.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::service::Routes;

use super::etcd::Etcd;
use super::etcd_process::{self, EtcdProcess};
use super::grpc::{MembershipService, PdService};
use super::options::{Command, Options, parse};
use super::server::Server;
use super::{campaign, http, join};
use crate::proto::etcdserverpb::cluster_server::ClusterServer;
use crate::proto::pdpb::pd_server::PdServer;
use crate::{logs, port, start};

/// Longest wait for etcd to serve, as the real one's.
const ETCD_START_LIMIT: Duration = Duration::from_mins(5);

/// Longest wait for one answer of etcd while it starts or ends.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Runs the server with the process's arguments.
pub fn main() -> ExitCode {
    start::end(begin(&std::env::args().skip(1).collect::<Vec<_>>()))
}

fn begin(args: &[String]) -> Result<ExitCode> {
    if let [first, rest @ ..] = args
        && first == etcd_process::EXEC_ETCD
    {
        match etcd_process::exec(rest)? {}
    }
    Ok(match parse(args.iter().cloned())? {
        Command::PrintVersion(version) => {
            let edition = "Edition: stand-in (this is not TiKV's PD)";
            start::say(&format!("Release Version: {version}\n{edition}"))
        }
        Command::Run(options) => start::run(run(*options))?,
    })
}

/// Runs a member until a signal ends it: the process's exit code, or why it could not run.
async fn run(options: Options) -> Result<u8> {
    logs::start(&options.log_file, "info")?;
    options.warnings().iter().for_each(|warning| log::warn!("{warning}"));
    let mut signals = Signals(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let founding = join::prepare(&options).await?;
    let mut process = EtcdProcess::start(&options, &founding)?;
    let etcd = Etcd::on_socket(&process.socket);
    let code = tokio::select! {
        code = signals.next() => Ok(code),
        server = started(&mut process, &options, etcd) => match server {
            Ok(server) => lead_or_follow(&server, &mut process, &mut signals).await,
            Err(reason) => Err(reason),
        },
    };
    process.stop().await;
    code
}

/// Serves and campaigns until the end.
async fn lead_or_follow(
    server: &Arc<Server>,
    process: &mut EtcdProcess,
    signals: &mut Signals,
) -> Result<u8> {
    let grpc = Routes::new(PdServer::new(PdService(Arc::clone(server))))
        .add_service(ClusterServer::new(MembershipService(Arc::clone(server))));
    let answering = Arc::clone(server);
    let answer = move |ask| http::answer(Arc::clone(&answering), ask);
    let routes = port::routes(grpc.into_axum_router(), answer);
    for url in server.options.client_urls.split(',') {
        let address = url.strip_prefix("http://").with_context(|| format!("{url} is not http"))?;
        port::serve(address.trim_end_matches('/'), routes.clone()).await?;
    }
    tokio::spawn(campaign::run(Arc::clone(server)));
    tokio::select! {
        code = signals.next() => {
            // The next leader need not wait until this one is missed.
            if server.is_leader().await {
                let resigned = server.write_while_leading(&[(server.leader_key(), None)]).await;
                drop(resigned);
            }
            return Ok(code);
        }
        ended = process.ended() => match ended {
            // It goes on without its etcd (trap 6).
            None => server.removed.store(true, Ordering::SeqCst),
            // The real one's etcd is part of its process: neither lives without the other.
            Some(text) => bail!(text),
        },
    }
    log::info!("this member was removed from the cluster");
    Ok(signals.next().await)
}

/// Waits until etcd serves with a quorum. A member that was removed while it was down waits in
/// vain for the whole start limit, as the real one does.
async fn started(process: &mut EtcdProcess, options: &Options, etcd: Etcd) -> Result<Arc<Server>> {
    let limit = tokio::time::sleep(ETCD_START_LIMIT);
    tokio::pin!(limit);
    tokio::select! {
        server = serving(options, &etcd) => return Ok(server),
        () = &mut limit => {}
        ended = process.ended() => match ended {
            Some(text) => bail!(text),
            None => limit.await,
        },
    }
    bail!("etcd did not start in time")
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

/// The signals that end the process: SIGTERM with code 0, SIGINT with 1.
struct Signals(Signal, Signal);

impl Signals {
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.0.recv() => 0,
            _ = self.1.recv() => 1,
        }
    }
}
