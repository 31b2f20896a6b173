//! What if a server answers exactly this? A small one for tests, that keeps what it was asked.

use std::sync::{Arc, Mutex};

use http::uri::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Method, path and query: `GET /x?y`.
    pub(crate) line: String,
    pub(crate) host: String,
    pub(crate) body: String,
}

/// A server, and what it was asked.
pub(crate) struct Fake {
    pub(crate) address: Authority,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// What is answered: status and body; `None` breaks the connection after the request was heard.
pub(crate) type Answer = Option<(u16, String)>;

impl Fake {
    /// Serves what `script` says.
    pub(crate) async fn run(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (heard, script) = (Arc::clone(&asked), Arc::new(script));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (heard, script) = (Arc::clone(&heard), Arc::clone(&script));
                tokio::spawn(async move {
                    let mut stream = stream;
                    while let Some(request) = request(&mut stream).await {
                        heard.lock().unwrap().push(request.clone());
                        let Some((status, body)) = script(&request) else { return };
                        let length = body.len();
                        let start =
                            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
                        let answer = [start.as_bytes(), body.as_bytes()].concat();
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Requests that were no `GET`, with their bodies: `POST /x {"a":1}`.
    pub(crate) fn changes(&self) -> Vec<String> {
        let changes = self.asked().into_iter().filter(|asked| !asked.line.starts_with("GET "));
        changes
            .map(|asked| format!("{} {}", asked.line, asked.body).trim_end().to_owned())
            .collect()
    }
}

async fn request(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let host = header("host").unwrap_or_default().to_owned();
    Some(Asked { line, host, body: String::from_utf8(body).unwrap() })
}
