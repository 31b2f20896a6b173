//! What is true about one cluster right now?
//!
//! Two looks of the same shape: one from the watch caches, which costs the API server nothing, and
//! one live, on which everything is decided that is then done. PD is asked in both.

mod cache;
mod memory;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

pub use cache::{Cache, News, Scope, Wake};
use http::uri::Authority;
use jiff::Timestamp;
pub use memory::Memory;
use serde_json::Value;
use tikv_operator_api::{
    labels,
    names::{PD_CLIENT_PORT, peer_service, pod_dns},
};
use tikv_operator_core::{
    facts::{Belongings, Owner, resource_facts},
    world::{Component, Kind, PdView, PodFacts, PodPhase, ResourceFacts, World},
};
use tokio::time::Instant;
pub use watch::Watches;

use crate::{
    act::FINALIZER,
    controller::Key,
    kubernetes::{ApiError, Kubernetes, Place, Resource},
    pd::PdClient,
};

/// One look at a cluster.
#[derive(Clone, Debug)]
pub struct Look {
    /// Which cluster.
    pub key: Key,
    /// The resource as stored.
    pub resource: Arc<Value>,
    /// The facts.
    pub world: World,
}

/// Why a cluster could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The API server did not answer, or not as it should.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The resource's metadata or status are not as we write them.
    #[error("the resource's metadata or status cannot be read; nothing is done")]
    Unreadable,
}

/// The eyes of the operator; clones share the cache.
#[derive(Clone)]
pub struct Observer {
    kubernetes: Kubernetes,
    cache: Cache,
    pd: PdClient,
}

impl Observer {
    /// Looks through these.
    pub fn new(kubernetes: Kubernetes, cache: Cache, pd: PdClient) -> Self {
        Self { kubernetes, cache, pd }
    }

    /// What the caches say; `None` if there is no such resource.
    pub async fn cached(
        &self,
        key: &Key,
        memory: &mut Memory,
    ) -> Result<Option<Look>, ObserveError> {
        let Some(watched) = self.cache.resource(key) else { return Ok(None) };
        let resource = match memory.newest(&watched) {
            newest if std::ptr::eq(newest, watched.as_ref()) => Arc::clone(&watched),
            newest => Arc::new(newest.clone()),
        };
        let parts = self.cache.parts(key);
        self.look(key, resource, &parts, memory).await.map(Some)
    }

    /// What the API server says now; `None` if there is no such resource.
    pub async fn live(&self, key: &Key, memory: &mut Memory) -> Result<Option<Look>, ObserveError> {
        let Some((resource, parts)) = Box::pin(self.read(key)).await? else { return Ok(None) };
        self.look(key, Arc::new(resource), &parts, memory).await.map(Some)
    }

    /// The resource alone, live.
    pub async fn resource(&self, key: &Key) -> Result<Option<Value>, ApiError> {
        let place =
            Place { resource: Resource::Cluster, namespace: &key.namespace, name: &key.name };
        self.kubernetes.get(place).await
    }

    async fn read(&self, key: &Key) -> Result<Option<Snapshot>, ApiError> {
        let selector =
            format!("{}={},{}={}", labels::CLUSTER, key.name, labels::MANAGED_BY, labels::MANAGER);
        let list = |kind| self.kubernetes.list(Resource::Part(kind), &key.namespace, &selector);
        let (resource, services, maps, budgets, volumes, pods) = tokio::try_join!(
            self.resource(key),
            list(Kind::Service),
            list(Kind::ConfigMap),
            list(Kind::PodDisruptionBudget),
            list(Kind::PersistentVolumeClaim),
            list(Kind::Pod),
        )?;
        let lists = [
            (Kind::Service, services),
            (Kind::ConfigMap, maps),
            (Kind::PodDisruptionBudget, budgets),
            (Kind::PersistentVolumeClaim, volumes),
            (Kind::Pod, pods),
        ];
        let parts = lists
            .into_iter()
            .flat_map(|(kind, bodies)| bodies.into_iter().map(move |body| (kind, Arc::new(body))));
        Ok(resource.map(|resource| (resource, parts.collect())))
    }

    async fn look(
        &self,
        key: &Key,
        resource: Arc<Value>,
        parts: &[(Kind, Arc<Value>)],
        memory: &mut Memory,
    ) -> Result<Look, ObserveError> {
        let facts = resource_facts(&resource, FINALIZER).ok_or(ObserveError::Unreadable)?;
        let mut found = Belongings::default();
        for (kind, body) in parts {
            found.take(Owner { name: &facts.name, uid: &facts.uid }, *kind, body);
        }
        let pd = self.ask_pd(key, &resource, &found, memory).await;
        let mut strangers = memory.strangers(Instant::now());
        strangers.extend(found.strangers);
        let world = World {
            now: Timestamp::now(),
            resource: facts,
            pods: found.pods,
            volumes: found.volumes,
            objects: found.objects,
            strangers,
            pd,
            nodes: BTreeMap::new(),
            processes: BTreeMap::new(),
            seen_for: BTreeMap::new(),
        };
        Ok(Look { key: key.clone(), resource, world })
    }

    async fn ask_pd(
        &self,
        key: &Key,
        resource: &Value,
        found: &Belongings,
        memory: &mut Memory,
    ) -> PdView {
        let domain = resource.pointer("/spec/clusterDomain").and_then(Value::as_str);
        let mut created = false;
        let mut members: Vec<(bool, Authority)> = Vec::new();
        for (slot, pod) in &found.pods {
            if slot.component != Component::Pd {
                continue;
            }
            created = true;
            let subdomain = peer_service(&key.name, Component::Pd);
            let host = pod_dns(&slot.pod_name(&key.name), &subdomain, &key.namespace, domain);
            if let (true, Ok(address)) =
                (may_answer(pod), format!("{host}:{PD_CLIENT_PORT}").parse::<Authority>())
            {
                let first = memory.answered.as_ref() == Some(&address);
                members.push((!first && !pod.containers_ready, address));
            }
        }
        if !created {
            return memory.no_pd();
        }
        members.sort_by_key(|(later, _)| *later);
        let mut members: Vec<Authority> = members.into_iter().map(|(_, address)| address).collect();
        if let Some(last) = memory.answered.as_ref()
            && let Some(index) = members.iter().position(|member| member == last)
        {
            members.swap(0, index);
        }
        let answer = if members.is_empty() {
            Err("no PD container runs".to_owned())
        } else {
            self.pd.look(&members).await
        };
        memory.hear_pd(answer, Instant::now())
    }
}

/// The resource and everything that carries its labels.
type Snapshot = (Value, Vec<(Kind, Arc<Value>)>);

/// Could there be an answer? Asking a pod without a process costs the time of a failed name
/// lookup.
fn may_answer(pod: &PodFacts) -> bool {
    match pod.phase {
        PodPhase::Running | PodPhase::Unknown => true,
        PodPhase::Pending => pod.started.is_some(),
        PodPhase::Succeeded | PodPhase::Failed => false,
    }
}

/// The facts of a resource that was read again, in the same world.
pub fn with_resource(world: &World, resource: &Value) -> Option<World> {
    let facts: ResourceFacts = resource_facts(resource, FINALIZER)?;
    (facts.uid == world.resource.uid).then(|| World { resource: facts, ..world.clone() })
}
