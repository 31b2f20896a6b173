//! Is a PD pod that has just been started left alone while PD does not answer?

use super::*;

/// Why a pod stays, and how it comes to that so long ago.
type Held = (&'static str, fn(&mut World, SignedDuration));

/// It has not run for longer than a start takes.
fn stopped(world: &mut World, ordinal: u32) {
    stop(world, ordinal);
    pod(world, ordinal).created = fixture::now() - TEN_MINUTES;
    world.seen_for.insert(Symptom::PodFailing(Slot::pd(ordinal)), TEN_MINUTES);
}

#[test]
fn without_pds_word_a_pod_that_has_just_been_started_stays() {
    let rule = &PD_RESTARTS_ONE_AT_A_TIME;
    let (cluster, mut old) = sized(3);
    silent(&mut old);
    stopped(&mut old, 2);
    outdate(&mut old, 2);
    allows(rule, &cluster, &old, &restart(2));
    let (moment, slot) = (SignedDuration::from_secs(29), Slot::pd(2));
    let held: [Held; 3] = [
        ("it was made", |world, ago| pod(world, 2).created = fixture::now() - ago),
        ("it was started again", |world, ago| pod(world, 2).started = Some(fixture::now() - ago)),
        ("by a clock that is fast", |world, ago| {
            pod(world, 2).started = Some(fixture::now() - TEN_MINUTES);
            world.seen_for.insert(Symptom::PodFailing(Slot::pd(2)), ago);
        }),
    ];
    for (why, change) in held {
        let mut world = old.clone();
        change(&mut world, moment);
        holds(rule, &cluster, &world, &restart(2));
        let mut later = old.clone();
        change(&mut later, moment + SignedDuration::from_secs(1));
        allows(rule, &cluster, &later, &restart(2));
        world.pods.get_mut(&slot).expect(why).trouble = Some("CrashLoopBackOff".into());
        allows(rule, &cluster, &world, &restart(2));
        world.pods.get_mut(&slot).expect(why).phase = PodPhase::Failed;
        allows(rule, &cluster, &world, &restart(2));
    }
}
