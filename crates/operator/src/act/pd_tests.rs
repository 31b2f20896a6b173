//! What is sent to PD for each step, and what does each answer mean?

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::uri::Authority;
use serde_json::{Value, json};
use tikv_operator_core::{
    plan::Step,
    report::FailureKind,
    world::{PdMemberId, StoreId, StoreState},
};

use super::bench::{act, address, again, hands, look, pd, take, take_fenced, take_through};
use crate::{
    budget::Limits,
    fake::{Answer, Fake},
    lease::Fence,
};

const STORE: StoreId = StoreId(3);

fn lock() -> Step {
    Step::LockMaintenance { kind: "restart".to_owned(), id: "u-1".to_owned() }
}

fn unlock() -> Step {
    Step::UnlockMaintenance { kind: "restart".to_owned(), id: "u-1".to_owned() }
}

fn offline() -> Step {
    Step::OfflineStore { store: STORE, address: address(2) }
}

fn set(value: Value) -> Step {
    Step::SetPdConfig { item: "schedule.max-store-down-time".to_owned(), value }
}

fn remove() -> Step {
    Step::RemovePdMember { id: PdMemberId(13), name: "c-pd-2".to_owned() }
}

#[tokio::test]
async fn each_step_is_one_call() {
    let labels = [("zone".to_owned(), "z1".to_owned())].into();
    for (step, call) in [
        (
            Step::EvictLeaders { store: STORE },
            r#"POST /pd/api/v1/schedulers {"name":"evict-leader-scheduler","store_id":3}"#,
        ),
        (
            Step::StopEvicting { store: STORE },
            "DELETE /pd/api/v1/schedulers/evict-leader-scheduler-3",
        ),
        (offline(), "DELETE /pd/api/v1/store/3"),
        (Step::KeepStore { store: STORE }, "POST /pd/api/v1/store/3/state?state=Up"),
        (
            Step::TransferPdLeader { to: "c-pd-1".to_owned() },
            "POST /pd/api/v1/leader/transfer/c-pd-1",
        ),
        (remove(), "DELETE /pd/api/v1/members/id/13"),
        (
            Step::SetStoreLabels { store: STORE, labels },
            r#"POST /pd/api/v1/store/3/label {"zone":"z1"}"#,
        ),
        (lock(), "PUT /pd/api/v2/maintenance/restart/u-1 {}"),
        (unlock(), "DELETE /pd/api/v2/maintenance/restart/u-1"),
    ] {
        let fake = Fake::run(pd(again(3, 4), |_| None)).await;
        assert_eq!(take_through(&fake, &again(3, 4), step).await, Ok(()), "{call}");
        assert_eq!(fake.changes(), [call]);
        let hosts = fake.asked().into_iter().map(|asked| asked.host);
        assert!(hosts.into_iter().all(|host| host == "c-pd-0.c-pd-peer.ns.svc:2379"));
    }
}

/// I7: also where the lease ends between the last look at PD and the call.
#[tokio::test]
async fn nothing_is_sent_to_pd_or_a_store_without_the_lease() {
    for step in [offline(), remove(), lock(), set(json!("20m")), configure("64MB")] {
        let fake = Fake::run(pd(again(3, 4), |_| None)).await;
        let members = [fake.address.clone()];
        let failure = take_fenced(&again(3, 4), &members, step, Fence::new()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unavailable);
        assert!(failure.message.contains("lease"), "{failure:?}");
        assert_eq!(fake.changes(), [""; 0]);
    }
    let fence = open();
    let at_the_look = fence.clone();
    let fake = Fake::run(pd(again(3, 4), move |asked| {
        if asked.line.ends_with("/stores/check") {
            at_the_look.close();
        }
        None
    }))
    .await;
    let members = [fake.address.clone()];
    let failure = take_fenced(&again(3, 4), &members, offline(), fence).await.unwrap_err();
    assert!(failure.message.contains("lease"), "{failure:?}");
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test]
async fn the_next_member_is_not_asked_when_the_lease_ended_meanwhile() {
    let fence = open();
    let at_the_call = fence.clone();
    let first = Fake::run(pd(again(3, 4), move |asked| {
        (!asked.line.starts_with("GET ")).then(|| {
            at_the_call.close();
            Some((503, "no leader".to_owned()))
        })
    }))
    .await;
    let second = Fake::run(pd(again(3, 4), |_| None)).await;
    let members = [first.address.clone(), second.address.clone()];
    assert!(take_fenced(&again(3, 4), &members, lock(), fence).await.is_err());
    assert_eq!(first.changes().len(), 1);
    assert_eq!(second.changes(), [""; 0]);
}

fn open() -> Fence {
    let fence = Fence::new();
    fence.open(tokio::time::Instant::now() + std::time::Duration::from_mins(1));
    fence
}

fn configure(value: &str) -> Step {
    Step::SetStoreConfig {
        store: STORE,
        status_address: "127.0.0.1:9".to_owned(),
        items: [("server.snap-io-max-bytes-per-sec".to_owned(), json!(value))].into(),
    }
}

/// How the steps of a pass ended: their names, with a `!` where they failed.
fn ended(acted: &super::Acted) -> Vec<String> {
    let words = acted.outcomes.iter().map(|outcome| {
        let mark = if outcome.result.is_ok() { "" } else { "!" };
        format!("{mark}{}", outcome.step.name())
    });
    words.collect()
}

#[tokio::test]
async fn a_refused_step_holds_up_what_builds_on_it_and_is_given_back() {
    let refusing = Fake::run(pd(again(3, 5), |asked| {
        let refused = asked.line == "DELETE /pd/api/v1/store/3" || asked.body.contains("wrong");
        refused.then(|| Some((400, json!("no").to_string())))
    }))
    .await;
    let wrong = Step::SetPdConfig { item: "wrong".to_owned(), value: json!(1) };
    let steps = [
        wrong.clone(),
        offline(),
        Step::StopEvicting { store: STORE },
        Step::StopEvicting { store: StoreId(2) },
        lock(),
    ];
    let passes = act(&again(3, 5), &refusing, &[&steps, &steps], 1).await;
    for acted in passes {
        // The store that PD keeps is not taken out of the scheduler; the other one is.
        let want = ["!set-pd-config", "!offline-store", "stop-evicting", "lock-maintenance"];
        assert_eq!(ended(&acted), want);
        let message = &acted.failure().unwrap().message;
        assert!(message.contains("wrong") && !message.contains("limit"), "{message}");
        assert!(acted.did_something());
    }
    assert_eq!(
        refusing.changes().iter().filter(|c| c.starts_with("DELETE /pd/api/v1/store/")).count(),
        2
    );

    let agreeing = Fake::run(pd(again(3, 5), |_| None)).await;
    let steps = [offline(), lock()];
    let passes = act(&again(3, 5), &agreeing, &[&steps, &steps], 1).await;
    let last = passes.last().unwrap();
    assert_eq!(ended(last), ["!offline-store", "lock-maintenance"]);
    assert!(last.failure().unwrap().message.contains("limit of 1"), "{last:?}");
}

#[tokio::test]
async fn a_server_that_cannot_ends_the_pass() {
    let fake = Fake::run(pd(again(3, 5), |asked| {
        asked.body.contains("wrong").then(|| Some((500, "no".to_owned())))
    }))
    .await;
    let wrong = Step::SetPdConfig { item: "wrong".to_owned(), value: json!(1) };
    let passes = act(&again(3, 5), &fake, &[&[wrong, lock()]], 1).await;
    assert_eq!(ended(&passes[0]), ["!set-pd-config"]);
    assert_eq!(passes[0].failure().unwrap().kind, FailureKind::Unavailable);
}

/// A refusal is no failure of the operator: whoever watches its failures is not to be woken by a
/// server that says no, or by a world that moved on.
#[tokio::test]
async fn steps_are_counted_by_what_became_of_them() {
    let fake = Fake::run(pd(again(3, 5), |asked| {
        let body = |words: &str| asked.body.contains(words);
        body("wrong")
            .then(|| Some((400, "no".to_owned())))
            .or_else(|| body("ill").then(|| Some((500, "no".to_owned()))))
    }))
    .await;
    let set = |item: &str| Step::SetPdConfig { item: item.to_owned(), value: json!(1) };
    let moved = Step::OfflineStore { store: STORE, address: address(9) };
    let hands = hands(None, open(), Limits { per_cluster: 9, overall: 9 });
    let look = look(&again(3, 5), std::slice::from_ref(&fake.address));
    for step in [lock(), set("wrong"), moved, set("ill")] {
        hands.act(&look, &[step]).await;
    }
    let text = hands.kubernetes.metrics().encode().unwrap();
    let mut counted: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("tikv_operator_steps_total")).collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            r#"{step="lock-maintenance",outcome="ok"} 1"#,
            r#"{step="offline-store",outcome="refused"} 1"#,
            r#"{step="set-pd-config",outcome="failed"} 1"#,
            r#"{step="set-pd-config",outcome="refused"} 1"#,
        ]
    );
}

#[tokio::test]
async fn what_is_in_force_already_is_done() {
    let kept = "[PD:etcd:ErrEtcdMemberRemove]etcdserver: member not found";
    for (step, status, body) in [
        (Step::StopEvicting { store: STORE }, 404, "null".to_owned()),
        (remove(), 500, json!(kept).to_string()),
        (unlock(), 404, json!("No maintenance task is running for this type").to_string()),
        (unlock(), 409, json!({ "error": "Task ID does not match" }).to_string()),
    ] {
        let answer = Some((status, body));
        let script = move |asked: &crate::fake::Asked| -> Option<Answer> {
            (!asked.line.starts_with("GET ")).then(|| answer.clone())
        };
        let fake = Fake::run(pd(again(3, 4), script)).await;
        assert_eq!(take_through(&fake, &again(3, 4), step.clone()).await, Ok(()), "{step:?}");
        assert_eq!(fake.changes().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_pds_words_and_no_other_member_is_asked() {
    let not_enough =
        "[PD:core:ErrStoresNotEnough]can not remove store 3 since there are only 3 up stores";
    for (step, status, body, kind, words) in [
        (offline(), 400, json!(not_enough).to_string(), FailureKind::Refused, "only 3 up stores"),
        (
            Step::KeepStore { store: STORE },
            410,
            json!("[PD:core:ErrStoreRemoved]store 3 has been removed").to_string(),
            FailureKind::Stale,
            "has been removed",
        ),
        (
            set(json!("20m")),
            400,
            json!({ "code": "input", "msg": "config item not found", "data": null }).to_string(),
            FailureKind::Refused,
            "config item not found",
        ),
        (
            remove(),
            500,
            json!("[PD:etcd:ErrEtcdMemberRemove]etcdserver: unhealthy cluster").to_string(),
            FailureKind::Unavailable,
            "unhealthy cluster",
        ),
        (
            Step::StopEvicting { store: STORE },
            404,
            "404 page not found\n".to_owned(),
            FailureKind::Stale,
            "page not found",
        ),
    ] {
        let answer = Some((status, body));
        let script = move |asked: &crate::fake::Asked| -> Option<Answer> {
            (!asked.line.starts_with("GET ")).then(|| answer.clone())
        };
        let fake = Fake::run(pd(again(3, 4), script)).await;
        let other = Fake::run(pd(again(3, 4), |_| None)).await;
        let members = [fake.address.clone(), other.address.clone()];
        let failure = take(&again(3, 4), &members, step.clone()).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
        assert_eq!(other.changes(), [""; 0], "{step:?}");
    }
}

#[tokio::test]
async fn a_member_that_cannot_is_passed_over() {
    let no_leader = "[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader\n";
    let leaderless = Fake::run(move |_| Some((503, no_leader.to_owned()))).await;
    let confusion = "[PD:apiutil:ErrRedirectToNotLeader]redirect to not leader";
    let confused = Fake::run(pd(again(3, 4), move |asked| {
        (!asked.line.starts_with("GET ")).then(|| Some((500, confusion.to_owned())))
    }))
    .await;
    let closed: Authority = "127.0.0.1:9".parse().unwrap();
    let good = Fake::run(pd(again(3, 4), |_| None)).await;
    let members =
        [closed, leaderless.address.clone(), confused.address.clone(), good.address.clone()];
    assert_eq!(take(&again(3, 4), &members, offline()).await, Ok(()));
    assert_eq!(good.changes(), ["DELETE /pd/api/v1/store/3"]);

    let failure = take(&again(3, 4), &members[..2], offline()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.message.contains("could not be read again"), "{failure:?}");
    let failure = take(&again(3, 4), &[], lock()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
}

#[tokio::test]
async fn nothing_is_sent_where_pd_is_not_as_it_was() {
    let mut moved = again(3, 4);
    moved.stores.get_mut(&STORE).unwrap().address = address(9);
    let fake = Fake::run(pd(moved, |_| None)).await;
    let failure = take_through(&fake, &again(3, 4), offline()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Stale);
    assert!(failure.message.contains("c-tikv-9"), "{failure:?}");
    assert_eq!(fake.changes(), [""; 0]);
}

/// The change is made and its answer never arrives; the next pass takes the same step again.
#[tokio::test]
async fn a_lost_answer_and_the_same_step_again() {
    let lost = AtomicBool::new(false);
    let (before, mut after) = (again(3, 4), again(3, 4));
    after.stores.get_mut(&STORE).unwrap().state = StoreState::Offline;
    let (then, now) = (pd(before.clone(), |_| None), pd(after, |_| None));
    let fake = Fake::run(move |asked| {
        if asked.line.starts_with("DELETE ") {
            lost.store(true, Ordering::SeqCst);
            return None;
        }
        if lost.load(Ordering::SeqCst) { now(asked) } else { then(asked) }
    })
    .await;
    let failure = take_through(&fake, &before, offline()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert_eq!(take_through(&fake, &before, offline()).await, Ok(()));
    assert_eq!(fake.changes().len(), 1, "it was not sent twice");
}

#[tokio::test]
async fn a_lock_that_is_ours_already_is_taken() {
    for (id, want) in [("u-1", Ok(())), ("someone", Err(FailureKind::Refused))] {
        let conflict =
            json!({ "error": "Another maintenance task is already running" }).to_string();
        let held = json!([{ "type": "restart", "id": id }]).to_string();
        let fake = Fake::run(move |asked| match asked.line.as_str() {
            "GET /pd/api/v2/maintenance" => Some((200, held.clone())),
            _ => Some((409, conflict.clone())),
        })
        .await;
        let taken = take_through(&fake, &again(3, 4), lock()).await;
        if let Err(failure) = &taken {
            assert!(failure.message.contains("restart/someone"), "{failure:?}");
        }
        assert_eq!(taken.map_err(|failure| failure.kind), want);
    }
}

#[tokio::test]
async fn a_setting_of_pd_is_read_back_from_the_leader() {
    for (live, want) in [("20m0s", Ok(())), ("30m0s", Err(FailureKind::Refused))] {
        let fake = Fake::run(pd(again(3, 4), move |asked| {
            let config = json!({ "schedule": { "max-store-down-time": live } });
            (asked.line == "GET /pd/api/v1/config").then(|| Some((200, config.to_string())))
        }))
        .await;
        let taken = take_through(&fake, &again(3, 4), set(json!("20m"))).await;
        if let Err(failure) = &taken {
            assert!(failure.message.contains("30m0s"), "{failure:?}");
        }
        assert_eq!(taken.map_err(|failure| failure.kind), want);
        let change = r#"POST /pd/api/v1/config {"schedule.max-store-down-time":"20m"}"#;
        assert_eq!(fake.changes(), [change]);
    }
}

#[tokio::test]
async fn settings_of_a_store_are_set_without_its_file_and_read_back() {
    let step = |value: &str| Step::SetStoreConfig {
        store: STORE,
        status_address: "c-tikv-2.c-tikv-peer.ns.svc:20180".to_owned(),
        items: [("server.snap-io-max-bytes-per-sec".to_owned(), json!(value))].into(),
    };
    let fake = Fake::run(|asked| match asked.line.as_str() {
        "GET /config" => {
            let config = json!({ "server": { "snap-io-max-bytes-per-sec": "64MiB" } });
            Some((200, config.to_string()))
        }
        _ if asked.body.contains("abc") => {
            Some((500, "failed to update, error: \"failed to parse: abc\"".to_owned()))
        }
        _ => Some((200, String::new())),
    })
    .await;
    assert_eq!(take_through(&fake, &again(3, 4), step("64MB")).await, Ok(()));
    let change = r#"POST /config?persist=false {"server.snap-io-max-bytes-per-sec":"64MB"}"#;
    assert_eq!(fake.changes(), [change]);
    let hosts: Vec<_> = fake.asked().into_iter().map(|asked| asked.host).collect();
    assert_eq!(hosts, ["c-tikv-2.c-tikv-peer.ns.svc:20180"; 2]);

    let failure = take_through(&fake, &again(3, 4), step("32MiB")).await.unwrap_err();
    assert!(failure.message.contains("says \"64MiB\" afterwards"), "{failure:?}");
    let failure = take_through(&fake, &again(3, 4), step("abc")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains("failed to parse: abc"), "{failure:?}");
}

/// TiKV before v7.4 does not know `persist=false`: the item is in force and the answer is 500.
#[tokio::test]
async fn what_a_store_has_counts_and_not_that_it_could_not_write_its_file() {
    for words in [
        // v5.4 to v7.3, and what came before.
        "config changed, but failed to persist change due to err: Os { code: 30, .. }",
        "failed to update, error: Os { code: 30, message: \"Read-only file system\" }",
    ] {
        let fake = Fake::run(move |asked| {
            let config = json!({ "server": { "snap-io-max-bytes-per-sec": "64MiB" } });
            let got = asked.line.starts_with("GET ");
            Some(if got { (200, config.to_string()) } else { (500, words.to_owned()) })
        })
        .await;
        assert_eq!(take_through(&fake, &again(3, 4), configure("64MB")).await, Ok(()));
        let failure = take_through(&fake, &again(3, 4), configure("32MB")).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("code: 30"), "{failure:?}");
    }
}

/// A PD that never answers a change holds a step up for a bounded time.
#[tokio::test]
async fn an_answer_that_is_not_one_ends() {
    let count = AtomicUsize::new(0);
    let fake = Fake::run(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Some((200, "x".repeat(1 << 20)))
    })
    .await;
    let failure = take_through(&fake, &again(3, 4), lock()).await.unwrap_err();
    assert!(failure.message.contains("longer than"), "{failure:?}");
}
