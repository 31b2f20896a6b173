//! Are the ten traps of PD's API there, by which an operator that trusts it loses data?

use std::time::Duration;

use standin::proto::etcdserverpb::{self as etcd, cluster_client::ClusterClient};
use standin::proto::pdpb::ErrorType;

use crate::pd::harness::{
    Member, Members, Reply, Stores, eventually, free_url, region, store, store_at,
};

/// One member whose cluster has stores 1 to `count`, all heard of once.
async fn with_stores(count: u64) -> (Members, Stores) {
    let mut members = Members::start(1, &[]).await;
    let mut stores = Stores::of(&mut members).await;
    assert_eq!(stores.bootstrap(store(1)).await, None);
    for id in 2..=count {
        assert_eq!(stores.put(store(id)).await, None);
    }
    stores.beat_all(&(1..=count).collect::<Vec<_>>()).await;
    (members, stores)
}

async fn state_name(pd: &Member, id: u64) -> String {
    let reply = pd.get(&format!("/pd/api/v1/store/{id}")).await;
    reply.json()["store"]["state_name"].as_str().unwrap().to_owned()
}

async fn set(pd: &Member, item: &str) {
    assert_eq!(pd.post("/pd/api/v1/config", item).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_01_a_store_that_never_sent_a_heartbeat_reads_down() {
    let (members, mut stores) = with_stores(1).await;
    assert_eq!(stores.put(store(2)).await, None);
    let pd = &members.all[0];
    assert_eq!(state_name(pd, 2).await, "Down");
    let shown = pd.get("/pd/api/v1/store/2").await.json();
    assert_eq!(shown["status"]["last_heartbeat_ts"], "1970-01-01T00:00:00Z");
    assert!(shown["store"].get("last_heartbeat").is_none());
    stores.beat_all(&[2]).await;
    assert_eq!(state_name(pd, 2).await, "Up");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_02_a_new_leader_knows_only_the_heartbeats_that_were_persisted() {
    let (mut members, mut stores) = with_stores(1).await;
    assert_eq!(stores.put(store(2)).await, None);
    let heartbeat = |shown: serde_json::Value| shown["store"]["last_heartbeat"].as_i64();
    let first = heartbeat(members.all[0].get("/pd/api/v1/store/1").await.json());
    tokio::time::sleep(Duration::from_millis(300)).await;
    stores.beat_all(&[1]).await;
    let second = heartbeat(members.all[0].get("/pd/api/v1/store/1").await.json());
    assert!(second > first);
    set(&members.all[0], r#"{"max-store-down-time":"1s"}"#).await;
    members.all[0].kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    members.all[0].start();
    members.wait_for_leader().await;
    let pd = &members.all[0];
    assert_eq!(
        heartbeat(pd.get("/pd/api/v1/store/1").await.json()),
        first,
        "only the persisted one"
    );
    let never = pd.get("/pd/api/v1/store/2").await.json();
    assert_eq!(never["status"]["last_heartbeat_ts"], "1970-01-01T00:00:00Z");
    assert_eq!(state_name(pd, 1).await, "Down", "after an outage, until the next heartbeat");
    let stores = Stores::of(&mut members).await;
    let (stores, pd) = (&stores, &members.all[0]);
    // For the second after a heartbeat.
    eventually("store 1 is up again", || async {
        stores.clone().beat_all(&[1]).await;
        (state_name(pd, 1).await == "Up").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_03_a_dead_store_that_is_being_removed_reads_offline() {
    let (members, mut stores) = with_stores(4).await;
    let pd = &members.all[0];
    // Something has to be left on store 1, or it is a tombstone at the next look.
    let stream = stores.regions().await;
    stream.report(&region(4, &[(5, 1), (6, 2), (7, 3)], (3, 1)), 6, &[], &[]).await;
    set(pd, r#"{"max-store-down-time":"1s"}"#).await;
    eventually("store 1 is down", || async { (state_name(pd, 1).await == "Down").then_some(()) })
        .await;
    assert_eq!(pd.delete("/pd/api/v1/store/1").await.status, 200);
    assert_eq!(state_name(pd, 1).await, "Offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_04_a_dead_store_counts_as_up_when_it_is_to_go() {
    let (members, mut stores) = with_stores(3).await;
    let pd = &members.all[0];
    set(pd, r#"{"max-store-down-time":"1s"}"#).await;
    eventually("store 1 is down", || async { (state_name(pd, 1).await == "Down").then_some(()) })
        .await;
    let refused = pd.delete("/pd/api/v1/store/1").await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("ErrStoresNotEnough"), "{}", refused.body);
    assert_eq!(stores.put(store(4)).await, None);
    assert_eq!(pd.delete("/pd/api/v1/store/1").await.status, 200, "the replacement has registered");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_05_force_is_presence_only_and_frees_the_address() {
    let (members, mut stores) = with_stores(3).await;
    let pd = &members.all[0];
    let stream = stores.regions().await;
    stream.report(&region(4, &[(5, 1), (6, 2), (7, 3)], (3, 1)), 6, &[], &[]).await;
    let taken = stores.put(store_at(11, 0)).await.unwrap();
    assert!(taken.message.starts_with("duplicated store address"), "{taken:?}");
    assert_eq!(taken.r#type(), ErrorType::Unknown);
    assert_eq!(pd.delete("/pd/api/v1/store/1?force=false").await.status, 200);
    let shown = pd.get("/pd/api/v1/store/1").await.json();
    assert_eq!(shown["store"]["physically_destroyed"], true);
    let cancel = pd.post("/pd/api/v1/store/1/state?state=Up", "").await;
    assert_eq!(cancel.status, 400);
    assert!(cancel.body.contains("ErrStoreDestroyed"), "{}", cancel.body);
    assert_eq!(stores.put(store_at(11, 0)).await, None, "the address is free at once");
    assert_eq!(pd.delete("/pd/api/v1/store/2").await.status, 400, "3 up stores, max-replicas 3");
    assert_eq!(stores.put(store(12)).await, None);
    assert_eq!(pd.delete("/pd/api/v1/store/2").await.status, 200);
    assert!(stores.put(store_at(13, 1)).await.is_some(), "an Offline store still blocks");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_06_a_removed_member_goes_on_answering() {
    let mut members = Members::start(3, &[]).await;
    let mut stores = Stores::of(&mut members).await;
    assert_eq!(stores.bootstrap(store(1)).await, None);
    let leader = members.wait_for_leader().await;
    let follower = members.all.iter().map(|m| m.name.clone()).find(|name| *name != leader).unwrap();
    let target = &*members.named(&follower);
    eventually("the follower knows the leader", || async {
        (target.get("/pd/api/v2/ready").await.status == 200).then_some(())
    })
    .await;
    let gone = remove(members.named(&leader), &format!("name/{follower}")).await;
    assert_eq!(gone.body.trim(), format!("\"removed, pd: {follower}\""));
    let target = &*members.named(&follower);
    eventually("it notices its removal", || async {
        target.said().contains("this member was removed").then_some(())
    })
    .await;
    for path in ["/pd/api/v1/ping", "/pd/api/v1/health", "/pd/api/v2/ready", "/pd/api/v1/stores"] {
        assert_eq!(target.get(path).await.status, 200, "{path}");
    }
    let listed = target.get("/pd/api/v1/members").await;
    assert_eq!(listed.json()["members"].as_array().unwrap().len(), 2, "the leader's answer");
    let target = members.named(&follower);
    target.kill();
    target.start();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(target.is_running(), "it hangs: {}", target.said());
    assert!(target.try_get("/pd/api/v1/ping").await.is_none(), "and serves nothing");
}

/// Removes a member, once etcd lets it: its check of a reconfiguration wants every other member
/// connected for five seconds.
async fn remove(pd: &Member, which: &str) -> Reply {
    eventually("the removal", || async {
        let reply = pd.delete(&format!("/pd/api/v1/members/{which}")).await;
        (reply.status == 200).then_some(reply)
    })
    .await
}

/// Starts a joining member, again where etcd is not ready for it yet, until `count` are listed.
async fn join(member: &mut Member, count: usize) {
    for _ in 0..100 {
        if !member.is_running() {
            member.start();
        }
        if let Some(reply) = member.try_get("/pd/api/v1/members").await
            && reply.status == 200
            && reply.json()["members"].as_array().unwrap().len() == count
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{} does not join: {}", member.name, member.said());
}

/// Adds a member that never starts, as a pod does that dies between joining and starting; once etcd
/// lets it.
async fn half_join(pd: &Member) -> u64 {
    let url = free_url();
    let client = ClusterClient::connect(pd.client.clone()).await.unwrap();
    eventually("the half-joined member", || async {
        let request = etcd::MemberAddRequest { peer_ur_ls: vec![url.clone()], is_learner: false };
        let added = client.clone().member_add(request).await.ok()?;
        Some(added.into_inner().member.unwrap().id)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_07_one_half_joined_member_stops_every_other_join() {
    let mut members = Members::start(3, &[]).await;
    let id = half_join(&members.all[0]).await;
    let mut joining = members.joining("pd-4");
    joining.start();
    assert_eq!(joining.exit().await.unwrap().code(), Some(1));
    let message = format!("there is a member {id} that has not joined successfully");
    assert!(joining.said().contains(&message), "{}", joining.said());
    let health = members.all[0].get("/pd/api/v1/health").await.json();
    let half = health.as_array().unwrap().iter().find(|member| member["member_id"] == id).unwrap();
    assert_eq!((&half["name"], &half["client_urls"]), (&"".into(), &serde_json::Value::Null));
    assert_eq!(half["health"], false);
    assert_eq!(members.any().delete("/pd/api/v1/members/name/pd-4").await.status, 404);
    assert_eq!(members.any().delete(&format!("/pd/api/v1/members/id/{id}")).await.status, 200);
    join(&mut joining, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_08_nobody_joins_while_a_member_is_away() {
    let mut members = Members::start(3, &[]).await;
    let leader = members.wait_for_leader().await;
    // A change that is let through: nothing else than the dead member stops the next one.
    let id = half_join(members.named(&leader)).await;
    remove(members.named(&leader), &format!("id/{id}")).await;
    let dead = members.all.iter().position(|member| member.name != leader).unwrap();
    members.all[dead].kill();
    let dead_name = members.all[dead].name.clone();
    // Joins go through the leader, which runs.
    let through = members.named(&leader).client.clone();
    let mut joining = Member::new("pd-4", members.home.path()).with(format!("--join={through}"));
    joining.start();
    assert_eq!(joining.exit().await.unwrap().code(), Some(1));
    assert!(joining.said().contains("etcdserver: unhealthy cluster"), "{}", joining.said());
    remove(members.named(&leader), &format!("name/{dead_name}")).await;
    join(&mut joining, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_09_the_file_is_read_until_the_first_persist_only() {
    let mut members = Members::prepare(1, &[]);
    let file = members.home.path().join("pd.toml");
    let write = |replicas: u8, down: &str| {
        let text = format!(
            "[replication]\nmax-replicas = {replicas}\nlocation-labels = [\"zone\", \"host\"]\n\
             [schedule]\nmax-store-down-time = \"{down}\"\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write(5, "7m");
    members.all[0].flags.push(format!("--config={}", file.display()));
    members.all[0].start();
    members.wait_for_leader().await;
    let replicate = members.all[0].get("/pd/api/v1/config/replicate").await.json();
    assert_eq!(
        (&replicate["max-replicas"], &replicate["location-labels"]),
        (&5.into(), &"zone,host".into())
    );
    // Anything that makes PD persist: a write.
    set(&members.all[0], r#"{"leader-schedule-limit":8}"#).await;
    members.all[0].kill();
    write(1, "9m");
    members.all[0].start();
    members.wait_for_leader().await;
    let config = members.all[0].get("/pd/api/v1/config").await.json();
    assert_eq!(config["replication"]["max-replicas"], 5);
    assert_eq!(config["schedule"]["max-store-down-time"], "7m0s");
    set(&members.all[0], r#"{"schedule.max-store-down-time":"8m"}"#).await;
    let config = members.all[0].get("/pd/api/v1/config").await.json();
    assert_eq!(config["schedule"]["max-store-down-time"], "8m0s");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_10_ready_is_500_until_a_store_bootstraps() {
    let answers = |version: &'static str| async move {
        let mut members = Members::start(1, &["--as-version", version]).await;
        let before = members.all[0].get("/pd/api/v2/ready").await.status;
        let readyz = members.all[0].get("/pd/api/v2/readyz").await.status;
        let mut stores = Stores::of(&mut members).await;
        assert_eq!(stores.bootstrap(store(1)).await, None);
        let after = members.all[0].get("/pd/api/v2/ready").await.status;
        let lock = members.all[0].get("/pd/api/v2/maintenance").await;
        let known = lock.body.contains("No maintenance task");
        (before, after, readyz, known)
    };
    let (old, first, default) =
        tokio::join!(answers("v4.0.0"), answers("v8.5.2"), answers("v8.5.7"));
    assert_eq!(old, (404, 404, 404, false));
    assert_eq!(first, (500, 200, 404, false));
    assert_eq!(default, (500, 200, 404, true));
}
