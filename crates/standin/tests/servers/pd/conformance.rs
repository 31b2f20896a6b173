//! Does the stand-in answer as it is written in the scripts of `crates/sim/tests/conformance/pd`, and
//! does a real PD, where `TEST_PD` names one? The simulator's model is held to the same files.
//! `UPDATE=1` writes what the real PD answers.

#[path = "../../../../sim/tests/conformance/pd_call.rs"]
mod pd_call;
#[path = "../../../../sim/tests/conformance/script.rs"]
mod script;
#[path = "../../../../sim/tests/conformance/shown.rs"]
mod shown;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use self::pd_call::{Ask, Body, Call, Deed};
use self::script::Script;
use self::shown::Names;
use crate::pd::harness::{Members, Reply, Stores, ask, eventually, region, store_at};

/// How long an answer that comes soon is waited for. No test measures it.
const SOON: Duration = Duration::from_mins(2);
/// As [`SOON`], while answers are written: all that is to come has come by then.
const SURELY: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_answers_as_it_is_written() {
    compare("the stand-in", None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "TEST_PD must name a pd-server v8.5.7"]
async fn a_real_pd_answers_as_it_is_written() {
    let program = std::env::var_os("TEST_PD").expect("TEST_PD names no pd-server");
    compare("PD", Some(PathBuf::from(program))).await;
}

/// Plays all scripts side by side, each with members of its own.
async fn compare(who: &'static str, program: Option<PathBuf>) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/tests/conformance");
    let scripts = Script::all(&home.join("pd"));
    let writes = std::env::var_os("UPDATE").is_some() && program.is_some();
    let mut playing = JoinSet::new();
    for script in scripts {
        let (script, program) = (Arc::new(script), program.clone());
        playing.spawn(async move {
            let answers = play(&script, program, writes).await;
            (script, answers)
        });
    }
    let (mut calls, mut different) = (0, Vec::new());
    while let Some(played) = playing.join_next().await {
        let (script, answers) = played.unwrap();
        calls += answers.len();
        if writes {
            std::fs::write(script.path(), script.with(&answers)).unwrap();
        } else {
            different.extend(script.difference(who, &answers));
        }
    }
    println!("{calls} calls");
    different.sort();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

async fn play(script: &Script, program: Option<PathBuf>, writes: bool) -> Vec<Vec<String>> {
    let (mut stage, mut names, mut answers) = (None, Names::default(), Vec::new());
    for (line, written) in script.calls() {
        let answer = match Call::read(line, &names) {
            Call::Deed(Deed::Members(count)) => {
                stage = Some(Stage::found(count, program.as_deref()).await);
                Vec::new()
            }
            Call::Deed(deed) => stage.as_mut().unwrap().happen(deed).await.into_iter().collect(),
            Call::Ask(call) => {
                let stage = stage.as_mut().unwrap();
                let limit = if writes { SURELY } else { SOON };
                let deadline = Instant::now() + if call.soon { limit } else { Duration::ZERO };
                loop {
                    let shown = stage.answer(&call, &mut names).await;
                    if shown == written || Instant::now() >= deadline {
                        break shown;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        answers.push(answer);
    }
    answers
}

/// PD's members, and what its stores have told it.
struct Stage {
    members: Members,
    stores: Option<Stores>,
    /// The only region's `conf_ver`, which grows with every change.
    conf_ver: u64,
}

impl Stage {
    async fn found(count: usize, program: Option<&Path>) -> Self {
        let mut members = Members::prepare(count, &[]);
        for member in &mut members.all {
            member.program = program.map_or_else(|| member.program.clone(), Path::to_path_buf);
            member.start();
        }
        members.wait_for_leader().await;
        Self { members, stores: None, conf_ver: 1 }
    }

    async fn answer(&mut self, call: &Ask, names: &mut Names) -> Vec<String> {
        let url = format!("{}{}", self.members.named(&call.member).client, call.path);
        let body = if call.body.is_null() { String::new() } else { call.body.to_string() };
        let Some(Reply { status, body, .. }) = ask(&call.method, &url, &body, &[]).await else {
            return vec!["no answer".to_owned()];
        };
        let body = match serde_json::from_str::<Value>(&body) {
            Ok(value) => Body::Json(value),
            Err(_) if body.is_empty() => Body::Empty,
            Err(_) => Body::Text(body),
        };
        call.show(status, body, names)
    }

    /// What a store is told, if it is told something.
    async fn happen(&mut self, deed: Deed) -> Option<String> {
        match deed {
            Deed::Members(_) => panic!("there are members already"),
            Deed::Lead(name) => self.lead(&name).await,
            Deed::Kill(name) => self.members.named(&name).kill(),
            Deed::Start(name) => {
                self.members.named(&name).start();
                self.members.wait_for_leader().await;
            }
            Deed::Register { id, ordinal, version } => {
                let mut store = store_at(id, ordinal);
                store.version = version;
                let refused = if let Some(stores) = &mut self.stores {
                    stores.put(store).await
                } else {
                    let mut stores = Stores::of(&mut self.members).await;
                    let refused = stores.bootstrap(store).await;
                    self.stores = Some(stores);
                    refused
                };
                return refused.map(|error| pd_call::kind_of(&error.message));
            }
            Deed::Beat(stores) => {
                for id in stores {
                    if let Some(error) = self.stores.as_mut().unwrap().beat(id).await {
                        return Some(pd_call::kind_of(&error.message));
                    }
                }
            }
            Deed::Region { stores, pending } => {
                self.conf_ver += 2;
                let peer = |store: &u64| store + 4;
                let peers: Vec<_> = stores.iter().map(|store| (peer(store), *store)).collect();
                let region = region(4, &peers, (self.conf_ver, 1));
                let pending: Vec<_> = pending.iter().map(peer).collect();
                self.stores.as_ref().unwrap().report(&region, peers[0].0, &pending);
            }
        }
        None
    }

    /// A transfer, and the stores' new connection to who leads then.
    async fn lead(&mut self, name: &str) {
        let member = &*self.members.named(name);
        eventually("the leadership moves", || async {
            let reply = member.get("/pd/api/v1/leader").await;
            let leads = reply.status == 200 && reply.json()["name"] == *name;
            if !leads {
                member.post(&format!("/pd/api/v1/leader/transfer/{name}"), "").await;
            }
            leads.then_some(())
        })
        .await;
        if self.stores.is_some() {
            self.stores = Some(Stores::of(&mut self.members).await);
        }
    }
}
