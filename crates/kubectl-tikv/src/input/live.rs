//! What does the Kubernetes cluster say?

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::{NamespaceResourceScope, Resource};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tikv_operator_api::labels;
use tikv_operator_api::v1alpha1::{TikvCluster, TikvTask};

use crate::failure::Failure;
use crate::flags::Scope;
use crate::input::{Input, TASK, Tasks};

/// Time to connect; a person waits.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for an answer.
const READ: Duration = Duration::from_secs(30);

/// Everything that is to be known.
pub(super) async fn read(scope: &Scope) -> Result<Input, Failure> {
    let (client, namespace) = client(scope).await?;
    let place = if scope.all_namespaces {
        "any namespace".to_owned()
    } else {
        format!("namespace \"{namespace}\"")
    };
    let clusters: Api<TikvCluster> = if scope.all_namespaces {
        Api::all(client.clone())
    } else {
        Api::namespaced(client.clone(), &namespace)
    };
    let resources = clusters.list(&ListParams::default()).await?.items;
    let namespace = (!scope.all_namespaces).then_some(namespace);
    let mut objects = list::<Pod>(&client, namespace.as_deref()).await?;
    objects.extend(list::<PersistentVolumeClaim>(&client, namespace.as_deref()).await?);
    if scope.furniture {
        objects.extend(list::<Service>(&client, namespace.as_deref()).await?);
        objects.extend(list::<ConfigMap>(&client, namespace.as_deref()).await?);
        objects.extend(list::<PodDisruptionBudget>(&client, namespace.as_deref()).await?);
    }
    // Only a forecast reads them.
    let tasks = if scope.furniture {
        tasks(&client, namespace.as_deref()).await
    } else {
        Tasks::Known(Vec::new())
    };
    Ok(Input { resources, objects, place, tasks })
}

/// The tasks as they are stored. Where there is no such kind there are none.
async fn tasks(client: &Client, namespace: Option<&str>) -> Tasks {
    let kind = ApiResource::erase::<TikvTask>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    };
    let items = match api.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Tasks::Unreadable(error.to_string()),
    };
    let with_kind = |item: DynamicObject| {
        let mut object = serde_json::to_value(item).unwrap_or_default();
        if let Some(map) = object.as_object_mut() {
            map.insert("kind".to_owned(), json!(TASK));
        }
        object
    };
    Tasks::Known(items.into_iter().map(with_kind).collect())
}

/// A client for the cluster that is asked, and the namespace that is meant.
pub(super) async fn client(scope: &Scope) -> Result<(Client, String), Failure> {
    let mut config = config(scope).await?;
    (config.connect_timeout, config.read_timeout) = (Some(CONNECT), Some(READ));
    let namespace = scope.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    Ok((Client::try_from(config)?, namespace))
}

async fn config(scope: &Scope) -> Result<Config, Failure> {
    let options = KubeConfigOptions { context: scope.context.clone(), ..Default::default() };
    let config = match &scope.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .map_err(|error| Failure::NoKubeconfig(error.to_string()))?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    };
    config.map_err(|error| Failure::NoKubeconfig(error.to_string()))
}

/// All objects of a kind that belong to some cluster. The items of a list do not say their kind.
async fn list<K>(client: &Client, namespace: Option<&str>) -> Result<Vec<Value>, Failure>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug,
    K: k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>,
    K: Serialize + DeserializeOwned,
{
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let items = api.list(&ListParams::default().labels(labels::CLUSTER)).await?.items;
    let with_kind = |item: K| {
        let mut object = serde_json::to_value(item).unwrap_or_default();
        if let Some(map) = object.as_object_mut() {
            map.insert("kind".to_owned(), json!(K::KIND));
        }
        object
    };
    Ok(items.into_iter().map(with_kind).collect())
}
