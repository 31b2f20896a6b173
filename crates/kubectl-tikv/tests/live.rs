//! Is PD asked through the API server, and does the forecast say what it answers?
//!
//! The API server is one of this test: it lists what a dump has and answers as PD would behind its
//! proxy.

// The whole crate is tests: what is not as expected may panic, with the line.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// Status and body for a path behind the proxy of a pod.
type Pd = fn(&str) -> (u16, Value);

/// What exists.
fn dump() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cmd/plan.in/ready.json");
    let dump: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    dump["items"].as_array().unwrap().clone()
}

/// A server on loopback; the paths that it was asked.
fn serve(pd: Pd) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let heard = Arc::clone(&heard);
            thread::spawn(move || converse(stream.unwrap(), pd, &heard));
        }
    });
    (port, asked)
}

fn converse(stream: TcpStream, pd: Pd, heard: &Mutex<Vec<String>>) {
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(request)) = lines.next() {
        // No request here has a body.
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let mut words = request.split(' ');
        assert_eq!(words.next(), Some("GET"), "{request}");
        let path = words.next().unwrap();
        heard.lock().unwrap().push(path.to_owned());
        let (status, body) = answer(path, pd);
        let body = body.to_string();
        let first = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n");
        let length = body.len();
        if write!(writer, "{first}Content-Length: {length}\r\n\r\n{body}").is_err() {
            return;
        }
    }
}

fn answer(path: &str, pd: Pd) -> (u16, Value) {
    if let Some((_, path)) = path.split_once(":2379/proxy/pd/api/") {
        return pd(path);
    }
    let plural = path.split(['?']).next().unwrap().rsplit('/').next().unwrap();
    let kind = match plural {
        "tikvclusters" => "TikvCluster",
        "pods" => "Pod",
        "persistentvolumeclaims" => "PersistentVolumeClaim",
        _ => "",
    };
    let items: Vec<Value> = dump().into_iter().filter(|item| item["kind"] == kind).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items });
    (200, list)
}

/// The members and stores of the dump; somebody holds the lock.
fn locked(path: &str) -> (u16, Value) {
    let status = &dump()[0]["status"];
    let number = |text: &Value| text.as_str().unwrap().parse::<u64>().unwrap();
    let members: Vec<Value> = status["pd"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let url =
                format!("http://{}.basic-pd-peer.default.svc:2379", m["name"].as_str().unwrap());
            json!({ "name": m["name"], "member_id": number(&m["id"]), "client_urls": [url] })
        })
        .collect();
    let stores: Vec<Value> = status["tikv"]["stores"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            let host = format!("{}.basic-tikv-peer.default.svc", s["pod"].as_str().unwrap());
            json!({ "store": { "id": number(&s["id"]), "address": format!("{host}:20160"),
                "state_name": "Up", "version": "8.5.7" },
                "status": { "leader_count": 1, "region_count": 1,
                    "last_heartbeat_ts": jiff::Timestamp::now().to_string() } })
        })
        .collect();
    let cluster = number(&status["clusterId"]);
    let body = match path.split('?').next().unwrap() {
        "v1/members" => json!({ "header": { "cluster_id": cluster }, "leader": members[1],
            "members": members }),
        "v1/health" => {
            members.iter().map(|m| json!({ "member_id": m["member_id"], "health": true })).collect()
        }
        "v1/stores/check" => json!({ "count": stores.len(), "stores": stores }),
        "v1/regions/count" => json!({ "count": 3 }),
        "v1/regions/replicated" => json!("REPLICATED"),
        "v1/config" => json!({ "replication": { "max-replicas": 3, "location-labels": "" } }),
        "v2/maintenance" => json!([{ "type": "backup", "id": "nightly" }]),
        lists if lists.starts_with("v1/regions/check/") => json!({ "count": 0, "regions": [] }),
        _ => return (404, json!("no such thing")),
    };
    (200, body)
}

fn forbidden(_: &str) -> (u16, Value) {
    let message = "pods \"basic-pd-0\" is forbidden: cannot get resource \"pods/proxy\"";
    (403, json!({ "kind": "Status", "code": 403, "reason": "Forbidden", "message": message }))
}

fn kubeconfig(port: u16) -> PathBuf {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "clusters": [{ "name": "test",
            "cluster": { "server": format!("http://127.0.0.1:{port}") } }],
        "users": [{ "name": "test", "user": {} }],
    });
    let path = std::env::temp_dir().join(format!("kubectl-tikv-{}-{port}", std::process::id()));
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

/// What the plugin says of a manifest, and the paths that it asked for.
fn plan(manifest: &str, pd: Pd) -> (String, Vec<String>) {
    let (port, asked) = serve(pd);
    let kubeconfig = kubeconfig(port);
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-tikv"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cmd/plan.in"))
        .args(["plan", "-f", manifest, "-n", "default", "--kubeconfig"])
        .arg(&kubeconfig)
        .output()
        .unwrap();
    std::fs::remove_file(kubeconfig).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let asked = asked.lock().unwrap().clone();
    (String::from_utf8(output.stdout).unwrap(), asked)
}

#[test]
fn the_forecast_is_made_on_what_pd_says_now() {
    let (page, asked) = plan("newer.yaml", locked);
    for words in [
        "basic (namespace default) with newer.yaml",
        "basic-pd-2 waits: basic-pd-2 stays: backup nightly holds PD's maintenance lock",
        "PD's part is as PD itself says (basic-pd-",
    ] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
    let maintenance = asked.iter().find(|path| path.ends_with("/v2/maintenance")).unwrap();
    let pods = "/api/v1/namespaces/default/pods/basic-pd-";
    assert!(maintenance.starts_with(pods), "{maintenance}");
}

#[test]
fn where_pd_may_not_be_asked_the_forecast_says_so_and_keeps_to_the_status() {
    let (page, _) = plan("newer.yaml", forbidden);
    for words in ["PD could not be asked: ", "pods/proxy", "as the operator last reported it"] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
    assert!(page.contains("basic-tikv-3"), "{page}");
    assert!(!page.contains("maintenance lock"), "{page}");
}
