//! How do the caches follow the API server?

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future, pin_mut};
use kube::{
    Api, Client,
    api::DynamicObject,
    core::Status,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tikv_operator_api::labels;
use tokio::sync::mpsc;

use super::cache::{Cache, News, Scope, Wake};
use crate::{
    kubernetes::Resource,
    metrics::{ApiVerb, Metrics},
    task::TaskWake,
};

/// Time until it is tried again whether nodes may be watched.
const NODES_AGAIN: Duration = Duration::from_mins(10);

/// Selects what the operator made.
fn made_by_us() -> String {
    format!("{}={}", labels::MANAGED_BY, labels::MANAGER)
}

/// What the watches need.
#[derive(Clone)]
pub struct Watches {
    /// The client.
    pub client: Client,
    /// Where to read.
    pub scopes: Vec<Scope>,
    /// Which resources to look after, if not all.
    pub selector: Option<String>,
    /// What to fill.
    pub cache: Cache,
    /// Whom to wake.
    pub wakes: mpsc::UnboundedSender<Wake>,
    /// Whom to tell of every change of a cluster's resource: tasks start on what it reports.
    pub changes: mpsc::UnboundedSender<TaskWake>,
    /// What to count in.
    pub metrics: Metrics,
}

impl Watches {
    /// Starts all watches; they run until the process ends.
    pub fn spawn(self) {
        let watches = Arc::new(self);
        for scope in watches.scopes.clone() {
            for resource in Resource::ALL {
                let (watches, scope) = (Arc::clone(&watches), scope.clone());
                tokio::spawn(async move { watches.follow(resource, scope).await });
            }
        }
        tokio::spawn(async move { watches.follow_nodes().await });
    }

    /// Follows nodes, where that is permitted. Without the permission they are unknown, which is
    /// said once and tried again from time to time.
    async fn follow_nodes(&self) {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &Resource::Node.api());
        let mut said = false;
        loop {
            let events = watcher(api.clone(), watcher::Config::default()).default_backoff();
            // A node is some 10 KiB, of which a few dozen bytes are kept: nothing but these may
            // pile up while a list of thousands comes in.
            let events = events.map(|event| event.map(slim));
            let permitted = events.take_while(|event| {
                let refused = event.as_ref().err().and_then(status).map(|status| status.code);
                future::ready(refused != Some(403))
            });
            self.hear(Resource::Node, &None, permitted).await;
            self.cache.forget_nodes();
            if !said {
                tracing::warn!(
                    "nodes may not be watched: lost and cordoned nodes are not recognised"
                );
                said = true;
            }
            tokio::time::sleep(NODES_AGAIN).await;
        }
    }

    async fn follow(&self, resource: Resource, scope: Scope) {
        let api: Api<DynamicObject> = match &scope {
            Some(namespace) => {
                Api::namespaced_with(self.client.clone(), namespace, &resource.api())
            }
            None => Api::all_with(self.client.clone(), &resource.api()),
        };
        let label_selector = match resource {
            Resource::Cluster => self.selector.clone(),
            Resource::Part(_) | Resource::Node | Resource::Task | Resource::Job => {
                Some(made_by_us())
            }
        };
        let config = watcher::Config { label_selector, ..watcher::Config::default() };
        // After an error the stream goes on by itself, with exponential delays and jitter.
        let events = watcher(api, config).default_backoff();
        self.hear(resource, &scope, events).await;
    }

    async fn hear(
        &self,
        resource: Resource,
        scope: &Scope,
        events: impl Stream<Item = Result<watcher::Event<DynamicObject>, watcher::Error>>,
    ) {
        pin_mut!(events);
        let mut listing: Vec<Value> = Vec::new();
        while let Some(event) = events.next().await {
            let news = match event {
                Ok(watcher::Event::Init) => {
                    listing.clear();
                    continue;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listing.extend(serde_json::to_value(object).ok());
                    continue;
                }
                Ok(watcher::Event::InitDone) => {
                    News::All(scope.clone(), std::mem::take(&mut listing))
                }
                Ok(watcher::Event::Apply(object)) => News::Is(value(object)),
                Ok(watcher::Event::Delete(object)) => News::Gone(value(object)),
                Err(error) => {
                    self.failed(resource, scope, &error);
                    continue;
                }
            };
            for wake in self.cache.hear(resource, news) {
                // Both fail only when the controllers have ended.
                if resource == Resource::Cluster {
                    let _ = self.changes.send(TaskWake::Cluster(wake.key.clone()));
                }
                let _ = self.wakes.send(wake);
            }
        }
    }

    fn failed(&self, resource: Resource, scope: &Scope, error: &watcher::Error) {
        let (resource_name, namespace) = (resource.plural(), scope.as_deref().unwrap_or("all"));
        self.metrics.watch_failed(resource_name);
        match status(error).map(|status| status.code) {
            Some(403) => {
                let verb = match error {
                    watcher::Error::InitialListFailed(_) => ApiVerb::List,
                    watcher::Error::WatchStartFailed(_)
                    | watcher::Error::WatchError(_)
                    | watcher::Error::WatchFailed(_)
                    | watcher::Error::NoResourceVersion => ApiVerb::Watch,
                };
                self.metrics.forbidden(verb, resource_name);
                let verb = verb.as_str();
                tracing::error!(
                    verb,
                    resource = resource_name,
                    namespace,
                    "the operator's role lacks a verb: {}",
                    words_of(error)
                );
            }
            Some(404) if resource == Resource::Cluster => {
                tracing::error!("the CRD of TikvClusters is not installed; waiting for it");
            }
            // The version to continue from is gone: the watch lists again by itself.
            Some(410) => tracing::debug!(resource = resource_name, namespace, "watch expired"),
            Some(_) | None => {
                tracing::warn!(
                    resource = resource_name,
                    namespace,
                    "watch failed: {}",
                    words_of(error)
                );
            }
        }
    }
}

/// A node without what no fact follows from.
fn slim(event: watcher::Event<DynamicObject>) -> watcher::Event<DynamicObject> {
    let slim = |mut node: DynamicObject| {
        node.metadata.managed_fields = None;
        node.metadata.annotations = None;
        let conditions = node.data.pointer("/status/conditions").cloned();
        let at = |pointer| node.data.pointer(pointer).cloned();
        let spec =
            json!({ "unschedulable": at("/spec/unschedulable"), "taints": at("/spec/taints") });
        node.data = json!({ "spec": spec, "status": { "conditions": conditions } });
        node
    };
    match event {
        watcher::Event::Apply(node) => watcher::Event::Apply(slim(node)),
        watcher::Event::Delete(node) => watcher::Event::Delete(slim(node)),
        watcher::Event::InitApply(node) => watcher::Event::InitApply(slim(node)),
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitDone => watcher::Event::InitDone,
    }
}

/// The server's refusal in an error of a watch.
fn status(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}

/// One line: of a refusal only the server's sentence.
fn words_of(error: &watcher::Error) -> String {
    status(error).map_or_else(|| error.to_string(), |status| status.message.clone())
}

fn value(object: DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
