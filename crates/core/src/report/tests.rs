//! What is said in the scenes that matter, and when is it worth a write?

use jiff::SignedDuration;
use serde_json::json;
use tikv_operator_api::conditions;

use super::*;
use crate::check::{Problem, Rejection};
use crate::fixture::{self, ID};
use crate::plan::plan;
use crate::world::{BootstrapRecord, Kind, Leaving, ObjectKey, PdView, Replication, StoreState};

fn three() -> Cluster {
    fixture::cluster(json!({}))
}

fn said(cluster: &Cluster, world: &World) -> TikvClusterStatus {
    report(cluster, world, &plan(cluster, world), &[]).0
}

/// Status and reason of a condition.
fn condition(status: &TikvClusterStatus, type_: &str) -> (String, String) {
    let found = status.conditions.iter().find(|c| c.type_ == type_).expect("a condition");
    (found.status.clone(), found.reason.clone())
}

fn ready(status: &TikvClusterStatus) -> (String, String) {
    condition(status, conditions::READY)
}

fn no(reason: &str) -> (String, String) {
    ("False".to_owned(), reason.to_owned())
}

/// A settled cluster whose status already says so.
fn settled() -> World {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.resource.status = said(&cluster, &world);
    world
}

#[test]
fn a_settled_cluster_is_ready_and_its_status_is_written_once() {
    let world = settled();
    let status = &world.resource.status;
    assert_eq!(ready(status).0, "True");
    assert_eq!(condition(status, conditions::PROGRESSING), no("Settled"));
    assert_eq!(condition(status, conditions::DEGRADED), no("AsExpected"));
    assert_eq!(status.pd.as_ref().and_then(|pd| pd.summary.as_deref()), Some("3/3"));
    assert_eq!(status.tikv.as_ref().map(|tikv| tikv.ready), Some(3));
    let mut later = world.clone();
    later.now += SignedDuration::from_hours(1);
    assert!(!worth_writing(status, &said(&three(), &later)));
}

#[test]
fn a_restored_service_is_no_progress_of_the_cluster() {
    let cluster = three();
    let mut world = settled();
    let service = |key: &ObjectKey| key.kind == Kind::Service;
    let gone = world.objects.keys().find(|key| service(key)).cloned().expect("a Service");
    world.objects.remove(&gone);
    assert_eq!(plan(&cluster, &world).steps.len(), 1);
    assert_eq!(condition(&said(&cluster, &world), conditions::PROGRESSING).0, "False");
    world.pods.remove(&Slot::tikv(1));
    assert_eq!(condition(&said(&cluster, &world), conditions::PROGRESSING).0, "True");
}

#[test]
fn s43_a_refused_scale_in_is_a_condition_with_its_cause() {
    let world = settled();
    let status = said(&fixture::cluster(json!({"tikv": {"replicas": 2}})), &world);
    assert_eq!(condition(&status, conditions::PROGRESSING), no("StoresFitMaxReplicas"));
    assert_eq!(condition(&status, conditions::DEGRADED), no("AsExpected"));
    let progressing = status.conditions.iter().find(|c| c.type_ == conditions::PROGRESSING);
    assert!(progressing.is_some_and(|c| c.message.contains("max-replicas")), "{progressing:?}");
    assert_eq!(status.tikv.map(|tikv| tikv.replicas), Some(3), "what the scale subresource reads");
}

#[test]
fn s42_status_says_which_store_leaves_and_how_far_it_is() {
    let cluster = three();
    let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"replicas": 4}})));
    let since = fixture::now();
    let volume = world.volumes.get_mut("tikv-c-tikv-3").expect("a volume");
    volume.marks.leaving = Some(crate::world::Leaving { since, reason: "scale-in".into() });
    let pd = fixture::pd_of(&mut world);
    let (id, store) = pd.stores.last_key_value().map(|(id, s)| (*id, s.clone())).expect("a store");
    pd.stores.insert(id, crate::world::StoreFacts { state: StoreState::Offline, ..store });
    let moved = |done, speed| crate::world::Progress { done, speed, left_seconds: Some(90) };
    pd.progress = [(id, moved(0.5, 2048.0))].into();
    let status = said(&cluster, &world);
    let tikv = status.tikv.as_ref().expect("tikv");
    let leaver = tikv.stores.last().expect("a store");
    assert_eq!(leaver.leaving.as_deref(), Some("scale-in"));
    let progress = leaver.progress.as_ref().expect("progress");
    assert_eq!((progress.percent, progress.bytes_per_second), (50, Some(2048)));
    assert_eq!(progress.seconds_left, Some(90));
    // s58: the leaver's pod counts until it is gone.
    assert_eq!((tikv.replicas, tikv.ready), (4, 3));
    assert!(tikv.stores.iter().filter(|store| store.leaving.is_some()).count() == 1);
}

#[test]
fn counts_that_move_with_every_heartbeat_are_not_worth_a_write() {
    let mut world = settled();
    fixture::pd_of(&mut world).stores.values_mut().next().expect("a store").leaders = 99;
    let status = said(&three(), &world);
    assert_ne!(status, world.resource.status);
    assert!(!worth_writing(&world.resource.status, &status));
}

#[test]
fn ready_names_what_is_missing() {
    type Harm = fn(&mut World);
    let harms: [(&str, Harm); 6] = [
        ("PodMissing", |w| {
            w.pods.remove(&Slot::tikv(2));
        }),
        ("PodNotReady", |w| {
            w.pods.get_mut(&Slot::pd(1)).expect("a pod").containers_ready = false;
        }),
        ("StoreNotUp", |w| {
            let store = fixture::pd_of(w).stores.values_mut().next().expect("a store");
            store.state = StoreState::Disconnected;
        }),
        ("StoreMissing", |w| {
            fixture::pd_of(w).stores.pop_last();
        }),
        ("PdMemberNotHealthy", |w| {
            fixture::pd_of(w).members.values_mut().next().expect("a member").healthy = false;
        }),
        ("PdMemberMissing", |w| {
            fixture::pd_of(w).members.pop_last();
        }),
    ];
    for (reason, harm) in harms {
        let mut world = settled();
        harm(&mut world);
        assert_eq!(ready(&said(&three(), &world)), no(reason));
    }
}

#[test]
fn never_ready_before_every_region_is_replicated() {
    let cluster = three();
    for (regions, replication) in
        [(0, Replication::Replicated), (5, Replication::Pending), (5, Replication::Unknown)]
    {
        let mut world = fixture::settled(&cluster);
        let pd = fixture::pd_of(&mut world);
        (pd.regions, pd.replication) = (regions, replication);
        assert_eq!(ready(&said(&cluster, &world)), no("RegionsNotReplicated"));
    }
}

#[test]
fn a_cluster_with_fewer_stores_than_max_replicas_is_ready_when_each_has_every_region() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 1}, "pd": {"replicas": 1}}));
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).replication = Replication::Pending;
    assert_eq!(ready(&said(&cluster, &world)), no("RegionsNotReplicated"));
    fixture::pd_of(&mut world).fewest_peers = Some(1);
    assert_eq!(ready(&said(&cluster, &world)).0, "True");
}

#[test]
fn a_busy_cluster_does_not_flap() {
    let cluster = three();
    let mut world = settled();
    fixture::pd_of(&mut world).replication = Replication::InProgress;
    let mut status = said(&cluster, &world);
    assert_eq!(ready(&status).0, "True", "splits and moves are normal");
    world.resource.status = status;
    world.now += SignedDuration::from_secs(61);
    status = said(&cluster, &world);
    assert_eq!(ready(&status), no("RegionsNotReplicated"), "for a minute");
}

#[test]
fn ready_outlives_an_election_and_not_an_outage() {
    let cluster = three();
    let mut world = settled();
    let silent =
        |s| PdView::Unreachable { seen_for: SignedDuration::from_secs(s), reason: "x".into() };
    world.pd = silent(10);
    assert_eq!(ready(&said(&cluster, &world)).0, "True");
    world.pd = silent(20);
    assert_eq!(ready(&said(&cluster, &world)), no("PdUnreachable"));
    world.pd = silent(61);
    let degraded = condition(&said(&cluster, &world), conditions::DEGRADED);
    assert_eq!(degraded, ("True".to_owned(), "PdElectsLeader".to_owned()));
}

#[test]
fn the_proof_of_a_new_leader_is_believed_after_a_minute() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let leader = &mut fixture::pd_of(&mut world).leader;
    (leader.changed, leader.seen_for) = (true, SignedDuration::from_secs(30));
    assert_eq!(ready(&said(&cluster, &world)), no("ProofSettles"));
    fixture::pd_of(&mut world).leader.seen_for = SignedDuration::from_mins(1);
    assert_eq!(ready(&said(&cluster, &world)).0, "True");
}

#[test]
fn records_of_this_pass_are_not_dropped_by_its_report() {
    let cluster = three();
    let world = fixture::empty();
    let record = BootstrapRecord { token: "t".into(), members: vec![0, 1, 2] };
    let done = |step| Outcome { step, result: Ok(()) };
    let outcomes = [done(Step::RecordBootstrap(record)), done(Step::RecordClusterId(ID))];
    let (status, notes) = report(&cluster, &world, &plan(&cluster, &world), &outcomes);
    let members = status.bootstrap.expect("a record").members;
    assert_eq!(members, ["c-pd-0", "c-pd-1", "c-pd-2"]);
    assert_eq!(status.cluster_id, Some(ID.to_string()));
    let reasons: Vec<_> = notes.iter().map(|note| note.reason).collect();
    assert_eq!(reasons, ["BootstrapStarted", "Bootstrapped"]);
}

#[test]
fn a_refused_step_is_a_fault_with_the_servers_words_and_a_stale_one_is_not() {
    let cluster = three();
    let world = settled();
    let outcome = |kind| Outcome {
        step: Step::ReleaseFinalizer,
        result: Err(Failure { kind, message: "exceeded quota: pods".into() }),
    };
    let say = |kind| report(&cluster, &world, &plan(&cluster, &world), &[outcome(kind)]).0;
    let status = say(FailureKind::Refused);
    assert_eq!(condition(&status, conditions::DEGRADED).1, "CallRefused");
    assert!(status.summary.expect("a summary").contains("exceeded quota"));
    let status = say(FailureKind::Stale);
    assert_eq!(condition(&status, conditions::DEGRADED), no("AsExpected"));
}

#[test]
fn s07_a_spec_that_is_not_valid_is_said_of_a_cluster_that_keeps_to_the_last_valid_one() {
    let cluster = three();
    let mut world = settled();
    world.resource.generation = 2;
    let sentence = "The operator sets this.".to_owned();
    let problem = Problem { field: "spec.pd.config.data-dir".to_owned(), sentence };
    let rejection = Rejection { problems: vec![problem] };
    let kept = Kept { rejection: &rejection, cluster: &cluster };
    let (status, notes) = report_kept(&kept, &world, &plan(&cluster, &world), &[]);
    assert_eq!(status.observed_generation, Some(2));
    assert_eq!(ready(&status).0, "True", "by what it serves, not by what somebody mistyped");
    assert_eq!(condition(&status, "Degraded"), ("True".to_owned(), "InvalidSpec".to_owned()));
    let degraded = status.conditions.iter().find(|c| c.type_ == "Degraded").expect("a condition");
    for words in ["spec.pd.config.data-dir", "generation 1"] {
        assert!(degraded.message.contains(words), "{}", degraded.message);
        assert!(status.summary.as_ref().is_some_and(|s| s.contains(words)));
    }
    assert!(notes.iter().any(|note| note.reason == "Degraded"), "{notes:?}");
    world.resource.status = status;
    let (again, notes) = report_kept(&kept, &world, &plan(&cluster, &world), &[]);
    assert!(!worth_writing(&world.resource.status, &again) && notes.is_empty());
}

#[test]
fn a_wait_keeps_the_time_since_when_it_waits() {
    let cluster = three();
    let mut world = settled();
    world.pods.get_mut(&Slot::pd(0)).expect("a pod").containers_ready = false;
    let first = said(&cluster, &world);
    world.resource.status = first.clone();
    world.now += SignedDuration::from_mins(7);
    let later = said(&cluster, &world);
    assert_eq!(later.waits, first.waits);
    assert!(!first.waits.is_empty());
}

#[test]
fn a_pd_member_that_leaves_says_why_and_since_when() {
    let mut world = settled();
    let since = world.now;
    let volume = world.volumes.get_mut("pd-c-pd-2").expect("a volume");
    volume.marks.leaving = Some(Leaving { since, reason: "replaced".into() });
    let members = said(&three(), &world).pd.expect("a status").members;
    let leaving: Vec<_> = members.iter().map(|m| m.leaving.as_deref()).collect();
    assert_eq!(leaving, [None, None, Some("replaced")]);
    assert_eq!(members[2].leaving_since.as_ref().map(|time| time.0), Some(since));
}
