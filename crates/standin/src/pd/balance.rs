//! Which leaders and peers should move? Leaders leave the stores of evict-leader first; then
//! leaders, then peers, move from the fullest to the emptiest store.

use super::checkers::Checker;
use super::operators::{Kind, Operator, Step};
use super::region::Region;
use super::schedulers::{BALANCE_LEADER, BALANCE_REGION, BATCH};

/// Peers that move at once to spread the load, whatever `region-schedule-limit` allows beyond.
const MOVES_AT_ONCE: usize = 2;

/// The next move, if one is due and its limit has room. `new_peer` is the id a new peer would get.
pub fn next(checker: &Checker<'_>, new_peer: u64) -> Option<Operator> {
    let room = checker.settings.limit("leader-schedule-limit");
    if checker.cluster.running(Kind::Leader) < room {
        let found = evict_leader(checker).or_else(|| balance_leader(checker));
        if found.is_some() {
            return found;
        }
    }
    let room = checker.settings.limit("region-schedule-limit").min(MOVES_AT_ONCE);
    if checker.cluster.running(Kind::Region) < room {
        return balance_region(checker, new_peer);
    }
    None
}

fn idle<'a>(checker: &'a Checker<'_>) -> impl Iterator<Item = &'a Region> {
    let cluster = checker.cluster;
    cluster.regions.iter().filter(|region| !cluster.operators.contains_key(&region.id()))
}

fn transfer(region: &Region, to: u64, reason: &'static str) -> Operator {
    Operator::new(region.id(), Kind::Leader, reason, vec![Step::TransferLeader { to }])
}

fn evict_leader(checker: &Checker<'_>) -> Option<Operator> {
    let cluster = checker.cluster;
    for store in cluster.schedulers.evicting() {
        if cluster.leaders_leaving(store) >= BATCH {
            continue;
        }
        let mut leading = idle(checker).filter(|region| region.leader_store() == store);
        let found = leading.find_map(|region| Some((region, checker.successor(region)?)));
        if let Some((region, to)) = found {
            return Some(transfer(region, to, "evict-leader"));
        }
    }
    None
}

/// Usable stores with their leader counts, and whether each may get leaders.
fn balance_leader(checker: &Checker<'_>) -> Option<Operator> {
    let cluster = checker.cluster;
    if !cluster.schedulers.is_active(BALANCE_LEADER) {
        return None;
    }
    let usable = cluster.stores.values().filter(|store| checker.is_usable(store));
    let moving = |store: u64| cluster.leaders_leaving(store) as u64;
    let counts: Vec<(u64, u64)> = usable
        .map(|store| {
            let leaders = cluster.regions.load_of(store.meta.id).leaders;
            (leaders.saturating_sub(moving(store.meta.id)), store.meta.id)
        })
        .collect();
    let (most, source) = counts.iter().copied().max()?;
    let region_for = |target: u64| {
        idle(checker).find(|region| {
            region.leader_store() == source
                && region.voters().any(|peer| {
                    peer.store_id == target
                        && !region.is_pending(peer)
                        && region.down_seconds(peer).is_none()
                })
        })
    };
    let mut targets: Vec<(u64, u64)> = counts
        .into_iter()
        .filter(|(count, id)| {
            count + cluster.leaders_arriving(*id) + 2 <= most
                && !cluster.schedulers.refuses_leaders(*id)
        })
        .collect();
    targets.sort_unstable();
    let (region, to) = targets.into_iter().find_map(|(_, to)| Some((region_for(to)?, to)))?;
    Some(transfer(region, to, "balance-leader"))
}

fn balance_region(checker: &Checker<'_>, new_peer: u64) -> Option<Operator> {
    let cluster = checker.cluster;
    // Spreading waits for repair: a region without its replicas comes first.
    if !cluster.schedulers.is_active(BALANCE_REGION) || cluster.running(Kind::Replica) > 0 {
        return None;
    }
    let usable = cluster.stores.values().filter(|store| checker.is_usable(store));
    let counted = |id: u64| cluster.regions.load_of(id).regions + cluster.arriving_at(id);
    let mut counts: Vec<(u64, u64)> = usable.map(|s| (counted(s.meta.id), s.meta.id)).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let movable = |region: &&Region| {
        region.leader.is_some()
            && region.pending.is_empty()
            && region.down.is_empty()
            && region.learners().next().is_none()
            && region.voters().count() == checker.settings.max_replicas()
    };
    let from = |(most, source): (u64, u64)| {
        idle(checker).filter(movable).find_map(|region| {
            let peer = region.peer_on(source)?;
            let target = checker.place(region, Some(source))?;
            let shared = |store| checker.shared_with_others(region, store, source);
            let fits = counted(target) + 2 <= most && shared(target) <= shared(source);
            let steps = fits.then(|| checker.replace(region, peer, new_peer)).flatten()?;
            Some(Operator::new(region.id(), Kind::Region, "balance-region", steps))
        })
    };
    counts.into_iter().find_map(from)
}
