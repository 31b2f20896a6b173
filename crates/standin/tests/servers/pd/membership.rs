//! Do members start, join, lead and end as PD's do?

use crate::pd::harness::{Member, Members, Stores, ask, eventually, free_url, store};

/// The id that `member` gives, once it knows who leads.
async fn cluster_id(member: &Member) -> u64 {
    eventually("the cluster id", || async {
        let reply = member.try_get("/pd/api/v1/cluster").await?;
        (reply.status == 200).then(|| reply.json()["id"].as_u64().unwrap())
    })
    .await
}

/// The members that `member` lists, once there are `count`.
async fn await_members(member: &Member, count: usize) {
    eventually("the member list", || async {
        let reply = member.try_get("/pd/api/v1/members").await?;
        (reply.status == 200 && reply.json()["members"].as_array()?.len() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_and_comes_back_without_asking_anybody() {
    let mut members = Members::start(1, &[]).await;
    let id = cluster_id(&members.all[0]).await;
    assert!(id > 1 << 53, "{id} would survive a parser of doubles");
    let mut joining = members.joining("pd-2");
    joining.start();
    await_members(&joining, 2).await;
    assert_eq!(cluster_id(&joining).await, id);
    // Restarted with data, `--join` is not looked at: it may point nowhere.
    joining.kill();
    joining.flags = vec!["--join=http://127.0.0.1:1".into()];
    joining.start();
    await_members(&joining, 2).await;
    // Without its data the same name is refused, for the name is listed.
    joining.kill();
    joining.wipe();
    joining.flags = vec![format!("--join={}", members.all[0].client)];
    joining.start();
    assert_eq!(joining.exit().await.unwrap().code(), Some(1));
    assert!(joining.said().contains("missing data or join a duplicated pd"), "{}", joining.said());
    assert_eq!(members.any().get("/pd/api/v1/ping").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founding_member_without_its_data_does_not_found_again() {
    let mut members = Members::start(3, &[]).await;
    let id = cluster_id(members.any()).await;
    members.all[2].kill();
    members.all[2].wipe();
    members.all[2].start();
    let lost = &mut members.all[2];
    assert_eq!(lost.exit().await.unwrap().code(), Some(1));
    assert!(lost.said().contains("has already been bootstrapped"), "{}", lost.said());
    // The whole cluster stopped and started again is the same cluster.
    for member in &mut members.all {
        member.kill();
    }
    members.all[0].start();
    members.all[1].start();
    members.wait_for_leader().await;
    assert_eq!(cluster_id(members.any()).await, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_wrongly_is_an_error() {
    let home = tempfile::Builder::new().prefix("pd").tempdir().unwrap();
    let fails = |flags: Vec<String>, why: &'static str| {
        let mut member = Member::new("pd-1", home.path());
        member.flags = flags;
        async move {
            member.start();
            let status = member.exit().await.unwrap();
            assert_eq!(status.code(), Some(1), "{why}");
            assert!(member.said().contains(why), "{}", member.said());
        }
    };
    let both = ["--join=http://a:2379", "--initial-cluster=pd-1=http://a:2380"];
    fails(both.map(str::to_owned).into(), "can not be provided at the same time").await;
    let own = Member::new("pd-1", home.path());
    fails(
        vec![format!("--join={}", own.client), format!("--advertise-client-urls={}", own.client)],
        "join self",
    )
    .await;
    fails(vec![format!("--join={}", free_url())], "no member answers").await;
    let version = std::process::Command::new(env!("CARGO_BIN_EXE_pd-server"))
        .args(["-V", "--as-version=v6.5.0"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("Release Version: v6.5.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_ends_with_its_member() {
    let mut members = Members::start(1, &[]).await;
    let runs = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    };
    let etcd = children(members.all[0].pid());
    assert!(runs(&etcd));
    members.all[0].kill();
    eventually("etcd dies of kill -9 too", || async { (!runs(&etcd)).then_some(()) }).await;
    for (signal, code) in [("-TERM", 0), ("-INT", 1)] {
        members.all[0].start();
        members.wait_for_leader().await;
        let etcd = children(members.all[0].pid());
        members.all[0].signal(signal);
        let status = members.all[0].exit().await.unwrap();
        assert_eq!(status.code(), Some(code), "{signal}");
        assert!(!runs(&etcd), "etcd is left over after {signal}");
    }
}

/// Process ids of a process's children.
fn children(pid: u32) -> String {
    let found = std::process::Command::new("ps")
        .args(["-o", "pid=", "--ppid", &pid.to_string()])
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_ends_with_its_etcd_and_only_a_removed_one_goes_on() {
    let mut members = Members::start(3, &[]).await;
    let leader = members.wait_for_leader().await;
    let others = members.all.iter().map(|member| member.name.clone());
    let others: Vec<String> = others.filter(|name| *name != leader).collect();
    let path = format!("/pd/api/v1/members/name/{}", others[0]);
    eventually("the removal", || async {
        let url = format!("{}{path}", members.all[0].client);
        (ask("DELETE", &url, "", &[]).await?.status == 200).then_some(())
    })
    .await;
    let removed = members.named(&others[0]);
    eventually("it notices its removal", || async {
        removed.said().contains("this member was removed").then_some(())
    })
    .await;
    assert!(members.named(&others[0]).is_running());
    // Those that stay have heard of the removal too.
    for name in [&others[1], &leader] {
        let member = members.named(name);
        let etcd = children(member.pid());
        let killed = std::process::Command::new("kill").args(["-9", &etcd]).status().unwrap();
        assert!(killed.success());
        assert_eq!(member.exit().await.expect("it ends").code(), Some(1), "{name}");
        assert!(member.said().contains("etcd ended"), "{}", member.said());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_transferred_and_unknown_members_are_refused() {
    let mut members = Members::start(3, &[]).await;
    let leads = |name: &'static str, members: &mut Members| {
        let urls: Vec<String> = members.all.iter().map(|m| m.client.clone()).collect();
        async move {
            eventually(name, || async {
                let url = format!("{}/pd/api/v1/members", urls[0]);
                let reply = ask("GET", &url, "", &[]).await?;
                let shown = (reply.status == 200).then(|| reply.json())?;
                (shown["leader"]["name"] == name && shown["etcd_leader"]["name"] == name)
                    .then_some(())
            })
            .await;
        }
    };
    let moved = members.any().post("/pd/api/v1/leader/transfer/pd-3", "").await;
    assert_eq!((moved.status, moved.body.trim()), (200, "\"The transfer command is submitted.\""));
    leads("pd-3", &mut members).await;
    let unknown = members.any().delete("/pd/api/v1/members/id/12345").await;
    assert_eq!(unknown.status, 500);
    assert!(
        unknown.body.contains("ErrEtcdMemberRemove]etcdserver: member not found"),
        "{unknown:?}"
    );
    assert_eq!(members.any().delete("/pd/api/v1/members/id/x").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_answers_for_the_leader_unless_told_not_to() {
    let mut members = Members::start(2, &[]).await;
    let leader = members.wait_for_leader().await;
    let follower = members.all.iter().find(|member| member.name != leader).unwrap().client.clone();
    let get = |path: &'static str, header: Option<(&'static str, &'static str)>| {
        let url = format!("{follower}{path}");
        async move { ask("GET", &url, "", header.as_slice()).await.unwrap() }
    };
    let own = Some(("PD-Allow-follower-handle", "true"));
    let mut stores = Stores::of(&mut members).await;
    assert_eq!(stores.bootstrap(store(1)).await, None);
    assert_eq!(get("/pd/api/v1/stores", None).await.json()["count"], 1);
    let refused = get("/pd/api/v1/stores", own).await;
    assert_eq!(refused.status, 500);
    assert!(refused.body.contains("ErrNotBootstrapped"));
    for path in ["members", "leader", "config", "regions/count"] {
        let path: &'static str = format!("/pd/api/v1/{path}").leak();
        assert_eq!(get(path, own).await.status, 200, "{path}");
    }
    let looped = get("/pd/api/v1/stores", Some(("PD-Redirector", "pd-9"))).await;
    assert_eq!(looped.status, 500);
    let text = "[PD:apiutil:ErrRedirectToNotLeader]redirect to not leader";
    assert_eq!(looped.body.trim(), text);
    assert_eq!(get("/pd/api/v1/no/such/path", None).await.body.trim(), "404 page not found");
    let error = Stores::connect(&follower)
        .await
        .client
        .is_bootstrapped(standin::proto::pdpb::IsBootstrappedRequest { header: stores.header() })
        .await
        .unwrap_err();
    assert!(error.message().contains("not leader"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_v8_5_5_a_followers_health_is_the_leaders() {
    let mut members = Members::start(2, &["--as-version=v8.5.0"]).await;
    let leader = members.wait_for_leader().await;
    let follower = members.all.iter().position(|member| member.name != leader).unwrap();
    assert_eq!(members.all[follower].get("/pd/api/v1/health").await.status, 200);
    members.named(&leader).kill();
    eventually("no leader, no health", || async {
        (members.all[follower].get("/pd/api/v1/health").await.status == 503).then_some(())
    })
    .await;
}
