//! What does a task do as its service account?
//!
//! Every request here carries the account's token and nothing of the operator's own: the API server
//! decides what it may do. Attempts may be made again, so each looks first whether it came through
//! before.

use std::collections::BTreeMap;

use http::{Request, header::CONTENT_TYPE};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::{Value, json};
use tikv_operator_api::labels::{CLUSTER, MANAGER};
use tikv_operator_core::build::marks_from_annotations;
use tikv_operator_core::task::{Annotation, Answer, Call};

use crate::kubernetes::words;

/// Acts as a service account, in its namespace only.
pub(super) struct AccountClient<'a> {
    /// Has the account's token.
    pub(super) client: Client,
    /// The task's.
    pub(super) namespace: &'a str,
    /// The account, for messages.
    pub(super) account: &'a str,
}

/// Most that the clocks of the operator and of the API server differ by.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(2);

/// How an object stands by a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bears {
    /// It bears it.
    Wish,
    /// It was made after the run began, and was left alone: what bore the wish may have been before it.
    Newer,
    /// There is none of the name, or it is the volume of a store that was removed before the run began.
    Gone,
}

fn annotations(object: &Value) -> BTreeMap<String, String> {
    let found = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    found.into_iter().flatten().filter_map(text).collect()
}

/// A Secret's data.
type Secret = BTreeMap<String, Vec<u8>>;

impl AccountClient<'_> {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Value, Refusal> {
        match self.client.request::<Value>(request).await {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) => Err(Refusal::No(status.code, status.message.clone())),
            Err(error) => Err(Refusal::Silent(words(&error))),
        }
    }

    async fn get(&self, path: &str) -> Result<Value, Refusal> {
        let request = Request::get(path).body(Vec::new());
        self.send(request.map_err(|error| Refusal::Silent(error.to_string()))?).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.patch_as("application/merge-patch+json", path, body).await
    }

    async fn json_patch(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.patch_as("application/json-patch+json", path, body).await
    }

    async fn patch_as(&self, form: &str, path: &str, body: &Value) -> Result<Value, Refusal> {
        let request = Request::patch(format!("{path}?fieldManager={MANAGER}-task"))
            .header(CONTENT_TYPE, form)
            .body(body.to_string().into_bytes());
        self.send(request.map_err(|error| Refusal::Silent(error.to_string()))?).await
    }

    /// A Secret's data.
    pub(super) async fn secret(&self, name: &str) -> Result<Secret, Answer> {
        let what = format!("Secret {name} (read as service account {})", self.account);
        let path = format!("/api/v1/namespaces/{}/secrets/{name}", self.namespace);
        let body = self.get(&path).await.map_err(|refusal| refusal.answer(&what))?;
        let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(body)
            .map_err(|error| Answer::Again(format!("{what}: {error}")))?;
        Ok(secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect())
    }

    /// Writes an annotation on an object that is this cluster's.
    pub(super) async fn annotate(&self, wish: &Annotation, name: &str) -> Result<Bears, Answer> {
        let Annotation { cluster, on, key, value, made_before, .. } = wish;
        let path = format!("/api/v1/namespaces/{}/{}/{name}", self.namespace, on.plural());
        let what = format!("{} {name} (as service account {})", on.word(), self.account);
        let object = match self.get(&path).await {
            Ok(object) => object,
            Err(Refusal::No(404, _)) => return Ok(Bears::Gone),
            Err(refusal) => return Err(refusal.answer(&what)),
        };
        let labels = object.pointer("/metadata/labels");
        if labels.and_then(|l| l.get(CLUSTER)).and_then(Value::as_str) != Some(cluster) {
            return Err(Answer::Refused(format!(
                "{what}: it is no {} of cluster {cluster}",
                on.word()
            )));
        }
        let made = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        let made: Option<Timestamp> = made.and_then(|made| made.parse().ok());
        let annotations = annotations(&object);
        let wished = annotations.get(*key).map(String::as_str) == value.as_deref();
        let marks = marks_from_annotations(&annotations);
        // Whose store has left has nothing to be replaced, unless it left by this run's own wish.
        let left = marks.retired_since.zip(*made_before).is_some_and(|(at, begun)| at > begun);
        if marks.retired && !(wished && left) {
            return Ok(Bears::Gone);
        }
        // An earlier attempt came to it already.
        if wished {
            return Ok(Bears::Wish);
        }
        // The one time is the operator's, the other the API server's.
        let later = |(before, made): (Timestamp, Timestamp)| made > before + CLOCKS_DIFFER;
        if made_before.zip(made).is_some_and(later) {
            return Ok(Bears::Newer);
        }
        let uid = object.pointer("/metadata/uid").cloned().unwrap_or_default();
        // With its uid: another one of the name is not meant.
        let body = json!({"metadata": {"uid": uid, "annotations": {(*key): value}}});
        match self.patch(&path, &body).await {
            Ok(_) => Ok(Bears::Wish),
            Err(Refusal::No(404, _)) => Ok(Bears::Gone),
            Err(refusal) => Err(refusal.answer(&what)),
        }
    }

    /// Merges settings into the cluster's spec.
    pub(super) async fn set_config(
        &self,
        cluster: &str,
        component: &str,
        config: &Value,
    ) -> Answer {
        let what = format!("TikvCluster {cluster} (as service account {})", self.account);
        let resource = self.cluster_path(cluster);
        let body = match self.get(&resource).await {
            Ok(body) => body,
            Err(refusal) => return refusal.answer(&what),
        };
        let present = body.pointer(&format!("/spec/{component}/config"));
        if present.is_some_and(Value::is_string) {
            return Answer::Refused(format!(
                "{what}: spec.{component}.config is a TOML text, into which nothing can be merged; \
                 write it as a map"
            ));
        }
        let mut patch = Call::config_patch(component, config);
        // On the version that was read: a merge patch would put a map in the place of a text.
        let version = body.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
        if let Some(patch) = patch.as_object_mut() {
            patch.insert("metadata".to_owned(), json!({"resourceVersion": version}));
        }
        match self.patch(&resource, &patch).await {
            Ok(_) => Answer::Done(format!("spec.{component}.config was set")),
            Err(refusal) => refusal.answer(&what),
        }
    }

    /// Sets the number of stores, where it still is the one that the new number was decided from.
    pub(super) async fn scale(&self, cluster: &str, before: Option<i32>, replicas: i32) -> Answer {
        let what = format!("scale of TikvCluster {cluster} (as service account {})", self.account);
        let resource = format!("{}/scale", self.cluster_path(cluster));
        let is = |number: i32| json!({"op": "test", "path": "/spec/replicas", "value": number});
        let set = json!({"op": "replace", "path": "/spec/replicas", "value": replicas});
        let patch = match before {
            Some(before) => json!([is(before), set]),
            None => json!([set]),
        };
        let done = || Answer::Done(format!("{replicas} stores are asked for"));
        let refused = match (self.json_patch(&resource, &patch).await, before) {
            (Ok(_), _) => return done(),
            (Err(Refusal::No(422, _)), Some(before)) => before,
            (Err(refusal), _) => return refusal.answer(&what),
        };
        // Either an earlier attempt came through, or somebody else set a number.
        match self.json_patch(&resource, &json!([is(replicas)])).await {
            Ok(_) => done(),
            Err(Refusal::No(422, _)) => Answer::Refused(format!(
                "{what}: the number of stores is neither {refused} any more nor {replicas}: somebody \
                 else set it, and nothing was written"
            )),
            Err(refusal) => refusal.answer(&what),
        }
    }

    fn cluster_path(&self, cluster: &str) -> String {
        format!("/apis/tikv.org/v1alpha1/namespaces/{}/tikvclusters/{cluster}", self.namespace)
    }
}

/// A call as an account that failed.
enum Refusal {
    /// The server says no, in these words.
    No(u16, String),
    /// No answer, or none that can be read.
    Silent(String),
}

impl Refusal {
    fn answer(self, what: &str) -> Answer {
        match self {
            // Rights may be given and objects made without an edit of the task, and the token of an account
            // that was made anew is another one.
            Self::No(code, words) if [401, 403, 404, 409, 429].contains(&code) || code >= 500 => {
                Answer::Again(format!("{what}: {words}"))
            }
            Self::No(_, words) => Answer::Refused(format!("{what}: {words}")),
            Self::Silent(words) => Answer::Again(format!("{what}: {words}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::fake::Fake;

    fn status(code: u16) -> String {
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
            "code": code, "reason": "", "message": "no",
        })
        .to_string()
    }

    /// What a scale run says and leaves, where the cluster has this many stores.
    async fn scaled(stores: i32, before: Option<i32>, wanted: i32) -> (Answer, i32) {
        let number = std::sync::Arc::new(Mutex::new(stores));
        let held = std::sync::Arc::clone(&number);
        let api = Fake::run(move |asked| {
            let mut number = held.lock().unwrap();
            let operations: Vec<Value> = serde_json::from_str(&asked.body).unwrap();
            for operation in operations {
                match (operation["op"].as_str(), operation["value"] == *number) {
                    (Some("test"), false) => return Some((422, status(422))),
                    (Some("test"), true) => {}
                    _ => *number = i32::try_from(operation["value"].as_i64().unwrap()).unwrap(),
                }
            }
            Some((200, json!({}).to_string()))
        })
        .await;
        let config = kube::Config::new(format!("http://{}", api.address).parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let acting = AccountClient { client, namespace: "ns", account: "a" };
        let answer = acting.scale("c", before, wanted).await;
        let left = *number.lock().unwrap();
        (answer, left)
    }

    #[tokio::test]
    async fn a_scale_run_writes_over_no_number_but_the_one_that_it_counted_from() {
        assert!(matches!(scaled(3, Some(3), 4).await, (Answer::Done(_), 4)));
        assert!(matches!(scaled(4, Some(3), 4).await, (Answer::Done(_), 4)), "came through before");
        let (answer, stores) = scaled(10, Some(3), 4).await;
        assert_eq!(stores, 10, "six stores would be drained");
        let Answer::Refused(words) = answer else { panic!("{answer:?}") };
        assert!(words.contains("somebody else"), "{words}");
        assert!(
            matches!(scaled(10, None, 4).await, (Answer::Done(_), 4)),
            "`to` means what it says"
        );
    }

    #[tokio::test]
    async fn settings_are_merged_into_the_version_that_was_read() {
        let api = Fake::run(|asked| {
            let body = json!({"metadata": {"resourceVersion": "7"}, "spec": {"tikv": {}}});
            let get = asked.line.starts_with("GET");
            Some(if get { (200, body.to_string()) } else { (409, status(409)) })
        })
        .await;
        let config = kube::Config::new(format!("http://{}", api.address).parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let acting = AccountClient { client, namespace: "ns", account: "a" };
        let answer = acting.set_config("c", "tikv", &json!({"a": 1})).await;
        assert!(matches!(answer, Answer::Again(_)), "{answer:?}");
        let asked = api.changes().join("");
        assert!(asked.contains(r#""resourceVersion":"7""#), "{asked}");
    }
}
