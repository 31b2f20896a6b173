//! What does a pod's container run, as the pod and its mounted configuration say?

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kube::{at, text};
use crate::pd::{Start, StartMode};
use crate::tikv;

/// Levels that PD and TiKV know.
const LOG_LEVELS: &[&str] = crate::beliefs::LOG_LEVELS.value;

/// A process to start.
#[derive(Clone, Debug)]
pub enum Program {
    /// A PD.
    Pd(Start),
    /// A TiKV.
    Tikv(tikv::Process),
}

/// What a pod wants of its node.
#[derive(Clone, Debug)]
pub struct Launch {
    /// `pd` or `tikv`.
    pub container: String,
    /// Image.
    pub image: String,
    /// Arguments, by flag.
    pub flags: BTreeMap<String, String>,
    /// The claim under the data directory.
    pub data_claim: String,
    /// The configuration file's ConfigMap and key.
    pub config: Option<(String, String)>,
}

impl Launch {
    /// The container of PD or TiKV.
    fn container(pod: &Value) -> Option<&Value> {
        let mut containers = at(pod, "/spec/containers").as_array()?.iter();
        containers.find(|container| matches!(text(container, "/name"), "pd" | "tikv"))
    }

    /// Name and image of the pod's container; empty where it has none of ours.
    pub fn name_and_image(pod: &Value) -> (&str, &str) {
        let container = Self::container(pod);
        container
            .map_or(("", ""), |container| (text(container, "/name"), text(container, "/image")))
    }

    /// Reads a pod. `None` where it has neither container, which a pod of ours always has.
    pub fn of(pod: &Value) -> Option<Self> {
        let container = Self::container(pod)?;
        let flags = scripted(pod, container).unwrap_or_else(|| arguments(container));
        let volume_at = |path: &str| mounted_at(pod, container, path);
        let data = flags.get("data-dir").and_then(|dir| volume_at(dir));
        let claim = data.map(|(volume, _)| text(volume, "/persistentVolumeClaim/claimName"));
        let config = flags.get("config").and_then(|file| {
            let (volume, path) = volume_at(file)?;
            Some((text(volume, "/configMap/name").to_owned(), key_of(volume, path)))
        });
        Some(Self {
            container: text(container, "/name").to_owned(),
            image: text(container, "/image").to_owned(),
            data_claim: claim.unwrap_or_default().to_owned(),
            config: config.filter(|(name, _)| !name.is_empty()),
            flags,
        })
    }

    fn flag(&self, name: &str) -> Result<String, String> {
        self.flags.get(name).cloned().ok_or_else(|| format!("flag --{name} is missing"))
    }

    /// The program, with the configuration file's text. Fails as the real binary does at its start.
    pub fn program(&self, config: &str) -> Result<Program, String> {
        let config: toml::Table =
            toml::from_str(config).map_err(|error| format!("configuration: {error}"))?;
        let settings = serde_json::to_value(&config).unwrap_or_default();
        let level = text(&settings, "/log/level");
        if !level.is_empty() && !LOG_LEVELS.contains(&level) {
            return Err(format!("invalid log level {level:?}"));
        }
        let version = self.image.rsplit_once(':').map_or("unknown", |(_, tag)| tag);
        if self.container == "tikv" {
            return Ok(Program::Tikv(tikv::Process {
                address: self.flag("advertise-addr")?,
                pd: self.flag("pd-endpoints")?,
                disk: 0,
                version: version.trim_start_matches('v').to_owned(),
                stage: tikv::Stage::Starting { ready_at: 0 },
                caught_up_at: 0,
                stopping: false,
                config: tikv::effective(&settings)?.into(),
            }));
        }
        Ok(Program::Pd(Start {
            name: self.flag("name")?,
            peer_url: self.flag("advertise-peer-urls")?,
            client_url: self.flag("advertise-client-urls")?,
            mode: match self.flags.get("join") {
                Some(url) => StartMode::Join { url: url.clone() },
                None => start_mode(&config)?,
            },
            settings,
            version: version.to_owned(),
        }))
    }
}

/// The flags that the pod itself gives.
fn arguments(container: &Value) -> BTreeMap<String, String> {
    let args = at(container, "/args").as_array().into_iter().flatten();
    args.filter_map(Value::as_str)
        .filter_map(|arg| arg.strip_prefix("--"))
        .map(|arg| arg.split_once('=').unwrap_or((arg, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The flags that the start script of an earlier operator gives: `startscript/v1/template.go` of TiDB
/// Operator v1.6, `template.go` of the tikv-operator of 2020. `None` where there is no such script.
fn scripted(pod: &Value, container: &Value) -> Option<BTreeMap<String, String>> {
    at(container, "/command/1").as_str().filter(|script| script.ends_with("_start_script.sh"))?;
    let env = |name: &str| {
        let mut all = at(container, "/env").as_array().into_iter().flatten();
        all.find(|e| text(e, "/name") == name).map_or("", |e| text(e, "/value")).to_owned()
    };
    let (name, namespace) = (text(pod, "/metadata/name"), text(pod, "/metadata/namespace"));
    let host = |service: &str| format!("{name}.{}.{namespace}.svc", env(service));
    let flags = if text(container, "/name") == "pd" {
        let host = host("PEER_SERVICE_NAME");
        vec![
            ("name", name.to_owned()),
            ("data-dir", "/var/lib/pd".to_owned()),
            ("advertise-peer-urls", format!("http://{host}:2380")),
            ("advertise-client-urls", format!("http://{host}:2379")),
            ("config", "/etc/pd/pd.toml".to_owned()),
            // What the discovery service answers to a member of a cluster that exists; one with data
            // does not ask.
            ("join", format!("http://{}:2379", env("SERVICE_NAME"))),
        ]
    } else {
        vec![
            ("pd-endpoints", format!("http://{}-pd:2379", env("CLUSTER_NAME"))),
            ("advertise-addr", format!("{}:20160", host("HEADLESS_SERVICE_NAME"))),
            ("data-dir", "/var/lib/tikv".to_owned()),
            ("config", "/etc/tikv/tikv.toml".to_owned()),
        ]
    };
    Some(flags.into_iter().map(|(flag, value)| (flag.to_owned(), value)).collect())
}

/// The key of a ConfigMap that is mounted under a path.
fn key_of(volume: &Value, path: String) -> String {
    let mut items = at(volume, "/configMap/items").as_array().into_iter().flatten();
    let item = items.find(|item| text(item, "/path") == path);
    item.map_or(path, |item| text(item, "/key").to_owned())
}

/// Exactly one of `initial-cluster` and `join`.
fn start_mode(config: &toml::Table) -> Result<StartMode, String> {
    let word = |key: &str| {
        let value = config.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        (!value.is_empty()).then(|| value.to_owned())
    };
    match (word("initial-cluster"), word("join")) {
        (Some(_), Some(_)) => Err("initial-cluster and join cannot be used together".to_owned()),
        (None, Some(url)) => Ok(StartMode::Join { url }),
        (None, None) => Err("neither initial-cluster nor join".to_owned()),
        (Some(list), None) => {
            let pair = |entry: &str| {
                entry.split_once('=').map(|(name, url)| (name.to_owned(), url.to_owned()))
            };
            let members = list.split(',').map(pair).collect::<Option<_>>();
            let members = members.ok_or_else(|| format!("bad initial-cluster {list:?}"))?;
            let token = word("initial-cluster-token").unwrap_or_else(|| "pd-cluster".to_owned());
            Ok(StartMode::Bootstrap { token, members })
        }
    }
}

/// The volume that is mounted over a path, and what of the path is behind the mount.
fn mounted_at<'a>(pod: &'a Value, container: &Value, path: &str) -> Option<(&'a Value, String)> {
    let mounts = at(container, "/volumeMounts").as_array()?;
    let under = |mount: &&Value| {
        path.strip_prefix(text(mount, "/mountPath"))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mount = mounts.iter().filter(under).max_by_key(|m| text(m, "/mountPath").len())?;
    let rest = path.strip_prefix(text(mount, "/mountPath"))?.trim_start_matches('/');
    let volumes = at(pod, "/spec/volumes").as_array()?;
    let volume = volumes.iter().find(|v| text(v, "/name") == text(mount, "/name"))?;
    Some((volume, rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_mode_is_one_of_two() {
        let mode = |text: &str| start_mode(&toml::from_str(text).unwrap());
        assert!(matches!(mode("join = \"http://c-pd:2379\""), Ok(StartMode::Join { .. })));
        let both = mode("join = \"a\"\ninitial-cluster = \"a=b\"");
        assert!(both.unwrap_err().contains("together"));
        assert!(mode("").is_err());
        let Ok(StartMode::Bootstrap { token, members }) = mode(
            "initial-cluster = \"a=http://a:2380,b=http://b:2380\"\ninitial-cluster-token = \"t\"",
        ) else {
            panic!("bootstrap")
        };
        assert_eq!((token.as_str(), members.len()), ("t", 2));
    }
}
