//! Which manifests does the suite apply?
//!
//! All name the images given on the command line, and carry a configuration with which a real
//! TiKV runs in little memory and with few open files: its defaults want a limit of about 124,000
//! files and 5 GiB of reserved disk per store.

use anyhow::{Result, bail};
use serde_json::{Value, json};

/// An image, split as the resource wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Repository: `baseImage`.
    pub(crate) base: String,
    /// Tag: `version`.
    pub(crate) tag: String,
}

impl Image {
    /// `repository[:tag]`; without a tag, `version` is the tag.
    pub(crate) fn parse(text: &str, version: &str) -> Result<Self> {
        if text.is_empty() || text.contains('@') {
            bail!(
                "\"{text}\" is no image with a tag (digests cannot be split into baseImage and version)"
            );
        }
        // A colon before the last slash belongs to the registry's port.
        let name = text.rfind('/').map_or(0, |slash| slash + 1);
        let (base, tag) = match text.get(name..).and_then(|n| n.rfind(':')) {
            Some(colon) => (text.get(..name + colon), text.get(name + colon + 1..)),
            None => (Some(text), Some(version)),
        };
        match (base, tag) {
            (Some(base), Some(tag)) if !base.is_empty() && !tag.is_empty() => {
                Ok(Self { base: base.to_owned(), tag: tag.to_owned() })
            }
            _ => bail!("\"{text}\" is no image"),
        }
    }
}

/// What the manifests are made with.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    /// PD's image.
    pub(crate) pd: Image,
    /// TiKV's image.
    pub(crate) tikv: Image,
    /// A version under which the nodes have both images by their default names (`pingcap/pd`,
    /// `pingcap/tikv`), for manifests that name no image.
    pub(crate) default_version: String,
    /// A tag of other images of the same names, to which running clusters are changed.
    pub(crate) next_version: Option<String>,
    /// The nodes allow so few open files that even the manifests that are about having no
    /// configuration must carry the small one.
    pub(crate) few_open_files: bool,
}

/// TiKV's configuration on a small machine.
pub(crate) fn small_tikv() -> Value {
    json!({
        "storage": {
            "reserve-space": "0MB",
            "reserve-raft-space": "0MB",
            "block-cache": { "capacity": "32MB" },
        },
        "rocksdb": { "max-open-files": 256 },
        "raftdb": { "max-open-files": 256 },
        // TiKV refuses a purge threshold below the file size.
        "raft-engine": { "target-file-size": "32MB", "purge-threshold": "64MB" },
        "readpool": { "unified": { "max-thread-count": 2 } },
    })
}

/// A cluster as the suite uses it almost everywhere.
pub(crate) fn cluster(servers: &Servers, name: &str, pd: u32, tikv: u32) -> Value {
    json!({
        "apiVersion": "tikv.org/v1alpha1",
        "kind": "TikvCluster",
        "metadata": { "name": name },
        "spec": {
            "version": servers.tikv.tag,
            "pd": {
                "baseImage": servers.pd.base,
                "version": servers.pd.tag,
                "replicas": pd,
                "requests": { "storage": "1Gi" },
            },
            "tikv": {
                "baseImage": servers.tikv.base,
                "replicas": tikv,
                "requests": { "storage": "2Gi" },
                "config": small_tikv(),
            },
        },
    })
}

/// A cluster that replaces lost members as soon as the resource and PD admit: after a minute.
pub(crate) fn impatient(servers: &Servers, name: &str, pd: u32, tikv: u32) -> Value {
    let mut wanted = cluster(servers, name, pd, tikv);
    set(&mut wanted, "/spec/failover", json!({ "after": "1m" }));
    set(&mut wanted, "/spec/pd/config", json!({ "schedule": { "max-store-down-time": "1m" } }));
    wanted
}

/// The manifest that the project was founded on, but for the images that it names.
pub(crate) fn founding(servers: &Servers) -> Value {
    json!({
        "apiVersion": "tikv.org/v1alpha1",
        "kind": "TikvCluster",
        "metadata": { "name": "example" },
        "spec": {
            "version": servers.tikv.tag,
            "pd": {
                "baseImage": servers.pd.base,
                "version": servers.pd.tag,
                "replicas": 3,
                "config": {},
            },
            "tikv": {
                "baseImage": servers.tikv.base,
                "replicas": 3,
                "config": if servers.few_open_files { small_tikv() } else { json!({}) },
            },
        },
    })
}

/// The shortest manifest that there is.
pub(crate) fn only_version(servers: &Servers) -> Value {
    let mut spec = json!({ "version": servers.default_version });
    if servers.few_open_files {
        set(&mut spec, "/tikv", json!({ "config": small_tikv() }));
    }
    json!({
        "apiVersion": "tikv.org/v1alpha1",
        "kind": "TikvCluster",
        "metadata": { "name": "short" },
        "spec": spec,
    })
}

/// Sets one field by its path (`/spec/pd/replicas`), making the objects on the way.
pub(crate) fn set(object: &mut Value, path: &str, value: Value) {
    let mut at = object;
    for key in path.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        let Some(map) = at.as_object_mut() else {
            return;
        };
        at = map.entry(key).or_insert(Value::Null);
    }
    *at = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_split_at_the_tag_and_not_at_a_port() {
        let image = |text| Image::parse(text, "v1").map(|i| (i.base, i.tag)).ok();
        let some = |b: &str, t: &str| Some((b.to_owned(), t.to_owned()));
        assert_eq!(image("pingcap/pd"), some("pingcap/pd", "v1"));
        assert_eq!(image("pingcap/pd:v8.5.7"), some("pingcap/pd", "v8.5.7"));
        assert_eq!(image("reg:5000/pd"), some("reg:5000/pd", "v1"));
        assert_eq!(image("reg:5000/pd:x"), some("reg:5000/pd", "x"));
        for bad in ["", "pd:", ":x", "pd@sha256:0"] {
            assert_eq!(image(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_field_is_set_by_its_path() {
        let mut object = json!({ "spec": { "pd": { "replicas": 3 } } });
        set(&mut object, "/spec/pd/replicas", json!(5));
        set(&mut object, "/spec/tikv/config", json!("x"));
        assert_eq!(
            object,
            json!({ "spec": { "pd": { "replicas": 5 }, "tikv": { "config": "x" } } })
        );
    }
}
