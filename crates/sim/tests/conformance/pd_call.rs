//! What is a call to PD in a script, and how is its answer shown?
//!
//! `> [soon] MEMBER METHOD PATH [JSON] [: /place …]` is a request to a member; `soon`: the answer comes
//! to be the one that is written. Everything else is done to PD's environment ([`Deed`]). Shared by the
//! tests of the model, of the stand-in and of a real PD.

use serde_json::{Value, json};

use super::shown::{Names, asked, places};

/// A line of a script.
pub(crate) enum Call {
    /// A request.
    Ask(Ask),
    /// Something that happens.
    Deed(Deed),
}

/// A request.
pub(crate) struct Ask {
    /// The answer comes to be this one.
    pub(crate) soon: bool,
    /// The member that is asked.
    pub(crate) member: String,
    /// Its method.
    pub(crate) method: String,
    /// Path with query.
    pub(crate) path: String,
    /// JSON body; `Null` where there is none.
    pub(crate) body: Value,
    places: Vec<String>,
}

/// What happens to PD's members and stores.
pub(crate) enum Deed {
    /// So many members, `pd-1` to `pd-N`, found a cluster: the first line of each script.
    Members(usize),
    /// A member leads.
    Lead(String),
    /// A member's process is killed.
    Kill(String),
    /// It is started again on its directory.
    Start(String),
    /// A store registers at the address of this ordinal. The first one brings the first region.
    Register { id: u64, ordinal: u64, version: String },
    /// Stores are heard.
    Beat(Vec<u64>),
    /// The first store of these reports the only region with a voter on each of them; on the last
    /// ones, which are pending, the peer lags behind.
    Region { stores: Vec<u64>, pending: Vec<u64> },
}

/// A body as PD sent it.
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// JSON.
    Json(Value),
    /// Plain text.
    Text(String),
}

impl Call {
    /// Reads a line.
    pub(crate) fn read(line: &str, names: &Names) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let numbers = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect();
        let deed = match words.as_slice() {
            ["members", count] => Deed::Members(count.parse().unwrap()),
            ["lead", name] => Deed::Lead((*name).to_owned()),
            ["kill", name] => Deed::Kill((*name).to_owned()),
            ["start", name] => Deed::Start((*name).to_owned()),
            ["register", id, more @ ..] => register(id.parse().unwrap(), more),
            ["beat", stores @ ..] => Deed::Beat(numbers(stores)),
            ["region", stores @ ..] => {
                let pending = stores.iter().position(|word| *word == "pending");
                let (stores, pending) = stores.split_at(pending.unwrap_or(stores.len()));
                let pending = pending.get(1..).unwrap_or_default();
                Deed::Region { stores: numbers(stores), pending: numbers(pending) }
            }
            _ => return Self::Ask(Ask::read(line, names)),
        };
        Self::Deed(deed)
    }
}

/// `ID [at ORDINAL] [as VERSION]`.
fn register(id: u64, mut more: &[&str]) -> Deed {
    let (mut ordinal, mut version) = (id - 1, "8.5.7".to_owned());
    while let [what, value, rest @ ..] = more {
        match *what {
            "at" => ordinal = value.parse().unwrap(),
            "as" => (*value).clone_into(&mut version),
            _ => panic!("{what}: neither at nor as"),
        }
        more = rest;
    }
    Deed::Register { id, ordinal, version }
}

impl Ask {
    fn read(line: &str, names: &Names) -> Self {
        let (line, places) = asked(line);
        let line = names.put_into(line);
        let later = line.strip_prefix("soon ");
        let (soon, line) = (later.is_some(), later.unwrap_or(&line));
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}: too short")).to_owned();
        let (member, method, path) = (word(), word(), word());
        let body = words.next().map(|text| serde_json::from_str(text).expect(line));
        let places = places.into_iter().map(str::to_owned).collect();
        Self { soon, member, method, path, body: body.unwrap_or_default(), places }
    }

    /// The answer as it is written: the status with what was said, and what is asked for of an object.
    pub(crate) fn show(&self, status: u16, body: Body, names: &mut Names) -> Vec<String> {
        let said = match &body {
            Body::Json(Value::String(words)) if words.starts_with("json: ") => {
                " \"json: …\"".to_owned()
            }
            Body::Empty | Body::Json(Value::Object(_) | Value::Array(_)) => String::new(),
            Body::Text(words) => format!(" {}", words.trim_end()),
            Body::Json(value) => hide(names, "member", &format!(" {value}")),
        };
        let mut lines = vec![format!("{status}{said}")];
        if let Body::Json(mut value) = body {
            settle(&mut value, names);
            let pointers: Vec<&str> = self.places.iter().map(String::as_str).collect();
            lines.extend(places(&value, &pointers));
        }
        lines
    }
}

/// Puts lists into an order, and names in the place of what differs from run to run.
fn settle(value: &mut Value, names: &mut Names) {
    match value {
        Value::Array(items) => {
            items.sort_by_key(order);
            for item in items {
                settle(item, names);
            }
        }
        Value::Object(map) => {
            // Members in the order of their names before the one that leads.
            let lists_first = |(_, value): &(&String, &mut Value)| !value.is_array();
            let mut entries: Vec<_> = map.iter_mut().collect();
            entries.sort_by_key(|entry| (lists_first(entry), entry.0.clone()));
            for (key, value) in entries {
                match (key.as_str(), value.as_u64()) {
                    ("member_id", Some(id)) => *value = json!(names.of("member", &id.to_string())),
                    ("cluster_id", Some(id)) => {
                        *value = json!(names.of("cluster", &id.to_string()));
                    }
                    ("id", Some(id)) if id > 1 << 53 => {
                        *value = json!(names.of("cluster", &id.to_string()));
                    }
                    _ => settle(value, names),
                }
                // The zero times mean something: there was no heartbeat.
                let is_time = key.ends_with("_ts") || key.ends_with("_time");
                let text = value.as_str().unwrap_or_default();
                if is_time && !text.starts_with("0001-") && !text.starts_with("1970-") {
                    *value = json!("a time");
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Lists come in any order.
fn order(item: &Value) -> (u64, String) {
    let id = item.pointer("/store/id").and_then(Value::as_u64).unwrap_or_default();
    let name = item.get("name").or_else(|| item.get("key")).unwrap_or(item);
    let name = name.as_str().unwrap_or_default();
    (id, name.to_owned())
}

/// What a store is told, without what differs in its words: up to the first id or version.
pub(crate) fn kind_of(words: &str) -> String {
    const KINDS: [&str; 4] =
        ["duplicated store address", "version should compatible", "tombstone", "not found"];
    let kind = KINDS.iter().find(|kind| words.contains(*kind));
    format!("refused: {}", kind.unwrap_or(&words))
}

/// A text with names in the place of the values of a kind.
fn hide(names: &Names, kind: &str, text: &str) -> String {
    let known = names.0.get(kind).into_iter().flatten().enumerate();
    known.fold(text.to_owned(), |text, (place, value)| {
        text.replace(value, &format!("{kind}{}", place + 1))
    })
}
