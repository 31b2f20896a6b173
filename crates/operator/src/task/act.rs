//! How are the steps of a task done?
//!
//! Jobs are made and deleted by the operator itself, in the task's namespace; everything else that
//! touches the API server is done as the task's service account.

use std::time::Duration;

use serde_json::Value;
use tikv_operator_core::{
    task::{Annotated, Annotation, Answer, Call, HttpCall, Task, TaskStep},
    world::Uid,
};

use super::{
    account::{AccountError, Accounts},
    account_client::{AccountClient, Bears},
    egress::{Egress, Way},
    http::{LONGEST, Outgoing, post},
};
use crate::{
    kubernetes::{ApiError, Kubernetes, Place, Resource, UnknownFields, WRITE_TIME},
    lease::Fenced,
    metrics::CallOutcome,
};

/// Pause after a step of which nothing came. The end of its call wakes the task, which plans it again.
const PAUSE: Duration = Duration::from_secs(2);

/// What steps are done with.
pub struct Worker {
    /// For Jobs.
    pub kubernetes: Kubernetes,
    /// For everything else.
    pub accounts: Accounts,
    /// Which addresses may be called besides.
    pub egress: Egress,
}

/// Nothing came of a step, or nobody can say what did: it is no attempt, and is made again under its key.
#[derive(Debug)]
struct NoAnswer(String);

impl From<Fenced> for NoAnswer {
    fn from(fenced: Fenced) -> Self {
        Self(fenced.to_string())
    }
}

impl Worker {
    /// Does one step. `None` where it is no attempt of a run.
    pub async fn act(&self, task: &Task, step: &TaskStep) -> Option<Answer> {
        let (name, answer) = match step {
            TaskStep::CreateJob { job, .. } => ("task-create-job", self.create(task, job).await),
            TaskStep::FindJob { name, .. } => return Some(self.find(task, name).await),
            TaskStep::DeleteJob { name, uid } => {
                self.delete(&task.namespace, name, uid).await;
                return None;
            }
            TaskStep::Call { call, .. } => (call_name(call), self.call(task, call).await),
        };
        let outcome = match &answer {
            Ok(Answer::Begun | Answer::Done(_)) => CallOutcome::Ok,
            Ok(Answer::Refused(_)) => CallOutcome::Refused,
            Ok(Answer::Again(_)) | Err(_) => CallOutcome::Failed,
        };
        self.kubernetes.metrics().step(name, outcome);
        match answer {
            Ok(answer) => Some(answer),
            Err(NoAnswer(words)) => {
                tracing::warn!("{name} is made again: {words}");
                tokio::time::sleep(PAUSE).await;
                None
            }
        }
    }

    async fn create(&self, task: &Task, job: &Value) -> Result<Answer, NoAnswer> {
        let name = job.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let place = Place { resource: Resource::Job, namespace: &task.namespace, name };
        let created = self.kubernetes.create(place, job, UnknownFields::Refused).await;
        let Err(error) = created else { return Ok(Answer::Begun) };
        if error.is_fenced() {
            return Err(NoAnswer(error.to_string()));
        }
        // Without an answer, and with one of a server that failed within, it may have been made.
        let open = matches!(error.code(), None | Some(500..));
        if !open && !error.already_exists() {
            return Ok(refused(&error));
        }
        Ok(match self.whose(task, place).await? {
            Some(answer) => answer,
            None if open => Answer::Again(error.to_string()),
            None => Answer::Again(format!("Job {name} went in this moment")),
        })
    }

    /// A Job that exists is this run's, if this very task owns it; `None` where there is none. Where it cannot
    /// be looked at nothing is known: a run that failed by that would take its Job along.
    async fn whose(&self, task: &Task, place: Place<'_>) -> Result<Option<Answer>, NoAnswer> {
        match self.kubernetes.get(place).await {
            Ok(Some(job)) if owns(task, &job) => Ok(Some(Answer::Begun)),
            Ok(Some(_)) => Ok(Some(Answer::Refused(format!(
                "Job {} exists and is not of this task; delete or rename it",
                place.name
            )))),
            Ok(None) => Ok(None),
            Err(error) => Err(NoAnswer(error.to_string())),
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

    /// Deletes a Job with its pods.
    pub(super) async fn delete(&self, namespace: &str, name: &str, uid: &Uid) {
        let place = Place { resource: Resource::Job, namespace, name };
        let deleted = self.kubernetes.delete(place, uid, None).await;
        let outcome = match &deleted {
            Ok(()) => CallOutcome::Ok,
            Err(error) => {
                tracing::warn!("Job not deleted: {error}");
                tokio::time::sleep(PAUSE).await;
                CallOutcome::Failed
            }
        };
        self.kubernetes.metrics().step("task-delete-job", outcome);
    }

    async fn call(&self, task: &Task, call: &Call) -> Result<Answer, NoAnswer> {
        let account = task.account.as_deref().unwrap_or_default();
        let client = if call.needs_account() {
            match self.accounts.client(&task.namespace, account).await {
                Ok(client) => Some(client),
                Err(AccountError::Fenced(fenced)) => return Err(fenced.into()),
                Err(error) if error.passes() => return Ok(Answer::Again(error.to_string())),
                Err(error) => return Ok(Answer::Refused(error.to_string())),
            }
        } else {
            None
        };
        let acting =
            client.map(|client| AccountClient { client, namespace: &task.namespace, account });
        match (call, acting) {
            (Call::Http(call), acting) => self.post(task, call, acting.as_ref()).await,
            (_, None) => Ok(Answer::Refused("there is no service account to do it as".to_owned())),
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
    async fn as_account(&self, change: impl Future<Output = Answer>) -> Result<Answer, NoAnswer> {
        let _permit = self.kubernetes.fence().permit(WRITE_TIME).await?;
        let answer = tokio::time::timeout(WRITE_TIME, change).await;
        Ok(answer.unwrap_or_else(|_| Answer::Again("no answer in time".to_owned())))
    }

    /// Writes an annotation on objects, one after the other, each with a time of its own. One that is
    /// gone does not keep it from the others.
    async fn annotate(
        &self,
        wish: &Annotation,
        acting: &AccountClient<'_>,
    ) -> Result<Answer, NoAnswer> {
        let Annotation { on, names, key, .. } = wish;
        let (mut done, mut newer, mut gone) = (0, Vec::new(), Vec::new());
        for name in names {
            let _permit = self.kubernetes.fence().permit(WRITE_TIME).await?;
            match tokio::time::timeout(WRITE_TIME, acting.annotate(wish, name)).await {
                Ok(Ok(Bears::Wish)) => done += 1,
                Ok(Ok(Bears::Newer)) => newer.push(name.as_str()),
                Ok(Ok(Bears::Gone)) => gone.push(name.as_str()),
                Ok(Err(answer)) => return Ok(answer),
                Err(_) => {
                    return Ok(Answer::Again(format!("{} {name}: no answer in time", on.word())));
                }
            }
        }
        let mut words = format!("{key} on {done} {}s", on.word());
        if !gone.is_empty() {
            words = format!("{words}; not there: {}", gone.join(", "));
        }
        if !newer.is_empty() {
            let names = newer.join(", ");
            words = format!("{words}; made after the run began and left alone: {names}");
        }
        // A pod that is new was restarted, by an earlier attempt or for another reason. A claim that is new may
        // be of a store that nobody asked to replace.
        let is_done = done > 0 || (*on == Annotated::Pods && !newer.is_empty());
        Ok(if is_done { Answer::Done(words) } else { Answer::Again(words) })
    }

    async fn post(
        &self,
        task: &Task,
        call: &HttpCall,
        acting: Option<&AccountClient<'_>>,
    ) -> Result<Answer, NoAnswer> {
        let outgoing = match outgoing(call, acting).await {
            Ok(outgoing) => outgoing,
            Err(answer) => return Ok(answer),
        };
        if !self.kubernetes.fence().is_open() {
            return Err(Fenced.into());
        }
        let way =
            Way { egress: &self.egress, kubernetes: &self.kubernetes, namespace: &task.namespace };
        let posted = tokio::time::timeout(LONGEST, post(&outgoing, way)).await;
        Ok(posted.unwrap_or_else(|_| Answer::Again("no answer in time".to_owned())))
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
mod tests;
