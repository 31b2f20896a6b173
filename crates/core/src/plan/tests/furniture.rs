//! Services, ConfigMaps and disruption budgets that are not as they should be.

use std::sync::Arc;

use super::*;
use crate::world::{Applied, ObjectFacts};

/// Kind and name of everything that the plan applies.
fn applied(cluster: &Cluster, world: &World) -> Vec<String> {
    let name = |step: &Step| {
        let Step::Apply { object, .. } = step else { return None };
        Some(object.key.to_string())
    };
    plan(cluster, world).steps.iter().filter_map(name).collect()
}

/// PD's ConfigMap of a cluster that is being founded: it lists the first members.
fn first_config(cluster: &Cluster) -> (ObjectKey, ObjectFacts) {
    let world = decided();
    let objects = furniture_of(&Scene::new(cluster, &world));
    let name = build::config_map_name(cluster, Component::Pd);
    let object = objects.into_iter().find(|object| object.key.name == name).expect("a ConfigMap");
    let uid = Uid("uid-first".into());
    (object.key, ObjectFacts { uid, body: object.body.into(), deleting: false })
}

/// A settled cluster in which `pd-0` still mounts the ConfigMap of an earlier configuration, which says
/// that a cluster is founded; and the name of that.
fn with_an_earlier_config() -> (Cluster, World, ObjectKey) {
    let cluster = three();
    let earlier = json!({"pd": {"config": "[log]\nlevel = \"warn\"\n"}});
    let (key, facts) = first_config(&fixture::cluster(earlier));
    let mut world = fixture::settled(&cluster);
    world.pods.get_mut(&Slot::pd(0)).expect("a pod").config_map = Some(key.name.clone());
    world.objects.insert(key.clone(), facts);
    (cluster, world, key)
}

#[test]
fn an_earlier_config_that_says_found_is_made_to_say_join() {
    let (cluster, mut world, key) = with_an_earlier_config();
    let name = key.to_string();
    assert_eq!(applied(&cluster, &world), [name.as_str()]);
    let steps = plan(&cluster, &world).steps;
    let Some(Step::Apply { object, .. }) = steps.first() else { panic!("{steps:?}") };
    world.objects.get_mut(&key).expect("a ConfigMap").body = object.body.clone().into();
    assert_eq!(applied(&cluster, &world), [""; 0], "it says join by now");
    let (cluster, mut world, key) = with_an_earlier_config();
    world.objects.get_mut(&key).expect("a ConfigMap").deleting = true;
    assert_eq!(applied(&cluster, &world), [""; 0], "it goes");
    // A first member is still to come, and needs what it says.
    let (cluster, mut world, _) = with_an_earlier_config();
    let record = BootstrapRecord { token: "t".into(), members: vec![0, 1, 2] };
    world.resource.status.bootstrap = decided().resource.status.bootstrap;
    let late = &mut world.volumes.get_mut("pd-c-pd-2").expect("a volume").marks;
    (late.member, late.bootstrap) = (None, Some(record));
    fixture::pd_of(&mut world).members.remove(&fixture::pd_member(2).id);
    assert!(!applied(&cluster, &world).contains(&name));
}

#[test]
fn the_present_config_is_applied_once() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let (key, facts) = first_config(&cluster);
    world.objects.insert(key.clone(), facts);
    assert_eq!(applied(&cluster, &world), [key.to_string()]);
}

/// The store of `tikv-1` was being restarted when the cluster was paused.
#[test]
fn in_a_pause_only_budgets_that_stand_and_differ_are_applied() {
    let cluster = fixture::cluster(json!({"paused": true}));
    let mut world = fixture::settled(&fixture::cluster(json!({})));
    let volume = world.volumes.get_mut("tikv-c-tikv-1").expect("a volume");
    volume.marks.evicting = Some("restart".into());
    assert_eq!(applied(&cluster, &world), [""; 0], "all is as it should be");
    let budget = ObjectKey::new(Kind::PodDisruptionBudget, "c-tikv");
    let service = ObjectKey::new(Kind::Service, "c-pd");
    let edit = |world: &mut World, key: &ObjectKey, field: &str| {
        let body = Arc::make_mut(&mut world.objects.get_mut(key).expect("it").body);
        body["spec"][field] = json!("1");
    };
    edit(&mut world, &service, "type");
    assert_eq!(applied(&cluster, &world), [""; 0], "a Service waits");
    edit(&mut world, &budget, "minAvailable");
    assert_eq!(applied(&cluster, &world), [budget.to_string()]);
    world.objects.get_mut(&budget).expect("it").deleting = true;
    assert_eq!(applied(&cluster, &world), [""; 0], "a budget that goes");
}

#[test]
fn f20_what_is_changed_back_each_time_is_applied_less_and_less_often_and_named() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let key = ObjectKey::new(Kind::Service, "c-pd");
    let body = Arc::make_mut(&mut world.objects.get_mut(&key).expect("the Service").body);
    let hash = body["metadata"]["annotations"][build::APPLIED].as_str().expect("a hash").to_owned();
    body["spec"]["type"] = json!("NodePort");
    let applies = |world: &World| {
        let steps = plan(&cluster, world).steps;
        steps.iter().any(|step| matches!(step, Step::Apply { object, .. } if object.key == key))
    };
    assert!(applies(&world));
    let minutes = SignedDuration::from_mins;
    for (times, ago, expected) in
        [(2, minutes(0), true), (3, minutes(4), false), (9, minutes(5), true)]
    {
        world.applied.insert(key.clone(), Applied { hash: hash.clone(), times, ago });
        assert_eq!(applies(&world), expected, "{times} times, the last {ago:#} ago");
    }
    let resting = Applied { hash, times: 3, ago: minutes(1) };
    world.applied.insert(key.clone(), resting.clone());
    let waits = plan(&cluster, &world).waits;
    let wait = waits.iter().find(|wait| wait.rule.name == "changed-back").expect("a wait");
    assert!(wait.detail.starts_with("spec.type of Service c-pd "), "{}", wait.detail);
    // Another manifest is another matter.
    world.applied.insert(key.clone(), Applied { hash: "earlier".into(), ..resting });
    assert!(applies(&world));
}

#[test]
fn s08_deleted_furniture_is_made_again_and_pods_are_left() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.objects.remove(&ObjectKey::new(Kind::Service, "c-pd"));
    let plan = plan(&cluster, &world);
    assert_eq!(made(&plan), ["Service c-pd"]);
    assert_eq!(plan.steps.len(), 1);
}

#[test]
fn config_maps_that_no_pod_mounts_are_pruned_and_only_those() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let old = ObjectKey::new(Kind::ConfigMap, "c-tikv-0000000000");
    let like = world.objects.values().next().expect("an object").clone();
    world.objects.insert(old.clone(), like);
    let prunes = |world: &World| {
        plan(&cluster, world)
            .steps
            .iter()
            .any(|s| matches!(s, Step::Prune { key, .. } if *key == old))
    };
    assert!(prunes(&world));
    let pod = world.pods.get_mut(&Slot::tikv(0)).expect("a pod");
    pod.config_map = Some(old.name.clone());
    assert!(!prunes(&world));
    world.pods.get_mut(&Slot::tikv(0)).expect("a pod").config_map = None;
    assert!(!prunes(&world), "a pod that does not say what it mounts might mount it");
}
