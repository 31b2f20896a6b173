//! How is a run ended from outside? By an HTTP request to its control port, which the API server's
//! proxy of pods can make: no program has to be run in the pod.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Whether the end was asked for.
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens on all addresses of the pod; without a port nobody can ask.
    pub(crate) async fn listen(port: Option<u16>) -> Result<Self, String> {
        let asked = Arc::new(AtomicBool::new(false));
        if let Some(port) = port {
            let listener = TcpListener::bind(("0.0.0.0", port))
                .await
                .map_err(|error| format!("control port {port}: {error}"))?;
            tokio::spawn(serve(listener, Arc::clone(&asked)));
        }
        Ok(Self(asked))
    }

    /// Whether somebody asked for it.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, asked: Arc<AtomicBool>) {
    loop {
        // A caller that hung up is no reason to stop listening.
        if let Ok((stream, _)) = listener.accept().await {
            let _ = answer(stream, &asked).await;
        }
    }
}

async fn answer(mut stream: TcpStream, asked: &AtomicBool) -> std::io::Result<()> {
    // The first line may arrive in pieces.
    let mut request = Vec::new();
    while !request.contains(&b'\n')
        && request.len() < 1_024
        && stream.read_buf(&mut request).await? > 0
    {}
    let line = String::from_utf8_lossy(&request);
    if line.starts_with("GET /stop") {
        asked.store(true, Ordering::Relaxed);
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n";
    stream.write_all(format!("{head}content-length: 3\r\n\r\nok\n").as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(port: u16, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_a_request_to_stop_stops() {
        let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let stop = Stop::listen(Some(port)).await.unwrap();
        assert!(get(port, "/").await.starts_with("HTTP/1.1 200"));
        assert!(!stop.is_asked());
        let mut slow = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        slow.write_all(b"GET /").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        slow.write_all(b"stop HTTP/1.1\r\n\r\n").await.unwrap();
        slow.read_to_string(&mut String::new()).await.unwrap();
        assert!(stop.is_asked());
    }
}
