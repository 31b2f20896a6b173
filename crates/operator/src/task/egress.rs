//! Which addresses may a task's HTTP call reach?
//!
//! The operator must reach every PD and every store, and PD obeys whoever reaches it. So a task's call
//! goes no way that the operator alone can go: to public addresses with https, to Services of the
//! task's own namespace, and to what the operator was told to allow. A Service is called at the address
//! that Kubernetes gave to it: names lead where their owner wants.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use serde_json::{Map, Value};
use tikv_operator_api::{
    labels,
    names::{self, Component},
};
use tikv_operator_core::{task::Target, world::Kind};

use crate::kubernetes::{Kubernetes, Place, Resource};

/// Ports of PD and TiKV in their pods.
const SERVED: [u16; 4] =
    [names::PD_CLIENT_PORT, names::PD_PEER_PORT, names::TIKV_PORT, names::TIKV_STATUS_PORT];

/// Names of the same ports in the containers.
const NAMED: [&str; 4] = ["client", "peer", "server", "status"];

/// Hosts and networks that tasks may call besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// What `--task-http-allow` says.
    pub allowed: Vec<Allowed>,
}

/// A host or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The host of this name.
    Host(String),
    /// All below this domain, which begins with a dot.
    Domain(String),
    /// All addresses that share so many leading bits with this one.
    Network(IpAddr, u32),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no host, *.domain, address or network such as 10.0.0.0/8");
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address, bits(address)));
        }
        if let Some((address, length)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let length: u32 = length.parse().map_err(|_| wrong())?;
            return if length <= bits(address) {
                Ok(Self::Network(address, length))
            } else {
                Err(wrong())
            };
        }
        let name = text.to_ascii_lowercase();
        let (domain, name) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, name.as_str()),
        };
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if name.is_empty() || !name.chars().all(good) {
            return Err(wrong());
        }
        Ok(if domain { Self::Domain(format!(".{name}")) } else { Self::Host(name.to_owned()) })
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whose way a call goes, and whom to ask.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) egress: &'a Egress,
    pub(super) kubernetes: &'a Kubernetes,
    /// The task's.
    pub(super) namespace: &'a str,
}

/// Why there is no way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoWay {
    /// There may be one another time.
    Now(String),
    /// Not without an edit.
    Ever(String),
}

impl Way<'_> {
    /// The addresses to connect to.
    pub(super) async fn to(&self, target: &Target) -> Result<Vec<SocketAddr>, NoWay> {
        let host = target.host.to_ascii_lowercase();
        if let Some(service) = own_service(&host, self.namespace) {
            let address = self.service(service).await?;
            return Ok(vec![SocketAddr::new(address, target.port)]);
        }
        let found = tokio::net::lookup_host((host.as_str(), target.port)).await;
        let found = found.map_err(|error| {
            NoWay::Now(format!("cannot find {}:{}: {error}", target.host, target.port))
        })?;
        let open = |address: &SocketAddr| self.egress.allows(&host, address.ip(), target.tls);
        let addresses: Vec<SocketAddr> = found.filter(open).collect();
        if addresses.is_empty() {
            return Err(NoWay::Ever(format!(
                "tasks may not call {} with {}: they may call public addresses with https, Services \
                 of their own namespace as <service>.{}.svc, and what the operator's flag \
                 --task-http-allow names",
                target.host,
                if target.tls { "https" } else { "http" },
                self.namespace
            )));
        }
        Ok(addresses)
    }

    /// The address of a Service whose pods are of its own namespace.
    async fn service(&self, name: &str) -> Result<IpAddr, NoWay> {
        let resource = Resource::Part(Kind::Service);
        let place = Place { resource, namespace: self.namespace, name };
        let service = self.kubernetes.get(place).await;
        let Some(service) = service.map_err(|error| NoWay::Now(error.to_string()))? else {
            return Err(NoWay::Now(format!("there is no Service {name} in this namespace")));
        };
        if leads_to_a_cluster(&service) {
            return Err(NoWay::Ever(format!(
                "Service {name} leads to PD or TiKV, which obey whoever reaches them: tasks change \
                 clusters by verbs, with the rights of a service account"
            )));
        }
        let address = service.pointer("/spec/clusterIP").and_then(Value::as_str);
        let selects = service.pointer("/spec/selector").and_then(Value::as_object);
        // An ExternalName leads anywhere, and so do endpoints that somebody wrote by hand.
        match address.and_then(|address| address.parse().ok()) {
            Some(address) if selects.is_some_and(|labels| !labels.is_empty()) => Ok(address),
            Some(_) | None => Err(NoWay::Ever(format!(
                "Service {name} has no selector or no cluster IP: tasks call only those that have both"
            ))),
        }
    }
}

/// Is it a Service of the operator's, or somebody's own that selects pods of a cluster or leads to their
/// ports?
fn leads_to_a_cluster(service: &Value) -> bool {
    let labels = |pointer| service.pointer(pointer).and_then(Value::as_object);
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let selector = labels("/spec/selector");
    let any = |leads: fn(&Value) -> bool| ports.is_some_and(|ports| ports.iter().any(leads));
    let may_select_ours = !selects_others(selector) && (is_ours(selector) || any(is_named));
    may_select_ours || is_managed(labels("/metadata/labels")) || any(is_served)
}

/// Does a selector ask for what our pods have? Which instances are clusters is not asked: that label alone
/// counts.
fn is_ours(selector: Option<&Map<String, Value>>) -> bool {
    selector.into_iter().flatten().any(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        let known = key == labels::INSTANCE || has_ours(key, value) == Some(true);
        known || key.starts_with(labels::PREFIX)
    })
}

/// Is it a Service that the operator made?
fn is_managed(labels: Option<&Map<String, Value>>) -> bool {
    labels.into_iter().flatten().any(|(key, value)| {
        let ours = [(labels::MANAGED_BY, labels::MANAGER), (labels::NAME, labels::APP)];
        let ours = ours.iter().any(|(known, text)| key == known && value == text);
        ours || key.starts_with(labels::PREFIX)
    })
}

/// Does the selector ask for a label with a value that none of our pods can have? Users cannot change these
/// labels of them.
fn selects_others(selector: Option<&Map<String, Value>>) -> bool {
    selector
        .into_iter()
        .flatten()
        .any(|(key, value)| has_ours(key, value.as_str().unwrap_or_default()) == Some(false))
}

/// Has an object of ours this label with this value? `None` where the label says nothing of that.
fn has_ours(key: &str, value: &str) -> Option<bool> {
    match key {
        labels::NAME => Some(value == labels::APP),
        labels::MANAGED_BY => Some(value == labels::MANAGER),
        labels::COMPONENT => Some(Component::ALL.iter().any(|of| of.as_str() == value)),
        _ => None,
    }
}

/// Does the port of a Service lead to a number that PD or TiKV serves?
fn is_served(port: &Value) -> bool {
    let number = |field: &str| port.get(field).and_then(Value::as_u64);
    let port = number("targetPort").or_else(|| number("port"));
    port.is_some_and(|port| SERVED.iter().any(|served| u64::from(*served) == port))
}

/// Does it lead to a name that our containers give to their ports? Which number that is is the pod's to say.
fn is_named(port: &Value) -> bool {
    let name = port.get("targetPort").and_then(Value::as_str);
    name.is_some_and(|name| NAMED.contains(&name))
}

/// The name of the Service of this namespace that is meant.
fn own_service<'h>(host: &'h str, namespace: &str) -> Option<&'h str> {
    let host = host.trim_end_matches('.');
    let host = host.strip_suffix(".svc.cluster.local").or_else(|| host.strip_suffix(".svc"))?;
    let service = host.strip_suffix(namespace)?.strip_suffix('.')?;
    (!service.is_empty() && !service.contains('.')).then_some(service)
}

impl Egress {
    fn allows(&self, host: &str, address: IpAddr, tls: bool) -> bool {
        let address = address.to_canonical();
        let named = self.allowed.iter().any(|allowed| match allowed {
            Allowed::Host(name) => name == host,
            Allowed::Domain(domain) => host.ends_with(domain.as_str()),
            Allowed::Network(network, length) => shares(*network, address, *length),
        });
        named || (tls && is_public(address))
    }
}

fn shares(network: IpAddr, address: IpAddr, length: u32) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let differ = network.to_bits() ^ address.to_bits();
            length == 0 || differ.leading_zeros() >= length
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let differ = network.to_bits() ^ address.to_bits();
            length == 0 || differ.leading_zeros() >= length
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Is the address one of the internet, and of no cloud's own services?
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = matches!(
                (a, b, c),
                (0 | 10 | 127 | 240..=255, _, _)
                    | (100, 64..=127, _)
                    | (172, 16..=31, _)
                    | (192, 168, _)
                    | (192, 0, 0 | 2)
                    | (198, 18 | 19, _)
                    | (198, 51, 100)
                    | (203, 0, 113)
            );
            // The last one is where a cloud has its agent.
            let agent = v4 == Ipv4Addr::new(168, 63, 129, 16);
            !(special || agent || v4.is_link_local() || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Of 2000::/3, all but documentation and what carries another address within.
            let carries = first == 0x2002 || (first == 0x2001 && second == 0);
            first & 0xe000 == 0x2000 && !carries && (first, second) != (0x2001, 0x0db8)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{fake::Fake, lease::Fence, metrics::Metrics};

    /// What a call from namespace `a` reaches, where the API server knows these Services.
    async fn reached(url: &str, allowed: &[&str]) -> Result<String, String> {
        let api =
            Fake::run(|asked| {
                let spec = match asked.line.rsplit('/').next().unwrap_or_default() {
                "good" => json!({"clusterIP": "10.96.0.7", "selector": {"app": "x"}}),
                "byhand" => json!({"clusterIP": "10.96.0.8"}),
                "headless" => json!({"clusterIP": "None", "selector": {"app": "x"}}),
                // What the operator makes, and what somebody else makes of the same pods.
                "c-pd" => json!({"clusterIP": "10.96.0.9", "selector": {"tikv.org/cluster": "c"}}),
                "mine" => json!({
                    "clusterIP": "10.96.0.9", "selector": {"app.kubernetes.io/name": "tikv"},
                }),
                "ported" => json!({
                    "clusterIP": "10.96.0.9", "selector": {"app": "x"},
                    "ports": [{"port": 80, "targetPort": 2379}],
                }),
                // By the names that PD's and TiKV's own containers give to their ports.
                "named" => json!({
                    "clusterIP": "10.96.0.9", "selector": {"app": "x"},
                    "ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": "client"}],
                }),
                "part" => json!({
                    "clusterIP": "10.96.0.9", "selector": {"app.kubernetes.io/component": "pd"},
                }),
                "instance" => json!({
                    "clusterIP": "10.96.0.9", "selector": {"app.kubernetes.io/instance": "c"},
                }),
                // A chart's: none of our pods has another name.
                "chart" => json!({
                    "clusterIP": "10.96.0.7", "ports": [{"port": 81, "targetPort": "server"}],
                    "selector": {
                        "app.kubernetes.io/name": "receiver", "app.kubernetes.io/instance": "x",
                        "app.kubernetes.io/component": "web",
                    },
                }),
                "http" => json!({
                    "clusterIP": "10.96.0.7", "selector": {"app": "x"},
                    "ports": [{"port": 81, "targetPort": "http"}],
                }),
                "away" => json!({"type": "ExternalName", "externalName": "c-pd.b.svc"}),
                _ => return Some((404, json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
                    "code": 404, "reason": "NotFound", "message": "no",
                }).to_string())),
            };
                let body = json!({
                    "apiVersion": "v1", "kind": "Service", "spec": spec,
                    "metadata": {"name": "s", "namespace": "a"},
                });
                Some((200, body.to_string()))
            })
            .await;
        let config = kube::Config::new(format!("http://{}", api.address).parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        let kubernetes = Kubernetes::new(client, Fence::new(), Metrics::new());
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let egress = Egress { allowed };
        let way = Way { egress: &egress, kubernetes: &kubernetes, namespace: "a" };
        match way.to(&Target::parse(url).unwrap()).await {
            Ok(found) => Ok(found[0].to_string()),
            Err(NoWay::Now(words) | NoWay::Ever(words)) => Err(words),
        }
    }

    #[tokio::test]
    async fn what_only_the_operator_may_reach_is_out_of_reach() {
        // PD of another namespace by its address, the machine itself, the link.
        for host in [
            "10.244.1.7:2379",
            "127.0.0.1:8080",
            "localhost:1",
            "169.254.169.254",
            "[::1]:80",
            "[::ffff:10.0.0.1]:80",
            "100.100.100.200",
            "168.63.129.16",
            "[64:ff9b::a00:1]:80",
            "0.0.0.0:80",
            "[fd00:ec2::254]:80",
        ] {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{host}/pd/api/v1/store/1/state?state=Offline");
                let words = reached(&url, &[]).await.expect_err(&url);
                assert!(words.contains("may not call"), "{url}: {words}");
            }
        }
        assert!(reached("http://93.184.216.34/", &[]).await.is_err(), "public, but in the clear");
        assert_eq!(reached("https://93.184.216.34/", &[]).await.unwrap(), "93.184.216.34:443");
        assert!(reached("https://[2606:2800:220:1::1]/", &[]).await.is_ok());
    }

    #[tokio::test]
    async fn services_of_the_own_namespace_are_called_at_their_own_address() {
        for url in
            ["http://good.a.svc:81/x", "http://good.a.svc.cluster.local:81", "http://GOOD.a.svc:81"]
        {
            assert_eq!(reached(url, &[]).await.as_deref(), Ok("10.96.0.7:81"), "{url}");
        }
        for service in ["chart", "http"] {
            let found = reached(&format!("http://{service}.a.svc:81/"), &[]).await;
            assert_eq!(found.as_deref(), Ok("10.96.0.7:81"), "{service}");
        }
        for service in ["byhand", "headless", "away"] {
            let words = reached(&format!("http://{service}.a.svc/"), &[]).await.unwrap_err();
            assert!(words.contains("no selector or no cluster IP"), "{words}");
        }
        for service in ["c-pd", "mine", "ported", "named", "part", "instance"] {
            let url = format!("http://{service}.a.svc/pd/api/v1/store/1/state?state=Offline");
            let words = reached(&url, &[]).await.expect_err(service);
            assert!(words.contains("leads to PD or TiKV"), "{words}");
        }
        assert!(reached("http://gone.a.svc/", &[]).await.unwrap_err().contains("no Service gone"));
        for other in ["good.b.svc", "x.good.a.svc", "good.a.svc.example.com", ".a.svc", "ba.svc"] {
            assert_eq!(own_service(other, "a"), None, "{other}");
        }
    }

    #[tokio::test]
    async fn what_the_operator_allows_is_reached() {
        for (url, allow) in [
            ("http://10.1.2.3:80/", "10.1.0.0/16"),
            ("http://10.1.2.3:80/", "10.1.2.3"),
            ("http://localhost:80/", "localhost"),
            ("http://[fd00::1]:80/", "fd00::/8"),
            ("http://10.1.2.3:80/", "0.0.0.0/0"),
        ] {
            assert!(reached(url, &[allow]).await.is_ok(), "{url} {allow}");
        }
        for (url, allow) in [
            ("http://10.2.2.3:80/", "10.1.0.0/16"),
            ("http://10.1.2.4:80/", "10.1.2.3"),
            ("http://127.0.0.1:80/", "localhost"),
        ] {
            assert!(reached(url, &[allow]).await.is_err(), "{url} {allow}");
        }
        let egress = Egress { allowed: vec!["*.hooks.example".parse().unwrap()] };
        let address = "10.0.0.1".parse().unwrap();
        assert!(egress.allows("a.hooks.example", address, false));
        assert!(!egress.allows("badhooks.example", address, false));
        for bad in ["", "10.0.0.0/33", "a/b", "a b", "*.", "http://a"] {
            assert!(bad.parse::<Allowed>().is_err(), "{bad:?}");
        }
    }
}
