//! Which process answers under a name?

use std::collections::BTreeMap;

/// What DNS and Services answer at one moment: a host, or a host with port, and the processes
/// behind it.
#[derive(Clone, Debug, Default)]
pub struct Names {
    hosts: BTreeMap<String, Vec<String>>,
}

impl Names {
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

#[cfg(test)]
mod tests {
    use super::*;

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
