//! Does a stand-in for PD that is started as an older release lack what that release lacked? What
//! `docs/versions.md` lists, as far as the operator meets it.

use serde_json::Value;

use crate::pd::harness::{Member, Members, RegionStream, Reply, Stores, eventually, region, store};

const EVICTED: &str = "/pd/api/v1/scheduler-config/evict-leader-scheduler/list";

async fn member(version: &str) -> Members {
    Members::start(1, &[&format!("--as-version={version}")]).await
}

/// A cluster of one region on two stores, of which the second has a learner; leaders leave store 1.
async fn busy(version: &str) -> (Members, RegionStream) {
    let mut members = member(version).await;
    let mut stores = Stores::of(&mut members).await;
    assert_eq!(stores.bootstrap(store(1)).await, None);
    assert_eq!(stores.put(store(2)).await, None);
    stores.beat_all(&[1, 2]).await;
    let mut shown = region(4, &[(5, 1), (6, 2)], (2, 1));
    shown.peers[1].set_role(standin::proto::metapb::PeerRole::Learner);
    let stream = stores.regions().await;
    stream.report(&shown, 5, &[], &[]).await;
    let body = r#"{"name":"evict-leader-scheduler","store_id":1}"#;
    assert_eq!(members.all[0].post("/pd/api/v1/schedulers", body).await.status, 200);
    (members, stream)
}

fn said(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.body.trim())
}

async fn json(pd: &Member, path: &str) -> Value {
    pd.get(&format!("/pd/api/v1/{path}")).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_store_refusals_have_the_words_of_their_release() {
    let words = "TiKV cluster not bootstrapped, please start TiKV first";
    let coded = format!("\"[PD:cluster:ErrNotBootstrapped]{words}\"");
    let codeless = format!("\"{words}\"");
    for (version, stores, list) in [
        ("v4.0.0", &codeless, "\"no implement\""),
        ("v4.0.7", &codeless, "\"no implement\""),
        ("v4.0.8", &coded, "\"no implement\""),
        ("v6.1.0", &coded, &coded),
        ("v8.5.7", &coded, &coded),
    ] {
        let members = member(version).await;
        let pd = &members.all[0];
        let asked = pd.get("/pd/api/v1/stores").await;
        assert_eq!(said(&asked), (500, stores.as_str()), "{version}");
        assert_eq!(said(&pd.get(EVICTED).await), (406, list), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_a_peer_have_the_fields_of_their_release() {
    for (version, node_state, role, batch) in [
        ("v4.0.0", None, None, None),
        ("v5.3.0", None, Some("Learner"), None),
        ("v6.0.0", Some(1), Some("Learner"), None),
        ("v8.3.0", Some(1), Some("Learner"), Some(3)),
    ] {
        let (members, _stream) = busy(version).await;
        let pd = &members.all[0];
        let shown = eventually("the first look at the stores", || async {
            let shown = json(pd, "stores").await["stores"][0]["store"].clone();
            let settled = node_state.is_none() || shown.get("node_state").is_some();
            settled.then_some(shown)
        })
        .await;
        assert_eq!(shown["state_name"], "Up", "{version}");
        let found = shown.get("node_state").and_then(Value::as_u64);
        assert_eq!(found, node_state, "{version}");
        let peer = eventually("the region's report", || async {
            let regions = json(pd, "regions").await;
            regions["regions"][0]["peers"].get(1).cloned()
        })
        .await;
        assert_eq!(peer["is_learner"], true, "{version}");
        assert_eq!(peer.get("role_name").and_then(Value::as_str), role, "{version}");
        assert_eq!(peer.get("role").is_some(), role.is_some(), "{version}");
        let evicted = pd.get(EVICTED).await.json();
        assert!(evicted["store-id-ranges"].get("1").is_some(), "{version}");
        assert_eq!(evicted.get("batch").and_then(Value::as_u64), batch, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_release_does_not_have_is_not_found() {
    let idle = (r#"["No on-going operation."]"#, r#"[{"info":"No on-going recovery."}]"#);
    for (version, recovery, learners, slow) in [
        ("v4.0.0", None, 404, false),
        ("v5.2.0", None, 200, true),
        ("v5.3.0", Some(idle.0), 200, true),
        ("v6.1.0", Some(idle.1), 200, true),
    ] {
        let (members, _stream) = busy(version).await;
        let pd = &members.all[0];
        let shown = pd.get("/pd/api/v1/admin/unsafe/remove-failed-stores/show").await;
        let found = (shown.status == 200).then(|| shown.json().to_string());
        assert_eq!(found.as_deref(), recovery, "{version}");
        assert!(found.is_some() || shown.body.contains("404 page not found"), "{version}");
        let listed = pd.get("/pd/api/v1/regions/check/learner-peer").await;
        assert_eq!(listed.status, learners, "{version}");
        let names = json(pd, "schedulers").await.to_string();
        assert_eq!(names.contains("evict-slow-store-scheduler"), slow, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_v5_0_force_buries_and_a_tombstone_can_be_brought_back() {
    for (version, state, again, reason) in [
        ("v4.0.8", "Tombstone", 200, ""),
        ("v5.0.0", "Offline", 400, "[PD:core:ErrStoreDestroyed]"),
    ] {
        let (members, _stream) = busy(version).await;
        let pd = &members.all[0];
        assert_eq!(pd.delete("/pd/api/v1/store/1?force").await.status, 200);
        let shown = json(pd, "store/1").await["store"].clone();
        assert_eq!(shown["state_name"], state, "{version}");
        let destroyed = shown.get("physically_destroyed").and_then(Value::as_bool);
        assert_eq!(destroyed, (state == "Offline").then_some(true), "{version}");
        let back = pd.post("/pd/api/v1/store/1/state?state=Up", "").await;
        assert_eq!(back.status, again, "{version}");
        assert!(back.body.contains(reason), "{version}: {}", back.body);
    }
}
