//! Is no pod made for a PD member that has been, or may have been, removed?

use super::*;

#[test]
fn pd_removed_member_stays_away() {
    let rule = &PD_REMOVED_MEMBER_STAYS_AWAY;
    let (cluster, mut world) = sized(3);
    world.pods.remove(&Slot::pd(2));
    let step = make_pod(&cluster, Slot::pd(2));
    allows(rule, &cluster, &world, &step);
    fixture::pd_of(&mut world).members.remove(&id(2));
    holds(rule, &cluster, &world, &step);
    let mut joining = world.clone();
    volume(&mut joining, 2).marks.member = None;
    allows(rule, &cluster, &joining, &step);
    let mut retired = world.clone();
    volume(&mut retired, 2).marks.retired = true;
    allows(rule, &cluster, &retired, &step);
    holds(&RETIRED_VOLUMES_STAY_UNUSED, &cluster, &retired, &step);
    silent(&mut world);
    allows(rule, &cluster, &world, &step);
}

#[test]
fn a_member_that_leaves_may_have_been_removed_when_pd_falls_silent() {
    let rule = &PD_REMOVED_MEMBER_STAYS_AWAY;
    let (cluster, mut world) = sized(3);
    world.pods.remove(&Slot::pd(2));
    let step = make_pod(&cluster, Slot::pd(2));
    let leaving = Leaving { since: fixture::now(), reason: "scale-in".into() };
    volume(&mut world, 2).marks.leaving = Some(leaving);
    allows(rule, &cluster, &world, &step);
    let silent_for = |world: &World, seconds| {
        let mut world = world.clone();
        let seen_for = SignedDuration::from_secs(seconds);
        world.pd = PdView::Unreachable { seen_for, reason: String::new() };
        world
    };
    holds(rule, &cluster, &silent_for(&world, 599), &step);
    // Members that run may not reach each other.
    allows(rule, &cluster, &silent_for(&world, 600), &step);
    let mut dead = world.clone();
    let node = pod(&mut dead, 1).node.clone().expect("a node");
    holds(rule, &cluster, &silent_for(&dead, 60), &step);
    dead.nodes.insert(node, NodeView::Gone);
    allows(rule, &cluster, &silent_for(&dead, 60), &step);
    let mut going = world.clone();
    pod(&mut going, 1).deleting_since = Some(fixture::now());
    allows(rule, &cluster, &silent_for(&going, 60), &step);
    let mut another = world.clone();
    leaves(&mut another, 1, "scale-in");
    allows(rule, &cluster, &silent_for(&another, 60), &step);
    // Two of three do not run: PD may be silent for want of this one.
    pod(&mut world, 1).containers_ready = false;
    holds(rule, &cluster, &silent_for(&world, 59), &step);
    allows(rule, &cluster, &silent_for(&world, 60), &step);
    let mut two = world.clone();
    two.pods.remove(&Slot::pd(1));
    volume(&mut two, 1).marks.retired = true;
    holds(rule, &cluster, &silent_for(&two, 59), &step);
    allows(rule, &cluster, &silent_for(&two, 60), &step);
    volume(&mut world, 2).marks.leaving = None;
    allows(rule, &cluster, &silent_for(&world, 0), &step);
}
