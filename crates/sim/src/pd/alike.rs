//! What of PD decides what happens next?

use super::{
    Cluster, DataDir, Ensemble, JoinFile, Member, Minted, Peer, Process, Region, Stage, Store,
};
use crate::search::{Alike, Likeness};

impl Alike for Ensemble {
    fn tell(&self, to: &mut Likeness) {
        let Self {
            fingerprint,
            members,
            cluster_id,
            leader,
            leader_since,
            leaderless_since,
            successor,
            maintenance,
            unsafe_recovery,
            cluster,
        } = self;
        to.text(fingerprint);
        // By name: ids are of no order.
        let mut members: Vec<&Member> = members.values().collect();
        members.sort_unstable_by_key(|member| (&member.name, &member.peer_url));
        to.each(&members, |to, Member { id, name, peer_url, client_url }| {
            to.id(*id);
            to.same((name, peer_url, client_url));
        });
        to.id_if(*cluster_id);
        to.id_if(*leader);
        to.time(*leader_since);
        to.time(if leader.is_some() { 0 } else { *leaderless_since });
        to.same(successor.is_some());
        if let Some((member, at)) = successor {
            to.id(*member);
            to.due(*at);
        }
        to.same((maintenance.is_some(), unsafe_recovery));
        if let Some((kind, id, body)) = maintenance {
            to.each(&[kind, id, body], |to, words| to.text(words));
        }
        cluster.tell(to);
    }
}

impl Alike for Cluster {
    fn tell(&self, to: &mut Likeness) {
        let Self {
            bootstrapped,
            stores,
            regions,
            evicting,
            // These three follow from the settings.
            max_replicas: _,
            location_labels: _,
            max_down: _,
            stopping,
            held,
            settings,
            version,
            // The next one is whatever it is.
            ids: _,
        } = self;
        to.time_if(*bootstrapped);
        let stores: Vec<&Store> = stores.values().collect();
        to.each(&stores, |to, store| store.tell(to));
        to.each(regions, |to, region| region.tell(to));
        to.same((evicting, stopping, held, version));
        to.json(settings.shown());
    }
}

impl Alike for Store {
    fn tell(&self, to: &mut Likeness) {
        let Self {
            id,
            address,
            labels,
            version,
            state,
            serving,
            heartbeat,
            // For one heartbeat after a leader is lost.
            persisted: _,
            reported: known,
            started,
            destroyed,
            had,
            used,
        } = self;
        to.same((id, address, labels, version, state, serving, known, destroyed, had, used));
        to.time_if(*heartbeat);
        to.time(*started);
    }
}

impl Alike for Region {
    fn tell(&self, to: &mut Likeness) {
        // How far its logs are the disks tell.
        let Self { id, peers, leader, acknowledged, behind, reported } = self;
        to.same((id, leader, *acknowledged > 0, behind, reported, peers.len()));
        for (store, peer) in peers {
            to.same((store, *peer == Peer::Voter));
            match peer {
                Peer::Voter => {}
                Peer::Learner { ready_at } => to.due(*ready_at),
            }
        }
    }
}

impl Alike for DataDir {
    fn tell(&self, to: &mut Likeness) {
        let Self { ensemble, member, synced } = self;
        to.same((ensemble, synced));
        to.id(*member);
    }
}

impl Alike for JoinFile {
    fn tell(&self, to: &mut Likeness) {
        let Self { ensemble, own, members } = self;
        to.same((ensemble, own, members));
    }
}

impl Alike for Process {
    fn tell(&self, to: &mut Likeness) {
        // What it was started with the pod says, but for its configuration as it was then.
        let Self { start, disk: _, since, stage } = self;
        to.same((&start.name, &start.version));
        to.text(&format!("{:?}", start.mode));
        to.json(&start.settings);
        to.time(*since);
        match stage {
            Stage::Starting => to.same(0_u8),
            Stage::Joining { ensemble, member } => {
                to.same((1_u8, ensemble));
                to.id(*member);
            }
            Stage::Running => to.same(2_u8),
            Stage::Hanging => to.same(3_u8),
            Stage::Joined => to.same(4_u8),
        }
    }
}

impl Alike for Minted {
    fn tell(&self, to: &mut Likeness) {
        let Self { cluster_id, by, forgot } = self;
        to.id(*cluster_id);
        to.same((by, forgot));
    }
}
