//! How is an event posted, so that no receiver can hold or fill the operator, and no task reaches
//! what only the operator should?
//!
//! One connection per call, limits of time and size, no redirects. Where it may go is said in
//! `egress.rs`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, StatusCode,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tikv_operator_core::task::{Answer, HttpCall, Target};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use super::egress::{NoWay, Way};

/// Longest answer that is read; nothing of it is shown but its length is bounded all the same.
const ANSWER_MAX: usize = 64 * 1024;

/// A call with what was read from Secrets.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// The call.
    pub(super) call: HttpCall,
    /// Headers from Secrets.
    pub(super) secret_headers: Vec<(String, String)>,
    /// `ca.crt`, PEM.
    pub(super) authority: Option<Vec<u8>>,
    /// `tls.crt` and `tls.key`, PEM.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Posts the event. What was answered is told by its status alone: the body may hold anything.
pub(super) async fn post(outgoing: &Outgoing, way: Way<'_>) -> Answer {
    let time = outgoing.call.time;
    match tokio::time::timeout(time, attempt(outgoing, way)).await {
        Ok(Ok(status)) => judge(status),
        Ok(Err(Problem::Again(words))) => Answer::Again(words),
        Ok(Err(Problem::Never(words))) => Answer::Refused(words),
        Err(_) => Answer::Again(format!("no answer within {} s", time.as_secs())),
    }
}

fn judge(status: StatusCode) -> Answer {
    let words = format!("answered {status}");
    let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if status.is_success() {
        Answer::Done(words)
    } else if status.is_server_error() || again.contains(&status) {
        Answer::Again(words)
    } else {
        Answer::Refused(words)
    }
}

enum Problem {
    Again(String),
    Never(String),
}

async fn attempt(outgoing: &Outgoing, way: Way<'_>) -> Result<StatusCode, Problem> {
    let target = &outgoing.call.target;
    let request = request(outgoing)?;
    let stream = connect(target, way).await?;
    if !target.tls {
        return send(stream, request).await;
    }
    let config = tls(outgoing).map_err(Problem::Never)?;
    let name = ServerName::try_from(target.host.clone())
        .map_err(|error| Problem::Never(format!("the host's name: {error}")))?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| Problem::Again(format!("no encrypted connection: {error}")))?;
    send(stream, request).await
}

async fn connect(target: &Target, way: Way<'_>) -> Result<TcpStream, Problem> {
    let addresses = way.to(target).await.map_err(|no| match no {
        NoWay::Now(words) => Problem::Again(words),
        NoWay::Ever(words) => Problem::Never(words),
    })?;
    let stream = TcpStream::connect(addresses.as_slice()).await;
    stream.map_err(|error| {
        Problem::Again(format!("cannot reach {}:{}: {error}", target.host, target.port))
    })
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, Problem>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| Problem::Again(format!("the connection broke: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    let answer = match answer {
        Ok(answer) => {
            let status = answer.status();
            // Read to its end, so that the receiver is not cut off in the middle of a sentence.
            let _ = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            Ok(status)
        }
        Err(error) => Err(broken(error)),
    };
    driving.abort();
    answer
}

fn request(outgoing: &Outgoing) -> Result<Request<Full<Bytes>>, Problem> {
    let call = &outgoing.call;
    let target = &call.target;
    let ipv6 = target.host.contains(':');
    let name = if ipv6 { format!("[{}]", target.host) } else { target.host.clone() };
    // Some receivers know themselves without the port only.
    let usual = if target.tls { 443 } else { 80 };
    let host = if target.port == usual { name } else { format!("{name}:{}", target.port) };
    let mut request = Request::post(&target.path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("tikv-operator/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
        .header("idempotency-key", call.key.as_str());
    let secret = outgoing.secret_headers.iter().map(|(name, value)| (name, value));
    for (name, value) in call.headers.iter().chain(secret) {
        let never = |what: &str| Problem::Never(format!("header {name}: {what}"));
        let header = HeaderName::try_from(name.as_str()).map_err(|_| never("no name of one"))?;
        // The value may be a secret: it is never told.
        let mut value =
            HeaderValue::try_from(value.as_str()).map_err(|_| never("its value cannot be sent"))?;
        value.set_sensitive(true);
        request = request.header(header, value);
    }
    let body = Bytes::from(call.body.to_string());
    request.body(Full::new(body)).map_err(|error| Problem::Never(error.to_string()))
}

fn tls(outgoing: &Outgoing) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &outgoing.authority {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("ca.crt: {error}"))?;
                roots.add(certificate).map_err(|error| format!("ca.crt: {error}"))?;
            }
            if roots.is_empty() {
                return Err("ca.crt holds no certificate".to_owned());
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((chain, key)) = &outgoing.identity else { return Ok(builder.with_no_client_auth()) };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("tls.crt: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("tls.key: {error}"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("tls.crt: {error}"))
}

/// The longest that an attempt may take, whatever a task says.
pub(super) const LONGEST: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::SocketAddr};

    use serde_json::json;
    use tikv_operator_core::task::RunKey;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{ServerConfig, server::WebPkiClientVerifier},
    };

    use super::super::egress::Egress;
    use super::*;
    use crate::{fake::Fake, kubernetes::Kubernetes, lease::Fence, metrics::Metrics};

    /// Whoever signed both certificates of the tests.
    const AUTHORITY: &[u8] = include_bytes!("tls_test/ca.crt");

    fn outgoing(url: &str) -> Outgoing {
        Outgoing {
            call: HttpCall {
                target: Target::parse(url).unwrap(),
                key: RunKey("the-key".to_owned()),
                headers: BTreeMap::from([("X-Team".to_owned(), "storage".to_owned())]),
                headers_from: Vec::new(),
                tls_secret: None,
                time: Duration::from_secs(2),
                body: json!({"specversion": "1.0"}),
            },
            secret_headers: vec![("Authorization".to_owned(), "Bearer s3cret".to_owned())],
            authority: None,
            identity: None,
        }
    }

    /// Posts where this machine may be called.
    async fn sent(outgoing: &Outgoing) -> Answer {
        let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        let kubernetes = Kubernetes::new(client, Fence::new(), Metrics::new());
        let egress = Egress { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
        post(outgoing, Way { egress: &egress, kubernetes: &kubernetes, namespace: "ns" }).await
    }

    async fn answered(status: u16) -> (Answer, String) {
        let fake = Fake::run(move |_| Some((status, "a body".to_owned()))).await;
        let url = format!("http://{}/hook?a=b", fake.address);
        let answer = sent(&outgoing(&url)).await;
        (answer, fake.changes().join("\n"))
    }

    #[tokio::test]
    async fn an_answer_says_whether_to_try_again() {
        let (answer, asked) = answered(202).await;
        assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
        assert!(asked.contains("POST /hook?a=b") && asked.contains("specversion"), "{asked}");
        for status in [408, 425, 429, 500, 503] {
            assert!(matches!(answered(status).await.0, Answer::Again(_)), "{status}");
        }
        for status in [301, 400, 401, 404, 410] {
            let (answer, _) = answered(status).await;
            let Answer::Refused(words) = answer else { panic!("{status}: {answer:?}") };
            assert!(words.contains(&status.to_string()) && !words.contains("a body"), "{words}");
        }
    }

    #[tokio::test]
    async fn a_receiver_that_hangs_or_is_not_there_is_tried_again() {
        let broken = Fake::run(|_| None).await;
        let answer = sent(&outgoing(&format!("http://{}/", broken.address))).await;
        assert!(matches!(answer, Answer::Again(_)), "{answer:?}");
        // It takes the connection and says nothing.
        let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut slow = outgoing(&format!("http://{}/", mute.local_addr().unwrap()));
        slow.call.time = Duration::from_millis(300);
        let start = std::time::Instant::now();
        let Answer::Again(words) = sent(&slow).await else { panic!("answered") };
        assert!(words.contains("no answer within"), "{words}");
        assert!(start.elapsed() < Duration::from_secs(30), "bounded");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let answer = sent(&outgoing(&format!("http://{address}/"))).await;
        assert!(matches!(answer, Answer::Again(_)), "{answer:?}");
    }

    #[test]
    fn headers_are_sent_and_secrets_are_not_shown() {
        let request = request(&outgoing("http://a.b:81/c")).ok().unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("host"), "a.b:81");
        for (url, host) in
            [("http://a.b/", "a.b"), ("https://a.b:443/", "a.b"), ("https://a.b:80/", "a.b:80")]
        {
            let request = super::request(&outgoing(url)).ok().unwrap();
            assert_eq!(request.headers()["host"], host, "{url}: the default port is not said");
        }
        assert_eq!(header("idempotency-key"), "the-key");
        assert_eq!(header("authorization"), "Bearer s3cret");
        assert!(header("content-type").starts_with("application/cloudevents+json"));
        assert!(!format!("{:?}", request.headers()).contains("s3cret"));
        let mut bad = outgoing("http://a");
        bad.secret_headers = vec![("X".to_owned(), "s3cret\nb".to_owned())];
        let Err(Problem::Never(words)) = super::request(&bad) else { panic!("taken") };
        assert!(!words.contains("s3cret"), "{words}");
    }

    #[test]
    fn certificates_that_are_none_are_named() {
        let mut bad = outgoing("https://a");
        bad.authority = Some(b"nothing".to_vec());
        assert!(tls(&bad).unwrap_err().contains("ca.crt"));
        bad.authority = None;
        assert!(tls(&bad).is_ok());
        bad.identity = Some((b"nothing".to_vec(), b"nothing".to_vec()));
        assert!(tls(&bad).unwrap_err().contains("tls."));
    }

    /// A receiver that shows a certificate for `localhost` and asks for one of the same authority.
    async fn secure() -> SocketAddr {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let chain =
            vec![CertificateDer::from_pem_slice(include_bytes!("tls_test/server.crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls_test/server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let (mut heard, mut part) = (Vec::new(), [0; 1024]);
                    while !heard.ends_with(b"}") {
                        match stream.read(&mut part).await {
                            Ok(0) | Err(_) => return,
                            Ok(read) => heard.extend_from_slice(&part[..read]),
                        }
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn both_sides_of_an_encrypted_call_show_who_they_are() {
        let port = secure().await.port();
        let identity = (
            include_bytes!("tls_test/client.crt").to_vec(),
            include_bytes!("tls_test/client.key").to_vec(),
        );
        let mut call = outgoing(&format!("https://localhost:{port}/"));
        call.authority = Some(AUTHORITY.to_vec());
        call.identity = Some(identity);
        let answer = sent(&call).await;
        assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
        // Nobody to the receiver, an authority that nobody believes, and another's name.
        let mut nobody = call.clone();
        nobody.identity = None;
        let mut public = call.clone();
        public.authority = None;
        let mut other = call.clone();
        other.call.target.host = "127.0.0.1".to_owned();
        for (what, wrong) in [("nobody", nobody), ("public", public), ("other", other)] {
            let answer = sent(&wrong).await;
            let Answer::Again(words) = answer else { panic!("{what}: {answer:?}") };
            assert!(words.contains("connection"), "{what}: {words}");
        }
    }
}
