//! Which manifests does the suite apply?
//!
//! All name the images given on the command line, and carry a configuration with which a real
//! TiKV runs in little memory and with few open files: its defaults want a limit of about 124,000
//! files and 5 GiB of reserved disk per store.

use anyhow::{Result, anyhow, bail};
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
    /// A tag of further images of the same names, with which the founding manifest runs; without it,
    /// it runs with those above.
    pub(crate) founding_version: Option<String>,
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
                // Volumes of the lab lie on one disk; PD places nothing where 80 % are used, and
                // without this it would count what else is on that disk.
                "limits": { "storage": "2Gi" },
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

/// The manifest that the project was founded on, from its file, with the images under test.
pub(crate) fn founding(servers: &Servers) -> Result<Value> {
    let mut manifest = example(include_str!("../../../examples/founding.yaml"), servers)?;
    set(&mut manifest, "/spec/pd/baseImage", json!(servers.pd.base));
    set(&mut manifest, "/spec/tikv/baseImage", json!(servers.tikv.base));
    if let Some(version) = &servers.founding_version {
        set(&mut manifest, "/spec/version", json!(version));
        return Ok(manifest);
    }
    set(&mut manifest, "/spec/version", json!(servers.tikv.tag));
    if servers.pd.tag != servers.tikv.tag {
        set(&mut manifest, "/spec/pd/version", json!(servers.pd.tag));
    }
    Ok(manifest)
}

/// The shortest manifest that there is, from its file.
pub(crate) fn only_version(servers: &Servers) -> Result<Value> {
    let mut manifest = example(include_str!("../../../examples/minimal.yaml"), servers)?;
    set(&mut manifest, "/spec/version", json!(servers.default_version));
    Ok(manifest)
}

/// An example as it is, but for nodes that allow few open files.
fn example(text: &str, servers: &Servers) -> Result<Value> {
    let read = serde_saphyr::from_str(text);
    let mut manifest: Value = read.map_err(|error| anyhow!("an example is no YAML: {error}"))?;
    if servers.few_open_files {
        set(&mut manifest, "/spec/tikv/config", small_tikv());
    }
    Ok(manifest)
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

    fn servers(founding: Option<&str>, pd: &str, tikv: &str) -> Servers {
        Servers {
            pd: Image::parse(pd, "v1").unwrap(),
            tikv: Image::parse(tikv, "v1").unwrap(),
            default_version: "v1-e2e".to_owned(),
            next_version: None,
            founding_version: founding.map(str::to_owned),
            few_open_files: false,
        }
    }

    /// Fields of an example that are not as in its file.
    fn changed(text: &str, manifest: &Value) -> Vec<String> {
        fn walk(path: &str, file: &Value, used: &Value, found: &mut Vec<String>) {
            match (file, used) {
                (Value::Object(file), Value::Object(used)) => {
                    for key in file.keys().chain(used.keys().filter(|key| !file.contains_key(*key)))
                    {
                        let of =
                            |map: &serde_json::Map<_, _>| map.get(key).cloned().unwrap_or_default();
                        walk(&format!("{path}/{key}"), &of(file), &of(used), found);
                    }
                }
                (file, used) if file == used => {}
                (_, used) => found.push(format!("{path} {used}")),
            }
        }
        let mut found = Vec::new();
        walk("", &serde_saphyr::from_str(text).unwrap(), manifest, &mut found);
        found.sort();
        found
    }

    #[test]
    fn examples_are_run_as_their_files_are() {
        let founding_file = include_str!("../../../examples/founding.yaml");
        let standins = servers(Some("v4.0.0"), "x/pd", "x/tikv");
        let images = ["/spec/pd/baseImage \"x/pd\"", "/spec/tikv/baseImage \"x/tikv\""];
        assert_eq!(changed(founding_file, &founding(&standins).unwrap()), images);
        let real = servers(None, "pingcap/pd:a", "pingcap/tikv:b");
        let versions = ["/spec/pd/version \"a\"", "/spec/version \"b\""];
        assert_eq!(changed(founding_file, &founding(&real).unwrap()), versions);
        let minimal_file = include_str!("../../../examples/minimal.yaml");
        let version = ["/spec/version \"v1-e2e\""];
        assert_eq!(changed(minimal_file, &only_version(&real).unwrap()), version);
        let narrow = Servers { few_open_files: true, ..standins };
        let fewer = changed(founding_file, &founding(&narrow).unwrap());
        assert!(fewer.iter().any(|field| field.starts_with("/spec/tikv/config/")), "{fewer:?}");
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
