//! What has happened to the stores?

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tikv_operator_api::v1alpha1::{StoreStatus, TaskEvent as E};

use super::super::edge::Edge;
use super::Seen;

/// A store that PD does not hear is down after this long: a restart takes less.
const SILENT: SignedDuration = SignedDuration::from_mins(1);
/// From here on a disk is almost full, in percent.
const FULL: i32 = 80;

const DOWN: &str = "StoreDown";
const LOST: &str = "StoreLost";
const DISK: &str = "Disk";
const VERSION: &str = "Version";

pub(super) fn see(seen: &mut Seen<'_>) {
    let tikv = seen.view.status.tikv.as_ref();
    let stores = tikv.into_iter().flat_map(|tikv| &tikv.stores);
    let stores: BTreeMap<&str, &StoreStatus> =
        stores.filter_map(|store| Some((store.id.as_deref()?, store))).collect();
    // While PD is silent no store has an id in the report.
    let known = !stores.is_empty();
    if seen.wants(&[E::StoreDown, E::StoreBack]) {
        down(seen, &stores, known);
    }
    if seen.wants(&[E::StoreReplaced]) {
        replaced(seen, &stores, known);
    }
    if seen.wants(&[E::DiskAlmostFull]) {
        full(seen, &stores, known);
    }
    if seen.wants(&[E::StoreUpgraded]) {
        upgraded(seen, &stores, known);
    }
}

fn down(seen: &mut Seen<'_>, stores: &BTreeMap<&str, &StoreStatus>, known: bool) {
    for (id, store) in stores {
        let since = store.since.as_ref().map(|since| since.0);
        let lost = store.replaced_by.is_some();
        let is_down = match store.state.as_deref() {
            Some("Down") => true,
            Some("Disconnected") => lost || seen.lasts(since, SILENT),
            Some("Up") => false,
            // It leaves, or nothing is known: as before.
            Some(_) | None => seen.was(DOWN, id).is_some() || lost,
        };
        let up = store.state.as_deref() == Some("Up");
        if is_down {
            let state = store.state.as_deref().unwrap_or("lost");
            let detail = format!("store {id} is {state}");
            let edge = Edge::new(E::StoreDown, id, detail).of_pod(store.pod.as_ref());
            seen.level(DOWN, id, store.pod.as_deref().unwrap_or_default(), edge);
        } else if up && seen.was(DOWN, id).is_some() {
            let detail = format!("store {id} is Up again");
            seen.raise(Edge::new(E::StoreBack, id, detail).of_pod(store.pod.as_ref()));
        } else if !up {
            seen.keep(DOWN, id);
        }
    }
    if !known {
        for id in seen.were(DOWN) {
            seen.keep(DOWN, id);
        }
    }
}

/// A lost store is remembered with the pod that was made for it, until it is out of the report and
/// its replacement is Up.
fn replaced(seen: &mut Seen<'_>, stores: &BTreeMap<&str, &StoreStatus>, known: bool) {
    for (id, store) in stores {
        if let Some(by) = &store.replaced_by {
            seen.mark(LOST, id, by.as_str());
        }
    }
    for id in seen.were(LOST) {
        let Some(by) = seen.was(LOST, id).map(str::to_owned) else { continue };
        let there = stores.get(id);
        let came_back = there.is_some_and(|store| store.state.as_deref() == Some("Up"));
        let replacement = stores.values().find(|store| store.pod.as_deref() == Some(by.as_str()));
        let up = replacement.is_some_and(|store| store.state.as_deref() == Some("Up"));
        let gone = known && there.is_none();
        if gone && up {
            let new = replacement.and_then(|store| store.id.as_deref());
            let detail = format!("store {id} was replaced by {by}");
            let edge = Edge::new(E::StoreReplaced, id, detail).of_pod(Some(&by));
            seen.raise(edge.between(Some(id), new));
        } else if !came_back && there.is_none_or(|store| store.replaced_by.is_none()) {
            seen.keep(LOST, id);
        }
    }
}

fn full(seen: &mut Seen<'_>, stores: &BTreeMap<&str, &StoreStatus>, known: bool) {
    for (id, store) in stores {
        let Some(percent) = store.used_percent else {
            seen.keep(DISK, id);
            continue;
        };
        if percent < FULL {
            continue;
        }
        let was: Option<i32> = seen.was(DISK, id).and_then(|was| was.parse().ok());
        if was.is_none_or(|was| percent > was) {
            let detail = format!("the disk of store {id} is used to {percent} %");
            let edge = Edge::new(E::DiskAlmostFull, id, detail).of_pod(store.pod.as_ref());
            let from = was.map(|was| was.to_string());
            let edge = edge.between(from.as_deref(), Some(&percent.to_string()));
            seen.raise_state(DISK, id, Edge { percent: i64::from(percent), ..edge });
        }
        seen.mark(DISK, id, percent.to_string());
    }
    if !known {
        for id in seen.were(DISK) {
            seen.keep(DISK, id);
        }
    }
}

fn upgraded(seen: &mut Seen<'_>, stores: &BTreeMap<&str, &StoreStatus>, known: bool) {
    for (id, store) in stores {
        let Some(version) = store.version.as_deref() else {
            seen.keep(VERSION, id);
            continue;
        };
        if let Some(was) = seen.was(VERSION, id).filter(|was| *was != version) {
            let detail = format!("store {id} runs {version}");
            let edge = Edge::new(E::StoreUpgraded, id, detail).of_pod(store.pod.as_ref());
            seen.raise(edge.between(Some(was), Some(version)));
        }
        seen.mark(VERSION, id, version);
    }
    if !known {
        for id in seen.were(VERSION) {
            seen.keep(VERSION, id);
        }
    }
}
