//! What does a store say of itself, and how is it told to change something?
//!
//! Through its status port, with the limits that calls to PD have. PD's counts of leaders lag by up
//! to a minute; the store's own do not.

use std::{collections::BTreeMap, time::Duration};

use http::{Method, uri::Authority};
use serde_json::{Value, json};

use crate::{
    lease::Fence,
    metrics::{Metrics, PdOutcome, StoreEndpoint},
    pd::{Call, PdError, Transport},
};

/// Longest part of the metrics that is read; a store with many regions writes about 1 MiB.
const METRICS_MAX: usize = 4 * 1024 * 1024;
/// Longest configuration that is read; v8.5 writes 23 KiB.
const CONFIG_MAX: usize = 1024 * 1024;
/// Longest answer to a change.
const ANSWER_MAX: usize = 64 * 1024;
/// Time for the metrics, which a busy store takes seconds to collect.
const METRICS_TIME: Duration = Duration::from_secs(10);
/// Start of the line that counts the regions that a store leads.
const LEADERS: &str = "tikv_raftstore_region_count{type=\"leader\"}";

/// The client for the status ports of stores.
#[derive(Clone)]
pub struct StoreClient {
    transport: Transport,
    metrics: Metrics,
}

impl StoreClient {
    /// A client that counts its calls in `metrics`.
    pub fn new(transport: Transport, metrics: Metrics) -> Self {
        Self { transport, metrics }
    }

    /// Regions that the store leads. The metrics are read until the line that says so.
    pub async fn leaders(&self, status: &Authority) -> Result<u64, PdError> {
        let found =
            self.transport.find(status, "/metrics", (METRICS_MAX, METRICS_TIME), leaders).await;
        let found = found.and_then(|found| {
            found.ok_or_else(|| PdError::Malformed(format!("no {LEADERS} in its metrics")))
        });
        self.counted(StoreEndpoint::Leaders, found)
    }

    /// The configuration in force.
    pub async fn config(&self, status: &Authority) -> Result<Value, PdError> {
        let time = self.transport.limits().call;
        let answer = self.transport.get(status, "/config", CONFIG_MAX, time).await;
        let config = answer.and_then(|body| {
            serde_json::from_slice(&body).map_err(|error| PdError::Malformed(error.to_string()))
        });
        self.counted(StoreEndpoint::Config, config)
    }

    /// Sets items until the process ends. Refused whole where one of them cannot be set. The call
    /// passes `fence`.
    pub async fn configure(
        &self,
        fence: &Fence,
        status: &Authority,
        items: &BTreeMap<String, Value>,
    ) -> Result<(), PdError> {
        let body = json!(items);
        // With `persist` the store writes its configuration file, which is read-only here, and
        // answers 500 after it has changed the setting.
        let call = Call { method: Method::POST, path: "/config?persist=false", body: Some(&body) };
        let time = self.transport.limits().call;
        let _permit = fence.permit(time).await?;
        let answer = self.transport.call(status, &call, ANSWER_MAX, time).await;
        self.counted(StoreEndpoint::Configure, answer.map(drop))
    }

    fn counted<T>(
        &self,
        endpoint: StoreEndpoint,
        answer: Result<T, PdError>,
    ) -> Result<T, PdError> {
        let outcome = answer.as_ref().err().map_or(PdOutcome::Ok, PdError::outcome);
        self.metrics.store_call(endpoint, outcome);
        answer
    }
}

/// The count in the line of the metrics that has it.
fn leaders(line: &str) -> Option<u64> {
    let count: f64 = line.strip_prefix(LEADERS)?.trim().parse().ok()?;
    let whole = (0.0..1e15).contains(&count) && count.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    whole.then_some(count as u64)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{fake::Fake, pd::Limits};

    /// A head, then the body in pieces, the last of which never comes.
    async fn dripping(pieces: &'static [&'static str]) -> Authority {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
            for piece in std::iter::once(&head).chain(pieces) {
                stream.write_all(piece.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            std::future::pending::<()>().await;
        });
        address
    }

    fn client() -> StoreClient {
        StoreClient::new(Transport::new(Limits::default(), None), Metrics::new())
    }

    #[tokio::test]
    async fn metrics_are_read_no_further_than_needed() {
        let pieces = &[
            "# HELP x\ntikv_raftstore_region_count{type=\"le",
            "ader\"} 4",
            "2\ntikv_raftstore_region_count{type=\"region\"} 7\n",
        ];
        let start = std::time::Instant::now();
        assert_eq!(client().leaders(&dripping(pieces).await).await, Ok(42));
        assert!(start.elapsed() < Duration::from_secs(2), "the rest was waited for");
    }

    #[tokio::test]
    async fn metrics_without_the_count_say_nothing() {
        let fake = Fake::run(|_| Some((200, "x 1\ny 2\n".to_owned()))).await;
        assert!(matches!(client().leaders(&fake.address).await, Err(PdError::Malformed(_))));
        let fake = Fake::run(|_| Some((200, format!("{}\n", "x".repeat(METRICS_MAX + 1))))).await;
        assert_eq!(client().leaders(&fake.address).await, Err(PdError::TooLong(METRICS_MAX)));
        let fake = Fake::run(|_| Some((503, "busy".to_owned()))).await;
        assert!(client().leaders(&fake.address).await.is_err());
    }

    #[test]
    fn leaders_are_read_from_their_line_only() {
        for (line, want) in [
            (r#"tikv_raftstore_region_count{type="leader"} 5"#, Some(5)),
            (r#"tikv_raftstore_region_count{type="leader"} 1e3"#, Some(1000)),
            (r#"tikv_raftstore_region_count{type="region"} 7"#, None),
            ("# TYPE tikv_raftstore_region_count gauge", None),
            (r#"tikv_raftstore_region_count{type="leader"} NaN"#, None),
            (r#"tikv_raftstore_region_count{type="leader"} -1"#, None),
            (r#"tikv_raftstore_region_count{type="leader"}"#, None),
        ] {
            assert_eq!(leaders(line), want, "{line}");
        }
    }
}
