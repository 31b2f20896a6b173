//! Which leaders and peers should move? Leaders leave the stores of evict-leader first; then
//! leaders, then peers, move from the fullest to the emptiest store.

use super::checkers::Checker;
use super::operators::{Kind, Operator, Step};
use super::region::Region;
use super::schedulers::{BALANCE_LEADER, BALANCE_REGION, BATCH};

/// Peers that move at once to spread the load, whatever `region-schedule-limit` allows beyond.
const MOVES_AT_ONCE: usize = 2;

/// The next move, if one is due and its limit has room.
pub fn next(checker: &Checker<'_>) -> Option<Operator> {
    let room = checker.cluster.settings.limit("leader-schedule-limit");
    if checker.cluster.running(Kind::Leader) < room {
        let found = evict_leader(checker).or_else(|| balance_leader(checker));
        if found.is_some() {
            return found;
        }
    }
    let room = checker.cluster.settings.limit("region-schedule-limit").min(MOVES_AT_ONCE);
    if checker.cluster.running(Kind::Region) < room {
        return balance_region(checker);
    }
    None
}

fn idle<'a>(checker: &'a Checker<'_>) -> impl Iterator<Item = &'a Region> {
    let cluster = checker.cluster;
    cluster.regions.iter().filter(|region| !cluster.operators.contains_key(&region.id()))
}

fn transfer(region: &Region, to: u64, reason: &'static str) -> Operator {
    Operator::new(region.id(), Kind::Leader, reason, vec![Step::TransferLeader(to)])
}

fn evict_leader(checker: &Checker<'_>) -> Option<Operator> {
    let cluster = checker.cluster;
    let stores = cluster.schedulers.evicting();
    stores.into_iter().filter(|store| cluster.leaders_leaving(*store) < BATCH).find_map(|store| {
        let mut leading = idle(checker).filter(|region| region.leader_store() == store);
        leading
            .find_map(|region| Some(transfer(region, checker.successor(region)?, "evict-leader")))
    })
}

fn balance_leader(checker: &Checker<'_>) -> Option<Operator> {
    let cluster = checker.cluster;
    if !cluster.schedulers.is_active(BALANCE_LEADER) {
        return None;
    }
    let leaders = |store: u64| {
        let there = cluster.regions.load_of(store).leaders + cluster.leaders_arriving(store);
        there.saturating_sub(cluster.leaders_leaving(store) as u64)
    };
    let usable = cluster.stores.values().filter(|store| checker.is_usable(store));
    let source = usable.map(|store| store.meta.id).max_by_key(|store| leaders(*store))?;
    let mut leading = idle(checker).filter(|region| region.leader_store() == source);
    leading.find_map(|region| {
        let to = checker.successor(region)?;
        let evens = leaders(to) + 2 <= leaders(source);
        evens.then(|| transfer(region, to, "balance-leader"))
    })
}

fn balance_region(checker: &Checker<'_>) -> Option<Operator> {
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
            && region.voters().count() == checker.cluster.settings.max_replicas()
    };
    let from = |(most, source): (u64, u64)| {
        idle(checker).filter(movable).find_map(|region| {
            let peer = region.peer_on(source)?;
            let target = checker.place(region, Some(source))?;
            let shared = |store| checker.shared_with_others(region, store, source);
            let fits = counted(target) + 2 <= most && shared(target) <= shared(source);
            let steps = fits.then(|| checker.replace(region, peer)).flatten()?;
            Some(Operator::new(region.id(), Kind::Region, "balance-region", steps))
        })
    };
    counts.into_iter().find_map(from)
}
