//! What does PD say about its own members?

use serde_json::{Map, Value, json};

use super::answer::{Answer, Request};
use super::{Ensemble, Member, Pd};
use crate::names::Names;

impl Pd {
    /// `/health`: each member as the contacted one could reach it. Also without a majority.
    pub(super) fn health(&self, index: usize, names: &Names) -> Answer {
        let up = self.reachable(index, names);
        let Some(ensemble) = self.ensembles.get(index) else { return Answer::empty(503) };
        let members = ensemble.members.values().map(|member| {
            let urls = member.client_url.as_ref().map(|url| json!([url]));
            json!({
                "name": member.name,
                "member_id": member.id,
                "client_urls": urls,
                "health": up.contains(&member.id) && member.client_url.is_some(),
            })
        });
        Answer::json(200, Value::Array(members.collect()))
    }

    pub(super) fn version(&self, via: &str) -> Answer {
        let version = self.processes.get(via).map_or("", |process| &process.start.version);
        Answer::json(200, json!({"version": version, "build_time": "", "hash": "", "branch": ""}))
    }

    /// `/pd/api/v2/ready`: 500 until a store has registered, in v8.5.2 to v8.5.7.
    pub(super) fn ready(&self, index: usize, request: Request<'_>) -> Answer {
        let bootstrapped = self.ensembles.get(index).and_then(|e| e.cluster.bootstrapped);
        let status = if bootstrapped.is_some() { 200 } else { 500 };
        if request.query("verbose").next().is_some() {
            return Answer::json(status, json!({"region_loaded": bootstrapped.is_some()}));
        }
        Answer::empty(status)
    }

    pub(super) fn answer_about_members(
        &mut self,
        index: usize,
        request: Request<'_>,
        parts: &[&str],
    ) -> Option<Answer> {
        match (request.method, parts) {
            ("GET", ["members"]) => Some(self.members(index)),
            ("GET", ["leader"]) => {
                let ensemble = self.ensembles.get(index)?;
                let leader = ensemble.members.get(&ensemble.leader?)?;
                Some(Answer::json(200, Value::Object(described(leader))))
            }
            ("GET", ["cluster"]) => {
                let ensemble = self.ensembles.get(index)?;
                let most = ensemble.cluster.max_replicas;
                let id = ensemble.cluster_id;
                Some(Answer::json(200, json!({"id": id, "max_peer_count": most})))
            }
            ("DELETE", ["members", "name", name]) => Some(self.remove_member(index, name)),
            ("POST", ["leader", "transfer", name]) => Some(self.transfer_leader(index, name)),
            _ => None,
        }
    }

    fn members(&self, index: usize) -> Answer {
        let Some(ensemble) = self.ensembles.get(index) else { return Answer::empty(500) };
        let full = |member: &Member| {
            let mut shown = described(member);
            if let Some(version) = self.version_of(index, member.id) {
                shown.insert("deploy_path".to_owned(), json!("/"));
                shown.insert("binary_version".to_owned(), json!(version));
                shown.insert("git_hash".to_owned(), json!("unknown"));
            }
            Value::Object(shown)
        };
        let members: Vec<Value> = ensemble.members.values().map(full).collect();
        let leader = ensemble.leader.and_then(|id| ensemble.members.get(&id)).map(full);
        Answer::json(
            200,
            json!({
                "header": {"cluster_id": ensemble.cluster_id},
                "members": members,
                "leader": leader,
                "etcd_leader": leader,
            }),
        )
    }

    /// A member tells its version when it starts; it stays in etcd when the member is down.
    fn version_of(&self, ensemble: usize, member: u64) -> Option<&str> {
        let known: &Ensemble = self.ensembles.get(ensemble)?;
        known.members.get(&member)?.client_url.as_ref()?;
        let of = |process: &&super::Process| {
            let data = self.disks.get(&process.disk);
            data.is_some_and(|data| data.ensemble == ensemble && data.member == member)
        };
        let version = self.processes.values().find(of).map(|p| p.start.version.as_str());
        version.or_else(|| self.processes.values().next().map(|p| p.start.version.as_str()))
    }

    fn remove_member(&mut self, index: usize, name: &str) -> Answer {
        let ensemble = self.ensembles.get_mut(index);
        let Some(ensemble) = ensemble else { return Answer::empty(500) };
        let Some(id) = ensemble.member_named(name).map(|member| member.id) else {
            return Answer::words(404, &format!("not found, pd: {name}"));
        };
        ensemble.members.remove(&id);
        if ensemble.leader == Some(id) {
            ensemble.leader = None;
        }
        Answer::words(200, &format!("removed, pd: {name}"))
    }

    fn transfer_leader(&mut self, index: usize, name: &str) -> Answer {
        let ensemble = self.ensembles.get_mut(index);
        let Some(ensemble) = ensemble else { return Answer::empty(500) };
        let Some(id) = ensemble.member_named(name).map(|member| member.id) else {
            return Answer::words(500, "no valid pd to transfer etcd leader");
        };
        let now = ensemble.leader_since;
        ensemble.lead(id, now);
        Answer::words(200, "The transfer command is submitted.")
    }
}

/// A member without its version. Empty fields are left out.
fn described(member: &Member) -> Map<String, Value> {
    let mut shown = Map::new();
    if !member.name.is_empty() {
        shown.insert("name".to_owned(), json!(member.name));
    }
    shown.insert("member_id".to_owned(), json!(member.id));
    shown.insert("peer_urls".to_owned(), json!([member.peer_url]));
    if let Some(url) = &member.client_url {
        shown.insert("client_urls".to_owned(), json!([url]));
    }
    shown
}
