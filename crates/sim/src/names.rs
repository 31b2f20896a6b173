//! Which process answers under a name, and is there a way to it?

use std::collections::{BTreeMap, BTreeSet};

/// How the operator is called in [`Names::cut`].
pub const OPERATOR: &str = "operator";

/// What DNS and Services answer at one moment: a host, or a host with port, and the processes
/// behind it.
#[derive(Clone, Debug, Default)]
pub struct Names {
    hosts: BTreeMap<String, Vec<String>>,
    /// Pairs between which nothing gets through: names of pods, or [`OPERATOR`]; a `*` at the end
    /// stands for anything.
    cuts: BTreeSet<(String, String)>,
    /// Names of the pods that processes are in; known only while something is cut.
    pods: BTreeMap<String, String>,
}

impl Names {
    /// Nothing gets through between these pairs: neither way, since what TCP sends in one direction
    /// it acknowledges in the other ([`crate::beliefs::A_CUT_IS_BOTH_WAYS`]).
    pub fn cut(&mut self, cuts: BTreeSet<(String, String)>, pods: BTreeMap<String, String>) {
        (self.cuts, self.pods) = (cuts, pods);
    }

    /// Something is cut.
    pub fn is_cut(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Does anything get through between two processes?
    pub fn connects(&self, one: &str, other: &str) -> bool {
        if self.cuts.is_empty() || one == other {
            return true;
        }
        let name = |process: &str| self.pods.get(process).map_or(process.to_owned(), String::clone);
        let (one, other) = (name(one), name(other));
        let between = |(a, b): &(String, String)| is_like(&one, a) && is_like(&other, b);
        let swapped = |(a, b): &(String, String)| is_like(&other, a) && is_like(&one, b);
        !self.cuts.iter().any(|cut| between(cut) || swapped(cut))
    }

    /// Adds a process to those behind `host`.
    pub fn add(&mut self, host: &str, process: &str) {
        self.hosts.entry(host.to_owned()).or_default().push(process.to_owned());
    }

    /// The processes behind a URL or `host:port`; none where the name does not resolve.
    pub fn resolve(&self, url: &str) -> &[String] {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        // With and without the cluster's own domain.
        let inside = host.find(".svc.").and_then(|at| host.get(..at + ".svc".len()));
        let found = self.hosts.get(authority).or_else(|| self.hosts.get(inside.unwrap_or(host)));
        found.map_or(&[], Vec::as_slice)
    }

    /// Does `url` lead to this process?
    pub fn leads_to(&self, url: &str, process: &str) -> bool {
        self.resolve(url).iter().any(|found| found == process)
    }
}

fn is_like(name: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_between_two_and_no_others() {
        let mut names = Names::default();
        let pods = [("u-0", "c-pd-0"), ("u-1", "c-pd-1"), ("u-2", "c-tikv-0")];
        let pods = pods.map(|(uid, pod)| (uid.to_owned(), pod.to_owned()));
        names.cut([("c-pd-0".to_owned(), "c-pd-*".to_owned())].into(), pods.into());
        assert!(!names.connects("u-0", "u-1") && !names.connects("u-1", "u-0"));
        assert!(names.connects("u-0", "u-2") && names.connects(OPERATOR, "u-0"));
        assert!(names.connects("u-0", "u-0"));
    }

    #[test]
    fn a_url_is_resolved_by_its_host_or_by_host_and_port() {
        let mut names = Names::default();
        names.add("c-pd-0.c-pd-peer.ns.svc", "uid-1");
        names.add("127.0.0.1:2380", "uid-2");
        assert!(names.leads_to("http://c-pd-0.c-pd-peer.ns.svc:2380", "uid-1"));
        assert!(names.leads_to("http://127.0.0.1:2380/x", "uid-2"));
        assert!(names.resolve("http://127.0.0.1:2381").is_empty());
    }
}
