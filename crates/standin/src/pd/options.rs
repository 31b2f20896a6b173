//! How was `pd-server` started? Flags and TOML keys are the real PD's; a flag wins over the file.
//! Unknown keys of the file are warned about and ignored, as the real one does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Value;

use super::version::Version;

/// What a start of `pd-server` was asked for.
#[derive(Clone, Debug)]
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
    /// Where the log goes instead of stderr.
    pub log_file: Option<PathBuf>,
    /// Seconds of the leader's lease.
    pub lease: i64,
    /// Sections of the file that PD persists: schedule, replication, pd-server, ….
    pub persisted: BTreeMap<String, Value>,
    /// The release to behave as.
    pub version: Version,
    /// What was wrong with the file without being an error.
    pub warnings: Vec<String>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Run a member.
    Run(Box<Options>),
    /// `-V`: print the version.
    PrintVersion(Version),
    /// `--config-check`: the configuration is good.
    ConfigChecked(Box<Options>),
}

/// Flags that are also keys of the file.
const FLAG_KEYS: &str = "name data-dir client-urls peer-urls advertise-client-urls \
    advertise-peer-urls initial-cluster join initial-cluster-state initial-cluster-token";

/// Flags that are no keys.
const FLAGS: &str = "V version config config-check log-file L log-level cacert cert key \
    as-version force-new-cluster metrics-addr";

/// Sections that PD keeps in etcd after its first start.
pub const PERSISTED: [&str; 5] =
    ["schedule", "replication", "pd-server", "replication-mode", "label-property"];

/// Other keys of the file that the real one knows; most have no effect on a fixture.
const KEYS: &str = "lease log security metric dashboard keyspace micro-service controller labels \
    force-new-cluster enable-grpc-gateway tso-save-interval tso-update-physical-interval \
    enable-local-tso quota-backend-bytes auto-compaction-mode auto-compaction-retention \
    auto-compaction-retention-v2 tick-interval election-interval enable-prevote log-file log-level \
    max-request-bytes max-concurrent-tso-proxy-streamings tso-proxy-recv-from-client-timeout";

fn is_one_of(words: &str, key: &str) -> bool {
    words.split_whitespace().any(|word| word == key)
}

/// Reads flags, environment and file. Errors are sentences for the user.
pub fn parse(args: impl Iterator<Item = String>, environment: &str) -> Result<Command, String> {
    let flags = Flags::read(args)?;
    let version_text = flags.get("as-version").unwrap_or(environment);
    let version = match version_text {
        "" => Version::DEFAULT,
        text => Version::parse(text).ok_or_else(|| format!("{text:?} is not a version"))?,
    };
    if flags.set("V") || flags.set("version") {
        return Ok(Command::PrintVersion(version));
    }
    let file = match flags.get("config") {
        None => toml::Table::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read configuration file {path}: {error}"))?
            .parse()
            .map_err(|error| format!("configuration file {path} is not TOML: {error}"))?,
    };
    let options = Box::new(build(&flags, &file, version)?);
    if flags.set("config-check") {
        return Ok(Command::ConfigChecked(options));
    }
    Ok(Command::Run(options))
}

fn build(flags: &Flags, file: &toml::Table, version: Version) -> Result<Options, String> {
    let text = |key: &str| -> Result<String, String> {
        if let Some(value) = flags.get(key) {
            return Ok(value.to_owned());
        }
        match file.get(key) {
            None => Ok(String::new()),
            Some(Value::String(value)) => Ok(value.clone()),
            Some(other) => Err(format!("{key} must be a string, not {other}")),
        }
    };
    let or = |value: String, default: &str| if value.is_empty() { default.into() } else { value };
    let name = or(text("name")?, "pd");
    let client_urls = or(text("client-urls")?, "http://127.0.0.1:2379");
    let peer_urls = or(text("peer-urls")?, "http://127.0.0.1:2380");
    let advertise_peer_urls = or(text("advertise-peer-urls")?, &peer_urls);
    let join = text("join")?;
    let mut initial_cluster = text("initial-cluster")?;
    if !initial_cluster.is_empty() && !join.is_empty() {
        return Err("-initial-cluster and -join can not be provided at the same time".into());
    }
    if initial_cluster.is_empty() && join.is_empty() {
        initial_cluster = advertise_peer_urls
            .split(',')
            .map(|url| format!("{name}={url}"))
            .collect::<Vec<_>>()
            .join(",");
    }
    let data_dir = PathBuf::from(or(text("data-dir")?, &format!("default.{name}")));
    let log_file = log_file(flags, file);
    if log_file.as_ref().is_some_and(|log| log.starts_with(&data_dir)) {
        return Err("log directory shouldn't be the subdirectory of data directory".into());
    }
    refuse_tls(flags, file)?;
    Ok(Options {
        data_dir,
        advertise_client_urls: or(text("advertise-client-urls")?, &client_urls),
        client_urls,
        peer_urls,
        advertise_peer_urls,
        initial_cluster,
        initial_cluster_state: or(text("initial-cluster-state")?, "new"),
        initial_cluster_token: or(text("initial-cluster-token")?, "pd-cluster"),
        join,
        log_file,
        lease: file.get("lease").and_then(Value::as_integer).filter(|s| *s > 0).unwrap_or(5),
        persisted: persisted(file)?,
        version,
        warnings: unknown_keys(file),
        name,
    })
}

fn log_file(flags: &Flags, file: &toml::Table) -> Option<PathBuf> {
    let in_file = || {
        let log = file.get("log")?.get("file")?.get("filename")?.as_str();
        log.or_else(|| file.get("log-file")?.as_str())
    };
    flags.get("log-file").or_else(in_file).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The fixture has no TLS: a start that asks for it must not look as if it had worked.
fn refuse_tls(flags: &Flags, file: &toml::Table) -> Result<(), String> {
    let in_file = |key: &str| {
        let value = file.get("security").and_then(|security| security.get(key));
        value.and_then(Value::as_str).is_some_and(|path| !path.is_empty())
    };
    let in_flags = ["cacert", "cert", "key"].iter().any(|key| flags.get(key).is_some());
    if in_flags || ["cacert-path", "cert-path", "key-path"].iter().any(|key| in_file(key)) {
        return Err("this stand-in for PD does not serve TLS; start it without certificates".into());
    }
    Ok(())
}

fn persisted(file: &toml::Table) -> Result<BTreeMap<String, Value>, String> {
    let mut sections = BTreeMap::new();
    for key in PERSISTED {
        match file.get(key) {
            None => {}
            Some(value @ Value::Table(_)) => drop(sections.insert(key.to_owned(), value.clone())),
            Some(_) => return Err(format!("[{key}] must be a table")),
        }
    }
    Ok(sections)
}

fn unknown_keys(file: &toml::Table) -> Vec<String> {
    let known =
        |key: &str| is_one_of(KEYS, key) || is_one_of(FLAG_KEYS, key) || PERSISTED.contains(&key);
    let unknown = file.keys().filter(|key| !known(key));
    unknown.map(|key| format!("Config contains undefined item: {key}")).collect()
}

/// Flags as Go's parser reads them: one or two dashes, `=` or the next word; some take no value.
struct Flags(BTreeMap<String, String>);

impl Flags {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut flags = BTreeMap::new();
        while let Some(arg) = args.next() {
            let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                return Err(format!("unexpected argument {arg:?}"));
            };
            let (key, value) = match body.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (body, None),
            };
            let value = match (key, value) {
                ("V" | "version" | "config-check", value) => value.unwrap_or_else(|| "true".into()),
                (_, Some(value)) => value,
                (_, None) => args.next().ok_or_else(|| format!("flag needs a value: -{key}"))?,
            };
            if !is_one_of(FLAGS, key) && !is_one_of(FLAG_KEYS, key) {
                return Err(format!("flag provided but not defined: -{key}"));
            }
            flags.insert(key.to_owned(), value);
        }
        Ok(Self(flags))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn set(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value != "false")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<Options, String> {
        match parse(args.iter().map(ToString::to_string), "")? {
            Command::Run(options) => Ok(*options),
            other @ (Command::PrintVersion(_) | Command::ConfigChecked(_)) => {
                Err(format!("{other:?}"))
            }
        }
    }

    #[test]
    fn defaults_are_the_real_ones() {
        let options = run(&["--name=pd-1", "-peer-urls", "http://127.0.0.1:9"]).unwrap();
        assert_eq!(options.initial_cluster, "pd-1=http://127.0.0.1:9");
        assert_eq!(options.advertise_client_urls, "http://127.0.0.1:2379");
        assert_eq!(options.version, Version::DEFAULT);
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
    fn the_file_is_read_and_unknown_keys_are_warned_about() {
        let file: toml::Table = "name = 'a'\nodd = 1\n[replication]\nmax-replicas = 5\n\
             [log.file]\nfilename = '/l'"
            .parse()
            .unwrap();
        let flags = Flags(BTreeMap::from([("name".into(), "flag".into())]));
        let options = build(&flags, &file, Version::DEFAULT).unwrap();
        assert_eq!(options.name, "flag");
        assert_eq!(options.warnings, ["Config contains undefined item: odd"]);
        assert_eq!(options.persisted["replication"]["max-replicas"].as_integer(), Some(5));
        assert_eq!(options.log_file, Some(PathBuf::from("/l")));
    }
}
