//! How does each step that goes to PD or to a store become a call?
//!
//! What cannot be undone is proved again by a live answer right before the call, as the operator
//! does it: an id alone is not believed.

use serde_json::{Value, json};
use tikv_operator_core::plan::Step;
use tikv_operator_core::world::{PdMemberId, StoreId};

use super::Look;
use super::observe::pd_processes;
use super::wire::{Answer, Wire};
use crate::kube::{Key, Reason, Refusal, at, text};
use crate::pd::{Body, Request};
use crate::universe::Universe;

/// Does a step that no call to the API server can do.
pub(super) fn do_step(wire: &mut Wire<'_>, look: &Look, step: &Step) -> Answer {
    let pds = pd_processes(&look.world.resource.name, look.world.pods.keys(), wire.universe);
    let id = look.world.resource.status.cluster_id.clone().unwrap_or_default();
    let pd = Pd { pds, cluster_id: id };
    match step {
        Step::EvictLeaders { store } => {
            let body = json!({"name": "evict-leader-scheduler", "store_id": store.0});
            wire.ask(what("EvictLeaders", &store.0), |u| pd.post(u, "v1/schedulers", &body))
        }
        Step::StopEvicting { store } => stop_evicting(wire, &pd, *store),
        Step::OfflineStore { store, address } => offline(wire, &pd, *store, address),
        Step::KeepStore { store } => wire.ask(what("KeepStore", &store.0), |u| {
            pd.post(u, &format!("v1/store/{}/state?state=Up", store.0), &Value::Null)
        }),
        Step::TransferPdLeader { to } => wire.ask(what("TransferPdLeader", to), |u| {
            pd.post(u, &format!("v1/leader/transfer/{to}"), &Value::Null)
        }),
        Step::RemovePdMember { id, name } => remove_member(wire, &pd, *id, name),
        Step::SetPdConfig { item, value } => set_pd_config(wire, &pd, item, value),
        Step::SetStoreConfig { store, status_address, items } => {
            wire.ask(what("SetStoreConfig", &store.0), |u| {
                let behind = u.names().resolve(status_address).to_vec();
                let process = behind.first().ok_or_else(|| refusal(503, "no such host"))?;
                u.set_store_config(process, items).map_err(|words| refusal(500, &words))
            })
        }
        Step::SetStoreLabels { store, labels } => wire.ask(what("SetStoreLabels", &store.0), |u| {
            pd.post(u, &format!("v1/store/{}/label", store.0), &json!(labels))
        }),
        Step::LockMaintenance { kind, id } => wire.ask(what("LockMaintenance", kind), |u| {
            pd.ask(u, "PUT", &format!("v2/maintenance/{kind}/{id}"), &json!({})).map(drop)
        }),
        Step::UnlockMaintenance { kind, id } => wire.ask(what("UnlockMaintenance", kind), |u| {
            pd.ask(u, "DELETE", &format!("v2/maintenance/{kind}/{id}"), &Value::Null).map(drop)
        }),
        Step::AddFinalizer
        | Step::ReleaseFinalizer
        | Step::RecordBootstrap(_)
        | Step::RecordClusterId(_)
        | Step::Create(_)
        | Step::Apply { .. }
        | Step::Prune { .. }
        | Step::MarkVolume { .. }
        | Step::TryPod { .. }
        | Step::SetStoreUp { .. }
        | Step::DeletePod { .. }
        | Step::DeleteVolume { .. }
        | Step::Mark { .. }
        | Step::ResizeVolume { .. } => Answer::None,
    }
}

fn what(step: &str, about: &dyn std::fmt::Display) -> Key {
    Key::new(step, &about.to_string())
}

fn refusal(code: u16, message: &str) -> Refusal {
    Refusal { code, reason: Reason::None, message: message.to_owned() }
}

/// The PD processes of one cluster, and its id as recorded.
struct Pd {
    pds: Vec<String>,
    cluster_id: String,
}

impl Pd {
    /// The answer of the first process that has one with a leader behind it.
    fn ask(
        &self,
        universe: &mut Universe,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let path = format!("/pd/api/{path}");
        for process in &self.pds {
            let request = Request { method, path: &path, body };
            let Some(answer) = universe.ask_pd(process, request) else { continue };
            match (answer.status, answer.body) {
                (503, _) => {}
                (200, Body::Json(value)) => return Ok(value),
                (200, _) => return Ok(Value::Null),
                (code, Body::Json(Value::String(words)) | Body::Text(words)) => {
                    return Err(refusal(code, &words));
                }
                (code, Body::Json(body)) => return Err(refusal(code, &body.to_string())),
                (code, Body::Empty) => return Err(refusal(code, "")),
            }
        }
        Err(refusal(503, "no PD member answers through a leader"))
    }

    fn get(&self, universe: &mut Universe, path: &str) -> Result<Value, Refusal> {
        self.ask(universe, "GET", path, &Value::Null)
    }

    fn post(&self, universe: &mut Universe, path: &str, body: &Value) -> Result<(), Refusal> {
        self.ask(universe, "POST", path, body).map(drop)
    }

    /// Both are asked of one member: the health of others is what this one could reach, and a member that
    /// nobody hears answers that too.
    fn members_and_health(&self, universe: &mut Universe) -> Result<(Value, Value), Refusal> {
        for process in &self.pds {
            let one = Self { pds: vec![process.clone()], cluster_id: self.cluster_id.clone() };
            match one.get(universe, "v1/members") {
                Ok(members) => return Ok((members, one.get(universe, "v1/health")?)),
                Err(refused) if refused.code == 503 => {}
                Err(refused) => return Err(refused),
            }
        }
        Err(refusal(503, "no PD member answers through a leader"))
    }

    /// Refuses where the PD that answers is another cluster's.
    fn is_the_same(&self, universe: &mut Universe) -> Result<(), Refusal> {
        let cluster = self.get(universe, "v1/cluster")?;
        if at(&cluster, "/id").as_u64().map(|id| id.to_string()).as_ref() == Some(&self.cluster_id)
        {
            return Ok(());
        }
        Err(refusal(409, "the PD that answers is another cluster's"))
    }
}

/// 404: it is not in there, which is what was wanted.
fn stop_evicting(wire: &mut Wire<'_>, pd: &Pd, store: StoreId) -> Answer {
    wire.ask(what("StopEvicting", &store.0), |u| {
        let path = format!("v1/schedulers/evict-leader-scheduler-{}", store.0);
        match pd.ask(u, "DELETE", &path, &Value::Null) {
            Ok(_) => Ok(()),
            Err(refused) if refused.code == 404 => Ok(()),
            Err(refused) => Err(refused),
        }
    })
}

fn offline(wire: &mut Wire<'_>, pd: &Pd, store: StoreId, address: &str) -> Answer {
    wire.ask(what("OfflineStore", &store.0), |u| {
        pd.is_the_same(u)?;
        let now = pd.get(u, &format!("v1/store/{}", store.0))?;
        if text(&now, "/store/address") != address {
            return Err(refusal(409, "the store has another address now"));
        }
        pd.ask(u, "DELETE", &format!("v1/store/{}", store.0), &Value::Null).map(drop)
    })
}

/// By id, after its name and the health of those that remain were read again.
fn remove_member(wire: &mut Wire<'_>, pd: &Pd, id: PdMemberId, name: &str) -> Answer {
    wire.ask(what("RemovePdMember", &id.0), |u| {
        pd.is_the_same(u)?;
        let (members, health) = pd.members_and_health(u)?;
        let rows = at(&members, "/members").as_array().cloned().unwrap_or_default();
        let mut named = rows.iter().filter(|row| at(row, "/member_id").as_u64() == Some(id.0));
        if named.next().map(|row| text(row, "/name")) != Some(name) {
            return Err(refusal(409, "the member has another name now"));
        }
        let healthy = |row: &&Value| {
            at(row, "/health").as_bool() == Some(true)
                && at(row, "/member_id").as_u64() != Some(id.0)
        };
        let remaining = health.as_array().into_iter().flatten().filter(healthy).count();
        if remaining < rows.len().saturating_sub(1) / 2 + 1 {
            return Err(refusal(409, "no majority of healthy members would remain"));
        }
        pd.ask(u, "DELETE", &format!("v1/members/id/{}", id.0), &Value::Null).map(drop)
    })
}

/// Sets one item and reads it back.
fn set_pd_config(wire: &mut Wire<'_>, pd: &Pd, item: &str, value: &Value) -> Answer {
    wire.ask(what("SetPdConfig", &item), |u| {
        let mut body = serde_json::Map::new();
        body.insert(item.to_owned(), value.clone());
        pd.post(u, "v1/config", &Value::Object(body))
    })
}
