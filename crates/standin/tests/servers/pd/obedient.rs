//! Stores that obey: what PD sends for a region has happened in their next report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use standin::proto::eraftpb::ConfChangeType;
use standin::proto::metapb::{Peer, PeerRole, Region};
use standin::proto::pdpb::RegionHeartbeatResponse;

use crate::pd::harness::{Member, Members, RegionStream, Stores, eventually, region, store};

/// Between two looks, and half the time between two heartbeats.
const MOMENT: Duration = Duration::from_millis(100);

/// Regions as their leaders know them: the region and its leader's peer id.
pub type World = Arc<Mutex<Vec<(Region, u64)>>>;

/// Stores that obey PD, over one stream per store.
pub struct Obedient {
    pub members: Members,
    pub stores: Stores,
    pub world: World,
    pub silent: Arc<Mutex<Vec<u64>>>,
    /// Stores whose peers never catch up.
    pub lagging: Arc<Mutex<Vec<u64>>>,
    pub stopping: Arc<Mutex<Vec<u64>>>,
    pub commands: Arc<Mutex<Vec<RegionHeartbeatResponse>>>,
    pub stop: Arc<AtomicBool>,
}

impl Drop for Obedient {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn apply(world: &World, silent: &Mutex<Vec<u64>>, command: &RegionHeartbeatResponse) {
    let mut world = world.lock().unwrap();
    let Some((region, leader)) = world.iter_mut().find(|(r, _)| r.id == command.region_id) else {
        return;
    };
    if command.region_epoch != region.region_epoch {
        return;
    }
    // A peer that does not answer does not take leadership over.
    let to = command.transfer_leader.as_ref().map(|transfer| *transfer.peer.as_ref().unwrap());
    if let Some(to) = to.filter(|to| !silent.lock().unwrap().contains(&to.store_id)) {
        *leader = to.id;
    }
    if let Some(change) = &command.change_peer {
        let peer = change.peer.unwrap();
        match change.change_type() {
            ConfChangeType::AddLearnerNode => region.peers.push(peer),
            ConfChangeType::AddNode => {
                let learner = region.peers.iter_mut().find(|known| known.id == peer.id);
                let learner = learner.expect("a peer learns before it votes");
                assert_eq!(learner.role(), PeerRole::Learner);
                learner.set_role(PeerRole::Voter);
            }
            ConfChangeType::RemoveNode => {
                assert_ne!(peer.id, *leader, "a leader is never removed");
                region.peers.retain(|known| known.id != peer.id);
            }
        }
        region.region_epoch.as_mut().unwrap().conf_ver += 1;
    }
}

impl Obedient {
    /// A cluster of `stores` stores with `regions` regions of one replica on store 1.
    pub async fn start(stores: u64, regions: u64, flags: &[&str]) -> Self {
        let mut members = Members::start(1, flags).await;
        let mut client = Stores::of(&mut members).await;
        assert_eq!(client.bootstrap(store(1)).await, None);
        for id in 2..=stores {
            assert_eq!(client.put(store(id)).await, None);
        }
        client.beat_all(&(1..=stores).collect::<Vec<_>>()).await;
        let key =
            |n: u64| if n == 0 || n == regions { Vec::new() } else { n.to_be_bytes().to_vec() };
        let split = |n: u64| {
            // Far from the ids that PD gives to new peers.
            let (id, peer) = (1_000_004 + 10 * n, 1_000_005 + 10 * n);
            let mut part = region(id, &[(peer, 1)], (1, 1 + regions));
            (part.start_key, part.end_key) = (key(n), key(n + 1));
            (part, peer)
        };
        let world: World = Arc::new(Mutex::new((0..regions).map(split).collect()));
        let this = Self {
            members,
            stores: client,
            world,
            silent: Arc::default(),
            lagging: Arc::default(),
            stopping: Arc::default(),
            commands: Arc::default(),
            stop: Arc::default(),
        };
        for id in 1..=stores {
            this.run_store(id);
        }
        this
    }

    pub fn run_store(&self, id: u64) {
        let mut client = self.stores.clone();
        let (world, silent) = (Arc::clone(&self.world), Arc::clone(&self.silent));
        let lagging = Arc::clone(&self.lagging);
        let (commands, stop) = (Arc::clone(&self.commands), Arc::clone(&self.stop));
        let stopping = Arc::clone(&self.stopping);
        tokio::spawn(async move {
            let mut stream = None;
            while !stop.load(Ordering::SeqCst) {
                if silent.lock().unwrap().contains(&id) {
                    tokio::time::sleep(MOMENT).await;
                    continue;
                }
                let is_stopping = stopping.lock().unwrap().contains(&id);
                let Some(open) = beat(&mut client, id, is_stopping, stream.take()).await else {
                    tokio::time::sleep(MOMENT).await;
                    continue;
                };
                let open = stream.insert(open);
                if !report(open, id, &world, (&silent, &lagging)).await {
                    stream = None;
                    continue;
                }
                let next = tokio::time::timeout(2 * MOMENT, open.answers.message()).await;
                if let Ok(Ok(Some(command))) = next {
                    apply(&world, &silent, &command);
                    commands.lock().unwrap().push(command);
                } else if next.is_ok() {
                    stream = None;
                }
            }
        });
    }

    pub fn pd(&self) -> &Member {
        &self.members.all[0]
    }

    /// The store says nothing any more, and the others elect leaders for the regions that it led.
    pub fn silence(&self, id: u64) {
        let mut world = self.world.lock().unwrap();
        let mut silent = self.silent.lock().unwrap();
        silent.push(id);
        for (region, leader) in world.iter_mut() {
            let leads = region.peers.iter().any(|peer| peer.id == *leader && peer.store_id == id);
            let votes =
                |peer: &&Peer| peer.role() == PeerRole::Voter && !silent.contains(&peer.store_id);
            if let Some(next) = region.peers.iter().find(votes).filter(|_| leads) {
                *leader = next.id;
            }
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        self.pd().get(&format!("/pd/api/v1/{path}")).await.json()
    }

    pub async fn post(&self, path: &str, body: &str) {
        let reply = self.pd().post(&format!("/pd/api/v1/{path}"), body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    pub async fn leaders(&self, id: u64) -> u64 {
        self.get(&format!("store/{id}")).await["status"]["leader_count"].as_u64().unwrap()
    }

    /// Waits until every region has `voters` voters and no learner, in PD and in the stores.
    pub async fn await_voters(&self, voters: usize) {
        eventually(&format!("{voters} voters everywhere"), || async {
            let is_whole = |(region, _): &(Region, u64)| {
                region.peers.len() == voters
                    && region.peers.iter().all(|peer| peer.role() == PeerRole::Voter)
            };
            let whole = self.world.lock().unwrap().iter().all(is_whole);
            let replicated = self.get("regions/replicated?startKey=&endKey=").await;
            (whole && replicated == "REPLICATED").then_some(())
        })
        .await;
    }
}

/// A heartbeat, and the stream that is open or opened again. `None` while PD has no leader: on a slow
/// disk it loses that for a moment, and with it all streams.
async fn beat(
    client: &mut Stores,
    id: u64,
    is_stopping: bool,
    stream: Option<RegionStream>,
) -> Option<RegionStream> {
    client.try_beat(id, is_stopping).await.ok()?;
    match stream {
        Some(stream) => Some(stream),
        None => client.try_regions().await.ok(),
    }
}

/// Reports the regions that a store leads, unless PD has ended the stream; peers on silent stores are down for a second.
async fn report(
    stream: &RegionStream,
    id: u64,
    world: &World,
    (silent, lagging): (&Mutex<Vec<u64>>, &Mutex<Vec<u64>>),
) -> bool {
    let regions = world.lock().unwrap().clone();
    let silent = silent.lock().unwrap().clone();
    let lagging = lagging.lock().unwrap().clone();
    for (region, leader) in regions {
        let leads = region.peers.iter().any(|peer| peer.id == leader && peer.store_id == id);
        if leads {
            let is_silent = |peer: &&Peer| silent.contains(&peer.store_id);
            let down = region.peers.iter().filter(is_silent).map(|peer| (peer.id, 1));
            let behind = region.peers.iter().filter(|peer| lagging.contains(&peer.store_id));
            let behind: Vec<u64> = behind.map(|peer| peer.id).collect();
            let down: Vec<_> = down.collect();
            if !stream.try_report(&region, leader, &behind, &down).await {
                return false;
            }
        }
    }
    true
}
