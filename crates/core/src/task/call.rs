//! Which call does an attempt make?

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tikv_operator_api::v1alpha1::{HeaderFrom, RunComponent, RunKey, RunStatus};

use super::advance::UNKNOWN_SPEC;
use super::body::cloud_event;
use super::spec::{Http, Pods, Task, Work};
use super::world::ClusterView;
use crate::plan::{EVICT, REPLACE, RESTART};
use crate::world::{Component, Slot};

/// A call, complete. All but the HTTP one are made as the task's service account.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// POST an event.
    Http(Box<HttpCall>),
    /// Write an annotation on objects of the cluster, or take it away.
    Annotate(Annotation),
    /// Merge settings into the cluster's spec.
    SetConfig {
        /// The cluster.
        cluster: String,
        /// `pd` or `tikv`.
        component: &'static str,
        /// What is merged.
        config: Value,
    },
    /// Set the number of stores through the scale subresource.
    Scale {
        /// The cluster.
        cluster: String,
        /// The number that must be there; `None` where it does not matter.
        before: Option<i32>,
        /// The number.
        replicas: i32,
    },
}

/// A wish, written on members of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// The cluster that the objects must belong to.
    pub cluster: String,
    /// What it is written on.
    pub on: Annotated,
    /// Their names.
    pub names: Vec<String>,
    /// The annotation.
    pub key: &'static str,
    /// Its value; `None` takes it away.
    pub value: Option<String>,
    /// Objects that were made after this are left alone: it has been done to them.
    pub made_before: Option<Timestamp>,
}

/// What bears a wish?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotated {
    /// Pods: the wish goes with the pod.
    Pods,
    /// Volume claims of stores: the wish stays until the store has left.
    Claims,
}

impl Annotated {
    /// The kind in paths of the API server.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Claims => "persistentvolumeclaims",
        }
    }

    /// One of them, for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pods => "pod",
            Self::Claims => "volume claim",
        }
    }
}

/// An HTTP call.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpCall {
    /// Where to.
    pub target: Target,
    /// The same in every attempt.
    pub key: RunKey,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// Headers from Secrets, which the service account must be allowed to get.
    pub headers_from: Vec<HeaderFrom>,
    /// The Secret with the certificates.
    pub tls_secret: Option<String>,
    /// Time for it.
    pub time: Duration,
    /// The event, as CloudEvents 1.0.
    pub body: Value,
}

/// The parts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// https.
    pub tls: bool,
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// Reads a URL; an error is a sentence.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("Must begin with http:// or https://. Correct it.".into()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if authority.contains('@') {
            let way = "Put what is secret into a Secret and name it in headersFrom.";
            return Err(format!("Holds a user or a password. {way}"));
        }
        if !printable(authority) || !printable(path) {
            return Err("Holds a character that a URL cannot have. Escape it.".into());
        }
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or("Has a [ without a ]. Correct it.")?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| "Has no IPv6 address in [ ]. Correct it.")?;
            (host, port.strip_prefix(':'))
        } else {
            match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            }
        };
        if host.is_empty() || (host.contains(':') && !authority.starts_with('[')) {
            return Err("Names no host. Write it as https://host/path.".into());
        }
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err("Has a port that is none. Correct it.".into()),
                Ok(port) => port,
            },
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { tls, host: host.to_owned(), port, path })
    }
}

/// The call of a run; an error is why there is none.
pub(super) fn of(task: &Task, run: &RunStatus, view: &ClusterView) -> Result<Call, String> {
    let annotation = |on, names, key, value: Option<&str>| Annotation {
        cluster: view.name.clone(),
        on,
        names,
        key,
        value: value.map(str::to_owned),
        made_before: None,
    };
    let once = |annotation: Annotation| {
        let made_before = run.started.as_ref().map(|at| at.0);
        Call::Annotate(Annotation { made_before, ..annotation })
    };
    let pods = |pods: &Pods| named(pods, run, view);
    match &task.work {
        Work::Http(http) => Ok(Call::Http(Box::new(http_call(http, task, run)?))),
        Work::Restart(which) => {
            Ok(once(annotation(Annotated::Pods, pods(which)?, RESTART, Some("true"))))
        }
        Work::Evict(which) => {
            Ok(Call::Annotate(annotation(Annotated::Pods, pods(which)?, EVICT, Some("true"))))
        }
        Work::Restore(which) => {
            Ok(Call::Annotate(annotation(Annotated::Pods, pods(which)?, EVICT, None)))
        }
        // A pod may be made anew before the new store serves, and the run has succeeded by then.
        Work::Replace(which) => {
            let claims = claims(pods(which)?, view)?;
            Ok(once(annotation(Annotated::Claims, claims, REPLACE, Some("true"))))
        }
        Work::ConfigSet { component, config } => Ok(Call::SetConfig {
            cluster: view.name.clone(),
            component: name(*component),
            config: Value::Object(config.clone()),
        }),
        Work::Scale(_) => match run.replicas {
            Some(replicas) => Ok(Call::Scale {
                cluster: view.name.clone(),
                before: run.replicas_before,
                replicas,
            }),
            None => Err(format!("{UNKNOWN_SPEC}, so there is no number of stores to count from")),
        },
        Work::Job(_) | Work::Compact(_) => Err("it is a Job's".to_owned()),
    }
}

fn name(component: RunComponent) -> &'static str {
    match component {
        RunComponent::Pd => "pd",
        RunComponent::Tikv => "tikv",
    }
}

fn named(pods: &Pods, run: &RunStatus, view: &ClusterView) -> Result<Vec<String>, String> {
    let status = &view.status;
    let pods: Vec<String> = match pods {
        Pods::OfEvent => run.pod.iter().cloned().collect(),
        Pods::Named(names) => names.clone(),
        Pods::All(RunComponent::Pd) => {
            status.pd.iter().flat_map(|pd| &pd.members).filter_map(|m| m.pod.clone()).collect()
        }
        Pods::All(RunComponent::Tikv) => {
            let stores = status.tikv.iter().flat_map(|tikv| &tikv.stores);
            stores.filter_map(|store| store.pod.clone()).collect()
        }
    };
    if pods.is_empty() { Err("there is no pod to do it to".to_owned()) } else { Ok(pods) }
}

/// The volume claims of these stores' pods.
fn claims(pods: Vec<String>, view: &ClusterView) -> Result<Vec<String>, String> {
    let claim = |pod: String| {
        let slot = Slot::of_pod(&view.name, &pod);
        let slot = slot.filter(|slot| slot.component == Component::Tikv);
        let claim = slot.map(|slot| slot.claim_name(&view.name));
        claim.ok_or_else(|| format!("pod {pod} is no store's of cluster {}", view.name))
    };
    pods.into_iter().map(claim).collect()
}

fn http_call(http: &Http, task: &Task, run: &RunStatus) -> Result<HttpCall, String> {
    Ok(HttpCall {
        target: Target::parse(&http.url)?,
        key: run.key.clone(),
        headers: http.headers.clone(),
        headers_from: http.headers_from.clone(),
        tls_secret: http.tls_secret.clone(),
        time: http.attempt,
        body: cloud_event(&task.namespace, &task.name, run),
    })
}

impl Call {
    /// Does the call need the token of the service account?
    pub fn needs_account(&self) -> bool {
        match self {
            Self::Http(http) => http.tls_secret.is_some() || !http.headers_from.is_empty(),
            Self::Annotate(_) | Self::SetConfig { .. } | Self::Scale { .. } => true,
        }
    }

    /// The merge patch of the cluster's spec, for [`Self::SetConfig`].
    pub fn config_patch(component: &str, config: &Value) -> Value {
        json!({"spec": {component: {"config": config}}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = |url: &str| Target::parse(url).map(|t| (t.tls, t.host, t.port, t.path));
        let of =
            |tls, host: &str, port, path: &str| Ok((tls, host.to_owned(), port, path.to_owned()));
        assert_eq!(target("https://a.b/c?d=e#f"), of(true, "a.b", 443, "/c?d=e"));
        assert_eq!(target("http://a:8080"), of(false, "a", 8080, "/"));
        assert_eq!(target("http://[::1]:80?x"), of(false, "::1", 80, "/?x"));
        for bad in [
            "ftp://a",
            "http://",
            "http:///a",
            "http://u:p@a/",
            "http://a:0/",
            "http://a:x",
            "http://[::1",
            "http://a b",
        ] {
            let sentence = Target::parse(bad).expect_err(bad);
            assert!(sentence.ends_with('.'), "{bad}: {sentence}");
        }
    }
}
