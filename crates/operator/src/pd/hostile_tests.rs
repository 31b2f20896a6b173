//! What if something else than a healthy PD answers? Bounded time, bounded memory, and "unknown".

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::uri::Authority;
use kube::{Client, Config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::{Depth, PdClient, PdError, Transport, transport::Limits};
use crate::metrics::Metrics;

/// Short limits, so that the tests are; the ratios are those in use.
const LIMITS: Limits =
    Limits { connect: Duration::from_millis(200), call: Duration::from_millis(500) };

const MEMBERS: &str = r#"{"header":{"cluster_id":7},"members":[{"name":"a","member_id":1}],"leader":{"name":"a","member_id":1}}"#;

fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", body)
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body.as_bytes()].concat()
}

/// A server that answers each request by its path; `None` keeps silent.
async fn server(script: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Authority {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let script = Arc::new(script);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                let mut stream = stream;
                while let Some(path) = request(&mut stream).await {
                    match script(&path) {
                        Some(bytes) if stream.write_all(&bytes).await.is_ok() => {}
                        Some(_) => return,
                        None => std::future::pending().await,
                    }
                }
            });
        }
    });
    address
}

/// The path of the next request.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).unwrap().split(' ').nth(1).map(str::to_owned)
}

fn client() -> PdClient {
    PdClient::new(Transport::new(LIMITS, None), Metrics::new())
}

/// Looks at a server, which must fail within twice the call limit, and returns the reason.
async fn fails(address: Authority) -> String {
    let start = Instant::now();
    let reason = client().look(std::slice::from_ref(&address), Depth::Full).await.unwrap_err();
    assert!(start.elapsed() < LIMITS.call * 3, "{:?}", start.elapsed());
    assert!(reason.chars().count() < 300, "{reason}");
    reason
}

/// Answers that are well formed where `path` is not the one in question.
fn healthy(path: &str) -> Vec<u8> {
    match path.split('?').next().unwrap() {
        "/pd/api/v1/members" => ok(MEMBERS),
        "/pd/api/v1/health" => ok(r#"[{"name":"a","member_id":1,"health":true}]"#),
        "/pd/api/v1/stores/check" => ok(
            r#"{"count":1,"stores":[{"store":{"id":4,"address":"s:20160","state_name":"Up"},"status":{}}]}"#,
        ),
        "/pd/api/v1/regions/count" => ok(r#"{"count":2,"regions":null}"#),
        "/pd/api/v1/config/replicate" => ok(r#"{"max-replicas":1,"location-labels":"zone,host"}"#),
        "/pd/api/v1/regions/replicated" => ok(r#""REPLICATED""#),
        _ => answer("404 Not Found", "404 page not found\n"),
    }
}

#[tokio::test]
async fn a_healthy_pd_is_known() {
    let address = server(|path| Some(healthy(path))).await;
    let answer = client().look(&[address], Depth::Full).await.unwrap();
    assert_eq!(answer.leader.0, 1);
    let text = format!("{answer:?}");
    assert!(text.contains("Replicated") && text.contains("max_replicas: Some(1)"), "{text}");
}

#[tokio::test]
async fn slow_silent_and_closed() {
    assert!(fails(server(|_| None).await).await.contains("no complete answer"));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(fails(closed.to_string().parse().unwrap()).await.contains("cannot connect"));
    // The head comes at once and the body never does.
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_vec();
    assert!(fails(server(move |_| Some(head.clone())).await).await.contains("no complete answer"));
}

#[tokio::test]
async fn answers_that_are_none() {
    for (bytes, says) in [
        (answer("500 Internal Server Error", "oops"), "status 500: oops"),
        (answer("503 Service Unavailable", "no leader"), "status 503"),
        (ok(""), "unusable"),
        (ok("<html><body>It works!</body></html>"), "unusable"),
        (ok(&MEMBERS[..40]), "unusable"),
        (ok(r#"{"header":{"cluster_id":"7"},"members":[]}"#), "unusable"),
        (ok("[]"), "unusable"),
        (ok("{}"), "without a cluster id"),
        (ok(r#"{"header":{"cluster_id":7},"members":[{"member_id":1}]}"#), "no leader"),
        (
            ok(
                r#"{"header":{"cluster_id":7},"members":[{"member_id":1}],"leader":{"member_id":2}}"#,
            ),
            "not in the member list",
        ),
        (
            ok(
                r#"{"header":{"cluster_id":7},"members":[{"member_id":1},{"member_id":1}],"leader":{"member_id":1}}"#,
            ),
            "without an id of its own",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "broken"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_vec(), "status 301"),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let reason = fails(server(move |_| Some(bytes.clone())).await).await;
        assert!(reason.contains(says), "{shown}\n{reason}");
    }
}

#[tokio::test]
async fn a_redirect_loop_is_not_walked() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let address = server(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Some(
            b"HTTP/1.1 307 Temporary\r\nLocation: /pd/api/v1/members\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    fails(address).await;
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

/// A server that writes the same bytes again and again; how many were taken.
async fn endless(head: &'static [u8], more: &'static [u8]) -> (Authority, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let _ = request(&mut stream).await;
                let _ = stream.write_all(head).await;
                while let Ok(written) = stream.write(more).await {
                    counter.fetch_add(written, Ordering::SeqCst);
                }
            });
        }
    });
    (address, taken)
}

#[tokio::test]
async fn a_huge_body_is_not_read_to_its_end() {
    static CHUNK: [u8; 65536] = [b' '; 65536];
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n";
    let (address, taken) = endless(head, &CHUNK).await;
    assert!(fails(address).await.contains("longer than"));
    // What the kernel's buffers hold comes on top of the limit.
    assert!(taken.load(Ordering::SeqCst) < 16 << 20, "{taken:?}");
}

/// The plugin's way, where the API server stands between and does not bound what a pod answers.
#[tokio::test]
async fn a_huge_body_is_not_read_to_its_end_through_the_api_server_either() {
    static CHUNK: [u8; 65536] = [b' '; 65536];
    let member: Authority = "c-pd-0.c-pd-peer.ns.svc:2379".parse().unwrap();
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1048576000\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 1048576000\r\n\r\n",
    ] {
        let (address, taken) = endless(head.as_bytes(), &CHUNK).await;
        let transport = through(&address);
        let asked = transport.get(&member, "/pd/api/v1/members", 1 << 20, LIMITS.call * 20).await;
        assert!(matches!(asked, Err(PdError::TooLong(_))), "{asked:?}");
        assert!(taken.load(Ordering::SeqCst) < 16 << 20, "{taken:?}");
    }
}

#[tokio::test]
async fn what_the_api_server_says_by_itself_is_read() {
    let words =
        r#"{"kind":"Status","status":"Failure","message":"pods \"c-pd-0\" not found","code":404}"#;
    let address = server(move |_| Some(answer("404 Not Found", words))).await;
    let member: Authority = "c-pd-0.c-pd-peer.ns.svc:2379".parse().unwrap();
    let asked = through(&address).get(&member, "/pd/api/v1/members", 1 << 20, LIMITS.call).await;
    assert_eq!(asked, Err(PdError::NotFound("pods \"c-pd-0\" not found".to_owned())));
}

fn through(api_server: &Authority) -> Transport {
    let config = Config::new(format!("http://{api_server}").parse().unwrap());
    let client = Client::try_from(config).unwrap();
    Transport::through_api_server(LIMITS, client, "ns".to_owned())
}

#[tokio::test]
async fn endless_headers_are_not_read_to_their_end() {
    static CHUNK: [u8; 65536] = [b'x'; 65536];
    let (address, taken) = endless(b"HTTP/1.1 200 OK\r\nX-A: ", &CHUNK).await;
    assert!(fails(address).await.contains("broken"));
    assert!(taken.load(Ordering::SeqCst) < 16 << 20, "{taken:?}");
}

#[tokio::test]
async fn half_an_answer_is_none() {
    for (path, bytes) in [
        ("/pd/api/v1/stores/check", answer("500 Internal Server Error", "oops")),
        ("/pd/api/v1/stores/check", ok("null")),
        ("/pd/api/v1/stores/check", ok("{}")),
        ("/pd/api/v1/stores/check", ok(r#"{"count":2,"stores":[]}"#)),
        ("/pd/api/v1/stores/check", ok(r#"{"count":1,"stores":null}"#)),
        ("/pd/api/v1/stores/check", ok(r#"{"stores":[]}"#)),
        (
            "/pd/api/v1/stores/check",
            ok(
                r#"{"count":1,"stores":[{"store":{"id":1,"address":"x","state_name":"Tombstone"}}]}"#,
            ),
        ),
        (
            "/pd/api/v1/stores/check",
            ok(
                r#"{"count":1,"stores":[{"store":{"id":1,"address":"x","state":2,"state_name":"Up"}}]}"#,
            ),
        ),
        (
            "/pd/api/v1/stores/check",
            ok(
                r#"{"count":1,"stores":[{"store":{"id":1,"address":"x","state":7,"state_name":"Odd"}}]}"#,
            ),
        ),
        ("/pd/api/v1/health", answer("500 Internal Server Error", "oops")),
        ("/pd/api/v1/health", ok("{}")),
        ("/pd/api/v1/scheduler-config/evict-leader-scheduler/list", answer("503 x", "no")),
        (
            "/pd/api/v1/scheduler-config/evict-leader-scheduler/list",
            ok(r#"{"store-id-ranges":{"x":[]}}"#),
        ),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let script =
            move |asked: &str| Some(if asked == path { bytes.clone() } else { healthy(asked) });
        let reason = client().look(&[server(script).await], Depth::Full).await;
        assert!(reason.is_err(), "{path} {shown}");
    }
}

#[tokio::test]
async fn what_is_not_needed_may_be_missing() {
    let script = |asked: &str| {
        let refused = asked.contains("/config/") || asked.contains("/regions/");
        Some(if refused { answer("500 x", "oops") } else { healthy(asked) })
    };
    let answer = client().look(&[server(script).await], Depth::Full).await.unwrap();
    let text = format!("{answer:?}");
    assert!(text.contains("replication: Unknown") && text.contains("max_replicas: None"), "{text}");
    assert!(text.contains("regions: 0"));
}

#[tokio::test]
async fn an_older_pd_is_asked_otherwise() {
    let script = |asked: &str| {
        Some(match asked {
            "/pd/api/v1/stores/check" => answer("404 Not Found", "404 page not found\n"),
            "/pd/api/v1/stores?state=0&state=1&state=2" => healthy("/pd/api/v1/stores/check"),
            "/pd/api/v1/regions/replicated?startKey=&endKey=" => {
                answer("404 Not Found", "404 page not found\n")
            }
            "/pd/api/v1/regions/check/miss-peer" => ok(r#"{"count":0,"regions":[]}"#),
            "/pd/api/v1/cluster/status" => ok(r#"{"is_initialized":true}"#),
            other => healthy(other),
        })
    };
    let answer = client().look(&[server(script).await], Depth::Full).await.unwrap();
    let text = format!("{answer:?}");
    assert!(text.contains("StoreId(4)") && text.contains("replication: Replicated"), "{text}");
}

/// Every PD up to v8.5.7 answers 406 there until a store has registered: v6.1 and later with the
/// reason, v4.0.0 with an empty object.
#[tokio::test]
async fn before_the_first_store_there_are_no_schedulers() {
    const REASON: &str = r#""TiKV cluster not bootstrapped, please start TiKV first""#;
    let script = |bootstrapped: bool, list: &'static str| {
        move |asked: &str| {
            Some(match asked {
                "/pd/api/v1/scheduler-config/evict-leader-scheduler/list" => {
                    answer("406 Not Acceptable", list)
                }
                "/pd/api/v1/stores/check" if !bootstrapped => answer("500 x", REASON),
                other => healthy(other),
            })
        }
    };
    for list in [REASON, "{}", r#""no implement""#] {
        let founded = client().look(&[server(script(false, list)).await], Depth::Full).await;
        assert!(format!("{:?}", founded.unwrap()).contains("bootstrapped: false"), "{list}");
        let odd = client().look(&[server(script(true, list)).await], Depth::Full).await;
        assert!(odd.unwrap_err().contains("status 406"), "{list}");
    }
}

#[tokio::test]
async fn where_stores_are_fewer_than_replicas_the_regions_are_counted() {
    let peers = r#"{"count":2,"regions":[
        {"peers":[{"id":1},{"id":2},{"id":3}],"down_peers":[{"peer":{"id":1}}],"pending_peers":[{"id":1}]},
        {"peers":[{"id":4},{"id":5}]}]}"#;
    let script = move |asked: &str| {
        Some(match asked {
            "/pd/api/v1/config/replicate" => ok(r#"{"max-replicas":3}"#),
            "/pd/api/v1/regions" => ok(peers),
            other => healthy(other),
        })
    };
    let answer = client().look(&[server(script).await], Depth::Full).await.unwrap();
    assert!(format!("{answer:?}").contains("fewest_peers: Some(2)"), "{answer:?}");
}

#[tokio::test]
async fn the_next_member_is_asked_when_one_fails() {
    let dead: Authority = "127.0.0.1:1".parse().unwrap();
    let leaderless = server(|_| Some(answer("503 Service Unavailable", "no leader"))).await;
    let good = server(|path| Some(healthy(path))).await;
    let answer = client().look(&[dead, leaderless, good.clone()], Depth::Full).await.unwrap();
    assert_eq!(answer.through, good);
}

#[tokio::test]
async fn through_another_address_the_host_stays_the_members() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through: Authority = listener.local_addr().unwrap().to_string().parse().unwrap();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await.unwrap();
        let _ = stream.write_all(&ok("1")).await;
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let member: Authority = "c-pd-0.c-pd-peer.ns.svc:2379".parse().unwrap();
    let transport = Transport::new(LIMITS, Some(through));
    transport.get(&member, "/pd/api/v1/members", 10, LIMITS.call).await.unwrap();
    let request = heard.await.unwrap().to_lowercase();
    assert!(request.starts_with("get /pd/api/v1/members http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nhost: c-pd-0.c-pd-peer.ns.svc:2379\r\n"), "{request}");
}
