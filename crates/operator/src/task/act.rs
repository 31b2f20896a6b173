//! How are the steps of a task done?
//!
//! Jobs are made and deleted by the operator itself, in the task's namespace; everything else that
//! touches the API server is done as the task's service account.

use std::time::Duration;

use serde_json::Value;
use tikv_operator_core::{
    task::{Annotation, Answer, Call, HttpCall, Task, TaskStep},
    world::Uid,
};

use super::{
    account::Accounts,
    account_client::AccountClient,
    egress::{Egress, Way},
    http::{LONGEST, Outgoing, post},
};
use crate::{
    kubernetes::{ApiError, Kubernetes, Place, Resource, UnknownFields, WRITE_TIME},
    metrics::CallOutcome,
};

/// Pause after a Job could not be deleted.
const DELETED_AGAIN: Duration = Duration::from_secs(2);

/// What steps are done with.
pub struct Worker {
    /// For Jobs.
    pub kubernetes: Kubernetes,
    /// For everything else.
    pub accounts: Accounts,
    /// Which addresses may be called besides.
    pub egress: Egress,
}

impl Worker {
    /// Does one step. `None` where it is no attempt of a run.
    pub async fn act(&self, task: &Task, step: &TaskStep) -> Option<Answer> {
        let (name, answer) = match step {
            TaskStep::CreateJob { job, .. } => ("task-create-job", self.create(task, job).await),
            TaskStep::FindJob { name, .. } => return Some(self.find(task, name).await),
            TaskStep::DeleteJob { name, uid } => {
                self.delete(task, name, uid).await;
                return None;
            }
            TaskStep::Call { call, .. } => (call_name(call), self.call(task, call).await),
        };
        let outcome = match &answer {
            Answer::Begun | Answer::Done(_) => CallOutcome::Ok,
            Answer::Refused(_) => CallOutcome::Refused,
            Answer::Again(_) => CallOutcome::Failed,
        };
        self.kubernetes.metrics().step(name, outcome);
        Some(answer)
    }

    async fn create(&self, task: &Task, job: &Value) -> Answer {
        let name = job.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let place = Place { resource: Resource::Job, namespace: &task.namespace, name };
        match self.kubernetes.create(place, job, UnknownFields::Refused).await {
            Ok(_) => Answer::Begun,
            Err(error) if error.already_exists() => self.whose(task, place).await,
            Err(error) => refused(&error),
        }
    }

    /// The Job exists: it is this run's, if this very task owns it.
    async fn whose(&self, task: &Task, place: Place<'_>) -> Answer {
        match self.kubernetes.get(place).await {
            Ok(Some(job)) if owns(task, &job) => Answer::Begun,
            Ok(Some(_)) => Answer::Refused(format!(
                "Job {} exists and is not of this task; delete or rename it",
                place.name
            )),
            Ok(None) => Answer::Again(format!("Job {} went in this moment", place.name)),
            Err(error) => refused(&error),
        }
    }

    /// Is the Job still there? Where nobody can say it is not gone: it is asked for again after a while.
    async fn find(&self, task: &Task, name: &str) -> Answer {
        let place = Place { resource: Resource::Job, namespace: &task.namespace, name };
        match self.kubernetes.get(place).await {
            Ok(Some(job)) if owns(task, &job) => Answer::Begun,
            Ok(Some(_) | None) => Answer::Again(format!("Job {name} was deleted before it ended")),
            Err(error) => {
                tracing::warn!("cannot look for Job {name}: {error}");
                Answer::Begun
            }
        }
    }

    async fn delete(&self, task: &Task, name: &str, uid: &Uid) {
        let place = Place { resource: Resource::Job, namespace: &task.namespace, name };
        let deleted = self.kubernetes.delete(place, uid, None).await;
        let outcome = match &deleted {
            Ok(()) => CallOutcome::Ok,
            Err(error) => {
                tracing::warn!("Job not deleted: {error}");
                // The end of this call wakes the task, which plans the deletion again.
                tokio::time::sleep(DELETED_AGAIN).await;
                CallOutcome::Failed
            }
        };
        self.kubernetes.metrics().step("task-delete-job", outcome);
    }

    async fn call(&self, task: &Task, call: &Call) -> Answer {
        let account = task.account.as_deref().unwrap_or_default();
        let client = if call.needs_account() {
            match self.accounts.client(&task.namespace, account).await {
                Ok(client) => Some(client),
                Err(error) if error.passes() => return Answer::Again(error.to_string()),
                Err(error) => return Answer::Refused(error.to_string()),
            }
        } else {
            None
        };
        let acting =
            client.map(|client| AccountClient { client, namespace: &task.namespace, account });
        match (call, acting) {
            (Call::Http(call), acting) => self.post(task, call, acting.as_ref()).await,
            (_, None) => Answer::Refused("there is no service account to do it as".to_owned()),
            (Call::Annotate(wish), Some(acting)) => self.annotate(wish, &acting).await,
            (Call::SetConfig { cluster, component, config }, Some(acting)) => {
                self.as_account(acting.set_config(cluster, component, config)).await
            }
            (Call::Scale { cluster, before, replicas }, Some(acting)) => {
                self.as_account(acting.scale(cluster, *before, *replicas)).await
            }
        }
    }

    /// Makes a change while the lease covers it.
    async fn as_account(&self, change: impl Future<Output = Answer>) -> Answer {
        let Ok(_permit) = self.kubernetes.fence().permit(WRITE_TIME).await else {
            return Answer::Again("this replica does not hold the lease".to_owned());
        };
        let answer = tokio::time::timeout(WRITE_TIME, change).await;
        answer.unwrap_or_else(|_| Answer::Again("no answer in time".to_owned()))
    }

    /// Writes an annotation on objects, one after the other, each with a time of its own. One that is
    /// gone does not keep it from the others.
    async fn annotate(&self, wish: &Annotation, acting: &AccountClient<'_>) -> Answer {
        let Annotation { on, names, key, .. } = wish;
        let (mut done, mut gone) = (0, Vec::new());
        for name in names {
            let Ok(_permit) = self.kubernetes.fence().permit(WRITE_TIME).await else {
                return Answer::Again("this replica does not hold the lease".to_owned());
            };
            match tokio::time::timeout(WRITE_TIME, acting.annotate(wish, name)).await {
                Ok(Ok(true)) => done += 1,
                Ok(Ok(false)) => gone.push(name.as_str()),
                Ok(Err(answer)) => return answer,
                Err(_) => return Answer::Again(format!("{} {name}: no answer in time", on.word())),
            }
        }
        let mut words = format!("{key} on {done} {}s", on.word());
        if !gone.is_empty() {
            words = format!("{words}; not there: {}", gone.join(", "));
        }
        if done == 0 { Answer::Again(words) } else { Answer::Done(words) }
    }

    async fn post(
        &self,
        task: &Task,
        call: &HttpCall,
        acting: Option<&AccountClient<'_>>,
    ) -> Answer {
        let outgoing = match outgoing(call, acting).await {
            Ok(outgoing) => outgoing,
            Err(answer) => return answer,
        };
        if !self.kubernetes.fence().is_open() {
            return Answer::Again("this replica does not hold the lease".to_owned());
        }
        let way =
            Way { egress: &self.egress, kubernetes: &self.kubernetes, namespace: &task.namespace };
        let posted = tokio::time::timeout(LONGEST, post(&outgoing, way)).await;
        posted.unwrap_or_else(|_| Answer::Again("no answer in time".to_owned()))
    }
}

fn owns(task: &Task, job: &Value) -> bool {
    let owners = job.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let uid = |owner: &Value| owner["uid"].as_str() == Some(task.uid.0.as_str());
    owners.into_iter().flatten().any(uid)
}

fn call_name(call: &Call) -> &'static str {
    match call {
        Call::Http(_) => "task-http",
        Call::Annotate(_) => "task-annotate",
        Call::SetConfig { .. } => "task-set-config",
        Call::Scale { .. } => "task-scale",
    }
}

/// A quota or a role may change without an edit; what is not valid stays so.
fn refused(error: &ApiError) -> Answer {
    match error.code() {
        Some(400 | 422) => Answer::Refused(error.to_string()),
        Some(_) | None => Answer::Again(error.to_string()),
    }
}

/// The call with what its Secrets hold.
async fn outgoing(call: &HttpCall, acting: Option<&AccountClient<'_>>) -> Result<Outgoing, Answer> {
    let mut outgoing = Outgoing {
        call: call.clone(),
        secret_headers: Vec::new(),
        authority: None,
        identity: None,
    };
    let Some(acting) = acting else { return Ok(outgoing) };
    for header in &call.headers_from {
        let reference = &header.secret_key_ref;
        let secret = acting.secret(&reference.name).await?;
        let value =
            secret.get(&reference.key).ok_or_else(|| missing(&reference.name, &reference.key))?;
        let text = String::from_utf8(value.clone()).map_err(|_| {
            Answer::Refused(format!("Secret {}: {} is no text", reference.name, reference.key))
        })?;
        let prefix = header.prefix.as_deref().unwrap_or_default();
        let value = format!("{prefix}{}", text.trim_end_matches(['\n', '\r']));
        outgoing.secret_headers.push((header.name.clone(), value));
    }
    if let Some(name) = &call.tls_secret {
        let secret = acting.secret(name).await?;
        outgoing.authority = secret.get("ca.crt").cloned();
        outgoing.identity = match (secret.get("tls.crt"), secret.get("tls.key")) {
            (Some(chain), Some(key)) => Some((chain.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(missing(name, "tls.key")),
            (None, Some(_)) => return Err(missing(name, "tls.crt")),
        };
    }
    Ok(outgoing)
}

fn missing(secret: &str, key: &str) -> Answer {
    Answer::Again(format!("Secret {secret} has no key {key}: add it"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use kube::Client;
    use serde_json::json;
    use tikv_operator_core::task::{Annotated, check_task};

    use super::*;
    use crate::{fake::Fake, lease::Fence, metrics::Metrics};

    fn worker(api: &Fake) -> (Worker, Client) {
        let config = kube::Config::new(format!("http://{}", api.address).parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let fence = Fence::new();
        fence.open(tokio::time::Instant::now() + std::time::Duration::from_mins(5));
        let kubernetes = Kubernetes::new(client.clone(), fence, Metrics::new());
        let accounts = Accounts::new(kubernetes.clone(), None);
        (Worker { kubernetes, accounts, egress: Egress::default() }, client)
    }

    fn status(code: u16) -> String {
        let reason = if code == 404 { "NotFound" } else { "Forbidden" };
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
            "code": code, "reason": reason, "message": "no",
        })
        .to_string()
    }

    fn pod(uid: &str, annotations: &Value) -> String {
        let labels = json!({"tikv.org/cluster": "c"});
        let metadata = json!({"uid": uid, "labels": labels, "annotations": annotations});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}).to_string()
    }

    /// Two hundred stores, of which one pod is gone and one fails once.
    #[tokio::test]
    async fn an_attempt_goes_on_where_the_one_before_it_ended() {
        let done = std::sync::Arc::new(Mutex::new(std::collections::BTreeSet::new()));
        let held = std::sync::Arc::clone(&done);
        let failed = Mutex::new(false);
        let api = Fake::run(move |asked| {
            let path = asked.line.split_whitespace().nth(1).unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            let mut done = held.lock().unwrap();
            if name == "c-tikv-7" {
                return Some((404, status(404)));
            }
            if asked.line.starts_with("GET") {
                let value = done.contains(&name).then_some("true");
                return Some((200, pod(&name, &json!({"tikv.org/restart": value}))));
            }
            let mut failed = failed.lock().unwrap();
            if name == "c-tikv-150" && !*failed {
                *failed = true;
                return Some((403, status(403)));
            }
            done.insert(name.clone());
            Some((200, pod(&name, &json!({}))))
        })
        .await;
        let (worker, client) = worker(&api);
        let acting = AccountClient { client, namespace: "ns", account: "a" };
        let call = Annotation {
            cluster: "c".into(),
            on: Annotated::Pods,
            names: (0..200).map(|ordinal| format!("c-tikv-{ordinal}")).collect(),
            key: "tikv.org/restart",
            value: Some("true".into()),
            made_before: None,
        };
        let first = worker.annotate(&call, &acting).await;
        assert!(matches!(first, Answer::Again(_)), "{first:?}");
        assert_eq!(done.lock().unwrap().len(), 149);
        let Answer::Done(words) = worker.annotate(&call, &acting).await else { panic!("again") };
        assert!(words.contains("199 pods") && words.contains("not there: c-tikv-7"), "{words}");
        assert_eq!(api.changes().len(), 200, "each once, and one twice");
    }

    #[tokio::test]
    async fn a_job_is_gone_only_when_the_api_server_says_so() {
        let mut body = json!({
            "metadata": {"name": "t", "namespace": "ns", "uid": "u", "generation": 1},
            "spec": tikv_operator_api::cases::task_spec(),
        });
        body["spec"]["cluster"] = json!("c");
        let task = check_task(&body, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let job = |owner: &str| {
            let owners = json!([{"uid": owner, "controller": true}]);
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"ownerReferences": owners}})
        };
        for (code, answer, there) in [
            (200, job("u").to_string(), true),
            (200, job("another").to_string(), false),
            (404, status(404), false),
            (403, status(403), true),
        ] {
            let api = Fake::run(move |_| Some((code, answer.clone()))).await;
            let (worker, _) = worker(&api);
            let found = worker.find(&task, "t-1").await;
            assert_eq!(matches!(found, Answer::Begun), there, "{code}");
        }
    }
}
