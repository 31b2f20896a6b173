//! Which flags does the server take? TiKV's, in both spellings (`--flag value`, `--flag=value`);
//! they win over the file. One is the stand-in's own: `--as-version`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::config::Config;
use crate::arguments;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`: the TOML file.
    pub config: Option<PathBuf>,
    /// `--config-check`: check the file and end.
    pub config_check: bool,
    /// `-V`: print the version and end.
    pub version: bool,
    /// `--as-version`, or `STANDIN_TIKV_VERSION`: which TiKV to be.
    pub as_version: Option<String>,
    /// Keys that flags set.
    values: Vec<(&'static str, Value)>,
}

impl Flags {
    /// Reads the arguments; the reason when one is not known or lacks its value.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut endpoints: Vec<String> = Vec::new();
        for (name, value) in arguments::read(arguments, &["config-check", "V", "version"])? {
            let key = match name.as_str() {
                "config-check" => {
                    flags.config_check = true;
                    continue;
                }
                "V" | "version" => {
                    flags.version = true;
                    continue;
                }
                "config" | "C" => {
                    flags.config = Some(value.into());
                    continue;
                }
                "as-version" => {
                    flags.as_version = Some(value);
                    continue;
                }
                "pd-endpoints" | "pd" | "pd-endpoint" => {
                    endpoints.extend(value.split(',').map(str::to_owned));
                    continue;
                }
                "labels" | "label" => {
                    flags.values.push(("server.labels", labels(&value)?));
                    continue;
                }
                "addr" | "A" => "server.addr",
                "advertise-addr" => "server.advertise-addr",
                "status-addr" => "server.status-addr",
                "advertise-status-addr" => "server.advertise-status-addr",
                "data-dir" | "s" | "store" => "storage.data-dir",
                "capacity" => "raftstore.capacity",
                "log-file" | "f" => "log.file.filename",
                "log-level" | "L" | "log" => "log.level",
                unknown => {
                    return Err(format!(
                        "error: Found argument '--{unknown}' which wasn't expected"
                    ));
                }
            };
            flags.values.push((key, json!(value)));
        }
        if !endpoints.is_empty() {
            flags.values.push(("pd.endpoints", json!(endpoints)));
        }
        Ok(flags)
    }

    /// Lays the flags over the configuration.
    pub fn overlay(&self, config: &mut Config) -> Result<(), String> {
        self.values.iter().try_for_each(|(key, value)| config.set(key, value))
    }
}

fn labels(text: &str) -> Result<Value, String> {
    let mut labels = serde_json::Map::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("invalid label {pair}"))?;
        labels.insert(key.to_owned(), json!(value));
    }
    Ok(Value::Object(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_in_both_spellings_and_win() {
        let words = "--config=/c.toml --addr 0.0.0.0:1 --pd-endpoints=a:1,b:2 --pd-endpoints c:3 \
                     --labels zone=a,host=h --capacity=10GB --as-version v8.5.1";
        let flags = Flags::parse(words.split_whitespace().map(str::to_owned)).unwrap();
        assert_eq!(flags.config, Some(PathBuf::from("/c.toml")));
        assert_eq!(flags.as_version.as_deref(), Some("v8.5.1"));
        let mut config = Config::from_toml("[server]\naddr = \"x:9\"").unwrap();
        flags.overlay(&mut config).unwrap();
        assert_eq!(config.text("server.addr"), "0.0.0.0:1");
        assert_eq!(config.list("pd.endpoints"), ["a:1", "b:2", "c:3"]);
        assert_eq!(config.get("server.labels"), Some(&json!({"zone": "a", "host": "h"})));
        assert_eq!(config.bytes("raftstore.capacity"), 10 << 30);
        assert!(Flags::parse(["--no-such=1".to_owned()]).is_err());
        assert!(Flags::parse(["--addr".to_owned()]).is_err());
    }
}
