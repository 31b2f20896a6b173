//! What did PD say, and when, while something happened to the cluster?
//!
//! PD is asked through the client Service, as its users do, several times a second; a change is
//! noted with the time at which it was heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tikv_operator_api::names::PD_CLIENT_PORT;

use crate::cluster::{Cluster, text};
use crate::kube::Kube;

/// Between two questions, where times are taken.
const PAUSE: Duration = Duration::from_millis(150);

/// One store as PD shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    /// Its id.
    pub(crate) id: u64,
    /// `Up`, `Offline`, …
    pub(crate) state: String,
    /// Start of its process, Unix seconds.
    pub(crate) started: u64,
    /// Regions that it leads.
    pub(crate) leaders: u64,
    /// Regions of which it has a peer.
    pub(crate) regions: u64,
    /// Size of its volume, as PD words it.
    pub(crate) capacity: String,
    /// What is free of it.
    pub(crate) available: String,
}

/// What PD said at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// The member that leads.
    pub(crate) leader: String,
    /// Names of the members.
    pub(crate) members: BTreeSet<String>,
    /// Those that are healthy.
    pub(crate) healthy: BTreeSet<String>,
    /// Stores by the name of their pod; of several with one address the one that is not a tombstone.
    pub(crate) stores: BTreeMap<String, Store>,
    /// Stores that are to lead nothing.
    pub(crate) evicting: BTreeSet<u64>,
}

/// The moments at which PD's word changed, and the last ones at which it was still the word before.
pub(crate) type Heard = Vec<(Instant, Word)>;

/// Asks until it is dropped.
pub(crate) struct Watchman {
    heard: Arc<Mutex<Heard>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchman {
    /// Begins to ask PD of this cluster.
    pub(crate) fn start(kube: &Kube, cluster: &Cluster) -> Self {
        Self::every(PAUSE, kube, cluster)
    }

    /// As [`Watchman::start`], with this time between two questions.
    pub(crate) fn every(pause: Duration, kube: &Kube, cluster: &Cluster) -> Self {
        let (heard, ended) = (Arc::new(Mutex::new(Heard::new())), Arc::new(AtomicBool::new(false)));
        let (sink, stop) = (Arc::clone(&heard), Arc::clone(&ended));
        let (kube, cluster) = (kube.clone(), cluster.clone());
        let thread = std::thread::spawn(move || {
            let mut last = None;
            while !stop.load(Ordering::Relaxed) {
                // While PD has no leader there is no word of it.
                if let Ok(word) = ask(&kube, &cluster) {
                    let mut heard = sink.lock().unwrap_or_else(PoisonError::into_inner);
                    hear(&mut heard, &mut last, Instant::now(), word);
                }
                std::thread::sleep(pause);
            }
        });
        Self { heard, ended, thread: Some(thread) }
    }

    /// Everything so far.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last word.
    pub(crate) fn now(&self) -> Word {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.last().map(|(_, word)| word.clone()).unwrap_or_default()
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It asks no more; how its thread ended says nothing about the cluster.
            drop(thread.join());
        }
    }
}

/// Notes what PD says now; `last` is when it was heard before.
fn hear(heard: &mut Heard, last: &mut Option<Instant>, now: Instant, word: Word) {
    if heard.last().is_none_or(|(_, old)| *old != word) {
        if let Some((at, old)) = last.zip(heard.last().cloned()).map(|(at, (_, old))| (at, old)) {
            heard.push((at, old));
        }
        heard.push((now, word));
    }
    *last = Some(now);
}

/// One GET of PD's API by the client Service.
pub(crate) fn get(kube: &Kube, cluster: &Cluster, path: &str) -> Result<Value> {
    let service = format!("{}/{}-pd:{PD_CLIENT_PORT}", cluster.core("services"), cluster.name);
    let body = kube.text(&format!("{service}/proxy/pd/api/v1/{path}"))?;
    serde_json::from_str(&body).with_context(|| format!("PD answered {path} with {body}"))
}

/// What PD says now.
pub(crate) fn ask(kube: &Kube, cluster: &Cluster) -> Result<Word> {
    let (members, health) = (get(kube, cluster, "members")?, get(kube, cluster, "health")?);
    let stores = get(kube, cluster, "stores?state=0&state=1")?;
    // Without such a scheduler PD answers 404.
    let evicting = get(kube, cluster, "scheduler-config/evict-leader-scheduler/list").ok();
    Ok(Word {
        leader: text(&members, "/leader/name").unwrap_or_default().to_owned(),
        members: names(members.get("members"), |_| true),
        healthy: names(Some(&health), |member| member.get("health") == Some(&Value::Bool(true))),
        stores: list(stores.get("stores")).filter_map(store).collect(),
        evicting: evicting.as_ref().map(evicted).unwrap_or_default(),
    })
}

fn list(values: Option<&Value>) -> impl Iterator<Item = &Value> {
    values.and_then(Value::as_array).into_iter().flatten()
}

fn names(values: Option<&Value>, which: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    list(values)
        .filter(|value| which(value))
        .map(|value| text(value, "/name").unwrap_or_default().to_owned())
        .collect()
}

fn store(found: &Value) -> Option<(String, Store)> {
    let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_u64);
    let pod = text(found, "/store/address")?.split('.').next()?.to_owned();
    let store = Store {
        id: number("/store/id")?,
        state: text(found, "/store/state_name")?.to_owned(),
        // PD omits what is zero.
        started: number("/store/start_timestamp").unwrap_or_default(),
        leaders: number("/status/leader_count").unwrap_or_default(),
        regions: number("/status/region_count").unwrap_or_default(),
        capacity: text(found, "/status/capacity").unwrap_or_default().to_owned(),
        available: text(found, "/status/available").unwrap_or_default().to_owned(),
    };
    Some((pod, store))
}

fn evicted(list: &Value) -> BTreeSet<u64> {
    let ranges = list.get("store-id-ranges").and_then(Value::as_object);
    ranges.into_iter().flatten().filter_map(|(id, _)| id.parse().ok()).collect()
}

/// Who holds PD's lock for disruptive work, if this PD has one and somebody does.
pub(crate) fn locks(kube: &Kube, cluster: &Cluster) -> Result<Option<String>> {
    let service = format!("{}/{}-pd:{PD_CLIENT_PORT}", cluster.core("services"), cluster.name);
    match kube.text(&format!("{service}/proxy/pd/api/v2/maintenance")) {
        Ok(body) => Ok(Some(body).filter(|body| body.contains("task"))),
        Err(e) if crate::kube::status_code(&e).is_some() => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_noted_with_the_last_moment_before_it() {
        let (begin, mut heard, mut last) = (Instant::now(), Heard::new(), None);
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let word = |leader: &str| Word { leader: leader.to_owned(), ..Word::default() };
        for (seconds, leader) in [(0, "a"), (1, "a"), (2, "a"), (3, "b"), (4, "b")] {
            hear(&mut heard, &mut last, at(seconds), word(leader));
        }
        assert_eq!(heard, [(at(0), word("a")), (at(2), word("a")), (at(3), word("b"))]);
    }
}
