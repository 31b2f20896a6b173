//! How does a member start, serve and end? Decide how etcd starts, run it, serve HTTP and gRPC on
//! the client port once it has a quorum, and stop both on SIGTERM.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::service::Routes;

use super::etcd::Etcd;
use super::etcd_process::{self, Ended, EtcdProcess};
use super::grpc::PdService;
use super::membership_grpc::MembershipService;
use super::options::{Command, Options, parse};
use super::server::Server;
use super::{campaign, http, join};
use crate::proto::etcdserverpb::cluster_server::ClusterServer;
use crate::proto::pdpb::pd_server::PdServer;
use crate::{log, port, start};

/// Longest wait for etcd to serve, as the real one's.
const ETCD_START_LIMIT: Duration = Duration::from_mins(5);

/// Longest wait for one answer of etcd while it starts.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Runs the server with the process's arguments.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = args.as_slice()
        && first == etcd_process::EXEC_ETCD
    {
        return start::fail(&etcd_process::exec(rest));
    }
    let from = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let environment = from("STANDIN_PD_VERSION").or_else(|| from("STANDIN_VERSION"));
    match parse(args.into_iter(), &environment.unwrap_or_default()) {
        Err(text) => start::fail(&text),
        Ok(Command::PrintVersion(version)) => {
            let edition = "Edition: stand-in (this is not TiKV's PD)";
            start::say(&format!("Release Version: {version}\n{edition}"))
        }
        Ok(Command::ConfigChecked(options)) => {
            let warnings = options.warnings().into_iter().map(|text| format!("warning: {text}\n"));
            start::say(&(warnings.collect::<String>() + "config check successful"))
        }
        Ok(Command::Run(options)) => start::run(run(*options)),
    }
}

/// Runs a member until a signal ends it: the process's exit code, or why it could not run.
async fn run(options: Options) -> Result<u8, String> {
    options.log_file.as_ref().map_or(Ok(()), |path| log::to_file(path))?;
    options.warnings().iter().for_each(|warning| log::warn(warning));
    let mut signals = Signals::new()?;
    let founding = join::prepare(&options).await?;
    let mut process = EtcdProcess::start(&options, &founding)?;
    let etcd = Etcd::on_socket(&process.socket);
    let started = tokio::select! {
        code = signals.next() => Err(Ok(code)),
        result = started(&mut process, &options, etcd) => result.map_err(Err),
    };
    let code = match started {
        Ok(server) => lead_or_follow(&server, &mut process, &mut signals).await,
        Err(code) => code,
    };
    process.stop().await;
    code
}

/// Serves and campaigns until the end.
async fn lead_or_follow(
    server: &Arc<Server>,
    process: &mut EtcdProcess,
    signals: &mut Signals,
) -> Result<u8, String> {
    let grpc = Routes::new(PdServer::new(PdService(Arc::clone(server))))
        .add_service(ClusterServer::new(MembershipService(Arc::clone(server))));
    let answering = Arc::clone(server);
    let answer = move |ask| http::answer(Arc::clone(&answering), ask);
    let routes = port::routes(grpc.into_axum_router(), answer);
    for url in server.options.client_urls.split(',') {
        let address = url.strip_prefix("http://").ok_or(format!("{url} is not an http URL"))?;
        port::serve(address.trim_end_matches('/'), routes.clone()).await?;
    }
    tokio::spawn(campaign::run(Arc::clone(server)));
    let code = supervise(server, process, signals).await;
    // Leading ends before etcd does, so that the next leader need not wait for the lease.
    if server.is_leader().await {
        drop(server.write_while_leading(&[(server.leader_key(), None)]).await);
    }
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
    log::info("this member was removed from the cluster");
    Ok(signals.next().await)
}

/// Waits until etcd serves with a quorum. A member that was removed while it was down waits in
/// vain for the whole start limit, as the real one does.
async fn started(
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

/// The signals that end the process: SIGTERM with code 0, SIGINT with 1.
struct Signals(Signal, Signal);

impl Signals {
    fn new() -> Result<Self, String> {
        let of = |kind| signal(kind).map_err(|error| format!("cannot catch signals: {error}"));
        Ok(Self(of(SignalKind::terminate())?, of(SignalKind::interrupt())?))
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.0.recv() => 0,
            _ = self.1.recv() => 1,
        }
    }
}
