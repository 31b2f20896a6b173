//! Operators that take something for true that is not: the real plan of a wrong world.

use std::cell::RefCell;

use jiff::SignedDuration;
use tikv_operator_core::build;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Plan, plan};
use tikv_operator_core::world::{
    Component, Gates, Maintenance, NodeView, PdFacts, PdView, Replication, StoreProcess,
    StoreState, World,
};

/// What an operator of this thread remembers.
#[derive(Default)]
struct Memory {
    pd: Option<PdView>,
    world: Option<World>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::new(Memory::default());
}

/// Before every run.
pub(crate) fn forget() {
    MEMORY.set(Memory::default());
}

fn believes(cluster: &Cluster, world: &World, change: impl FnOnce(&mut World)) -> Plan {
    let mut believed = world.clone();
    change(&mut believed);
    plan(cluster, &believed)
}

fn of_pd(cluster: &Cluster, world: &World, change: impl FnOnce(&mut PdFacts)) -> Plan {
    believes(cluster, world, |world| {
        if let PdView::Known(facts) = &mut world.pd {
            change(facts);
        }
    })
}

pub(crate) fn starts_stores_before_the_id_is_recorded(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |believed| {
        if let PdView::Known(facts) = &world.pd {
            believed.resource.status.cluster_id = Some(facts.cluster_id.to_string());
        }
    })
}

/// PD is silent: what it said last holds.
pub(crate) fn trusts_what_pd_said_last(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |believed| {
        MEMORY.with_borrow_mut(|memory| match &world.pd {
            PdView::Known(_) => memory.pd = Some(world.pd.clone()),
            PdView::NotCreated => memory.pd = None,
            PdView::Unreachable { .. } => {
                if let Some(known) = &memory.pd {
                    believed.pd = known.clone();
                }
            }
        });
    })
}

/// It acts on what it saw in the pass before.
pub(crate) fn acts_on_an_old_view(cluster: &Cluster, world: &World) -> Plan {
    let old = MEMORY.with_borrow_mut(|memory| memory.world.replace(world.clone()));
    let same = old.filter(|old| old.resource.uid == world.resource.uid);
    plan(cluster, same.as_ref().unwrap_or(world))
}

/// Whatever is seen has been so for a day.
pub(crate) fn has_no_patience(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| {
        let day = SignedDuration::from_hours(24);
        world.seen_for.values_mut().for_each(|age| *age = day);
        if let PdView::Known(pd) = &mut world.pd {
            pd.leader.seen_for = day;
            let silent = pd.stores.values_mut().filter(|store| match store.state {
                StoreState::Disconnected | StoreState::Down => true,
                StoreState::Up | StoreState::Offline | StoreState::Tombstone => false,
            });
            for store in silent {
                store.state = StoreState::Down;
                store.last_heartbeat = store.last_heartbeat.map(|at| at - day);
            }
        }
    })
}

pub(crate) fn sees_no_leaders(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| {
        if let PdView::Known(pd) = &mut world.pd {
            for store in pd.stores.values_mut() {
                store.leaders = 0;
                let process = world.processes.remove(&store.id);
                let config = process.and_then(|process| process.config);
                world.processes.insert(store.id, StoreProcess { leaders: Some(0), config });
            }
        }
    })
}

pub(crate) fn takes_every_region_for_safe(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| {
        let now = world.now;
        for pod in world.pods.values_mut().filter(|pod| pod.deleting_since.is_none()) {
            (pod.containers_ready, pod.started) = (true, Some(now - SignedDuration::from_hours(1)));
        }
        if let PdView::Known(pd) = &mut world.pd {
            pd.critical = pd.critical.as_ref().map(|_| std::collections::BTreeMap::new());
            pd.replication = Replication::Replicated;
            for store in pd.stores.values_mut() {
                match store.state {
                    StoreState::Disconnected | StoreState::Down => store.state = StoreState::Up,
                    StoreState::Up | StoreState::Offline | StoreState::Tombstone => {}
                }
                store.last_heartbeat = Some(now);
            }
        }
    })
}

pub(crate) fn takes_every_member_for_healthy(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| {
        for pod in world.pods.values_mut().filter(|pod| pod.deleting_since.is_none()) {
            pod.containers_ready = true;
        }
        if let PdView::Known(pd) = &mut world.pd {
            pd.members.values_mut().for_each(|member| member.healthy = true);
        }
    })
}

pub(crate) fn sees_no_lock(cluster: &Cluster, world: &World) -> Plan {
    of_pd(cluster, world, |pd| pd.maintenance = Maintenance::Free)
}

pub(crate) fn uses_retired_volumes(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| {
        for volume in world.volumes.values_mut() {
            volume.marks.retired = false;
            volume.marks.leaving = None;
        }
        if let PdView::Known(pd) = &mut world.pd {
            pd.stores.retain(|_, store| store.state != StoreState::Tombstone);
        }
    })
}

pub(crate) fn mistakes_pds_leader(cluster: &Cluster, world: &World) -> Plan {
    of_pd(cluster, world, |pd| {
        let other = pd.members.keys().find(|id| **id != pd.leader.id).copied();
        if let Some(other) = other {
            pd.leader.id = other;
        }
    })
}

pub(crate) fn takes_pd_for_updated(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| {
        let wanted = build::revision(cluster, Component::Pd);
        for (slot, pod) in &mut world.pods {
            if slot.component == Component::Pd {
                pod.revision = Some(wanted.clone());
            }
        }
    })
}

pub(crate) fn forgets_its_replacements(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| {
        world.volumes.values_mut().for_each(|volume| volume.marks.replaces = None);
    })
}

pub(crate) fn takes_every_node_for_ready(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| {
        world.volumes.values_mut().for_each(|volume| volume.marks.node = None);
        for node in world.nodes.values_mut() {
            if let NodeView::Known(node) = node {
                node.ready = true;
            }
        }
    })
}

pub(crate) fn sees_endless_room(cluster: &Cluster, world: &World) -> Plan {
    of_pd(cluster, world, |pd| {
        for store in pd.stores.values_mut() {
            (store.capacity, store.available, store.used) = (Some(1 << 50), Some(1 << 50), Some(0));
        }
    })
}

pub(crate) fn needs_one_replica(cluster: &Cluster, world: &World) -> Plan {
    of_pd(cluster, world, |pd| pd.max_replicas = Some(1))
}

/// A tombstone is a tombstone: whoever made it, whoever watched.
pub(crate) fn takes_every_tombstone_for_its_own(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| {
        if let PdView::Known(pd) = &mut world.pd {
            pd.unsafe_recovery = Some(false);
            pd.leader.seen_for = SignedDuration::from_hours(1);
            for store in pd.stores.values_mut() {
                if store.state == StoreState::Offline {
                    (store.state, store.regions) = (StoreState::Tombstone, 0);
                }
            }
        }
    })
}

pub(crate) fn sees_no_gate(cluster: &Cluster, world: &World) -> Plan {
    believes(cluster, world, |world| world.gates = Gates::default())
}
