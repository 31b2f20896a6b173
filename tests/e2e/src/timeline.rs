//! What changed, and when exactly did we see it?
//!
//! Phases of a start last fractions of a second, while Kubernetes' own timestamps have a
//! resolution of one second, so times are taken as watch events arrive.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, ensure};
use futures::AsyncBufReadExt;
use http::Request;
use kube::Client;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Longest watch, in seconds. Unless it is told, the API server ends each after 30 to 60 minutes.
const LONGEST: u32 = 86_400;

/// One change as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When it arrived.
    pub(crate) at: Instant,
    /// ADDED, MODIFIED, DELETED.
    pub(crate) kind: String,
    /// The object after the change.
    pub(crate) object: Value,
}

/// A watch that runs until it is dropped.
pub(crate) struct Timeline {
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Timeline {
    /// Starts to watch `path`, from its present state on.
    pub(crate) fn start(runtime: &Runtime, client: Client, path: String) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let task = runtime.spawn(async move {
            let mark = if path.contains('?') { '&' } else { '?' };
            let uri = format!("{path}{mark}watch=1&timeoutSeconds={LONGEST}");
            let Ok(request) = Request::get(&uri).body(Vec::new()) else {
                return;
            };
            let Ok(mut stream) = client.request_stream(request).await else {
                return;
            };
            let mut line = String::new();
            while let Ok(1..) = stream.read_line(&mut line).await {
                if let Some(event) = parse(&line) {
                    sink.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                }
                line.clear();
            }
        });
        Self { seen, task }
    }

    /// Everything so far, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fails where the watch has ended, and later changes would not have been seen.
    pub(crate) fn goes_on(&self) -> Result<()> {
        ensure!(!self.task.is_finished(), "a watch ended early: what came later was not seen");
        Ok(())
    }

    /// When the `count`-th different object was first seen for which `test` holds.
    pub(crate) fn when(&self, count: usize, test: impl Fn(&Value) -> bool) -> Option<Instant> {
        let mut uids: Vec<String> = Vec::new();
        for event in self.seen() {
            let uid = event.object.pointer("/metadata/uid").and_then(Value::as_str);
            if let Some(uid) = uid
                && event.kind != "DELETED"
                && test(&event.object)
                && !uids.iter().any(|known| known == uid)
            {
                uids.push(uid.to_owned());
                if uids.len() == count {
                    return Some(event.at);
                }
            }
        }
        None
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn parse(line: &str) -> Option<Seen> {
    let mut event: Value = serde_json::from_str(line).ok()?;
    let kind = event.get("type")?.as_str()?.to_owned();
    let object = event.get_mut("object")?.take();
    Some(Seen { at: Instant::now(), kind, object })
}
