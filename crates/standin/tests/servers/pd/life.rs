//! Do stores, ids, timestamps and settings live as in PD, across restarts too?

use std::collections::BTreeSet;

use standin::proto::metapb::StoreLabel;
use standin::proto::pdpb::{self as pb, ErrorType};

use crate::pd::harness::{Members, Stores, ask, region, store};

async fn bootstrapped() -> (Members, Stores) {
    let mut members = Members::start(1, &[]).await;
    let mut stores = Stores::of(&mut members).await;
    assert_eq!(stores.bootstrap(store(1)).await, None);
    (members, stores)
}

async fn restarted(members: &mut Members) -> Stores {
    members.all[0].kill();
    members.all[0].start();
    Stores::of(members).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_bootstrapped_once() {
    let mut members = Members::start(1, &[]).await;
    let mut stores = Stores::of(&mut members).await;
    let early = stores.put(store(1)).await.unwrap();
    assert_eq!(early.r#type(), ErrorType::NotBootstrapped);
    assert_eq!(stores.bootstrap(store(1)).await, None);
    let again = stores.bootstrap(store(2)).await.unwrap();
    assert_eq!(again.r#type(), ErrorType::AlreadyBootstrapped);
    let mut stores = restarted(&mut members).await;
    let again = stores.bootstrap(store(2)).await.unwrap();
    assert_eq!(again.r#type(), ErrorType::AlreadyBootstrapped);
    assert_eq!(members.all[0].get("/pd/api/v1/stores").await.json()["count"], 1);
    stores.cluster_id += 1;
    let request = pb::IsBootstrappedRequest { header: stores.header() };
    let other = stores.client.is_bootstrapped(request).await.unwrap_err();
    assert!(other.message().contains("mismatch cluster id"), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_rise_together_and_older_stores_are_refused() {
    let (members, mut stores) = bootstrapped().await;
    let pd = &members.all[0];
    let version = || async { pd.get("/pd/api/v1/config/cluster-version").await.json() };
    assert_eq!(version().await, "8.5.7");
    let older = pb_store(2, "8.1.0");
    let refused = stores.put(older).await.unwrap();
    assert!(refused.message.contains("version should compatible with version"), "{refused:?}");
    assert_eq!(stores.put(pb_store(2, "9.0.0-beta.2")).await, None);
    assert_eq!(version().await, "8.5.7", "not before the last store is upgraded");
    assert_eq!(stores.put(pb_store(1, "9.0.0-beta.2")).await, None);
    assert_eq!(version().await, "9.0.0");
    assert!(stores.put(pb_store(1, "8.5.7")).await.is_some(), "no way back");
}

fn pb_store(id: u64, version: &str) -> standin::proto::metapb::Store {
    standin::proto::metapb::Store { version: version.into(), ..store(id) }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_kept() {
    let (mut members, mut stores) = bootstrapped().await;
    let pd = &members.all[0];
    let label = |key: &str, value: &str| StoreLabel { key: key.into(), value: value.into() };
    let post =
        |path: &'static str, body: &'static str| async move { pd.post(path, body).await.status };
    assert_eq!(post("/pd/api/v1/store/1/label", r#"{"zone":"a","host":"h"}"#).await, 200);
    assert_eq!(post("/pd/api/v1/store/1/label", r#"{"rack":"r"}"#).await, 200);
    assert_eq!(post("/pd/api/v1/store/1/label", r#"{"-bad":"r"}"#).await, 400);
    // The store's own configuration wins for its keys when it registers again.
    let again = standin::proto::metapb::Store { labels: vec![label("zone", "b")], ..store(1) };
    assert_eq!(stores.put(again).await, None);
    // An empty value takes the label away.
    assert_eq!(post("/pd/api/v1/store/1/label", r#"{"rack":""}"#).await, 200);
    restarted(&mut members).await;
    let shown = members.all[0].get("/pd/api/v1/store/1").await.json();
    let expected =
        serde_json::json!([{"key": "zone", "value": "b"}, {"key": "host", "value": "h"}]);
    assert_eq!(shown["store"]["labels"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_never_given_twice() {
    let (mut members, mut stores) = bootstrapped().await;
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        for _ in 0..5 {
            let request = pb::AllocIdRequest { header: stores.header() };
            let id = stores.client.alloc_id(request).await.unwrap().into_inner().id;
            assert!(ids.insert(id), "{id} twice");
        }
        stores = restarted(&mut members).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_are_found() {
    let (mut members, mut stores) = bootstrapped().await;
    let stream = stores.regions().await;
    let mut left = region(4, &[(5, 1)], (1, 2));
    left.end_key = b"m".to_vec();
    let mut right = region(14, &[(15, 1)], (1, 2));
    right.start_key = b"m".to_vec();
    stream.report(&left, 5, &[], &[]).await;
    stream.report(&right, 15, &[], &[]).await;
    crate::pd::harness::eventually("both are known", || async {
        let count = members.all[0].get("/pd/api/v1/regions/count").await.json();
        (count["count"] == 2).then_some(())
    })
    .await;
    let mut stores = restarted(&mut members).await;
    let header = stores.header();
    let at =
        |key: &str| pb::GetRegionRequest { header, region_key: key.into(), need_buckets: false };
    let id =
        |answer: tonic::Response<pb::GetRegionResponse>| answer.into_inner().region.map(|r| r.id);
    assert_eq!(id(stores.client.get_region(at("z")).await.unwrap()), Some(14));
    assert_eq!(id(stores.client.get_region(at("a")).await.unwrap()), Some(4));
    let by_id = pb::GetRegionByIdRequest { header, region_id: 4, need_buckets: false };
    assert_eq!(id(stores.client.get_region_by_id(by_id).await.unwrap()), Some(4));
    let all = members.all[0].get("/pd/api/v1/regions").await.json();
    let shown = all["regions"].as_array().unwrap().iter().find(|region| region["id"] == 14);
    let shown = shown.unwrap();
    assert_eq!((&shown["start_key"], &shown["end_key"]), (&"6D".into(), &"".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_and_the_maintenance_lock_survive_a_restart() {
    let (mut members, _stores) = bootstrapped().await;
    let pd = &members.all[0];
    let evict = r#"{"name":"evict-leader-scheduler","store_id":1}"#;
    assert_eq!(pd.post("/pd/api/v1/schedulers", evict).await.status, 200);
    assert_eq!(pd.delete("/pd/api/v1/schedulers/balance-region-scheduler").await.status, 200);
    let lock = format!("{}/pd/api/v2/maintenance/restart/mine", pd.client);
    assert_eq!(ask("PUT", &lock, "", &[]).await.unwrap().status, 200);
    restarted(&mut members).await;
    let pd = &members.all[0];
    let list = pd.get("/pd/api/v1/scheduler-config/evict-leader-scheduler/list").await.json();
    assert!(list["store-id-ranges"].get("1").is_some());
    let names = pd.get("/pd/api/v1/schedulers").await.body;
    assert!(!names.contains("balance-region-scheduler"), "{names}");
    assert_eq!(ask("PUT", &lock, "", &[]).await.unwrap().status, 409);
    let end = pd.delete("/pd/api/v1/scheduler-config/evict-leader-scheduler/delete/1").await;
    assert_eq!((end.status, end.body.trim()), (200, "\"The last store has been deleted\""));
    let again = pd.delete("/pd/api/v1/scheduler-config/evict-leader-scheduler/delete/1").await;
    assert_eq!(again.status, 404);
    let other = pd.delete("/pd/api/v2/maintenance/restart/other").await;
    assert_eq!(other.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_release_lacks_what_it_lacked() {
    let answers = |version: &'static str| async move {
        let mut members = Members::start(1, &["--as-version", version]).await;
        let mut stores = Stores::of(&mut members).await;
        assert_eq!(stores.bootstrap(store(1)).await, None);
        let pd = &members.all[0];
        assert_eq!(pd.get("/pd/api/v1/version").await.json()["version"], version);
        let progress = pd.get("/pd/api/v1/stores/progress?id=1").await.body;
        (
            pd.get("/pd/api/v1/regions/replicated?startKey=&endKey=").await.body.trim().to_owned(),
            pd.get("/pd/api/v1/stores/check").await.status,
            progress.contains("ErrProgressNotFound"),
            pd.delete("/pd/api/v1/store/1").await.status,
        )
    };
    let (v4, v5, v6, v8) =
        tokio::join!(answers("v4.0.0"), answers("v5.4.0"), answers("v6.5.0"), answers("v8.5.7"));
    assert_eq!(v4, ("404 page not found".to_owned(), 404, false, 200));
    assert_eq!(v5, ("false".to_owned(), 404, false, 200));
    assert_eq!(v6, ("\"INPROGRESS\"".to_owned(), 404, true, 400));
    assert_eq!(v8, ("\"INPROGRESS\"".to_owned(), 200, true, 400));
}
