//! What follows from an edit of the configuration, scene by scene?

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::fixture;
use crate::report::report;
use crate::rules::{self, Rule};
use crate::world::{ConfigItem, Kind, ObjectKey, Refusal, Slot, StoreId, StoreProcess, World};

fn waits_for(plan: &Plan, rule: &Rule) -> bool {
    plan.waits.iter().any(|w| w.rule == rule)
}

fn with_pd(config: &Value) -> Cluster {
    fixture::cluster(json!({"pd": {"config": config}}))
}

fn with_tikv(config: &Value) -> Cluster {
    fixture::cluster(json!({"tikv": {"config": config}}))
}

fn limit(value: u32) -> Value {
    json!({"schedule": {"leader-schedule-limit": value}})
}

/// A settled cluster in which PD says this configuration.
fn settled(cluster: &Cluster, live: Value) -> World {
    let mut world = fixture::settled(cluster);
    fixture::pd_of(&mut world).config = Some(live.into());
    world
}

/// Does what marks say, as the API server would; and PD's settings, as PD would.
fn done(world: &mut World, plan: &Plan) {
    for step in &plan.steps {
        if let Step::Mark { key, annotations, .. } = step {
            let texts = annotations.iter().map(|(k, v)| (k.clone(), v.clone().expect("a text")));
            if let Some(slot) = Slot::of_pod("c", &key.name).filter(|_| key.kind == Kind::Pod) {
                world.pods.get_mut(&slot).expect("a pod").annotations.extend(texts);
            } else {
                let facts = world.objects.get_mut(key).expect("an object of ours");
                let body = Arc::make_mut(&mut facts.body);
                for (annotation, value) in texts {
                    body["metadata"]["annotations"][annotation] = json!(value);
                }
            }
        }
        if let Step::Prune { key, .. } = step {
            world.objects.remove(key);
        }
        if let Step::SetPdConfig { item, value } = step {
            let (section, key) = item.split_once('.').expect("a section");
            let config = &mut fixture::pd_of(world).config;
            let config = Arc::make_mut(config.as_mut().expect("a configuration"));
            config[section][key] = value.clone();
        }
    }
}

/// Plans and acts until there is nothing to do; the names of the steps taken, pruning apart.
fn run(cluster: &Cluster, world: &mut World) -> Vec<String> {
    let mut taken = Vec::new();
    for _ in 0..10 {
        let plan = plan(cluster, world);
        if plan.steps.is_empty() {
            return taken;
        }
        let steps = plan.steps.iter().filter(|s| !matches!(s, Step::Prune { .. }));
        taken.extend(steps.map(|s| format!("{} {}", s.name(), s.subject())));
        done(world, &plan);
        furnish(cluster, world);
    }
    panic!("never settles: {taken:?}");
}

/// Furniture follows the spec and keeps what marks wrote; pods mount what they mounted.
fn furnish(cluster: &Cluster, world: &mut World) {
    for object in furniture_of(&Scene::new(cluster, world)) {
        let uid = crate::world::Uid(format!("uid-{}", object.key.name));
        let mut body = object.body;
        if let Some(old) = world.objects.get(&object.key) {
            let noted = old.body["metadata"]["annotations"].as_object().cloned();
            for (key, value) in noted.into_iter().flatten() {
                let annotations = &mut body["metadata"]["annotations"];
                if annotations[&key].is_null() {
                    annotations[key] = value;
                }
            }
        }
        let facts = crate::world::ObjectFacts { uid, body: body.into(), deleting: false };
        world.objects.insert(object.key, facts);
    }
}

#[test]
fn s38_an_edit_of_an_item_that_pd_persisted_is_set_and_remembered() {
    let first = with_pd(&limit(4));
    let mut world = settled(&first, limit(4));
    let connection = "mark ConfigMap c-connection";
    // PD read the file at its birth: nothing is to be set, which is noted.
    assert_eq!(run(&first, &mut world), [connection]);
    let second = with_pd(&limit(8));
    furnish(&second, &mut world);
    let set = "set-pd-config schedule.leader-schedule-limit = 8";
    assert_eq!(run(&second, &mut world), [set, connection]);
    assert!(plan(&second, &world).steps.iter().all(|s| !s.is_disruptive()));
    // And back again.
    furnish(&first, &mut world);
    let set = "set-pd-config schedule.leader-schedule-limit = 4";
    assert_eq!(run(&first, &mut world), [set, connection]);
}

fn drift(cluster: &Cluster, world: &World) -> Vec<[String; 4]> {
    let drift = report(cluster, world, &plan(cluster, world), &[]).0.drift;
    drift.into_iter().map(|d| [d.subject, d.key, d.wanted, d.live]).collect()
}

fn of(subject: &str, key: &str, wanted: &str, live: &str) -> [String; 4] {
    [subject, key, wanted, live].map(str::to_owned)
}

/// PD shows truths and lists as text, and takes them so only.
#[test]
fn truths_and_lists_of_pd_are_set_as_text() {
    let live = |truth: &str, labels: &str| {
        json!({
            "schedule": {"enable-debug-metrics": truth},
            "replication": {"location-labels": labels},
        })
    };
    let cluster = with_pd(&json!({
        "schedule": {"enable-debug-metrics": true},
        "replication": {"location-labels": ["zone", "host"]},
    }));
    let mut world = settled(&cluster, live("false", ""));
    for store in fixture::pd_of(&mut world).stores.values_mut() {
        store.labels = ["zone", "host"].map(|key| (key.to_owned(), store.id.to_string())).into();
    }
    let steps = run(&cluster, &mut world);
    let set = [
        "set-pd-config replication.location-labels = \"zone,host\"",
        "set-pd-config schedule.enable-debug-metrics = \"true\"",
    ];
    assert_eq!(steps.get(..2), Some(&set.map(str::to_owned)[..]));
    let config = fixture::pd_of(&mut world).config.clone().expect("a configuration");
    assert_eq!(*config, live("true", "zone,host"));
    assert_eq!(run(&cluster, &mut world), Vec::<String>::new());
}

#[test]
fn s38_what_somebody_changes_in_pd_is_drift_and_stays_until_the_item_is_edited() {
    let both = |limit: u32, level: &str| {
        with_pd(&json!({"schedule": {"leader-schedule-limit": limit}, "log": {"level": level}}))
    };
    let live = |limit: u32| json!({"schedule": {"leader-schedule-limit": limit}, "log": {"level": "info"}});
    let cluster = both(4, "info");
    let mut world = settled(&cluster, live(4));
    run(&cluster, &mut world);
    fixture::pd_of(&mut world).config = Some(live(0).into());
    assert_eq!(run(&cluster, &mut world), Vec::<String>::new());
    let expected = [of("pd", "schedule.leader-schedule-limit", "4", "0")];
    assert_eq!(drift(&cluster, &world), expected);
    // A pass in which PD did not say its configuration reports it as before.
    world.resource.status = report(&cluster, &world, &plan(&cluster, &world), &[]).0;
    let config = fixture::pd_of(&mut world).config.take();
    assert_eq!(drift(&cluster, &world), expected);
    assert!(plan(&cluster, &world).steps.is_empty());
    fixture::pd_of(&mut world).config = config;
    // Another item's edit leaves it alone; its own applies.
    let edited = both(4, "warn");
    furnish(&edited, &mut world);
    let taken = run(&edited, &mut world);
    assert_eq!(taken, ["set-pd-config log.level = \"warn\"", "mark ConfigMap c-connection"]);
    let edited = both(5, "warn");
    furnish(&edited, &mut world);
    assert!(
        run(&edited, &mut world)
            .contains(&"set-pd-config schedule.leader-schedule-limit = 5".into())
    );
    assert_eq!(drift(&edited, &world), Vec::<[String; 4]>::new());
}

#[test]
fn an_item_that_pd_reads_at_its_start_is_drift_when_every_member_has_started_with_it() {
    let config = json!({
        "lease": 5,
        "quota-backend-bytes": "16384MiB",
        "tso-save-interval": "3000ms",
        "auto-compaction-retention": "2h",
        "log": {"format": "json"},
        "metric": {"interval": "15s"},
    });
    let cluster = with_pd(&config);
    let live = |lease: u32| {
        json!({
            "lease": lease,
            "quota-backend-bytes": "16GiB",
            "tso-save-interval": "3s",
            "auto-compaction-retention-v2": "1h",
            "log": {"format": "json", "sampling": null},
            "metric": {"interval": "15s", "job": "c-pd-0"},
        })
    };
    let none = Vec::<[String; 4]>::new();
    let mut world = settled(&cluster, live(5));
    assert_eq!(drift(&cluster, &world), none, "another spelling or name of an item is no drift");
    fixture::pd_of(&mut world).config = Some(live(3).into());
    assert_eq!(drift(&cluster, &world), [of("pd", "lease", "5", "3")]);
    // One member has not started with it yet: the answer may be that one's.
    let pod = world.pods.get_mut(&Slot::pd(2)).expect("a pod");
    pod.revision = Some(crate::world::Revision("earlier".into()));
    assert_eq!(drift(&cluster, &world), none);
    world.pods.remove(&Slot::pd(2));
    assert_eq!(drift(&cluster, &world), none);
    let in_place = fixture::cluster(json!({
        "configUpdateStrategy": "InPlace",
        "pd": {"config": {"lease": 7}},
    }));
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).config = Some(live(5).into());
    assert_eq!(drift(&in_place, &world), [of("pd", "lease", "7", "5")], "nobody restarts it");
}

#[test]
fn pds_log_level_is_applied_to_each_new_leader() {
    let cluster = with_pd(&json!({"log": {"level": "warn"}}));
    let mut world = settled(&cluster, json!({"log": {"level": "warn"}}));
    run(&cluster, &mut world);
    let pd = fixture::pd_of(&mut world);
    pd.config = Some(json!({"log": {"level": "info"}}).into());
    assert_eq!(run(&cluster, &mut world), Vec::<String>::new());
    fixture::pd_of(&mut world).leader.id = crate::world::PdMemberId(102);
    assert!(run(&cluster, &mut world).contains(&"set-pd-config log.level = \"warn\"".into()));
}

#[test]
fn a_refused_setting_is_named_and_the_others_go_on() {
    let cluster = with_pd(&json!({"schedule": {"leader-schedule-limit": 8, "low-space-ratio": 7}}));
    let mut world = settled(
        &cluster,
        json!({"schedule": {"leader-schedule-limit": 4, "low-space-ratio": 0.8}}),
    );
    let item = ConfigItem::Pd("schedule.low-space-ratio".into());
    let refusal = Refusal { value: json!(7), words: "must be in [0, 1]".into() };
    world.config_refusals.insert(item.clone(), refusal);
    let first = plan(&cluster, &world);
    let wait = first.waits.iter().find(|w| *w.rule == rules::CONFIG_REFUSED).expect("a wait");
    assert!(wait.detail.contains("must be in [0, 1]"), "{}", wait.detail);
    let taken = run(&cluster, &mut world);
    assert_eq!(taken.len(), 2, "{taken:?}");
    // Another value is tried.
    world.config_refusals.get_mut(&item).expect("it").value = json!(8);
    assert!(!waits_for(&plan(&cluster, &world), &rules::CONFIG_REFUSED));
    // What PD does not have is not sent.
    let cluster = with_pd(&json!({"schedule": {"no-such": 8}}));
    furnish(&cluster, &mut world);
    run(&cluster, &mut world);
    assert!(waits_for(&plan(&cluster, &world), &rules::CONFIG_REFUSED));
}

#[test]
fn what_pd_takes_at_its_first_start_only_is_never_sent_and_says_who_changes_it() {
    let zone = |value: &str| json!([{"key": "zone", "value": value}]);
    let cluster = with_pd(&json!({"label-property": {"reject-leader": zone("a")}}));
    for live in [json!({}), json!({"reject-leader": zone("b")})] {
        let mut world = settled(&cluster, json!({"label-property": live}));
        let found = plan(&cluster, &world);
        let wait = found.waits.iter().find(|w| *w.rule == rules::CONFIG_REFUSED).expect("a wait");
        assert!(wait.detail.contains("pd-ctl config set label-property"), "{}", wait.detail);
        assert!(!found.steps.iter().any(|s| matches!(s, Step::SetPdConfig { .. })));
        // Somebody does as it says.
        let config = json!({"label-property": {"reject-leader": zone("a")}});
        fixture::pd_of(&mut world).config = Some(config.into());
        run(&cluster, &mut world);
        assert!(!waits_for(&plan(&cluster, &world), &rules::CONFIG_REFUSED));
    }
}

#[test]
fn nothing_is_set_in_a_pd_that_does_not_say_what_it_has_or_has_no_store_yet() {
    let cluster = with_pd(&limit(8));
    let mut world = settled(&cluster, limit(4));
    fixture::pd_of(&mut world).config = None;
    let held = plan(&cluster, &world);
    assert!(held.steps.is_empty() && waits_for(&held, &rules::CONFIG_NOT_READ));
    fixture::pd_of(&mut world).config = Some(limit(4).into());
    fixture::pd_of(&mut world).bootstrapped = false;
    assert!(!plan(&cluster, &world).steps.iter().any(|s| matches!(s, Step::SetPdConfig { .. })));
}

fn gc(value: u32) -> Value {
    json!({"raftstore": {"raft-log-gc-threshold": value}, "server": {"grpc-concurrency": 4}})
}

fn says(world: &mut World, config: &Value) {
    for id in 1..=3 {
        let process = StoreProcess { leaders: None, config: Some(config.clone().into()) };
        world.processes.insert(StoreId(id), process);
    }
}

#[test]
fn s37_online_items_of_running_stores_are_set_and_no_pod_is_restarted() {
    let before = with_tikv(&gc(50));
    let mut world = fixture::settled(&before);
    says(&mut world, &gc(50));
    let marks = ["mark Pod c-tikv-0", "mark Pod c-tikv-1", "mark Pod c-tikv-2"];
    assert_eq!(run(&before, &mut world), Vec::<String>::new(), "they started with the file");
    let after = with_tikv(&gc(60));
    furnish(&after, &mut world);
    let planned = plan(&after, &world);
    let set: Vec<_> = planned.steps.iter().map(|s| (s.name(), s.subject())).collect();
    assert_eq!(set, [1, 2, 3].map(|id| ("set-store-config", format!("store {id}"))));
    let Step::SetStoreConfig { items, .. } = &planned.steps[0] else { panic!("a setting") };
    assert_eq!(*items, BTreeMap::from([("raftstore.raft-log-gc-threshold".into(), json!(60))]));
    says(&mut world, &gc(60));
    assert_eq!(run(&after, &mut world), marks);
    // A container that restarts in place reads its own file again: set once more.
    says(&mut world, &gc(50));
    assert_eq!(run(&after, &mut world), Vec::<String>::new(), "somebody's change is drift");
    let drift = report(&after, &world, &plan(&after, &world), &[]).0.drift;
    assert_eq!(drift.len(), 3);
    // The process that said so has ended, and the next one does not run yet.
    let mut down = world.clone();
    let pod = down.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    (pod.containers_ready, pod.started) = (false, None);
    let drift = report(&after, &down, &plan(&after, &down), &[]).0.drift;
    assert_eq!(drift.len(), 2, "{drift:?}");
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    store.started = Some(fixture::now() + jiff::SignedDuration::from_secs(9));
    let planned = plan(&after, &world);
    let set: Vec<_> = planned.steps.iter().map(|s| (s.name(), s.subject())).collect();
    assert_eq!(set, [("set-store-config", "store 2".to_owned())]);
}

#[test]
fn a_store_that_refuses_or_says_nothing_is_named_and_not_asked_again() {
    let cluster = with_tikv(&gc(60));
    let mut world = fixture::settled(&with_tikv(&gc(50)));
    furnish(&cluster, &mut world);
    let held = plan(&cluster, &world);
    assert!(held.steps.is_empty() && waits_for(&held, &rules::CONFIG_NOT_READ));
    says(&mut world, &gc(50));
    for id in 1..=3 {
        let item = ConfigItem::Store(StoreId(id), "raftstore.raft-log-gc-threshold".into());
        let words = "config raft_log_gc_threshold can not be changed".into();
        world.config_refusals.insert(item, Refusal { value: json!(60), words });
    }
    let held = plan(&cluster, &world);
    assert!(held.steps.is_empty(), "{:?}", held.steps);
    assert!(waits_for(&held, &rules::CONFIG_NEEDS_RESTART));
}

#[test]
fn f36_another_data_format_is_refused_and_the_first_one_is_noted() {
    let v2 = || json!({"storage": {"api-version": 2, "enable-ttl": true}});
    let cluster = with_tikv(&v2());
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).bootstrapped = false;
    fixture::pd_of(&mut world).stores.clear();
    for volume in world.volumes.values_mut() {
        volume.marks.store = None;
    }
    let planned = plan(&cluster, &world);
    let key = ObjectKey::new(Kind::ConfigMap, "c-connection");
    let marks = |s: &Step| matches!(s, Step::Mark { key: of, .. } if *of == key);
    assert!(planned.steps.iter().any(marks), "{:?}", planned.steps);
    done(&mut world, &planned);
    let mut grown = fixture::settled(&cluster);
    grown.objects.insert(key.clone(), world.objects[&key].clone());
    says(&mut grown, &v2());
    run(&cluster, &mut grown);
    let edited = with_tikv(&json!({"storage": {"api-version": 1, "enable-ttl": true}}));
    furnish(&edited, &mut grown);
    grown.processes.clear();
    let planned = plan(&edited, &grown);
    assert!(!planned.steps.iter().any(Step::is_disruptive));
    let wait = planned.waits.iter().find(|w| *w.rule == rules::DATA_FORMAT_IS_FIXED);
    assert!(wait.expect("a wait").detail.contains("storage.api-version is 2 in the stores"));
}

/// Settings of the forecast for an edit of `before` to `after`.
fn outstanding(after: &Cluster, before: Option<&Cluster>, world: &World) -> Vec<String> {
    let settings = forecast(after, before, world).settings;
    settings.into_iter().map(|set| format!("{} = {}", set.item, set.wanted)).collect()
}

#[test]
fn of_what_is_noted_the_edit_alone_is_outstanding_and_what_was_never_set_is_no_drift() {
    let both = |limit: u32| json!({"schedule": {"leader-schedule-limit": limit, "region-schedule-limit": 2}});
    let (first, second) = (with_pd(&both(4)), with_pd(&both(8)));
    let mut world = settled(&first, both(4));
    run(&first, &mut world);
    assert_eq!(drift(&second, &world), Vec::<[String; 4]>::new(), "8 was never set");
    fixture::pd_of(&mut world).config = None;
    let set = ["schedule.leader-schedule-limit = 8"];
    assert_eq!(outstanding(&second, None, &world), set);
    assert_eq!(outstanding(&first, None, &world), Vec::<String>::new());
}

#[test]
fn a_store_is_asked_for_what_its_own_version_takes_over() {
    let cluster = with_tikv(&json!({"raftstore": {"max-apply-unpersisted-log-limit": 1}}));
    let items = |version: &str| super::config_tikv::Online::of(&cluster, version).items.len();
    assert_eq!((items("8.5.7"), items("8.0.0")), (1, 0), "since 8.1");
}

#[test]
fn a_process_is_asked_when_its_pod_is_ready_and_stays() {
    let after = with_tikv(&gc(60));
    let mut world = fixture::settled(&with_tikv(&gc(50)));
    furnish(&after, &mut world);
    says(&mut world, &gc(50));
    let asked = |change: fn(&mut crate::world::PodFacts)| {
        let mut world = world.clone();
        change(world.pods.get_mut(&Slot::tikv(1)).expect("a pod"));
        let steps = plan(&after, &world).steps;
        steps.iter().any(|step| step.name() == "set-store-config" && step.subject() == "store 2")
    };
    assert!(asked(|_| {}));
    assert!(!asked(|pod| pod.containers_ready = false));
    assert!(!asked(|pod| pod.deleting_since = Some(fixture::now())));
}

#[test]
fn the_start_of_the_process_that_was_configured_is_read_from_its_pod() {
    let mut pod = fixture::pod(&fixture::cluster(json!({})), Slot::tikv(0));
    assert_eq!(noted_start(&pod), None);
    let note = |text: &str| (super::config_tikv::APPLIED_CONFIG.to_owned(), text.to_owned());
    pod.annotations.extend([note(&format!("0123@{}", fixture::now()))]);
    assert_eq!(noted_start(&pod), Some(fixture::now()));
    pod.annotations.extend([note("0123@unknown")]);
    assert_eq!(noted_start(&pod), None);
}

#[test]
fn stores_that_no_volume_names_have_a_data_format_too() {
    let cluster = with_tikv(&json!({"storage": {"api-version": 2}}));
    let mut world = fixture::settled(&fixture::cluster(json!({})));
    for volume in world.volumes.values_mut() {
        volume.marks.store = None;
    }
    let verdict = |world: &World| super::data_format::verdict(&Scene::new(&cluster, world));
    assert!(verdict(&world).is_err(), "PD knows of stores");
    fixture::pd_of(&mut world).bootstrapped = false;
    assert_eq!(verdict(&world), Ok(()));
}
