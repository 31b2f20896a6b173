//! What happens when somebody gives up failed stores by force? They are tombstones at once, before
//! any plan runs. The stand-in stops there: it collects reports and never makes a plan, so the
//! recovery ends by its time limit, as a real one does that a second dead store blocks.

use serde_json::{Map, Value, json};

use super::clock;
use super::cluster::{Cluster, bury};
use super::etcd::Write;
use super::refusal::Refusal;

/// The last unsafe recovery of this PD leader.
#[derive(Debug, Default)]
pub struct UnsafeRecovery {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    since: i64,
    limit: i64,
    stores: Vec<u64>,
}

impl UnsafeRecovery {
    /// GET `/admin/unsafe/remove-failed-stores/show`.
    pub fn show(&self, now: i64) -> Value {
        let Some(running) = &self.running else {
            return json!([{"info": "No on-going recovery."}]);
        };
        let stage = |info: &str, time: i64, details: Vec<Value>| json!({"info": info, "time": clock::rfc3339(time), "details": details});
        let named = running.stores.iter().map(|id| Value::from(format!("failed store {id}")));
        let mut stages = vec![stage(
            "Unsafe recovery enters collect report stage",
            running.since,
            named.collect(),
        )];
        let end = running.since.saturating_add(running.limit);
        if now > end {
            let why = vec![Value::from("exceeds timeout")];
            stages.push(stage("Unsafe recovery failed", end, why));
        }
        stages.into()
    }

    fn is_running(&self, now: i64) -> bool {
        self.running.as_ref().is_some_and(|running| now <= running.since + running.limit)
    }

    /// Ends a running recovery.
    pub fn abort(&mut self) {
        self.running = None;
    }
}

impl Cluster {
    /// POST `/admin/unsafe/remove-failed-stores`.
    pub fn give_up_stores(
        &mut self,
        body: &Map<String, Value>,
        now: i64,
    ) -> Result<Vec<Write>, Refusal> {
        let refuse = |code: &str, text: String| {
            Refusal::internal(format!("[PD:unsaferecovery:{code}]{text}"))
        };
        if self.unsafe_recovery.is_running(now) {
            return Err(refuse("ErrUnsafeRecoveryIsRunning", "unsafe recovery is running".into()));
        }
        let invalid = |text: String| refuse("ErrUnsafeRecoveryInvalidInput", text);
        let stores = self.failed_stores(body, now)?;
        if stores.is_empty() && body.get("auto-detect").and_then(Value::as_bool) != Some(true) {
            return Err(invalid("invalid input no store specified".into()));
        }
        for id in &stores {
            match self.stores.get(id) {
                None => return Err(invalid(format!("invalid input store {id} doesn't exist"))),
                Some(store) if store.is_connected(now) => {
                    let text = format!("invalid input store {id} is up and connected");
                    return Err(invalid(text));
                }
                Some(_) => {}
            }
        }
        let mut writes = Vec::new();
        for id in &stores {
            if let Some(store) = self.stores.get_mut(id) {
                store.meta.physically_destroyed = true;
                bury(store);
                writes.push(Self::persist_store(store));
            }
        }
        let seconds = body.get("timeout").and_then(Value::as_i64).unwrap_or(300);
        let limit = seconds.saturating_mul(1_000_000_000);
        self.unsafe_recovery.running = Some(Running { since: now, limit, stores });
        Ok(writes)
    }

    fn failed_stores(&self, body: &Map<String, Value>, now: i64) -> Result<Vec<u64>, Refusal> {
        if body.get("auto-detect").and_then(Value::as_bool) == Some(true) {
            let lost = self.stores.values().filter(|store| !store.is_connected(now));
            return Ok(lost.map(|store| store.meta.id).collect());
        }
        let invalid = || Refusal::bad("Store ids are invalid");
        let Some(stores) = body.get("stores") else { return Ok(Vec::new()) };
        let stores = stores.as_array().ok_or_else(invalid)?;
        stores.iter().map(|id| id.as_u64().ok_or_else(invalid)).collect()
    }
}
