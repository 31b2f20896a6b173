//! How is the API server called?
//!
//! One place for all calls: each has a time limit, is counted, and names the missing verb when the
//! operator's role lacks one. Writes pass the lease's fence first. Objects go through as JSON, so
//! fields newer than our types are not lost.

mod error;
mod resource;

use std::{fmt::Debug, time::Duration};

pub use error::{ApiError, Cause, words};
use http::{Request, header::CONTENT_TYPE};
use kube::{
    Api, Client, Resource as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions},
};
pub use resource::Resource;
use serde::Serialize;
use serde_json::Value;
use tikv_operator_api::labels::MANAGER;
use tikv_operator_core::world::Uid;

use crate::{
    lease::Fence,
    metrics::{ApiVerb, CallOutcome, Metrics},
};

/// Time for a write, which the lease must outlast.
pub const WRITE_TIME: Duration = Duration::from_secs(5);
/// Time for a read.
const READ_TIME: Duration = Duration::from_secs(15);

/// An object in a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace; empty for what is in none.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// The client for the API server.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    fence: Fence,
    metrics: Metrics,
}

impl Kubernetes {
    /// A client whose writes pass `fence`.
    pub fn new(client: Client, fence: Fence, metrics: Metrics) -> Self {
        Self { client, fence, metrics }
    }

    /// The client underneath, for watches and events.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What every call that changes something passes.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    fn api(&self, resource: Resource, namespace: &str) -> Api<DynamicObject> {
        match resource {
            Resource::Cluster | Resource::Part(_) | Resource::Task | Resource::Job => {
                Api::namespaced_with(self.client.clone(), namespace, &resource.api())
            }
            Resource::Node => Api::all_with(self.client.clone(), &resource.api()),
        }
    }

    /// Reads one object; `None` if it does not exist.
    pub async fn get(&self, place: Place<'_>) -> Result<Option<Value>, ApiError> {
        let api = self.api(place.resource, place.namespace);
        let call = Call { verb: ApiVerb::Get, resource: place.resource, name: place.name };
        let object = self.within(call, READ_TIME, api.get_opt(place.name)).await?;
        object.map(|object| json(call, object)).transpose()
    }

    /// Reads all objects in a namespace that `selector` selects: a consistent read, not one from
    /// the server's cache.
    pub async fn list(
        &self,
        resource: Resource,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>, ApiError> {
        let api = self.api(resource, namespace);
        let call = Call { verb: ApiVerb::List, resource, name: selector };
        let params = ListParams::default().labels(selector);
        let objects = self.within(call, READ_TIME, api.list(&params)).await?;
        objects.items.into_iter().map(|object| json(call, object)).collect()
    }

    /// Creates an object; fails if one of its name exists.
    pub async fn create(
        &self,
        place: Place<'_>,
        body: &Value,
        unknown: UnknownFields,
    ) -> Result<Value, ApiError> {
        let validation = match unknown {
            UnknownFields::Refused => "Strict",
            UnknownFields::Dropped => "Warn",
        };
        self.post(place, &format!("fieldValidation={validation}"), body).await
    }

    /// Asks whether an object would be created, under strict validation. Nothing is.
    pub async fn try_create(&self, place: Place<'_>, body: &Value) -> Result<(), ApiError> {
        self.post(place, "dryRun=All&fieldValidation=Strict", body).await.map(drop)
    }

    async fn post(&self, place: Place<'_>, query: &str, body: &Value) -> Result<Value, ApiError> {
        let call = Call { verb: ApiVerb::Create, resource: place.resource, name: place.name };
        let path = DynamicObject::url_path(&place.resource.api(), Some(place.namespace));
        let request = Request::post(format!("{path}?fieldManager={MANAGER}&{query}"))
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(|error| call.failed(Cause::Transport(error.to_string())))?;
        self.write(call, self.client.request(request)).await
    }

    /// Patches an object, or its status.
    pub async fn patch(&self, place: Place<'_>, change: Change<'_>) -> Result<Value, ApiError> {
        let api = self.api(place.resource, place.namespace);
        let call = Call { verb: ApiVerb::Patch, resource: place.resource, name: place.name };
        let patched = match change {
            Change::Apply(body) => {
                self.patch_object(call, &api, &applied(), &Patch::Apply(body)).await
            }
            Change::Merge(body) => {
                self.patch_object(call, &api, &merged(), &Patch::Merge(body)).await
            }
            Change::ApplyStatus(body) => {
                self.patch_status(call, &api, &applied(), &Patch::Apply(body)).await
            }
            Change::StrategicStatus(body) => {
                self.patch_status(call, &api, &merged(), &Patch::Strategic(body)).await
            }
        }?;
        json(call, patched)
    }

    async fn patch_object<P: Serialize + Debug>(
        &self,
        call: Call<'_>,
        api: &Api<DynamicObject>,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<DynamicObject, ApiError> {
        self.write(call, api.patch(call.name, params, patch)).await
    }

    async fn patch_status<P: Serialize + Debug>(
        &self,
        call: Call<'_>,
        api: &Api<DynamicObject>,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<DynamicObject, ApiError> {
        self.write(call, api.patch_status(call.name, params, patch)).await
    }

    /// Deletes exactly the object with this uid, where one is given at exactly this version. One
    /// that is gone already counts as deleted.
    pub async fn delete(
        &self,
        place: Place<'_>,
        uid: &Uid,
        version: Option<&str>,
    ) -> Result<(), ApiError> {
        let api = self.api(place.resource, place.namespace);
        let call = Call { verb: ApiVerb::Delete, resource: place.resource, name: place.name };
        let resource_version = version.map(str::to_owned);
        let preconditions = Preconditions { uid: Some(uid.0.clone()), resource_version };
        let params =
            DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let deleted = self.write(call, api.delete(call.name, &params)).await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn write<T>(
        &self,
        call: Call<'_>,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        let _permit =
            self.fence.permit(WRITE_TIME).await.map_err(|fenced| call.failed(fenced.into()))?;
        self.within(call, WRITE_TIME, request).await
    }

    async fn within<T>(
        &self,
        call: Call<'_>,
        time: Duration,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        let answer = match tokio::time::timeout(time, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(call.failed(Cause::Status(status))),
            Ok(Err(error)) => Err(call.failed(Cause::Transport(words(&error)))),
            Err(_) => Err(call.failed(Cause::Slow(time.as_secs()))),
        };
        let outcome = answer.as_ref().err().map_or(CallOutcome::Ok, ApiError::outcome);
        self.metrics.api_call(call.verb, call.resource.plural(), outcome);
        if let Err(error) = &answer
            && error.lacks_permission()
        {
            self.metrics.forbidden(call.verb, call.resource.plural());
            let (verb, resource) = (call.verb.as_str(), call.resource.plural());
            tracing::error!(verb, resource, "the operator's role lacks a verb: {error}");
        }
        answer
    }
}

/// What becomes of fields in an object that the API server does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownFields {
    /// The object is refused, with their names.
    Refused,
    /// They are dropped.
    Dropped,
}

/// What to do to an object.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Server-side apply, taking over fields that others own.
    Apply(&'a Value),
    /// JSON merge patch.
    Merge(&'a Value),
    /// Server-side apply to the status.
    ApplyStatus(&'a Value),
    /// Strategic merge patch of the status: conditions are merged by their type.
    StrategicStatus(&'a Value),
}

#[derive(Clone, Copy)]
struct Call<'a> {
    verb: ApiVerb,
    resource: Resource,
    name: &'a str,
}

impl Call<'_> {
    fn failed(&self, cause: Cause) -> ApiError {
        let name = self.name.to_owned();
        ApiError { verb: self.verb, resource: self.resource, name, cause }
    }
}

fn applied() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

fn merged() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

fn json(call: Call<'_>, object: DynamicObject) -> Result<Value, ApiError> {
    serde_json::to_value(object).map_err(|error| call.failed(Cause::Transport(error.to_string())))
}
