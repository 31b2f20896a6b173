//! How does the cache of tasks follow the API server?
//!
//! The kind may not be installed, or an older role may not allow it: both are said once and tried
//! again from time to time. A missing kind holds up nothing; while tasks may not be read, upgrades wait
//! with that reason, since one of the tasks may be a gate.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Client,
    api::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use tikv_operator_core::task::TASK_RUN_LABEL;
use tokio::sync::mpsc;

use super::{
    TaskWake,
    cache::{Seen, TaskCache},
};
use crate::{
    controller::Key,
    kubernetes::Resource,
    metrics::{ApiVerb, Metrics},
    observe::Scope,
};

/// Time until it is tried again where the kind is not there or may not be watched.
const AGAIN: Duration = Duration::from_secs(30);

/// What the watches need.
#[derive(Clone)]
pub(super) struct TaskWatches {
    /// The client.
    pub(super) client: Client,
    /// Where to read.
    pub(super) scopes: Vec<Scope>,
    /// What to fill.
    pub(super) cache: TaskCache,
    /// Whom to wake.
    pub(super) wakes: mpsc::UnboundedSender<TaskWake>,
    /// What to count in.
    pub(super) metrics: Metrics,
}

impl TaskWatches {
    /// Starts all watches; they run until the process ends.
    pub(super) fn spawn(self) {
        let watches = Arc::new(self);
        for scope in watches.scopes.clone() {
            for resource in [Resource::Task, Resource::Job] {
                let (watches, scope) = (Arc::clone(&watches), scope.clone());
                tokio::spawn(async move {
                    loop {
                        watches.follow(resource, &scope).await;
                        tokio::time::sleep(AGAIN).await;
                    }
                });
            }
        }
    }

    /// Follows until the server says that there is no such kind, or that it may not be watched.
    async fn follow(&self, resource: Resource, scope: &Scope) {
        let api: Api<DynamicObject> = match scope {
            Some(namespace) => {
                Api::namespaced_with(self.client.clone(), namespace, &resource.api())
            }
            None => Api::all_with(self.client.clone(), &resource.api()),
        };
        // Only Jobs of ours: others may be many.
        let label_selector = (resource == Resource::Job).then(|| TASK_RUN_LABEL.to_owned());
        let config = watcher::Config { label_selector, ..watcher::Config::default() };
        let events = watcher(api, config).default_backoff();
        pin_mut!(events);
        let mut listing: Vec<Value> = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listing.clear(),
                Ok(watcher::Event::InitApply(object)) => listing.push(value(object)),
                Ok(watcher::Event::InitDone) => {
                    self.all(resource, scope, std::mem::take(&mut listing));
                }
                Ok(watcher::Event::Apply(object)) => self.one(resource, value(object), false),
                Ok(watcher::Event::Delete(object)) => self.one(resource, value(object), true),
                Err(error) => {
                    if self.failed(resource, scope, &error) {
                        return;
                    }
                }
            }
        }
    }

    fn all(&self, resource: Resource, scope: &Scope, bodies: Vec<Value>) {
        if resource == Resource::Task {
            self.wake(self.cache.all_tasks(scope, bodies));
        } else {
            self.wake(self.cache.all_jobs(scope, &bodies));
        }
    }

    fn one(&self, resource: Resource, body: Value, gone: bool) {
        if resource == Resource::Task {
            self.wake(self.cache.set_task(body, gone));
        } else {
            self.wake(self.cache.set_job(&body, gone));
        }
    }

    fn wake(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            // Fails only when the controller has ended.
            let _ = self.wakes.send(TaskWake::Task(key));
        }
    }

    /// Counts and says it. Is there no use in going on?
    fn failed(&self, resource: Resource, scope: &Scope, error: &watcher::Error) -> bool {
        let name = resource.plural();
        self.metrics.watch_failed(name);
        let seen = match code(error) {
            Some(404) => {
                tracing::info!(resource = name, "the kind is not installed; asked again later");
                Seen::NotInstalled
            }
            Some(403) => {
                self.metrics.forbidden(ApiVerb::List, name);
                tracing::error!(resource = name, "the operator's role lacks a verb: {error}");
                Seen::Forbidden(format!("the operator's role lacks a verb: {error}"))
            }
            Some(410) => return false,
            Some(_) | None => {
                tracing::warn!(resource = name, "watch failed: {error}");
                return false;
            }
        };
        if resource == Resource::Task {
            self.cache.seen(scope, seen);
        }
        true
    }
}

fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}

fn value(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).unwrap_or_default()
}
