//! Does the API server answer as it is written in the scripts of `crates/sim/tests/conformance/kube`?
//! The simulator's model is held to the same files. `UPDATE=1` writes what the API server answers.

#[path = "../../../sim/tests/conformance/kube_call.rs"]
mod kube_call;
#[path = "../../../sim/tests/conformance/script.rs"]
mod script;
#[path = "../../../sim/tests/conformance/shown.rs"]
mod shown;

use std::path::Path;

use http::{Method, Request, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use serde_json::{Value, json};

use self::{
    kube_call::{Answer, Call, Verb, api_version},
    script::Script,
    shown::Names,
};
use crate::server::{apply, server};

#[tokio::test]
async fn the_api_server_answers_as_it_is_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/tests/conformance/kube");
    let admin = server().await.admin();
    let (mut calls, mut different) = (0, Vec::new());
    for script in Script::all(&directory) {
        let answers = play(&admin, &script).await;
        calls += answers.len();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(script.path(), script.with(&answers)).unwrap();
        } else {
            different.extend(script.difference("the API server", &answers));
        }
    }
    println!("{calls} calls");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The answers to a script's calls, in a namespace of its own without rules for pods.
async fn play(client: &Client, script: &Script) -> Vec<Vec<String>> {
    let namespace = format!("conformance-{}", script.name());
    let body =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    apply(client, &body).await;
    let stage = Stage { client, namespace };
    let (mut names, mut answers) = (Names::default(), Vec::new());
    for (line, _) in script.calls() {
        let call = Call::read(line, &names);
        let answer = stage.answer(&call).await;
        answers.push(call.show(answer, &mut names));
    }
    answers
}

/// A namespace of the API server.
struct Stage<'a> {
    client: &'a Client,
    namespace: String,
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// One request: method, URL, content type, body.
type Sent = (Method, String, &'static str, Value);

impl Stage<'_> {
    async fn answer(&self, call: &Call) -> Answer {
        let (method, url, kind, body) = self.request(call);
        let (code, answer) = self.send(method, &url, kind, &body).await;
        match call.verb {
            // Where the class is there, an earlier script has made it alike.
            Verb::Class => Answer::Done(200),
            _ if code >= 400 => refused(code, &answer),
            Verb::Bind | Verb::Ended | Verb::Provision => Answer::Done(200),
            Verb::Try | Verb::Delete | Verb::Evict => Answer::Done(code),
            Verb::List => {
                let items = answer["items"].as_array().unwrap().iter();
                let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
                // Kubernetes puts its certificates into every namespace, in its own time.
                Answer::Names(names.filter(|name| name != "kube-root-ca.crt").collect())
            }
            Verb::Get => Answer::Object(code, answer),
            Verb::Create | Verb::Apply | Verb::ApplyStatus | Verb::Merge | Verb::MergeStatus => {
                // As it is now: what an answer shows may be gone with it.
                let one = self.url(&call.kind, &call.name);
                let (found, object) = self.send(Method::GET, &one, JSON, &Value::Null).await;
                if found == 404 { Answer::Done(code) } else { Answer::Object(code, object) }
            }
        }
    }

    /// What the operator's client sends, or what does the work of Kubernetes' controllers.
    fn request(&self, call: &Call) -> Sent {
        const APPLY: &str = "application/apply-patch+yaml";
        const STRATEGIC: &str = "application/strategic-merge-patch+json";
        let (all, one) = (self.url(&call.kind, ""), self.url(&call.kind, &call.name));
        let by = "fieldManager=tikv-operator";
        let whole = || call.whole();
        match call.verb {
            Verb::Create => (Method::POST, format!("{all}?{by}"), JSON, whole()),
            Verb::Try => (Method::POST, format!("{all}?{by}&dryRun=All"), JSON, whole()),
            Verb::Apply => (Method::PATCH, format!("{one}?{by}&force=true"), APPLY, whole()),
            Verb::ApplyStatus => {
                (Method::PATCH, format!("{one}/status?{by}&force=true"), APPLY, whole())
            }
            Verb::Merge => (Method::PATCH, format!("{one}?{by}"), MERGE, call.body.clone()),
            Verb::MergeStatus => {
                (Method::PATCH, format!("{one}/status?{by}"), STRATEGIC, call.body.clone())
            }
            Verb::Delete => {
                let conditions = json!({ "uid": call.uid, "resourceVersion": call.version });
                let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions",
                    "propagationPolicy": "Background", "preconditions": conditions });
                (Method::DELETE, one, JSON, options)
            }
            Verb::Get => (Method::GET, one, JSON, Value::Null),
            Verb::List => (Method::GET, all, JSON, Value::Null),
            Verb::Evict => {
                let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction",
                    "metadata": { "name": call.name } });
                (Method::POST, format!("{one}/eviction"), JSON, eviction)
            }
            Verb::Bind => {
                let binding = json!({ "apiVersion": "v1", "kind": "Binding",
                    "metadata": { "name": call.name },
                    "target": { "apiVersion": "v1", "kind": "Node", "name": "node" } });
                (Method::POST, format!("{one}/binding"), JSON, binding)
            }
            Verb::Ended => {
                (Method::DELETE, format!("{one}?gracePeriodSeconds=0"), JSON, Value::Null)
            }
            Verb::Provision => {
                let status = json!({ "phase": "Bound", "capacity": call.body["capacity"] });
                (Method::PATCH, format!("{one}/status"), MERGE, json!({ "status": status }))
            }
            Verb::Class => {
                let class = json!({ "apiVersion": api_version(&call.kind), "kind": call.kind,
                    "metadata": { "name": call.name }, "provisioner": "example.org/none",
                    "allowVolumeExpansion": call.body["allowVolumeExpansion"] });
                (Method::POST, "/apis/storage.k8s.io/v1/storageclasses".to_owned(), JSON, class)
            }
        }
    }

    fn url(&self, kind: &str, name: &str) -> String {
        let group = match api_version(kind) {
            "v1" => "api/v1".to_owned(),
            group => format!("apis/{group}"),
        };
        let (namespace, kind) = (&self.namespace, kind.to_lowercase());
        let all = format!("/{group}/namespaces/{namespace}/{kind}s");
        if name.is_empty() { all } else { format!("{all}/{name}") }
    }

    async fn send(&self, method: Method, url: &str, kind: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(url).header(CONTENT_TYPE, kind);
        let request = request.body(Body::from(body)).unwrap();
        let answer = self.client.send(request).await.unwrap();
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap())
    }
}

fn refused(code: u16, status: &Value) -> Answer {
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    let field = status["details"]["causes"][0]["field"].as_str().unwrap_or_default();
    println!("{code} {}", status["message"].as_str().unwrap_or_default());
    // Of what is forbidden the operator reads the sentence alone.
    let field = if reason == "Invalid" { field.to_owned() } else { String::new() };
    Answer::Refused { code, reason, field }
}
