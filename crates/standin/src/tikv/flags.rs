//! Which flags does the server take? TiKV's, in both spellings (`--flag value`, `--flag=value`);
//! they win over the file. One is the stand-in's own: `--as-version`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::config::Config;

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
        let mut arguments = arguments.into_iter();
        let mut endpoints: Vec<String> = Vec::new();
        while let Some(argument) = arguments.next() {
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                Some(_) | None => (argument.clone(), None),
            };
            if flags.take_switch(&name) {
                continue;
            }
            let value = inline.or_else(|| arguments.next());
            let value =
                value.ok_or_else(|| format!("error: The argument '{name}' requires a value"))?;
            if matches!(name.as_str(), "--pd-endpoints" | "--pd" | "--pd-endpoint") {
                endpoints.extend(value.split(',').map(str::to_owned));
            } else {
                flags.take_value(&name, value)?;
            }
        }
        if !endpoints.is_empty() {
            flags.values.push(("pd.endpoints", json!(endpoints)));
        }
        Ok(flags)
    }

    fn take_switch(&mut self, name: &str) -> bool {
        match name {
            "--config-check" => self.config_check = true,
            "-V" | "--version" => self.version = true,
            _other => return false,
        }
        true
    }

    fn take_value(&mut self, name: &str, value: String) -> Result<(), String> {
        let key = match name {
            "--config" | "-C" => {
                self.config = Some(PathBuf::from(value));
                return Ok(());
            }
            "--as-version" => {
                self.as_version = Some(value);
                return Ok(());
            }
            "--labels" | "--label" => {
                self.values.push(("server.labels", labels(&value)?));
                return Ok(());
            }
            "--addr" | "-A" => "server.addr",
            "--advertise-addr" => "server.advertise-addr",
            "--status-addr" => "server.status-addr",
            "--advertise-status-addr" => "server.advertise-status-addr",
            "--data-dir" | "-s" | "--store" => "storage.data-dir",
            "--capacity" => "raftstore.capacity",
            "--log-file" | "-f" => "log.file.filename",
            "--log-level" | "-L" | "--log" => "log.level",
            unknown => {
                return Err(format!("error: Found argument '{unknown}' which wasn't expected"));
            }
        };
        self.values.push((key, json!(value)));
        Ok(())
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
