//! What does only the PD leader have? The settings in force, the id allocator, the timestamp oracle
//! and the cluster. All of it is read from etcd when a member becomes leader, and every answer
//! waits until what it changed is in etcd, under the condition that the leader key is still ours.

use serde_json::Value;

use super::cluster::{Cluster, keys};
use super::etcd::{Etcd, EtcdError, Pair, Write};
use super::refusal::Refusal;
use super::schedulers::Schedulers;
use super::server::Server;
use super::settings::Settings;
use super::timestamps::Timestamps;
use super::version::Version;
use crate::proto::pdpb::Timestamp;

/// Ids reserved in etcd at once.
const ID_STEP: u64 = 1000;

/// Writes in one transaction; etcd allows 128.
const WRITES_AT_ONCE: usize = 100;

/// Keys below `/pd/{cluster id}/` that belong to no cluster part.
const CONFIG: &str = "config";
const ALLOC_ID: &str = "alloc_id";
const TIMESTAMP: &str = "timestamp";
const MAINTENANCE: &str = "maintenance_task";
const GC_SAFE_POINT: &str = "gc/safe_point";

/// The state of the PD leader.
#[derive(Debug)]
pub struct Lead {
    /// The release that is imitated.
    pub version: Version,
    /// The persisted sections of the configuration.
    pub settings: Settings,
    /// `None` before the first store bootstraps.
    pub cluster: Option<Cluster>,
    /// The maintenance task that holds the lock, as it is shown.
    pub maintenance: Option<Value>,
    /// Data older than this may be collected.
    pub gc_safe_point: u64,
    saved_settings: Vec<u8>,
    saved_schedulers: Vec<u8>,
    next_id: u64,
    reserved_id: u64,
    timestamps: Timestamps,
    writes: Vec<Write>,
}

impl Lead {
    /// Reads everything back; the configuration file counts only where nothing is persisted yet.
    pub async fn load(server: &Server) -> Result<Self, String> {
        let prefix = server.prefix();
        let pairs = server.etcd.list(&prefix).await.map_err(|EtcdError(text)| text)?;
        let strip = |(key, value): Pair| Some((key.strip_prefix(&prefix)?.to_owned(), value));
        let pairs: Vec<Pair> = pairs.into_iter().filter_map(strip).collect();
        let find = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        let number = |key: &str| -> u64 {
            let text = find(key).map(|value| String::from_utf8_lossy(value).into_owned());
            text.and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let saved_settings = find(CONFIG).cloned().unwrap_or_default();
        let settings = if saved_settings.is_empty() {
            Settings::from_options(&server.options)?
        } else {
            Settings::decode(&saved_settings)?
        };
        let schedulers = Schedulers::of_version(server.options.version);
        let maintenance = find(MAINTENANCE).and_then(|value| serde_json::from_slice(value).ok());
        let persisted_time = i64::try_from(number(TIMESTAMP)).unwrap_or_default();
        Ok(Self {
            version: server.options.version,
            settings,
            cluster: Cluster::load(&pairs, schedulers)?,
            maintenance,
            gc_safe_point: number(GC_SAFE_POINT),
            saved_settings,
            saved_schedulers: find(keys::SCHEDULERS).cloned().unwrap_or_default(),
            next_id: number(ALLOC_ID) + 1,
            reserved_id: number(ALLOC_ID),
            timestamps: Timestamps::resume(persisted_time),
            writes: Vec::new(),
        })
    }

    /// The cluster, or PD's refusal before there is one.
    pub fn cluster(&mut self) -> Result<&mut Cluster, Refusal> {
        self.cluster.as_mut().ok_or_else(Refusal::not_bootstrapped)
    }

    /// Cluster and settings together.
    pub fn parts(&mut self) -> Result<(&mut Cluster, &mut Settings), Refusal> {
        let cluster = self.cluster.as_mut().ok_or_else(Refusal::not_bootstrapped)?;
        Ok((cluster, &mut self.settings))
    }

    /// Notes writes that the next commit makes.
    pub fn note(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.writes.extend(writes);
    }

    /// An id that was never given out before.
    pub fn allocate(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if id > self.reserved_id {
            self.reserved_id = id + ID_STEP;
            self.writes.push((ALLOC_ID.into(), Some(self.reserved_id.to_string().into_bytes())));
        }
        id
    }

    /// The last of `count` timestamps later than all before, also those of earlier leaders.
    pub fn timestamp(&mut self, count: u32, now_millis: i64) -> Timestamp {
        let (given, persist) = self.timestamps.next(count, now_millis);
        let write = |millis: i64| (TIMESTAMP.into(), Some(millis.to_string().into_bytes()));
        self.writes.extend(persist.map(write));
        given
    }

    /// Takes or gives back the maintenance lock.
    pub fn set_maintenance(&mut self, task: Option<Value>) {
        let text = task.as_ref().map(|task| task.to_string().into_bytes());
        self.writes.push((MAINTENANCE.into(), text));
        self.maintenance = task;
    }

    /// Raises the GC safe point, which never falls; the one in force.
    pub fn raise_gc_safe_point(&mut self, wanted: u64) -> u64 {
        if wanted > self.gc_safe_point {
            self.gc_safe_point = wanted;
            self.writes.push((GC_SAFE_POINT.into(), Some(wanted.to_string().into_bytes())));
        }
        self.gc_safe_point
    }

    /// One round of scheduling.
    pub fn schedule(&mut self) {
        let Some(mut cluster) = self.cluster.take() else { return };
        let settings = self.settings.clone();
        cluster.schedule(&settings, &mut || self.allocate());
        self.cluster = Some(cluster);
    }

    /// Persists everything noted, and settings and schedulers if they changed. `false` when the
    /// leader key is not ours any more: then nothing counts that was not written.
    pub async fn commit(&mut self, etcd: &Etcd, leader: (&str, &[u8])) -> Result<bool, EtcdError> {
        let settings = self.settings.encode();
        if settings != self.saved_settings {
            self.writes.push((CONFIG.into(), Some(settings.clone())));
        }
        let schedulers = self.cluster.as_ref().map(Cluster::persist_schedulers);
        let schedulers = schedulers.filter(|(_, v)| v.as_ref() != Some(&self.saved_schedulers));
        self.writes.extend(schedulers.clone());
        if self.writes.is_empty() {
            return Ok(true);
        }
        let prefix = leader.0.strip_suffix("leader").unwrap_or_default();
        let named = std::mem::take(&mut self.writes);
        let named = named.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value));
        let named: Vec<Write> = last_of_each(named.collect());
        for some in named.chunks(WRITES_AT_ONCE) {
            if !etcd.write_while(leader, some).await? {
                return Ok(false);
            }
        }
        self.saved_settings = settings;
        if let Some((_, Some(text))) = schedulers {
            self.saved_schedulers = text;
        }
        Ok(true)
    }
}

/// etcd refuses a transaction that puts a key twice: the last write of each key counts.
fn last_of_each(writes: Vec<Write>) -> Vec<Write> {
    let last: std::collections::BTreeMap<String, Option<Vec<u8>>> = writes.into_iter().collect();
    last.into_iter().collect()
}
