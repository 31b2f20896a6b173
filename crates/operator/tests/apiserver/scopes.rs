//! Floods of edits, selectors, and specs that the operator must refuse: whom does it work for?

use std::time::Duration;

use kube::{
    Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tikv_operator_api::cases::{By, bad};

use crate::{
    PATIENCE,
    operator::{create_cluster, flags, has, manifest, wait_for},
    server::{api, apply, clusters},
    stage::Stage,
};

const EDITS: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_edits_fall_together_and_the_last_one_counts() {
    let stage = Stage::new("flood", "c").await;
    let Stage { server, admin, namespace, user, .. } = &stage;
    create_cluster(admin, namespace, "c").await;
    let _operator = stage.operator();
    stage.ready("c").await;

    let budget = |calls: std::collections::BTreeMap<(String, String), usize>| -> usize {
        let counted = calls.into_iter().filter(|((_, resource), _)| resource != "leases");
        counted.map(|(_, count)| count).sum()
    };
    let before = budget(server.calls(user));
    let resources = clusters(admin, namespace);
    for n in 0..EDITS {
        // A field that no pod is made from: a thousand restarts are not what is measured.
        let patch =
            json!({ "spec": { "tikv": { "evictLeaderTimeout": format!("{}s", 600 + n) } } });
        let patch = Patch::Merge(patch);
        resources.patch("c", &PatchParams::default(), &patch).await.unwrap();
    }
    let resource = serde_json::to_value(resources.get("c").await.unwrap()).unwrap();
    let last = resource["metadata"]["generation"].clone();
    wait_for(admin, namespace, "c", PATIENCE, |resource| {
        resource["status"]["observedGeneration"] == last
    })
    .await;
    let calls = budget(server.calls(user)) - before;
    println!("{EDITS} edits: {calls} calls");
    // About one status write a second, and what follows from an edit that it meets. One call for each
    // edit would be the least where they do not fall together.
    assert!(calls <= EDITS / 4, "{calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_selector_other_clusters_are_left_alone() {
    let stage = Stage::new("selector", "mine").await;
    let Stage { admin, namespace, .. } = &stage;
    for (name, who) in [("mine", "me"), ("theirs", "them")] {
        let mut body = manifest(namespace, name);
        body["metadata"]["labels"] = json!({ "operator": who });
        apply(admin, &body).await;
    }
    let mut flags = flags(namespace, "selector", &stage.pd.address);
    flags.selector = Some("operator=me".to_owned());
    let client = Client::try_from(stage.config.clone()).unwrap();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let access = tikv_operator::run::Access { client, accounts: None };
    let task = tokio::spawn(async move { tikv_operator::run::run(&flags, access, stopped).await });
    stage.ready("mine").await;
    let theirs = clusters(admin, namespace).get("theirs").await.unwrap();
    assert!(theirs.data.get("status").is_none());
    let labelled = ListParams::default().labels("tikv.org/cluster=theirs");
    for kind in ["Pod", "Service", "ConfigMap", "PersistentVolumeClaim"] {
        let list = api(admin, "", kind, namespace).list(&labelled).await.unwrap();
        assert!(list.items.is_empty(), "{kind}");
    }
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn specs_that_only_the_operator_can_judge_get_a_condition_and_nothing_else() {
    let stage = Stage::new("rejected", "good").await;
    let Stage { admin, namespace, .. } = &stage;
    let resources = clusters(admin, namespace);
    let mut cases = Vec::new();
    for (index, case) in bad().unwrap().into_iter().enumerate() {
        if case.by != Some(By::Check) {
            continue;
        }
        let mut body = case.resource();
        // Where the case names the resource, the name is part of what is wrong.
        let name = case.name.clone().unwrap_or_else(|| format!("bad-{index}"));
        body["metadata"]["name"] = json!(name);
        body["metadata"]["namespace"] = json!(namespace);
        let object = serde_json::from_value(body).unwrap();
        resources.create(&PostParams::default(), &object).await.unwrap();
        cases.push((name, case));
    }
    println!("{} specs", cases.len());
    assert!(cases.len() > 10);
    create_cluster(admin, namespace, "good").await;
    let _operator = stage.operator();
    stage.ready("good").await;
    for (name, case) in &cases {
        let field = case.field.clone().unwrap();
        wait_for(admin, namespace, name, PATIENCE, |resource| {
            has(resource, "Degraded", "True") && resource["status"].to_string().contains(&field)
        })
        .await;
        let labelled = ListParams::default().labels(&format!("tikv.org/cluster={name}"));
        for kind in ["Pod", "Service", "ConfigMap", "PersistentVolumeClaim"] {
            let list = api(admin, "", kind, namespace).list(&labelled).await.unwrap();
            assert!(list.items.is_empty(), "{name} {kind}");
        }
    }
}

/// Names of the objects of a kind.
async fn names(admin: &Client, kind: &str, namespace: &str) -> Vec<String> {
    let list = api(admin, "", kind, namespace).list(&ListParams::default()).await.unwrap();
    list.into_iter().filter_map(|object| object.metadata.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_with_policy_delete_nothing_stays_and_with_retain_the_volumes_do() {
    let stage = Stage::new("deleted", "c").await;
    let Stage { admin, namespace, .. } = &stage;
    let _operator = stage.operator();
    let resources = clusters(admin, namespace);

    create_cluster(admin, namespace, "c").await;
    let born = stage.ready("c").await;
    resources.delete("c", &kube::api::DeleteParams::default()).await.unwrap();
    assert!(resources.get_opt("c").await.unwrap().is_none(), "nothing holds it");
    // Nobody collects garbage here.
    let all =
        (ListParams::default().labels("tikv.org/cluster=c"), kube::api::DeleteParams::default());
    for (group, kind) in
        [("", "Pod"), ("", "Service"), ("", "ConfigMap"), ("policy", "PodDisruptionBudget")]
    {
        for object in api(admin, group, kind, namespace).list(&all.0).await.unwrap() {
            let name = object.metadata.name.unwrap();
            api(admin, group, kind, namespace).delete(&name, &all.1).await.unwrap();
        }
    }
    assert_eq!(names(admin, "PersistentVolumeClaim", namespace).await.len(), 6);

    let mut body = manifest(namespace, "c");
    body["spec"]["pvReclaimPolicy"] = json!("Delete");
    apply(admin, &body).await;
    let again = stage.ready("c").await;
    assert_eq!(again["status"]["clusterId"], born["status"]["clusterId"]);
    assert_eq!(again["status"].get("bootstrap"), None::<&Value>, "no second bootstrap");
    resources.delete("c", &kube::api::DeleteParams::default()).await.unwrap();
    let start = std::time::Instant::now();
    while resources.get_opt("c").await.unwrap().is_some() {
        assert!(start.elapsed() < PATIENCE, "still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(names(admin, "PersistentVolumeClaim", namespace).await.is_empty());
    assert!(names(admin, "Pod", namespace).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_namespace_that_is_being_deleted_creates_stop() {
    let stage = Stage::new("going", "c").await;
    let Stage { server, admin, namespace, user, .. } = &stage;
    create_cluster(admin, namespace, "c").await;
    let _operator = stage.operator();
    stage.ready("c").await;

    // Nobody empties the namespace here: it stays as it is while it goes.
    let parameters = kube::api::DeleteParams::default();
    api(admin, "", "Namespace", "").delete(namespace, &parameters).await.unwrap();
    let calls = |what: &str| -> usize {
        let calls = server.calls(user).into_iter();
        calls
            .filter(|((verb, resource), _)| verb == "create" && resource == what)
            .map(|c| c.1)
            .sum()
    };
    let (pods, events) = (calls("pods"), calls("events"));
    let pod = api(admin, "", "Pod", namespace);
    pod.delete("c-tikv-0", &parameters).await.unwrap();
    let start = std::time::Instant::now();
    while calls("pods") == pods {
        assert!(start.elapsed() < PATIENCE, "the pod is not missed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    let (pods, events) = (calls("pods") - pods, calls("events") - events);
    println!("{pods} creates of pods, {events} of events");
    assert!((1..=2).contains(&pods), "{pods} tries to create a pod");
    assert!(events <= 3, "{events} events");
}
