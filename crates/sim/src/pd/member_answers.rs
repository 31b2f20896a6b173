//! What does PD say about its own members?

use serde_json::{Map, Value, json};

use super::answer::{Answer, Request};
use super::{Ensemble, Member, Pd, settings};
use crate::beliefs;
use crate::names::Names;

impl Pd {
    /// `/health`: each member as the contacted one could reach it. Also without a majority.
    pub(super) fn health(&self, (via, index): (&str, usize), names: &Names) -> Answer {
        let up = self.reached_from(via, index, names);
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
        moment: (u64, &Names),
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
            ("DELETE", ["members", "name", name]) => {
                Some(self.remove_member_named(index, name, moment))
            }
            ("DELETE", ["members", "id", id]) => {
                Some(self.remove_member_numbered(index, id, moment))
            }
            ("POST", ["leader", "transfer", name]) => {
                Some(self.transfer_leader(index, name, moment))
            }
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
    pub(super) fn version_of(&self, ensemble: usize, member: u64) -> Option<&str> {
        let known: &Ensemble = self.ensembles.get(ensemble)?;
        known.members.get(&member)?.client_url.as_ref()?;
        let of = |process: &&super::Process| {
            let data = self.disks.get(&process.disk);
            data.is_some_and(|data| data.ensemble == ensemble && data.member == member)
        };
        let version = self.processes.values().find(of).map(|p| p.start.version.as_str());
        version.or_else(|| self.processes.values().next().map(|p| p.start.version.as_str()))
    }

    fn remove_member_named(&mut self, index: usize, name: &str, moment: (u64, &Names)) -> Answer {
        let ensemble = self.ensembles.get(index);
        let Some(ensemble) = ensemble else { return Answer::empty(500) };
        let Some(id) = ensemble.member_named(name).map(|member| member.id) else {
            return Answer::words(404, &format!("not found, pd: {name}"));
        };
        self.remove_member(index, id, name, moment)
    }

    /// By id, also where the member has no name.
    fn remove_member_numbered(&mut self, index: usize, id: &str, moment: (u64, &Names)) -> Answer {
        let Ok(number) = id.parse() else {
            return Answer::words(400, &settings::not_a_number(id));
        };
        let known = self.ensembles.get(index).is_some_and(|e| e.members.contains_key(&number));
        if !known {
            return etcd_refuses("member not found");
        }
        self.remove_member(index, number, id, moment)
    }

    /// As etcd's strict reconfiguration check has it: see [`beliefs::STRICT_REMOVAL`]. The answer
    /// calls the member as the request did.
    fn remove_member(
        &mut self,
        index: usize,
        id: u64,
        called: &str,
        (now, names): (u64, &Names),
    ) -> Answer {
        let up = self.followers(index, names);
        let Some(ensemble) = self.ensembles.get_mut(index) else { return Answer::empty(500) };
        let left = ensemble.members.len().saturating_sub(1);
        let started = ensemble.members.values().filter(|m| m.id != id && !m.name.is_empty());
        let quorum = ensemble.members.len().saturating_sub(1) / 2 + 1;
        let refusal = if started.count() < left / 2 + 1 {
            Some("re-configuration failed due to not enough started members")
        } else if up.contains(&id) && up.len().saturating_sub(1) < quorum {
            Some("unhealthy cluster")
        } else {
            None
        };
        if let Some(words) = refusal {
            return etcd_refuses(words);
        }
        ensemble.members.remove(&id);
        if ensemble.leader == Some(id) {
            ensemble.leader = None;
            ensemble.leaderless_since = now;
        }
        Answer::words(200, &format!("removed, pd: {called}"))
    }

    fn transfer_leader(&mut self, index: usize, name: &str, (now, names): (u64, &Names)) -> Answer {
        let up = self.followers(index, names);
        let Some(ensemble) = self.ensembles.get_mut(index) else { return Answer::empty(500) };
        let Some(id) = ensemble.member_named(name).map(|member| member.id) else {
            return Answer::words(500, "no valid pd to transfer etcd leader");
        };
        if !up.contains(&id) {
            return Answer::words(500, "context deadline exceeded");
        }
        // etcd's leadership has moved to it already: the command changes nothing.
        let moving = ensemble.successor.is_some_and(|(successor, _)| successor == id);
        if ensemble.leader != Some(id) && !moving {
            ensemble.successor = Some((id, now + beliefs::LEADER_FOLLOWS.value));
        }
        Answer::words(200, "The transfer command is submitted.")
    }

    /// `/pd/api/v2/maintenance`: one task at a time, of whatever type.
    pub(super) fn answer_about_maintenance(
        &mut self,
        index: usize,
        request: Request<'_>,
        parts: &[&str],
    ) -> Option<Answer> {
        let held = &mut self.ensembles.get_mut(index)?.maintenance;
        let shown = held.as_ref().map(|(kind, id, body)| {
            json!({"type": kind, "id": id, "start_timestamp": 0, "description": body})
        });
        match (request.method, parts, shown) {
            ("GET", [], None) => Some(Answer::words(404, "No maintenance task is running")),
            ("DELETE", [_, _], None) => Some(Answer::words(404, NO_TASK_OF_THE_TYPE)),
            ("GET", [], Some(task)) => Some(Answer::json(200, json!([task]))),
            ("PUT", [_, _], Some(task)) => {
                let error = "Another maintenance task is already running";
                Some(Answer::json(409, json!({"error": error, "existing_task": task})))
            }
            ("PUT", [kind, id], None) => {
                let task = ((*kind).to_owned(), (*id).to_owned(), request.body.to_string());
                *held = Some(task);
                Some(Answer::words(200, "Maintenance task started successfully."))
            }
            ("DELETE", [kind, id], Some(task)) => {
                if task.get("type") != Some(&json!(kind)) {
                    return Some(Answer::words(404, NO_TASK_OF_THE_TYPE));
                }
                if task.get("id") != Some(&json!(id)) {
                    let error = "Task ID does not match the current task";
                    return Some(Answer::json(409, json!({"error": error, "existing_task": task})));
                }
                *held = None;
                Some(Answer::words(200, "Maintenance task deleted successfully."))
            }
            _ => None,
        }
    }
}

/// PD says what etcd said, and once more.
fn etcd_refuses(words: &str) -> Answer {
    let words = format!("etcdserver: {words}");
    Answer::words(500, &format!("[PD:etcd:ErrEtcdMemberRemove]{words}: {words}"))
}

const NO_TASK_OF_THE_TYPE: &str = "No maintenance task is running for this type";

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
