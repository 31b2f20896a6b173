//! Which flags does the server take? TiKV's, in both spellings (`--flag value`, `--flag=value`);
//! they win over the file. One is the stand-in's own: `--as-version`.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::config::Config;
use crate::start;
use crate::version::{Feature, Version};

/// The names of each flag, and the key that it sets; empty for what is no key.
const FLAGS: [(&str, &str); 13] = [
    ("config C", ""),
    ("V version", ""),
    ("as-version", ""),
    ("pd-endpoints pd pd-endpoint", "pd.endpoints"),
    ("labels label", "server.labels"),
    ("addr A", "server.addr"),
    ("advertise-addr", "server.advertise-addr"),
    ("status-addr", "server.status-addr"),
    ("advertise-status-addr", "server.advertise-status-addr"),
    ("data-dir s store", "storage.data-dir"),
    ("capacity", "raftstore.capacity"),
    ("log-file f", "log.file.filename"),
    ("log-level L log", "log.level"),
];

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Flags that are no keys, by their first name.
    plain: Map<String, Value>,
    /// Keys that flags set.
    keys: Map<String, Value>,
}

impl Flags {
    /// Reads the arguments; the reason when one is not known or lacks its value.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut flags = Self::default();
        for (name, value) in start::flags(arguments, &["V", "version"])? {
            let mut known = FLAGS.iter().map(|(names, key)| (names.split(' '), *key));
            let found = known.find(|(names, _)| names.clone().any(|known| known == name));
            let Some((mut names, key)) = found else {
                bail!("error: Found argument '--{name}' which wasn't expected");
            };
            match key {
                "" => {
                    flags.plain.insert(names.next().unwrap_or_default().into(), value.into());
                }
                "pd.endpoints" => {
                    let known = flags.keys.entry(key).or_insert_with(|| json!([]));
                    let new = value.split(',').map(Value::from);
                    known.as_array_mut().into_iter().for_each(|known| known.extend(new.clone()));
                }
                "server.labels" => {
                    flags.keys.insert(key.into(), labels(&value)?);
                }
                _ => {
                    flags.keys.insert(key.into(), value.into());
                }
            }
        }
        Ok(flags)
    }

    /// A flag that is no key, by its first name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.plain.get(name).and_then(Value::as_str)
    }

    /// Lays the flags over the configuration of a release; the reason when it does not know one.
    pub fn overlay(&self, config: &mut Config, version: Version) -> Result<()> {
        let younger = "server.advertise-status-addr";
        if self.keys.contains_key(younger) && !version.has(Feature::ADVERTISE_STATUS) {
            bail!("error: Found argument '--advertise-status-addr' which wasn't expected");
        }
        self.keys.iter().try_for_each(|(key, value)| config.set(key, value))
    }
}

fn labels(text: &str) -> Result<Value> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').with_context(|| format!("invalid label {pair}"))?;
        Ok((key.to_owned(), value.into()))
    };
    let labels = text.split(',').filter(|pair| !pair.is_empty()).map(pair);
    Ok(Value::Object(labels.collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_in_both_spellings_and_win() {
        let words = "--config=/c.toml --addr 0.0.0.0:1 --pd-endpoints=a:1,b:2 --pd-endpoints c:3 \
                     --labels zone=a,host=h --capacity=10GB --as-version v8.5.1";
        let flags = Flags::parse(words.split_whitespace().map(str::to_owned)).unwrap();
        assert_eq!(flags.get("config"), Some("/c.toml"));
        assert_eq!(flags.get("as-version"), Some("v8.5.1"));
        assert_eq!(flags.get("V"), None);
        let mut config = Config::from_toml("[server]\naddr = \"x:9\"", Version::default()).unwrap();
        flags.overlay(&mut config, Version::default()).unwrap();
        assert_eq!(config.text("server.addr"), "0.0.0.0:1");
        assert_eq!(config.list("pd.endpoints"), ["a:1", "b:2", "c:3"]);
        assert_eq!(config.get("server.labels"), Some(&json!({"zone": "a", "host": "h"})));
        assert_eq!(config.bytes("raftstore.capacity"), 10 << 30);
        assert!(Flags::parse(["--no-such=1".to_owned()]).is_err());
        assert!(Flags::parse(["--addr".to_owned()]).is_err());
    }
}
