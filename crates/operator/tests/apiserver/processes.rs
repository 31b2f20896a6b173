//! The program itself: two processes, signals, exit codes.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream};

use crate::{PATIENCE, server::server};

/// How long a lease is valid by default.
const LEASE: Duration = Duration::from_secs(15);

struct Process {
    child: Child,
    port: u16,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn start(namespace: &str) -> Process {
    let server = server().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let child = Command::new(env!("CARGO_BIN_EXE_tikv-operator"))
        .args(["--namespace", namespace, "--lease-namespace", namespace, "--listen", &listen])
        .args(["--log-format", "json"])
        .env("KUBECONFIG", server.kubeconfig())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Process { child, port }
}

impl Process {
    /// The body of a GET; empty while nobody listens.
    async fn get(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)).await else {
            return String::new();
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn leads(&self) -> bool {
        self.get("/metrics").await.contains("\ntikv_operator_leader 1\n")
    }

    async fn wait_until_leading(&self) -> Duration {
        let start = Instant::now();
        while !self.leads().await {
            assert!(start.elapsed() < PATIENCE, "nobody leads");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        start.elapsed()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

async fn two(namespace: &str) -> (Process, Process) {
    server().await.namespace(namespace).await;
    let first = start(namespace).await;
    first.wait_until_leading().await;
    let second = start(namespace).await;
    while !second.get("/readyz").await.contains("200 OK") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!second.leads().await);
    (first, second)
}

#[tokio::test]
async fn sigterm_ends_the_program_well_and_the_other_one_acts_at_once() {
    let (mut first, second) = two("process-term").await;
    let start = Instant::now();
    first.signal("-TERM");
    let took = second.wait_until_leading().await;
    println!("the other process leads {took:?} after SIGTERM");
    assert!(took < LEASE / 2, "{took:?}: it was not released");
    while first.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "still running");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("ended {:?} after SIGTERM", start.elapsed());
    assert_eq!(first.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn after_kill_9_the_other_process_acts_when_the_lease_has_ended() {
    let (first, second) = two("process-kill").await;
    first.signal("-KILL");
    let took = second.wait_until_leading().await;
    println!("the other process leads {took:?} after kill -9");
    assert!(took > LEASE / 2, "{took:?}: two may have acted");
}

#[tokio::test]
async fn a_stopped_process_that_goes_on_no_longer_leads() {
    let (first, second) = two("process-stop").await;
    first.signal("-STOP");
    second.wait_until_leading().await;
    first.signal("-CONT");
    let start = Instant::now();
    while first.leads().await {
        assert!(start.elapsed() < PATIENCE, "two lead");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(second.leads().await);
}

#[test]
fn without_an_api_server_or_with_bad_flags_it_says_so_and_ends() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikv-operator"));
        let command = command
            .args(args)
            .env("KUBECONFIG", "/does/not/exist")
            .env_remove("KUBERNETES_SERVICE_HOST");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, says) = run(&[]);
    assert_eq!(code, Some(1));
    assert!(says.contains("no way to reach an API server"), "{says}");
    let (code, says) = run(&["--lease-duration", "1s"]);
    assert_eq!(code, Some(1));
    assert!(says.contains("--lease-deadline"), "{says}");
    assert_eq!(run(&["--no-such-flag"]).0, Some(2));
}
