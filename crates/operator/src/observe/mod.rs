//! What is true about one cluster right now?
//!
//! Two looks of the same shape: one from the watch caches, which costs the API server nothing, and
//! one live, on which everything is decided that is then done. PD is asked in both.

mod cache;
mod departures;
mod gates;
mod memory;
mod nodes;
mod processes;
mod spec;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

pub use cache::{Cache, News, Scope, Wake};
use futures::{StreamExt, TryStreamExt, stream};
use http::uri::Authority;
use jiff::Timestamp;
pub use memory::Memory;
use serde_json::Value;
pub use spec::LastCheck;
use tikv_operator_api::{
    labels,
    names::{PD_CLIENT_PORT, peer_service, pod_dns},
};
use tikv_operator_core::{
    facts::{Belongings, Owner, missing_claims, resource_facts},
    world::{Component, Kind, PdView, PodFacts, PodPhase, ResourceFacts, Uid, World, symptoms},
};
use tokio::time::Instant;
pub use watch::Watches;

use crate::{
    act::FINALIZER,
    controller::Key,
    kubernetes::{ApiError, Kubernetes, Place, Resource},
    pd::{Depth, PdClient},
    store::StoreClient,
    task::TaskCache,
};

/// Claims that are read at the same time.
const AT_ONCE: usize = 8;

/// One look at a cluster.
#[derive(Clone, Debug)]
pub struct Look {
    /// Which cluster.
    pub key: Key,
    /// The resource as stored.
    pub resource: Arc<Value>,
    /// The facts.
    pub world: World,
    /// The PD members that may answer, the one that answered last first.
    pub pd: Vec<Authority>,
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
    stores: StoreClient,
    tasks: TaskCache,
}

impl Observer {
    /// Looks through these.
    pub fn new(
        kubernetes: Kubernetes,
        cache: Cache,
        tasks: TaskCache,
        pd: PdClient,
        stores: StoreClient,
    ) -> Self {
        Self { kubernetes, cache, pd, stores, tasks }
    }

    /// What the caches say; `None` if there is no such resource.
    pub async fn cached(
        &self,
        key: &Key,
        memory: &mut Memory,
    ) -> Result<Option<Look>, ObserveError> {
        self.outlast(key, Freshness::Cached, memory).await
    }

    async fn look_at_caches(
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
        let seen = Seen { resource, parts, freshness: Freshness::Cached };
        self.look(key, seen, memory).await.map(Some)
    }

    /// What the API server says now; `None` if there is no such resource.
    pub async fn live(&self, key: &Key, memory: &mut Memory) -> Result<Option<Look>, ObserveError> {
        self.outlast(key, Freshness::Live, memory).await
    }

    /// The first look to end before a pod of its cluster goes.
    async fn outlast(
        &self,
        key: &Key,
        freshness: Freshness,
        memory: &mut Memory,
    ) -> Result<Option<Look>, ObserveError> {
        for _ in 0..departures::ANEW {
            let departed = self.cache.departures().listen();
            tokio::select! {
                biased;
                seen = self.look_once(key, freshness, memory) => return seen,
                () = departed.gone(key) => tracing::debug!("a pod is gone: the look begins anew"),
            }
        }
        self.look_once(key, freshness, memory).await
    }

    async fn look_once(
        &self,
        key: &Key,
        freshness: Freshness,
        memory: &mut Memory,
    ) -> Result<Option<Look>, ObserveError> {
        match freshness {
            Freshness::Cached => Box::pin(self.look_at_caches(key, memory)).await,
            Freshness::Live => Box::pin(self.look_live(key, memory)).await,
        }
    }

    async fn look_live(
        &self,
        key: &Key,
        memory: &mut Memory,
    ) -> Result<Option<Look>, ObserveError> {
        let Some((resource, parts)) = Box::pin(self.read(key)).await? else { return Ok(None) };
        let seen = Seen { resource: Arc::new(resource), parts, freshness: Freshness::Live };
        self.look(key, seen, memory).await.map(Some)
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

    async fn look(&self, key: &Key, seen: Seen, memory: &mut Memory) -> Result<Look, ObserveError> {
        let Seen { resource, parts, freshness } = seen;
        let facts = resource_facts(&resource, FINALIZER).ok_or(ObserveError::Unreadable)?;
        let mut found = Belongings::default();
        for (kind, body) in &parts {
            found.take(Owner { name: &facts.name, uid: &facts.uid }, *kind, body);
        }
        let members = members(key, &resource, &found, memory);
        // An edit that was not planned for yet may need all that PD can say.
        let edited = facts.status.observed_generation != Some(facts.generation);
        let depth = match freshness {
            Freshness::Cached if !edited => memory.depth(),
            Freshness::Cached | Freshness::Live => Depth::Full,
        };
        let pd = self.ask_pd(members.as_deref(), depth, memory).await;
        self.read_missing_claims(key, &facts.uid, &pd, &mut found).await?;
        let processes = processes::ask(&self.stores, &resource, &found, (&pd, &mut *memory)).await;
        let names = nodes::named(&found);
        let nodes = match freshness {
            Freshness::Cached => nodes::watched(&self.cache, names),
            Freshness::Live => nodes::live(&self.kubernetes, &self.cache, names).await,
        };
        let gates = gates::look(&self.kubernetes, &self.tasks, &resource, freshness).await;
        let mut strangers = memory.strangers(Instant::now());
        strangers.extend(found.strangers);
        let trials = memory.trials(facts.generation, Instant::now());
        let mut world = World {
            now: Timestamp::now(),
            resource: facts,
            pods: found.pods,
            volumes: found.volumes,
            objects: found.objects,
            strangers,
            pd,
            nodes,
            processes,
            config_refusals: memory.config_refusals(Instant::now()),
            seen_for: BTreeMap::new(),
            growth_refused: memory.refused_growth(Instant::now()),
            applied: memory.applied_of_late(Instant::now()),
            trials,
            gates,
        };
        world.seen_for = memory.see(symptoms(&world), Instant::now());
        Ok(Look { key: key.clone(), resource, world, pd: members.unwrap_or_default() })
    }

    /// Claims that a member must have and that did not come by their labels. One that is there under
    /// its name is no lost volume, whatever became of its labels. Nothing is read while all are
    /// there.
    async fn read_missing_claims(
        &self,
        key: &Key,
        uid: &Uid,
        pd: &PdView,
        found: &mut Belongings,
    ) -> Result<(), ApiError> {
        let kind = Kind::PersistentVolumeClaim;
        let names = missing_claims(&key.name, found, pd);
        let reads = stream::iter(names)
            .map(|name| read_claim(self.kubernetes.clone(), key.namespace.clone(), name));
        let bodies: Vec<_> = reads.buffered(AT_ONCE).try_collect().await?;
        for body in bodies.into_iter().flatten() {
            found.take(Owner { name: &key.name, uid }, kind, &body);
        }
        Ok(())
    }

    /// `members` are those that may answer; `None` where there is no PD pod.
    async fn ask_pd(
        &self,
        members: Option<&[Authority]>,
        depth: Depth,
        memory: &mut Memory,
    ) -> PdView {
        let Some(members) = members else { return memory.no_pd() };
        let answer = if members.is_empty() {
            Err("no PD container runs".to_owned())
        } else {
            self.pd.look(members, depth).await
        };
        memory.hear_pd(answer, Instant::now())
    }
}

async fn read_claim(
    kubernetes: Kubernetes,
    namespace: String,
    name: String,
) -> Result<Option<Value>, ApiError> {
    let resource = Resource::Part(Kind::PersistentVolumeClaim);
    kubernetes.get(Place { resource, namespace: &namespace, name: &name }).await
}

/// What was read of one cluster, and how.
struct Seen {
    resource: Arc<Value>,
    parts: Vec<(Kind, Arc<Value>)>,
    freshness: Freshness,
}

#[derive(Clone, Copy)]
enum Freshness {
    Cached,
    Live,
}

/// The PD members that may answer, the one that answered last first; `None` where there is no PD
/// pod.
fn members(
    key: &Key,
    resource: &Value,
    found: &Belongings,
    memory: &Memory,
) -> Option<Vec<Authority>> {
    let domain = resource.pointer("/spec/clusterDomain").and_then(Value::as_str);
    let mut created = false;
    let mut members: Vec<(bool, bool, Authority)> = Vec::new();
    for (slot, pod) in found.pods.iter().filter(|(slot, _)| slot.component == Component::Pd) {
        created = true;
        let subdomain = peer_service(&key.name, Component::Pd);
        let host = pod_dns(&slot.pod_name(&key.name), &subdomain, &key.namespace, domain);
        if let (true, Ok(address)) =
            (may_answer(pod), format!("{host}:{PD_CLIENT_PORT}").parse::<Authority>())
        {
            let last = memory.answered.as_ref() == Some(&address);
            members.push((!last, !pod.containers_ready, address));
        }
    }
    members.sort_by_key(|(later, unready, _)| (*later, *unready));
    created.then(|| members.into_iter().map(|(_, _, address)| address).collect())
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
