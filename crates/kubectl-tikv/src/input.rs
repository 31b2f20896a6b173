//! Where do the facts come from: a cluster, or a dump?

mod dump;
mod live;
mod manifest;
mod pd;

pub(crate) use manifest::{Manifest, read as manifest};
pub(crate) use pd::{Asked, ask as ask_pd};
use serde_json::Value;
use tikv_operator_api::labels;
use tikv_operator_api::v1alpha1::TikvCluster;
use tikv_operator_core::facts::{Belongings, Owner};
use tikv_operator_core::world::{Kind, Uid};

use crate::failure::Failure;
use crate::flags::Scope;

/// One cluster with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The resource.
    pub(crate) resource: TikvCluster,
    /// Its pods as they are stored.
    pub(crate) pods: Vec<Value>,
    /// Its volume claims as they are stored.
    pub(crate) claims: Vec<Value>,
    /// Its Services, ConfigMaps and disruption budgets as they are stored; none where a dump does
    /// not have them.
    pub(crate) furniture: Vec<(Kind, Value)>,
    /// The tasks of its namespace, one of which may hold an upgrade.
    pub(crate) tasks: Tasks,
}

/// What is known of tasks. None that was read is not none that is there.
#[derive(Clone, Debug)]
pub(crate) enum Tasks {
    /// These, as they are stored.
    Known(Vec<Value>),
    /// They may not be read, in these words.
    Unreadable(String),
    /// A dump holds none at all: whether there are any when it was written is not known.
    NotInDump,
}

/// What was read, before it is known what belongs to what.
pub(crate) struct Input {
    /// The clusters.
    resources: Vec<TikvCluster>,
    /// Everything else.
    objects: Vec<Value>,
    /// Where was looked, in words.
    place: String,
    /// All tasks of all namespaces.
    tasks: Tasks,
}

/// What furniture consists of.
const FURNITURE: [Kind; 3] = [Kind::Service, Kind::ConfigMap, Kind::PodDisruptionBudget];

/// The kind of tasks.
const TASK: &str = "TikvTask";

impl Found {
    /// Name of the cluster.
    pub(crate) fn name(&self) -> &str {
        self.resource.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.resource.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// The facts about its pods and volumes, as the operator reads them.
    pub(crate) fn belongings(&self) -> Belongings {
        let uid = Uid(self.resource.metadata.uid.clone().unwrap_or_default());
        let owner = Owner { name: self.name(), uid: &uid };
        let mut belongings = Belongings::default();
        for pod in &self.pods {
            belongings.take(owner, Kind::Pod, pod);
        }
        for claim in &self.claims {
            belongings.take(owner, Kind::PersistentVolumeClaim, claim);
        }
        for (kind, object) in &self.furniture {
            belongings.take(owner, *kind, object);
        }
        belongings
    }
}

/// Everything that was asked for, by namespace and name. A name that does not exist is a failure.
pub(crate) async fn read(scope: &Scope) -> Result<Vec<Found>, Failure> {
    let input = match &scope.file {
        Some(path) => dump::read(path, scope)?,
        None => live::read(scope).await?,
    };
    let Input { resources, place, .. } = &input;
    let wanted = |resource: &&TikvCluster| {
        scope.name.is_none() || scope.name.as_deref() == resource.metadata.name.as_deref()
    };
    let mut found: Vec<Found> =
        resources.iter().filter(wanted).map(|resource| with_objects(resource, &input)).collect();
    found.sort_by_key(|found| (found.namespace().to_owned(), found.name().to_owned()));
    match (&scope.name, found.is_empty()) {
        (Some(name), true) => {
            let (place, others) = (place.clone(), others(resources));
            Err(Failure::NotFound { name: name.clone(), place, others })
        }
        (Some(_) | None, _) => Ok(found),
    }
}

fn with_objects(resource: &TikvCluster, input: &Input) -> Found {
    let objects = &input.objects;
    let text = |object: &Value, pointer: &str| {
        object.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
    };
    let label = format!("/metadata/labels/{}", labels::CLUSTER.replace('/', "~1"));
    let of_kind = |kind: &str| -> Vec<Value> {
        objects
            .iter()
            .filter(|object| text(object, "/kind").as_deref() == Some(kind))
            .filter(|object| text(object, &label) == resource.metadata.name)
            .filter(|object| text(object, "/metadata/namespace") == resource.metadata.namespace)
            .cloned()
            .collect()
    };
    let is_here = |task: &&Value| text(task, "/metadata/namespace") == resource.metadata.namespace;
    let tasks = match &input.tasks {
        Tasks::Known(all) => Tasks::Known(all.iter().filter(is_here).cloned().collect()),
        Tasks::Unreadable(_) | Tasks::NotInDump => input.tasks.clone(),
    };
    Found {
        tasks,
        resource: resource.clone(),
        pods: of_kind("Pod"),
        claims: of_kind("PersistentVolumeClaim"),
        furniture: FURNITURE
            .into_iter()
            .flat_map(|kind| of_kind(kind.as_str()).into_iter().map(move |body| (kind, body)))
            .collect(),
    }
}

fn others(resources: &[TikvCluster]) -> String {
    let names: Vec<&str> = resources.iter().filter_map(|r| r.metadata.name.as_deref()).collect();
    if names.is_empty() {
        ", nor any other. --all-namespaces looks everywhere.".to_owned()
    } else {
        format!(". There are: {}.", names.join(", "))
    }
}
