//! Does the stand-in answer what a real TiKV answered? Every recording is asked again, of a cluster
//! like the recorded one (three stores that are 9.0.0-beta.2, one PD): the status code, the content
//! type, plain text to the letter, JSON by its shape, metrics by name and labels. A recording that
//! cannot be asked again fails the test.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::tikv::cluster::{Cluster, http_parts};

struct Recording {
    name: String,
    method: String,
    path: String,
    request: String,
    /// Status line and headers; empty for an excerpt, which has a body only.
    head: String,
    body: String,
}

fn parse(name: &str, text: &str) -> Recording {
    let (title, answer) = text.split_once('\n').unwrap_or((text, ""));
    let mut words =
        title.strip_prefix("### ").unwrap_or_else(|| panic!("{name}: no title")).split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let request = title.split_once(" body: ").map_or("", |(_, body)| body.trim()).to_owned();
    let (head, body) = if answer.starts_with("HTTP/") {
        answer.split_once("\n\n").unwrap_or((answer, ""))
    } else {
        ("", answer)
    };
    let (head, body) = (head.to_owned(), body.trim().to_owned());
    Recording { name: name.to_owned(), method, path, request, head, body }
}

fn recordings() -> Vec<Recording> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tikv-recordings");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            parse(&name, &fs::read_to_string(path).unwrap().replace("\r\n", "\n"))
        })
        .collect()
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or("none")
}

fn content_type(head: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_lowercase().starts_with("content-type:"))?;
    Some(line.split_once(':')?.1.trim().to_lowercase())
}

/// Where two JSON values differ in keys or types. Null stands for any type, an empty list for any.
fn shape_differs(path: &str, recorded: &Value, answered: &Value) -> Option<String> {
    match (recorded, answered) {
        (Value::Object(recorded), Value::Object(answered)) => {
            let missing = recorded.keys().find(|key| !answered.contains_key(*key));
            let extra = answered.keys().find(|key| !recorded.contains_key(*key));
            if let Some(key) = missing.or(extra) {
                return Some(format!("{path}.{key} is in only one of them"));
            }
            let mut keys = recorded.keys();
            keys.find_map(|key| {
                shape_differs(&format!("{path}.{key}"), &recorded[key], &answered[key])
            })
        }
        (Value::Array(recorded), Value::Array(answered)) => {
            let shape = recorded.first()?;
            answered.iter().find_map(|item| shape_differs(&format!("{path}[]"), shape, item))
        }
        (Value::Null, _)
        | (_, Value::Null)
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_)) => None,
        (recorded, answered) => Some(format!("{path}: {recorded} became {answered}")),
    }
}

fn body_differs(recording: &Recording, answered: &str) -> Option<String> {
    if recording.path == "/metrics" {
        // Everything but the values.
        let name = |line: &str| match line.strip_prefix('#') {
            Some(_) => line.to_owned(),
            None => line.rsplit_once(' ').map_or(line, |(name, _)| name).to_owned(),
        };
        let version = |name: String| name.replace("6eca38173b", "standin");
        let known: Vec<String> = answered.lines().map(name).collect();
        let lines = recording.body.lines().map(|line| version(name(line)));
        return lines
            .into_iter()
            .find(|line| !known.contains(line))
            .map(|line| format!("no {line}"));
    }
    let json = (serde_json::from_str(&recording.body), serde_json::from_str(answered));
    if let (Ok(recorded), Ok(answered)) = &json {
        return shape_differs("", recorded, answered);
    }
    (recording.body != answered.trim()).then(|| format!("{:?} became {answered:?}", recording.body))
}

/// Half seconds in which all that moves has ended.
const MOVES_END: u32 = 60;

#[test]
fn every_recording_is_answered_alike() {
    let mut cluster = Cluster::only_pd();
    cluster.version = Some("v9.0.0-beta.2".to_owned());
    for _ in 0..3 {
        cluster.add_store();
    }
    cluster.wait_replicated(3);
    let recordings = recordings();
    assert!(recordings.len() >= 19, "only {} recordings", recordings.len());
    let mut differences = Vec::new();
    for recording in &recordings {
        let address = if recording.path.starts_with("/pd/") {
            &cluster.pd
        } else {
            &cluster.stores[0].status
        };
        let ask = || http_parts(address, &recording.method, &recording.path, &recording.request);
        let (mut head, mut body) = ask();
        // The real stores were at rest when they were asked; here a leader may just be on its way.
        for _ in 0..MOVES_END {
            if recording.method != "GET" || body_differs(recording, &body).is_none() {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
            (head, body) = ask();
        }
        let mut differs = |what: String| differences.push(format!("{}: {what}", recording.name));
        if head.is_empty() {
            differs(format!("no answer: {body}"));
            continue;
        }
        if !recording.head.is_empty() && status(&head) != status(&recording.head) {
            differs(format!("status {} became {}", status(&recording.head), status(&head)));
        }
        if !recording.head.is_empty() && content_type(&head) != content_type(&recording.head) {
            differs(format!(
                "{:?} became {:?}",
                content_type(&recording.head),
                content_type(&head)
            ));
        }
        if let Some(what) = body_differs(recording, &body) {
            differs(what);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // Shape alone would let a list of another length pass.
    let count = cluster.pd_json("/pd/api/v1/regions/count");
    assert_eq!(count["count"], 5, "as recorded");
    assert_eq!(cluster.pd_json("/pd/api/v1/stores")["count"], 3, "as recorded");
    let (status, _) = crate::tikv::cluster::http(
        &cluster.stores[0].status,
        "POST",
        "/config?persist=false",
        r#"{"server.snap-io-max-bytes-per-sec":"64MiB"}"#,
    );
    assert_eq!(status, 200);
    let (_, config) = crate::tikv::cluster::http(&cluster.stores[0].status, "GET", "/config", "");
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["server"]["snap-io-max-bytes-per-sec"], "64MiB", "the change is read back");
}

#[test]
fn a_version_without_ready_says_path_not_found() {
    let mut cluster = Cluster::only_pd();
    cluster.add_store();
    cluster.wait_replicated(1);
    let (status, body) =
        crate::tikv::cluster::http(&cluster.stores[0].status, "GET", "/ready?verbose", "");
    assert_eq!((status, body.as_str()), (404, "path not found"));
}
