//! Who holds the member's data? A real etcd, run as a child on the member's peer URL. It dies with
//! the server, also when that is killed: the child asks the kernel for it before it becomes etcd.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::options::Options;

/// First argument of the re-executed server that turns into etcd.
pub const EXEC_ETCD: &str = "--exec-etcd";

/// What etcd logs when it learns that it is no member any more.
const REMOVED: &str = "removed from the cluster";

/// How etcd starts: which members it is told of.
#[derive(Debug)]
pub struct Founding {
    /// `name=peer-url,…`.
    pub initial_cluster: String,
    /// `new` or `existing`.
    pub state: String,
}

/// The running child.
#[derive(Debug)]
pub struct EtcdProcess {
    child: Child,
    /// Where it listens for this server.
    pub socket: PathBuf,
    removed: Arc<AtomicBool>,
    log: tokio::task::JoinHandle<()>,
}

impl EtcdProcess {
    /// Starts etcd. Must run on the main thread: the kernel sends the death signal when the
    /// *thread* that forked ends.
    pub fn start(options: &Options, founding: &Founding) -> Result<Self> {
        let program = program()?;
        let failed = || format!("data directory {}", options.data_dir.display());
        std::fs::create_dir_all(&options.data_dir).with_context(failed)?;
        let data_dir = options.data_dir.canonicalize().with_context(failed)?;
        let socket = data_dir.join("etcd.sock");
        drop(std::fs::remove_file(&socket));
        let mut child = tokio::process::Command::new(std::env::current_exe()?)
            .arg(EXEC_ETCD)
            .arg(std::process::id().to_string())
            .arg(&program)
            .args(arguments(options, founding, &data_dir, &socket))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let removed = Arc::new(AtomicBool::new(false));
        let stderr = child.stderr.take().context("etcd has no stderr")?;
        let log = tokio::spawn(follow(stderr, Arc::clone(&removed)));
        Ok(Self { child, socket, removed, log })
    }

    /// Waits for the child's end, and says why; `None` when its member was removed.
    pub async fn ended(&mut self) -> Option<String> {
        let status = self.child.wait().await;
        // Its last words say why, and are read by a task of its own.
        drop(tokio::time::timeout(std::time::Duration::from_secs(5), &mut self.log).await);
        let was_removed = self.removed.load(Ordering::SeqCst);
        (!was_removed).then(|| format!("etcd ended: {status:?}"))
    }

    /// Ends etcd as the server ends: politely, which also hands its leadership on.
    pub async fn stop(&mut self) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let limit = std::time::Duration::from_secs(10);
        if tokio::time::timeout(limit, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }
}

/// The etcd to run: `$STANDIN_ETCD`, else `etcd` beside this program.
fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("STANDIN_ETCD") {
        return Ok(PathBuf::from(path));
    }
    let beside = std::env::current_exe()?.with_file_name("etcd");
    ensure!(beside.exists(), "no etcd: set STANDIN_ETCD or put it at {}", beside.display());
    Ok(beside)
}

fn arguments(
    options: &Options,
    founding: &Founding,
    data_dir: &Path,
    socket: &Path,
) -> Vec<String> {
    let set = |name: &str, value: &str| format!("--{name}={value}");
    vec![
        set("name", &options.name),
        set("data-dir", &data_dir.display().to_string()),
        set("listen-peer-urls", &options.peer_urls),
        set("initial-advertise-peer-urls", &options.advertise_peer_urls),
        set("listen-client-urls", &format!("unix://{}", socket.display())),
        set("advertise-client-urls", &options.advertise_client_urls),
        set("initial-cluster", &founding.initial_cluster),
        set("initial-cluster-state", &founding.state),
        set("initial-cluster-token", &options.initial_cluster_token),
        // PD's own defaults: tick 500 ms, election 3 s.
        set("heartbeat-interval", "500"),
        set("election-timeout", "3000"),
        set("auto-compaction-mode", "periodic"),
        set("auto-compaction-retention", "1h"),
        set("enable-grpc-gateway", "false"),
        set("log-level", "warn"),
        set("log-outputs", "stderr"),
    ]
}

/// Passes etcd's log on, and notices that the member was removed.
async fn follow(stderr: impl tokio::io::AsyncRead + Unpin, removed: Arc<AtomicBool>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        if text.contains(REMOVED) {
            removed.store(true, Ordering::SeqCst);
        }
        log::info!("etcd: {text}");
    }
}

/// The child's side: ask for the death signal, then become etcd. Returns only on failure.
pub fn exec(args: &[String]) -> Result<Infallible> {
    let [parent, program, rest @ ..] = args else {
        bail!("{EXEC_ETCD} needs the parent's id and a program");
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the request: then no signal will ever come.
    let alive =
        rustix::process::getppid().is_some_and(|pid| pid.as_raw_pid().to_string() == *parent);
    ensure!(alive, "the server that started etcd is gone");
    let error = std::process::Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("cannot run {program}"))
}
