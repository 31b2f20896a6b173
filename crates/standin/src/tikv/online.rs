//! Which keys can be changed while the store runs, and what does it answer for the others? As
//! recorded from a real one: the whole call is refused on the first key that cannot be changed.
//! `online_keys.txt` is the list of TiKV's documentation ("Modify TiKV configuration dynamically");
//! `<db>` stands for `rocksdb` and `raftdb`, `<cf>` for their column families.

use serde_json::{Map, Value};

use super::config::Config;

const ONLINE_KEYS: &str = include_str!("online_keys.txt");

fn is_online(path: &str) -> bool {
    let general = |part: &str| match part {
        "rocksdb" | "raftdb" => "<db>".to_owned(),
        family if family.ends_with("cf") => "<cf>".to_owned(),
        part => part.to_owned(),
    };
    let general = path.split('.').map(general).collect::<Vec<_>>().join(".");
    ONLINE_KEYS.lines().any(|key| key == general)
}

/// Changes all of `changes` or nothing; the reason as the real one words it.
pub fn change(config: &mut Config, changes: &Map<String, Value>) -> Result<(), String> {
    let mut next = config.clone();
    for (path, value) in changes {
        if let Some(part) = first_unknown(config, path) {
            return Err(format!("unexpect fields: {}", part.replace('-', "_")));
        }
        if !is_online(path) {
            let key = path.rsplit('.').next().unwrap_or_default().replace('-', "_");
            return Err(format!("config {key} can not be changed"));
        }
        next.set(path, value).map_err(|reason| {
            // Without the key, as recorded.
            reason.split(" for key ").next().unwrap_or_default().to_owned()
        })?;
    }
    *config = next;
    Ok(())
}

/// The first part of a dotted path that TiKV does not know.
fn first_unknown<'a>(config: &Config, path: &'a str) -> Option<&'a str> {
    if config.get(path).is_some() {
        return None;
    }
    let mut known = String::new();
    for part in path.split('.') {
        known = if known.is_empty() { part.to_owned() } else { format!("{known}.{part}") };
        if config.get(&known).is_none() {
            return Some(part);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_key_exists() {
        let config = Config::defaults().unwrap();
        let keys = ONLINE_KEYS.lines().map(|key| key.replace("<db>", "rocksdb"));
        let keys: Vec<String> = keys.map(|key| key.replace("<cf>", "writecf")).collect();
        let missing: Vec<_> = keys.iter().filter(|path| config.get(path).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(keys.len() > 80 && keys.iter().all(|path| is_online(path)));
        assert!(!is_online("server.grpc-concurrency") && !is_online("storage.data-dir"));
    }

    #[test]
    fn a_refused_call_changes_nothing() {
        let mut config = Config::defaults().unwrap();
        let before = config.shown().clone();
        let changes = serde_json::json!({
            "server.snap-io-max-bytes-per-sec": "32MiB", "server.grpc-concurrency": 3
        });
        let reason = change(&mut config, changes.as_object().unwrap()).unwrap_err();
        assert_eq!(reason, "config grpc_concurrency can not be changed");
        assert_eq!(*config.shown(), before);
    }
}
