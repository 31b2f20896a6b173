//! How was `pd-server` started? Flags and TOML keys are the real PD's; a flag wins over the file.
//! Unknown keys of the file are warned about and ignored, as the real one does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::start;
use crate::version::{Feature, Version};

/// What a start of `pd-server` was asked for. Serialised, it is its part of GET `/config`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Options {
    /// Name of the member; `pd` unless given.
    pub name: String,
    /// Directory of the member's data; `default.<name>` unless given.
    pub data_dir: PathBuf,
    /// URLs to listen on for clients, comma separated.
    pub client_urls: String,
    /// URLs to listen on for other members, comma separated.
    pub peer_urls: String,
    /// URLs that clients are told.
    pub advertise_client_urls: String,
    /// URLs that other members are told.
    pub advertise_peer_urls: String,
    /// `name=peer-url,…` of a new cluster.
    pub initial_cluster: String,
    /// `new` or `existing`.
    pub initial_cluster_state: String,
    /// Token of the new cluster.
    pub initial_cluster_token: String,
    /// Client URLs of a cluster to join.
    pub join: String,
    /// Seconds of the leader's lease.
    pub lease: i64,
    /// The rest of the file, with the sections that PD persists.
    #[serde(flatten, skip_serializing)]
    pub rest: Table,
    /// Where the log goes; empty for stderr.
    #[serde(skip)]
    pub log_file: PathBuf,
    /// The release to behave as.
    #[serde(skip)]
    pub version: Version,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Run a member.
    Run(Box<Options>),
    /// `-V`: print the version.
    PrintVersion(Version),
}

/// Flags that are also keys of the file.
const FLAG_KEYS: &str = "name data-dir client-urls peer-urls advertise-client-urls \
    advertise-peer-urls initial-cluster join initial-cluster-state initial-cluster-token";

/// Flags that are no keys.
const FLAGS: &str = "V version config log-file L log-level cacert cert key \
    as-version force-new-cluster metrics-addr";

/// Sections that PD keeps in etcd after its first start.
pub const PERSISTED: [&str; 5] =
    ["schedule", "replication", "pd-server", "replication-mode", "label-property"];

/// Other keys of the file that the real one knows; most have no effect on a fixture.
const KEYS: &str = "log security metric dashboard keyspace micro-service controller labels \
    force-new-cluster enable-grpc-gateway tso-save-interval tso-update-physical-interval \
    enable-local-tso quota-backend-bytes auto-compaction-mode auto-compaction-retention \
    auto-compaction-retention-v2 tick-interval election-interval enable-prevote log-file log-level \
    max-request-bytes max-concurrent-tso-proxy-streamings tso-proxy-recv-from-client-timeout";

fn is_one_of(words: &str, key: &str) -> bool {
    words.split_whitespace().any(|word| word == key)
}

/// Reads flags, environment and file. Errors are sentences for the user.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Command> {
    let flags = start::flags(args, &["V", "version"])?;
    let flags: BTreeMap<String, String> = flags.into_iter().collect();
    let known = |name: &str| is_one_of(FLAGS, name) || is_one_of(FLAG_KEYS, name);
    if let Some(odd) = flags.keys().find(|name| !known(name)) {
        bail!("flag provided but not defined: -{odd}");
    }
    let asked = flags.get("as-version").map(String::as_str);
    let (version, _) = start::version(asked, "STANDIN_PD_VERSION")?;
    if flags.contains_key("V") || flags.contains_key("version") {
        return Ok(Command::PrintVersion(version));
    }
    let file = match flags.get("config") {
        None => Table::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(text.parse()?))
            .with_context(|| format!("configuration file {path}"))?,
    };
    Ok(Command::Run(Box::new(build(&flags, file, version)?)))
}

fn build(flags: &BTreeMap<String, String>, mut file: Table, version: Version) -> Result<Options> {
    for (key, value) in flags.iter().filter(|(key, _)| is_one_of(FLAG_KEYS, key)) {
        file.insert(key.clone(), value.clone().into());
    }
    let token = "initial-cluster-token";
    let unknown = (!version.has(Feature::CLUSTER_TOKEN)).then(|| file.remove(token)).flatten();
    let mut options: Options = file.try_into()?;
    options.rest.extend(unknown.map(|value| (token.to_owned(), value)));
    if !options.initial_cluster.is_empty() && !options.join.is_empty() {
        bail!("-initial-cluster and -join can not be provided at the same time");
    }
    fill(&mut options.name, "pd");
    fill(&mut options.client_urls, "http://127.0.0.1:2379");
    fill(&mut options.peer_urls, "http://127.0.0.1:2380");
    fill(&mut options.advertise_client_urls, &options.client_urls);
    fill(&mut options.advertise_peer_urls, &options.peer_urls);
    fill(&mut options.initial_cluster_state, "new");
    fill(&mut options.initial_cluster_token, "pd-cluster");
    if options.join.is_empty() {
        let urls = options.advertise_peer_urls.split(',');
        let own: Vec<String> = urls.map(|url| format!("{}={url}", options.name)).collect();
        fill(&mut options.initial_cluster, &own.join(","));
    }
    if options.data_dir.as_os_str().is_empty() {
        options.data_dir = format!("default.{}", options.name).into();
    }
    options.lease = if options.lease > 0 { options.lease } else { 5 };
    options.version = version;
    let log_file = flags.get("log-file").map_or(options.in_file("log.file.filename"), |path| path);
    options.log_file = log_file.into();
    if options.log_file.starts_with(&options.data_dir) {
        bail!("log directory shouldn't be the subdirectory of data directory");
    }
    let in_file = |key| options.in_file(&format!("security.{key}-path"));
    // A start that asks for TLS must not look as if it had worked.
    ensure!(
        ["cacert", "cert", "key"].iter().all(|k| !flags.contains_key(*k) && in_file(k).is_empty()),
        "this stand-in for PD does not serve TLS; start it without certificates"
    );
    Ok(options)
}

fn fill(value: &mut String, default: &str) {
    if value.is_empty() {
        default.clone_into(value);
    }
}

impl Options {
    /// A text of the file, empty where it has none.
    fn in_file(&self, path: &str) -> &str {
        let mut keys = path.split('.');
        let first = keys.next().and_then(|key| self.rest.get(key));
        let found = keys.fold(first, |value, key| value?.get(key));
        found.and_then(Value::as_str).unwrap_or_default()
    }

    /// What is wrong with the file without being an error.
    pub fn warnings(&self) -> Vec<String> {
        let known = |key: &str| is_one_of(KEYS, key) || PERSISTED.contains(&key);
        let unknown = self.rest.keys().filter(|key| !known(key));
        unknown.map(|key| format!("Config contains undefined item: {key}")).collect()
    }

    /// The sections of the file that PD persists.
    pub fn persisted(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.rest.iter().filter(|(key, _)| PERSISTED.contains(&key.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<Options, String> {
        match parse(args.iter().map(ToString::to_string)).map_err(|error| error.to_string())? {
            Command::Run(options) => Ok(*options),
            other @ Command::PrintVersion(_) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn defaults_are_the_real_ones() {
        let options = run(&["--name=pd-1", "-peer-urls", "http://127.0.0.1:9"]).unwrap();
        assert_eq!(options.initial_cluster, "pd-1=http://127.0.0.1:9");
        assert_eq!(options.advertise_client_urls, "http://127.0.0.1:2379");
        assert_eq!(options.version, Version::default());
    }

    #[test]
    fn initial_cluster_and_join_exclude_each_other() {
        let error = run(&["--join=http://a:2379", "--initial-cluster=a=http://a:2380"]);
        assert!(error.unwrap_err().contains("can not be provided at the same time"));
    }

    #[test]
    fn a_log_inside_the_data_directory_is_refused() {
        let error = run(&["--data-dir=/data", "--log-file=/data/logs/pd.log"]).unwrap_err();
        assert!(error.contains("subdirectory of data directory"), "{error}");
    }

    #[test]
    fn certificates_and_unknown_flags_are_refused() {
        assert!(run(&["--cacert=/ca.pem"]).unwrap_err().contains("does not serve TLS"));
        assert!(run(&["--no-such"]).is_err());
        assert!(run(&["--no-such=1"]).unwrap_err().contains("not defined"));
    }

    #[test]
    fn before_v4_0_6_a_token_is_an_undefined_item() {
        let token = |version: &str| {
            let file: Table = "initial-cluster-token = 'mine'".parse().unwrap();
            let version = Version::parse(version).unwrap();
            let options = build(&BTreeMap::new(), file, version).unwrap();
            (options.warnings().join(""), options.initial_cluster_token)
        };
        let warned = "Config contains undefined item: initial-cluster-token".to_owned();
        assert_eq!(token("v4.0.5"), (warned, "pd-cluster".to_owned()));
        assert_eq!(token("v4.0.6"), (String::new(), "mine".to_owned()));
    }

    #[test]
    fn the_file_is_read_and_unknown_keys_are_warned_about() {
        let file: toml::Table = "name = 'a'\nodd = 1\n[replication]\nmax-replicas = 5\n\
             [log.file]\nfilename = '/l'"
            .parse()
            .unwrap();
        let flags = BTreeMap::from([("name".into(), "flag".into())]);
        let options = build(&flags, file, Version::default()).unwrap();
        assert_eq!(options.name, "flag");
        assert_eq!(options.warnings(), ["Config contains undefined item: odd"]);
        assert_eq!(options.rest["replication"]["max-replicas"].as_integer(), Some(5));
        assert_eq!(options.log_file, PathBuf::from("/l"));
    }
}
