//! What did the operator ask of the API server?
//!
//! Counted in the API server's own audit log (JSON lines, level Metadata): the operator's word is
//! not taken for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::text;

/// Verbs that change something.
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// The audit log from a point in time on.
pub(crate) struct Audit {
    file: PathBuf,
    from: u64,
}

/// One finished request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    /// get, list, watch, create, …
    pub(crate) verb: String,
    /// `pods`, `tikvclusters/status`, …
    pub(crate) resource: String,
    /// Namespace, or empty.
    pub(crate) namespace: String,
    /// Name of the object, or empty.
    pub(crate) name: String,
    /// Answer.
    pub(crate) code: u64,
    /// The pod whose token was used, or empty.
    pub(crate) pod: String,
}

impl Audit {
    /// From now on.
    pub(crate) fn from_now(file: &Path) -> Result<Self> {
        let from = file.metadata().with_context(|| format!("audit log {}", file.display()))?.len();
        Ok(Self { file: file.to_owned(), from })
    }

    /// The user's calls since then. Fails if the log was cut off in between or holds nothing at
    /// all of anybody, since an empty log would make every count look perfect.
    pub(crate) fn calls(&self, user: &str) -> Result<Vec<Call>> {
        let mut file = File::open(&self.file)?;
        ensure!(file.metadata()?.len() >= self.from, "the audit log was rotated meanwhile");
        file.seek(SeekFrom::Start(self.from))?;
        let mut anybody = false;
        let mut calls = Vec::new();
        for line in BufReader::new(file).lines() {
            // The last line may still be in the making; the first may be cut by our offset.
            let Ok(entry) = serde_json::from_str::<Value>(&line?) else {
                continue;
            };
            anybody = true;
            if text(&entry, "/user/username") == Some(user) {
                calls.extend(call(&entry));
            }
        }
        ensure!(anybody, "the audit log {} grew by nothing: is it written?", self.file.display());
        Ok(calls)
    }
}

impl Call {
    /// It changed something, and is neither the leader election nor an Event.
    pub(crate) fn counts_as_write(&self) -> bool {
        WRITES.contains(&self.verb.as_str()) && !self.apart()
    }

    /// It took, kept or gave up the Lease that decides which replica acts.
    pub(crate) fn renews_lease(&self) -> bool {
        let done = (200..300).contains(&self.code);
        self.resource == "leases" && WRITES.contains(&self.verb.as_str()) && done
    }

    /// It is part of the leader election or an Event: counted apart.
    pub(crate) fn apart(&self) -> bool {
        self.resource == "leases" || self.resource == "events"
    }
}

/// How often each verb on each resource.
pub(crate) fn tally<'a>(calls: impl Iterator<Item = &'a Call>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(format!("{} {}", call.verb, call.resource)).or_insert(0) += 1;
    }
    counts
}

/// An entry of the log, once per request. A watch is logged when it starts and when it ends.
fn call(entry: &Value) -> Option<Call> {
    let verb = text(entry, "/verb")?;
    let stage = text(entry, "/stage")?;
    let counted = if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
    if stage != counted {
        return None;
    }
    let part = |pointer: &str| text(entry, pointer).unwrap_or_default().to_owned();
    let mut resource = part("/objectRef/resource");
    if let Some(sub) = text(entry, "/objectRef/subresource") {
        resource = format!("{resource}/{sub}");
    }
    if resource.is_empty() {
        resource = part("/requestURI");
    }
    Some(Call {
        verb: verb.to_owned(),
        resource,
        namespace: part("/objectRef/namespace"),
        name: part("/objectRef/name"),
        code: entry.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0),
        pod: part("/user/extra/authentication.kubernetes.io~1pod-name/0"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(verb: &str, stage: &str, resource: &str) -> Value {
        json!({
            "verb": verb, "stage": stage, "user": { "username": "u" },
            "objectRef": { "resource": resource, "namespace": "n", "name": "x" },
            "responseStatus": { "code": 200 },
        })
    }

    #[test]
    fn a_request_is_counted_once() {
        assert!(call(&entry("get", "RequestReceived", "pods")).is_none());
        assert!(call(&entry("get", "ResponseComplete", "pods")).is_some());
        assert!(call(&entry("watch", "ResponseStarted", "pods")).is_some());
        assert!(call(&entry("watch", "ResponseComplete", "pods")).is_none());
    }

    #[test]
    fn leases_and_events_are_counted_apart() {
        let write = |resource: &str| {
            call(&entry("patch", "ResponseComplete", resource)).is_some_and(|c| c.counts_as_write())
        };
        assert!(write("pods"));
        assert!(!write("leases"));
        assert!(!write("events"));
        let read = call(&entry("list", "ResponseComplete", "pods"));
        assert!(!read.is_some_and(|c| c.counts_as_write()));
    }
}
