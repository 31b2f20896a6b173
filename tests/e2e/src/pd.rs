//! What does PD itself say, member by member?
//!
//! Asked through the API server's pod proxy, so the suite needs no route to pods. This is the
//! suite's own evidence: it shares no code with the operator's PD client.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, text};
use crate::kube::{Kube, status_code, until};

/// Longest wait for PD's word on versions: it may be between two leaders.
const VERSIONS: Duration = Duration::from_secs(30);

/// The members' answers of one cluster.
pub(crate) struct Pd<'a> {
    kube: &'a Kube,
    cluster: &'a Cluster,
}

impl<'a> Pd<'a> {
    /// PD of this cluster.
    pub(crate) fn of(kube: &'a Kube, cluster: &'a Cluster) -> Self {
        Self { kube, cluster }
    }

    fn path(&self, pod: &str, path: &str) -> String {
        format!("{}/{pod}:2379/proxy/pd/api/v1/{path}", self.cluster.core("pods"))
    }

    /// GET of one member. `None` while it does not answer or answers with an error: it starts, has
    /// no leader, or was never bootstrapped.
    fn ask(&self, pod: &str, path: &str) -> Result<Option<Value>> {
        let proxy = format!("{}/{pod}:2379/proxy/pd/api/v1/{path}", self.cluster.core("pods"));
        match self.kube.text(&proxy) {
            Ok(body) => serde_json::from_str(&body)
                .map(Some)
                .with_context(|| format!("PD {pod} answered {path} with {body}")),
            Err(e) if status_code(&e).is_some() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The cluster id that this member answers with (through its leader).
    pub(crate) fn cluster_id(&self, pod: &str) -> Result<Option<u64>> {
        let members = self.ask(pod, "members")?;
        Ok(members.and_then(|m| m.pointer("/header/cluster_id")?.as_u64()))
    }

    /// Every pod of PD answers with this cluster id; those that are silent are asked again.
    pub(crate) fn is_all_of(&self, id: Option<&str>, limit: Duration) -> Result<()> {
        let id = id.context("no cluster id was recorded")?;
        for pod in self.cluster.pods(Some(Component::Pd))?.keys() {
            let said = until(&format!("{pod} answers"), limit, || {
                Ok(self.cluster_id(pod)?.ok_or_else(|| "no answer".to_owned()))
            })?;
            ensure!(said.to_string() == id, "{pod} answers for cluster {said}, not {id}");
        }
        Ok(())
    }

    /// Name of the leader that this member knows, from its own memory: without a leader a member
    /// that passes questions on would keep this one waiting for three seconds.
    pub(crate) fn leader(&self, pod: &str) -> Result<Option<String>> {
        let path = self.path(pod, "members");
        match self.kube.text_with(&path, ("PD-Allow-follower-handle", "true")) {
            Ok(body) => {
                let members: Value = serde_json::from_str(&body).context("PD's members")?;
                Ok(text(&members, "/leader/name").map(str::to_owned))
            }
            Err(e) if status_code(&e).is_some() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Asks PD that this member leads.
    pub(crate) fn give_leadership(&self, member: &str) -> Result<()> {
        let path = self.path(member, &format!("leader/transfer/{member}"));
        self.kube.post(&path).map(drop)
    }

    /// Names of the members that this member knows.
    pub(crate) fn members(&self, pod: &str) -> Result<Vec<String>> {
        let members = self.ask(pod, "members")?.unwrap_or_default();
        let list = members.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut names: Vec<String> =
            list.iter().map(|m| text(m, "/name").unwrap_or_default().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// What members and stores say that they are, without `v`.
    pub(crate) fn versions(&self) -> Result<BTreeSet<String>> {
        let pods = self.cluster.pods(Some(Component::Pd))?;
        let pod = pods.keys().next().context("no PD pod")?;
        let mut found = BTreeSet::new();
        for (path, list, version) in
            [("members", "members", "/binary_version"), ("stores", "stores", "/store/version")]
        {
            let answer = until(&format!("{pod} answers {path}"), VERSIONS, || {
                Ok(self.ask(pod, path)?.ok_or_else(|| "no answer".to_owned()))
            })?;
            let rows = answer.get(list).and_then(Value::as_array).context("no list")?;
            let versions = rows.iter().map(|row| text(row, version).unwrap_or_default());
            found.extend(versions.map(|version| version.trim_start_matches('v').to_owned()));
        }
        Ok(found)
    }

    /// Stores that PD calls Up: address without the port, and store id.
    pub(crate) fn up_stores(&self, pod: &str) -> Result<Vec<(String, u64)>> {
        let stores = self.ask(pod, "stores")?.unwrap_or_default();
        let list = stores.get("stores").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(list
            .iter()
            .filter(|s| text(s, "/store/state_name") == Some("Up"))
            .filter_map(|s| {
                let address = text(s, "/store/address")?;
                let host = address.split('.').next()?.to_owned();
                Some((host, s.pointer("/store/id")?.as_u64()?))
            })
            .collect())
    }

    /// Under which addresses members (for their peers) and stores are found.
    pub(crate) fn addresses(&self, pod: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for (path, list, address) in
            [("members", "members", "/peer_urls/0"), ("stores", "stores", "/store/address")]
        {
            let answer = self.ask(pod, path)?.with_context(|| format!("{pod} does not answer"))?;
            let rows = answer.get(list).and_then(Value::as_array).context("no list")?;
            found.extend(rows.iter().filter_map(|row| text(row, address)).map(str::to_owned));
        }
        Ok(found)
    }

    /// There are regions, and none misses a peer or has one that lags or is down. `None`: PD does not
    /// answer, or knows no region, as a leader that has just begun.
    ///
    /// PD's lists per defect, not `/regions/replicated`, which is what the operator asks.
    pub(crate) fn fully_replicated(&self, pod: &str) -> Result<Option<bool>> {
        let count = |path: &str| -> Result<Option<u64>> {
            Ok(self.ask(pod, path)?.and_then(|a| a.get("count")?.as_u64()))
        };
        let mut defects = 0;
        for kind in ["miss-peer", "pending-peer", "down-peer"] {
            match count(&format!("regions/check/{kind}"))? {
                Some(found) => defects += found,
                None => return Ok(None),
            }
        }
        let known = count("regions/count")?.is_some_and(|n| n > 0);
        Ok(known.then_some(defects == 0))
    }
}
