//! Who answers a read, and where is a client sent that asks the wrong store?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use standin::proto::errorpb;
use standin::proto::kvrpcpb::{Context, RawGetRequest, RawPutRequest};
use standin::proto::metapb::{Peer, RegionEpoch};
use standin::proto::tikvpb::tikv_client::TikvClient;
use tonic::transport::Channel;

use crate::tikv::cluster::{Cluster, PATIENCE, QUICK, http, wait_for};

/// PD's view of the region of a key: context for its leader, and all its peers.
fn region_of(cluster: &Cluster, key: &str) -> (Context, Vec<Peer>) {
    let hex = key.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02X}"));
    let regions = cluster.pd_json("/pd/api/v1/regions");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let region = regions["regions"].as_array().unwrap().iter().find(|region| {
        let (start, end) = (text(&region["start_key"]), text(&region["end_key"]));
        start <= hex && (end.is_empty() || hex < end)
    });
    let region = region.unwrap();
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
    let peer = |value: &serde_json::Value| Peer {
        id: number(&value["id"]),
        store_id: number(&value["store_id"]),
        ..Peer::default()
    };
    let context = Context {
        region_id: number(&region["id"]),
        region_epoch: Some(RegionEpoch {
            conf_ver: number(&region["epoch"]["conf_ver"]),
            version: number(&region["epoch"]["version"]),
        }),
        peer: Some(peer(&region["leader"])),
        ..Context::default()
    };
    (context, region["peers"].as_array().unwrap().iter().map(peer).collect())
}

fn slots(cluster: &Cluster) -> BTreeMap<u64, usize> {
    (0..cluster.stores.len()).map(|index| (cluster.store_ident(index), index)).collect()
}

async fn connect(cluster: &Cluster, index: usize) -> TikvClient<Channel> {
    TikvClient::connect(format!("http://{}", cluster.stores[index].address)).await.unwrap()
}

async fn get(
    client: &mut TikvClient<Channel>,
    context: Context,
    key: &str,
) -> Result<Option<String>, errorpb::Error> {
    let request =
        RawGetRequest { context: Some(context), key: key.into(), ..RawGetRequest::default() };
    let answer = client.raw_get(request).await.unwrap().into_inner();
    assert_eq!(answer.error, "");
    match answer.region_error {
        Some(error) => Err(error),
        None => Ok((!answer.not_found).then(|| String::from_utf8(answer.value).unwrap())),
    }
}

async fn put(
    client: &mut TikvClient<Channel>,
    context: Context,
    key: &str,
    value: &str,
) -> Option<errorpb::Error> {
    let request = RawPutRequest {
        context: Some(context),
        key: key.into(),
        value: value.into(),
        ..RawPutRequest::default()
    };
    client.raw_put(request).await.unwrap().into_inner().region_error
}

/// Writes at whoever leads the key's region: who that is, and the way to it.
async fn write(cluster: &Cluster, key: &str, value: &str) -> (Context, TikvClient<Channel>) {
    for _ in 0..100 {
        let (context, _) = region_of(cluster, key);
        let leader = slots(cluster)[&context.peer.unwrap().store_id];
        let mut client = connect(cluster, leader).await;
        if put(&mut client, context, key, value).await.is_none() {
            return (context, client);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{key} cannot be written");
}

#[tokio::test]
async fn a_request_at_the_wrong_place_is_told_where_to_go() {
    let mut cluster = Cluster::only_pd();
    // Nobody else is elected meanwhile, however busy the machine is.
    cluster.config = QUICK.replace("\"200ms\"", "\"2s\"");
    for _ in 0..3 {
        cluster.add_store();
    }
    cluster.settle();
    let (context, peers) = region_of(&cluster, "m");
    let slots = slots(&cluster);
    let leader = context.peer.unwrap();
    let mut at_leader = connect(&cluster, slots[&leader.store_id]).await;
    assert!(put(&mut at_leader, context, "m", "1").await.is_none());
    assert_eq!(get(&mut at_leader, context, "m").await.unwrap(), Some("1".to_owned()));
    assert_eq!(get(&mut at_leader, context, "n").await.unwrap(), None);

    let follower = *peers.iter().find(|peer| peer.id != leader.id).unwrap();
    let mut at_follower = connect(&cluster, slots[&follower.store_id]).await;
    let with = |peer: Peer| Context { peer: Some(peer), ..context };
    let error = get(&mut at_follower, with(follower), "m").await.unwrap_err();
    assert_eq!(error.not_leader.unwrap().leader.unwrap().id, leader.id);
    let error = get(&mut at_follower, context, "m").await.unwrap_err();
    assert_eq!(error.store_not_match.unwrap().actual_store_id, follower.store_id);

    let mut old = context;
    old.region_epoch.as_mut().unwrap().version -= 1;
    let error = get(&mut at_leader, old, "m").await.unwrap_err();
    assert_eq!(error.epoch_not_match.unwrap().current_regions[0].id, context.region_id);
    let elsewhere = Context { region_id: 99_999, ..context };
    let error = get(&mut at_leader, elsewhere, "m").await.unwrap_err();
    assert_eq!(error.region_not_found.unwrap().region_id, 99_999);
    let error = get(&mut at_leader, context, "z").await.unwrap_err();
    assert_eq!(error.key_not_in_region.unwrap().region_id, context.region_id);
    let error = put(&mut at_leader, context, "a", "1").await.unwrap();
    assert_eq!(error.key_not_in_region.unwrap().key, b"a");
    let other = Peer { id: leader.id + 1_000, ..leader };
    let error = get(&mut at_leader, with(other), "m").await.unwrap_err();
    assert_eq!(error.mismatch_peer_id.unwrap().store_peer_id, leader.id);
}

#[tokio::test]
async fn a_paused_leader_does_not_answer_with_an_old_value() {
    let cluster = Cluster::start(3);
    cluster.settle();
    let (context, mut at_old) = write(&cluster, "m", "old").await;
    let old = slots(&cluster)[&context.peer.unwrap().store_id];
    cluster.stores[old].process.as_ref().unwrap().signal("-STOP");
    wait_for("another leader", || region_of(&cluster, "m").0.peer != context.peer);
    write(&cluster, "m", "new").await;
    // The read waits in the paused leader's socket and is answered first when it goes on.
    let read = tokio::spawn(async move { get(&mut at_old, context, "m").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.stores[old].process.as_ref().unwrap().signal("-CONT");
    match tokio::time::timeout(Duration::from_secs(PATIENCE), read).await.unwrap().unwrap() {
        Ok(value) => assert_eq!(value.as_deref(), Some("new")),
        Err(error) => assert!(error.not_leader.is_some(), "{error:?}"),
    }
}

#[test]
fn a_store_that_is_asked_to_stop_moves_its_leaders_first() {
    let mut cluster = Cluster::only_pd();
    // Longer than the test has patience: whoever waits for it fails.
    cluster.config = QUICK.replace("\"3s\"", "\"10m\"");
    for _ in 0..3 {
        cluster.add_store();
    }
    cluster.wait_replicated(3);
    let leading = (0..3).max_by_key(|index| cluster.leaders(*index)).unwrap();
    assert!(cluster.leaders(leading) > 0);
    let others: Vec<usize> = (0..3).filter(|index| *index != leading).collect();
    let mut process = cluster.stores[leading].process.take().unwrap();
    process.signal("-TERM");
    let status = process.wait().expect("it does not wait its whole timeout");
    assert!(status.success(), "{status}");
    wait_for("leaders elsewhere", || {
        others.iter().map(|index| cluster.leaders(*index)).sum::<u64>() == 5
    });
}

#[test]
fn a_store_that_has_nobody_to_lead_waits_its_whole_timeout() {
    let mut cluster = Cluster::start(1);
    let begin = Instant::now();
    let mut process = cluster.stores[0].process.take().unwrap();
    process.signal("-TERM");
    let status = process.wait().expect("ends");
    assert!(status.success(), "{status}");
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
    // Before v8.5.5 a store that is asked to stop just ends.
    cluster.version = Some("v8.5.4".to_owned());
    cluster.config = QUICK.replace("\"3s\"", "\"10m\"");
    cluster.start_store(0);
    wait_for("it leads", || {
        http(&cluster.stores[0].status, "GET", "/status", "").0 == 200 && cluster.leaders(0) == 5
    });
    let mut process = cluster.stores[0].process.take().unwrap();
    process.signal("-TERM");
    assert!(process.wait().expect("ends").success());
}
