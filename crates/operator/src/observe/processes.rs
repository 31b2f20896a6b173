//! What do stores say of themselves, and which of them are asked?
//!
//! Leaders: the stores whose leaders are on their way out, since PD's count lags. Configuration:
//! where the resource asks for settings, once per process and then every five minutes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, stream};
use http::uri::Authority;
use serde_json::Value;
use tikv_operator_core::{
    facts::Belongings,
    world::{PdFacts, PdView, StoreId, StoreProcess, StoreState},
};
use tokio::time::Instant;

use super::Memory;
use crate::store::StoreClient;

/// Stores that are asked at the same time.
const AT_ONCE: usize = 8;

/// Asks those that matter now.
pub(super) async fn ask(
    stores: &StoreClient,
    resource: &Value,
    found: &Belongings,
    (pd, memory): (&PdView, &mut Memory),
) -> BTreeMap<StoreId, StoreProcess> {
    let PdView::Known(pd) = pd else { return BTreeMap::new() };
    let now = Instant::now();
    let (emptied, ended) = (emptied(found, pd), ended(found));
    let configured = is_configured(resource);
    let known: BTreeMap<StoreId, Option<Arc<Value>>> = pd
        .live_stores()
        .map(|store| (store.id, memory.store_config(store.id, store.started, now)))
        .collect();
    let running = pd.live_stores().filter(|store| !ended.contains(&store.id));
    let questions = running.filter_map(|store| {
        let leaders = emptied.contains(&store.id);
        let stale = known.get(&store.id).is_none_or(Option::is_none);
        let config = configured && stale && store.state == StoreState::Up;
        let address: Authority = store.status_address.parse().ok()?;
        (leaders || config).then_some(Question { store: store.id, address, leaders, config })
    });
    let questions: Vec<Question> = questions.collect();
    let answers = stream::iter(questions).map(|question| put(stores.clone(), question));
    let mut processes: BTreeMap<StoreId, StoreProcess> =
        answers.buffer_unordered(AT_ONCE).collect().await;
    for (id, process) in &processes {
        if let (Some(config), Some(store)) = (&process.config, pd.stores.get(id)) {
            memory.learn_store_config(*id, store.started, Arc::clone(config), now);
        }
    }
    for (id, config) in known.into_iter().filter(|(_, config)| configured && config.is_some()) {
        processes.entry(id).or_default().config = config;
    }
    processes
}

/// What one store is asked.
struct Question {
    store: StoreId,
    address: Authority,
    leaders: bool,
    config: bool,
}

async fn put(stores: StoreClient, question: Question) -> (StoreId, StoreProcess) {
    let Question { store, address, leaders, config } = question;
    let (leaders, config) = tokio::join!(
        async { if leaders { stores.leaders(&address).await.ok() } else { None } },
        async { if config { stores.config(&address).await.ok() } else { None } },
    );
    (store, StoreProcess { leaders, config: config.map(Arc::new) })
}

/// Stores in the evict-leader scheduler, and those whose claim says that they are to be.
fn emptied(found: &Belongings, pd: &PdFacts) -> BTreeSet<StoreId> {
    let marked = found.volumes.values().filter(|volume| {
        volume.main && (volume.marks.evicting.is_some() || volume.marks.leaving.is_some())
    });
    let marked = marked.filter_map(|volume| volume.marks.store);
    pd.evicting.iter().copied().chain(marked).collect()
}

/// Stores whose pods are gone or do not run: asking them costs the time of a connection that nobody
/// takes, in the very moments in which the next pod is to be made.
fn ended(found: &Belongings) -> BTreeSet<StoreId> {
    let ended = found.volumes.values().filter(|volume| {
        volume.main && found.pods.get(&volume.slot).is_none_or(|pod| !pod.containers_ready)
    });
    ended.filter_map(|volume| volume.marks.store).collect()
}

/// Does the resource ask for settings of TiKV?
fn is_configured(resource: &Value) -> bool {
    match resource.pointer("/spec/tikv/config") {
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(toml)) => !toml.trim().is_empty(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => false,
    }
}
