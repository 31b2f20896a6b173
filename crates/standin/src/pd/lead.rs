//! What does only the PD leader have? The settings in force, the id allocator and the cluster.
//! All of it is read from etcd when a member becomes leader, and every answer
//! waits until what it changed is in etcd, under the condition that the leader key is still ours.

use std::collections::BTreeMap;

use serde_json::Value;
use tonic::Status;

use super::cluster::Cluster;
use super::etcd::{Etcd, Pair, Write};
use super::options::Options;
use super::refusal::Refusal;
use super::schedulers::Schedulers;
use super::server::Server;
use super::settings::Settings;
use super::version::Version;

/// Ids reserved in etcd at once.
const ID_STEP: u64 = 1000;

/// Writes in one transaction; etcd allows 128.
const WRITES_AT_ONCE: usize = 100;

/// Keys below `/pd/{cluster id}/` that belong to no cluster part.
const CONFIG: &str = "config";
const ALLOC_ID: &str = "alloc_id";
const MAINTENANCE: &str = "maintenance_task";

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
    next_id: u64,
    reserved_id: u64,
    /// What is in etcd of [`Lead::persisted`].
    saved: BTreeMap<String, Vec<u8>>,
}

impl Lead {
    /// Reads everything back; the configuration file counts only where nothing is persisted yet.
    pub async fn load(server: &Server) -> Result<Self, Status> {
        let prefix = server.prefix();
        let strip = |(key, value): Pair| Some((key.strip_prefix(&prefix)?.to_owned(), value));
        let pairs = server.etcd.list(&prefix).await?.into_iter().filter_map(strip);
        let pairs: BTreeMap<String, Vec<u8>> = pairs.collect();
        Self::read(&server.options, &pairs).map_err(Status::data_loss)
    }

    fn read(options: &Options, pairs: &BTreeMap<String, Vec<u8>>) -> Result<Self, String> {
        let id = pairs.get(ALLOC_ID).map(|value| String::from_utf8_lossy(value).parse());
        let reserved_id = id.and_then(Result::ok).unwrap_or_default();
        let config = pairs.get(CONFIG).map(|text| Settings::decode(text));
        let mut lead = Self {
            version: options.version,
            settings: config.unwrap_or_else(|| Settings::from_options(options))?,
            cluster: Cluster::load(pairs, Schedulers::of_version(options.version))?,
            maintenance: pairs.get(MAINTENANCE).and_then(|text| serde_json::from_slice(text).ok()),
            next_id: reserved_id + 1,
            reserved_id,
            saved: BTreeMap::new(),
        };
        lead.saved = lead.persisted();
        lead.saved.retain(|key, _| pairs.contains_key(key));
        Ok(lead)
    }

    /// Everything that must survive, by its key below `/pd/{cluster id}/`.
    fn persisted(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::from([
            (CONFIG.to_owned(), self.settings.encode()),
            (ALLOC_ID.to_owned(), self.reserved_id.to_string().into_bytes()),
        ]);
        let task = self.maintenance.as_ref().map(|task| task.to_string().into_bytes());
        all.extend(task.map(|task| (MAINTENANCE.to_owned(), task)));
        all.extend(self.cluster.iter().flat_map(Cluster::persisted));
        all
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

    /// An id that was never given out before.
    pub fn allocate(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if id > self.reserved_id {
            self.reserved_id = id + ID_STEP;
        }
        id
    }

    /// One round of scheduling.
    pub fn schedule(&mut self) {
        let Some(mut cluster) = self.cluster.take() else { return };
        let settings = self.settings.clone();
        cluster.schedule(&settings, &mut || self.allocate());
        self.cluster = Some(cluster);
    }

    /// Persists what has changed. `false` when the leader key is not ours any more: then nothing
    /// counts that was not written.
    pub async fn commit(&mut self, etcd: &Etcd, leader: (&str, &[u8])) -> Result<bool, Status> {
        let prefix = leader.0.strip_suffix("leader").unwrap_or_default();
        let now = self.persisted();
        let gone = self.saved.keys().filter(|key| !now.contains_key(*key)).map(|key| (key, None));
        let new = now.iter().filter(|(key, value)| self.saved.get(*key) != Some(value));
        let writes = gone.chain(new.map(|(key, value)| (key, Some(value.clone()))));
        let writes: Vec<Write> =
            writes.map(|(key, value)| (format!("{prefix}{key}"), value)).collect();
        for some in writes.chunks(WRITES_AT_ONCE) {
            if !etcd.write_while(leader, some).await? {
                return Ok(false);
            }
        }
        self.saved = now;
        Ok(true)
    }
}
