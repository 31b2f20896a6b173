//! What was recorded, and which of it was compared?

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A recorded request with its answer.
pub(crate) struct Recording {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) status: u16,
    pub(crate) answer: String,
}

pub(crate) fn directory(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/{of}-recordings"))
}

pub(crate) fn read(of: &str, name: &str) -> Recording {
    let text = fs::read_to_string(directory(of).join(name)).unwrap().replace('\r', "");
    let mut lines = text.lines();
    let request = lines.next().unwrap().strip_prefix("### ").unwrap();
    let (request, body) = request.split_once(" body: ").unwrap_or((request, "null"));
    let (method, path) = request.trim().split_once(' ').unwrap();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let answer = text.split_once("\n\n").map_or("", |(_, rest)| rest).trim_end_matches('\n');
    Recording {
        method: method.to_owned(),
        path: path.trim().to_owned(),
        body: serde_json::from_str(body).unwrap(),
        status,
        answer: answer.to_owned(),
    }
}

thread_local! {
    /// Which recordings were compared, as `pd/members.txt`.
    static COMPARED: RefCell<BTreeSet<String>> = RefCell::default();
}

pub(crate) fn compared(of: &str, name: &str) {
    COMPARED.with_borrow_mut(|compared| compared.insert(format!("{of}/{name}")));
}

/// Which were compared so far, and none from now on.
pub(crate) fn take_compared() -> BTreeSet<String> {
    COMPARED.take()
}

/// What the model shows of a configuration is what was recorded, section by section. It keeps those
/// that an operator sets; the rest belongs to a process and its machine.
pub(crate) fn assert_sections(of: &str, name: &str, shown: &Value, least: usize) {
    let recorded: Value = serde_json::from_str(&read(of, name).answer).unwrap();
    let sections = shown.as_object().unwrap();
    assert!(sections.len() >= least, "{name}: {:?}", sections.keys());
    for (section, value) in sections {
        assert_eq!(plain(value.clone()), plain(recorded[section].clone()), "{name}: {section}");
    }
    compared(of, name);
}

/// What differs from run to run, made equal: ids of members and clusters, times, URLs, scores.
/// What matters stays: keys, states, names, store ids, counts.
pub(crate) fn plain(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            // How slow its disk is: the model's are not.
            let entries = map.into_iter().filter(|(key, _)| !key.starts_with("slow_"));
            let entries = entries.map(|(key, value)| {
                let value = match (key.as_str(), &value) {
                    ("member_id" | "cluster_id" | "id", Value::Number(n))
                        if n.as_u64() > Some(1 << 53) =>
                    {
                        json!("u64")
                    }
                    ("last_heartbeat" | "start_timestamp", Value::Number(_)) => json!("time"),
                    // The body of the PUT as PD got it, spaces and all.
                    ("description", Value::String(t)) => json!(t.replace([' ', '\\'], "")),
                    (
                        "last_heartbeat_ts" | "start_ts" | "raft_bootstrap_time",
                        Value::String(t),
                    ) if !t.starts_with("0001") => json!("time"),
                    ("uptime" | "git_hash", Value::String(_)) => json!("text"),
                    ("address" | "peer_address" | "status_address", Value::String(t))
                        if t.starts_with("127.") =>
                    {
                        json!("address")
                    }
                    (_, Value::Number(_)) if key.ends_with("_score") || key.ends_with("_size") => {
                        json!("number")
                    }
                    ("capacity" | "available" | "used_size", Value::String(t)) if t != "0B" => {
                        json!("size")
                    }
                    ("leader_count" | "region_count", Value::Number(_)) => json!("count"),
                    // By store, and the model's move at one speed.
                    ("store-limit", Value::Object(_)) => json!("limits"),
                    ("deploy_path", Value::String(_)) => json!("path"),
                    ("peer_urls" | "client_urls", Value::Array(_)) => json!("urls"),
                    _ => plain(value),
                };
                (key, value)
            });
            let mut entries: Vec<_> = entries.collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(plain).collect();
            items.sort_by_key(order);
            Value::Array(items)
        }
        other => other,
    }
}

/// Lists come in any order: stores by id, members by name.
fn order(item: &Value) -> String {
    let id = item.pointer("/store/id").map(|id| format!("{id:>20}"));
    let name = item.get("name").map(ToString::to_string);
    id.or(name).unwrap_or_else(|| item.to_string())
}
