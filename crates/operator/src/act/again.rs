//! Is PD still as it was when the step was planned?
//!
//! Pure. Rules decided on a look that is a moment old; between that look and the call a store may
//! have come back, a member died, the leadership moved. This check knows none of the rules: it
//! compares what PD says now with what it said then, and with the identity that the step carries.
//! Whatever differs, nothing is done, and the next pass looks again.

use std::collections::BTreeMap;

use tikv_operator_core::{
    plan::{Identity, Step},
    world::{
        ClusterId, PdFacts, PdMember, PdMemberId, PdView, PodFacts, Slot, StoreFacts, StoreId,
        StoreState, Uid, World,
    },
};

use crate::pd::Again;

/// What follows from the second reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is as it was.
    Go,
    /// What the step wants is so already: the answer to an earlier call was lost.
    Done,
}

type Checked = Result<Verdict, String>;

/// Does the step take away something that PD knows about? Not in the deletion of the whole
/// cluster, nor where it was planned without PD.
pub(super) fn is_needed(step: &Step, planned: &World) -> bool {
    if planned.resource.deleting_since.is_some() {
        return false;
    }
    let Step::DeletePod { name, uid, reason: _ } = step else {
        return step.is_disruptive() || matches!(step, Step::KeepStore { .. });
    };
    let known = matches!(planned.pd, PdView::Known(_));
    // A server may run beside a container that is not ready.
    let runs = |pod: &PodFacts| pod.containers_ready || pod.started.is_some();
    known && pod(planned, name, uid).is_some_and(|(_, pod)| runs(pod))
}

/// May the step, planned on `planned`, be done on `now`? The error says what differs.
pub(super) fn verify(step: &Step, planned: &World, now: &Again) -> Checked {
    let known = recorded(planned)?;
    if now.cluster_id != known {
        return Err(format!("cluster {} answers there, not {known}", now.cluster_id));
    }
    let PdView::Known(then) = &planned.pd else {
        return Err("it was planned without PD".to_owned());
    };
    if let Step::OfflineStore { store, address } = step {
        offline(*store, address, then, now)
    } else if let Step::KeepStore { store } = step {
        keep(*store, now)
    } else if let Step::RemovePdMember { id, name } = step {
        remove(*id, name, then, now)
    } else if let Step::TransferPdLeader { to } = step {
        transfer(to, now)
    } else if let Step::DeleteVolume { name, uid, .. } = step {
        volume(name, uid, planned, now)
    } else if let Step::DeletePod { name, uid, reason: _ } = step {
        let found = pod(planned, name, uid);
        let (slot, _) = found.ok_or_else(|| format!("{name} was not in the look"))?;
        one_pod(slot, planned, then, now)
    } else if step.is_disruptive() {
        Err(format!("nothing says what to look for before {}", step.name()))
    } else {
        Ok(Verdict::Go)
    }
}

/// The cluster that this resource stands for, by everything that names it.
fn recorded(planned: &World) -> Result<ClusterId, String> {
    match Identity::of(planned) {
        Identity::Known(id) => Ok(id),
        Identity::Conflict(who) => Err(who),
        Identity::Unborn | Identity::Starting(_) => Err("no cluster id is known".to_owned()),
    }
}

fn offline(id: StoreId, address: &str, then: &PdFacts, now: &Again) -> Checked {
    let store = now.stores.get(&id).ok_or_else(|| format!("PD no longer lists store {id}"))?;
    if store.address != address {
        return Err(format!("store {id} is at {} now, not at {address}", store.address));
    }
    if store.state == StoreState::Offline {
        return Ok(Verdict::Done);
    }
    let before = then.stores.get(&id).map(|store| store.state);
    if before != Some(store.state) {
        return Err(format!("store {id} is {:?} now, and was {}", store.state, words(before)));
    }
    Ok(Verdict::Go)
}

/// PD before v5.0 makes even a tombstone Up again, whose store has no data any more.
fn keep(id: StoreId, now: &Again) -> Checked {
    match now.stores.get(&id).map(|store| store.state) {
        None | Some(StoreState::Tombstone) => Err(format!("store {id} has left PD")),
        Some(
            StoreState::Offline | StoreState::Up | StoreState::Disconnected | StoreState::Down,
        ) => Ok(Verdict::Go),
    }
}

fn words(state: Option<StoreState>) -> String {
    state.map_or_else(|| "not listed".to_owned(), |state| format!("{state:?}"))
}

fn remove(id: PdMemberId, name: &str, then: &PdFacts, now: &Again) -> Checked {
    let Some(member) = now.members.get(&id) else { return Ok(Verdict::Done) };
    if member.name != name {
        return Err(format!("member {id} is called {:?} now, not {name:?}", member.name));
    }
    if now.leader == id {
        return Err(format!("member {name} ({id}) leads PD; the leadership is to be moved first"));
    }
    let before = then.members.get(&id).map(|member| member.healthy);
    if before != Some(member.healthy) {
        let healthy = if member.healthy { "healthy" } else { "not healthy" };
        return Err(format!("member {name} ({id}) is {healthy} now, which it was not"));
    }
    let rest = now.members.len().saturating_sub(1);
    let healthy = now.members.values().filter(|m| m.healthy && m.id != id).count();
    if healthy < rest / 2 + 1 {
        return Err(format!(
            "of the {rest} members that would remain {healthy} are healthy, which is no majority"
        ));
    }
    Ok(Verdict::Go)
}

fn transfer(to: &str, now: &Again) -> Checked {
    // Names are unique among members that have finished joining.
    let member = now.members.values().find(|member| member.name == to && !to.is_empty());
    let member = member.ok_or_else(|| format!("PD no longer lists a member called {to:?}"))?;
    if now.leader == member.id {
        return Ok(Verdict::Done);
    }
    if !member.healthy {
        return Err(format!("member {to} ({}) is not healthy now", member.id));
    }
    Ok(Verdict::Go)
}

/// The volume of a store that PD has let go of, and of no member.
fn volume(name: &str, uid: &Uid, planned: &World, now: &Again) -> Checked {
    let volume = planned.volumes.get(name).filter(|volume| volume.uid == *uid);
    let volume = volume.ok_or_else(|| format!("volume claim {name} was not in the look"))?;
    if let Some(id) = volume.marks.store
        && let Some(store) = now.stores.get(&id)
        && store.state != StoreState::Tombstone
    {
        return Err(format!("its store {id} is {:?} in PD", store.state));
    }
    if let Some(id) = volume.marks.member
        && let Some(member) = now.members.get(&id)
    {
        return Err(format!("its member {id} ({}) is still one of PD's", member.name));
    }
    Ok(Verdict::Go)
}

/// Everything else that was well is so still, and the leadership has not moved.
fn one_pod(slot: Slot, planned: &World, then: &PdFacts, now: &Again) -> Checked {
    let own = slot.pod_name(&planned.resource.name);
    if now.leader != then.leader.id {
        return Err(format!("PD's leader was {} and is {}", then.leader.id, now.leader));
    }
    let fell = then.members.values().filter(|m| m.healthy && m.name != own);
    if let Some(member) = fell.into_iter().find(|member| !is_healthy(&now.members, member.id)) {
        return Err(format!("member {} ({}) is no longer healthy", member.name, member.id));
    }
    let is_own = |store: &StoreFacts| store.address.split('.').next() == Some(own.as_str());
    let up = then.stores.values().filter(|s| s.state == StoreState::Up && !is_own(s));
    for store in up {
        let state = now.stores.get(&store.id).map(|store| store.state);
        if state != Some(StoreState::Up) {
            let (id, state) = (store.id, words(state));
            return Err(format!("store {id} at {} was Up and is {state}", store.address));
        }
    }
    Ok(Verdict::Go)
}

fn is_healthy(members: &BTreeMap<PdMemberId, PdMember>, id: PdMemberId) -> bool {
    members.get(&id).is_some_and(|member| member.healthy)
}

fn pod<'a>(world: &'a World, name: &str, uid: &Uid) -> Option<(Slot, &'a PodFacts)> {
    let slot = Slot::of_pod(&world.resource.name, name)?;
    let pod = world.pods.get(&slot).filter(|pod| pod.uid == *uid)?;
    Some((slot, pod))
}
