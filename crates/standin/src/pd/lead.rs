//! What does only the PD leader have? The cluster as it is persisted. All of it is read from etcd when
//! a member becomes leader, and every answer waits until what it changed is in etcd, under the
//! condition that the leader key is still ours.

use std::collections::BTreeMap;

use prost::Message as _;
use tonic::Status;

use super::cluster::Cluster;
use super::etcd::{Pair, Write};
use super::options::Options;
use super::region::Region;
use super::server::Server;
use super::settings::Settings;
use super::store::Store;
use crate::proto::metapb;

/// Ids reserved in etcd at once.
const ID_STEP: u64 = 1000;

/// Writes in one transaction; etcd allows 128.
const WRITES_AT_ONCE: usize = 100;

/// Names of the persisted parts, below `/pd/{cluster id}/`.
pub mod keys {
    /// The settings.
    pub const CONFIG: &str = "config";
    /// The highest id that may have been given out.
    pub const ALLOC_ID: &str = "alloc_id";
    /// Who holds the maintenance lock.
    pub const MAINTENANCE: &str = "maintenance_task";
    /// Time of the bootstrap.
    pub const BOOTSTRAPPED: &str = "raft/status/raft_bootstrap_time";
    /// One key per store.
    pub const STORES: &str = "raft/s/";
    /// One key per region.
    pub const REGIONS: &str = "raft/r/";
    /// The schedulers.
    pub const SCHEDULERS: &str = "scheduler_config";
}

/// What is persisted, by its key below `/pd/{cluster id}/`.
pub type Persisted = BTreeMap<String, Vec<u8>>;

impl Cluster {
    /// Reads everything back; the configuration file counts only where nothing is persisted yet.
    pub async fn load(server: &Server) -> Result<Self, Status> {
        let prefix = server.prefix();
        let strip = |(key, value): Pair| Some((key.strip_prefix(&prefix)?.to_owned(), value));
        let pairs: Persisted =
            server.etcd.list(&prefix).await?.into_iter().filter_map(strip).collect();
        Self::read(&server.options, &pairs)
            .map_err(|reason| Status::data_loss(format!("{reason:#}")))
    }

    fn read(options: &Options, pairs: &Persisted) -> anyhow::Result<Self> {
        let text = |key| pairs.get(key).map(|value| String::from_utf8_lossy(value));
        let number = |key| text(key).and_then(|text| text.parse().ok());
        let settings = pairs.get(keys::CONFIG).map(|text| Settings::decode(text));
        let settings = settings.unwrap_or_else(|| Settings::from_options(options))?;
        let mut cluster = Self::new(options.version, settings);
        cluster.reserved_id = number(keys::ALLOC_ID).map_or(0, i64::unsigned_abs);
        cluster.next_id = cluster.reserved_id + 1;
        cluster.bootstrapped_at = number(keys::BOOTSTRAPPED);
        if let Some(schedulers) = pairs.get(keys::SCHEDULERS) {
            cluster.schedulers = serde_json::from_slice(schedulers)?;
        }
        if let Some(task) = pairs.get(keys::MAINTENANCE) {
            cluster.maintenance = Some(serde_json::from_slice(task)?);
        }
        for (key, value) in pairs {
            if key.starts_with(keys::STORES) {
                let meta = metapb::Store::decode(value.as_slice())?;
                cluster.stores.insert(meta.id, Store::new(meta));
            } else if key.starts_with(keys::REGIONS) {
                cluster.regions.put(Region::from_meta(metapb::Region::decode(value.as_slice())?));
            }
        }
        cluster.saved.clone_from(pairs);
        let kept = cluster.persisted();
        cluster.saved.retain(|key, _| kept.contains_key(key));
        Ok(cluster)
    }

    fn persisted(&self) -> Persisted {
        let mut all = BTreeMap::from([
            (keys::CONFIG.to_owned(), self.settings.encode()),
            (keys::ALLOC_ID.to_owned(), self.reserved_id.to_string().into_bytes()),
        ]);
        let task = self.maintenance.as_ref().map(|task| task.to_string().into_bytes());
        all.extend(task.map(|task| (keys::MAINTENANCE.to_owned(), task)));
        if let Some(time) = self.bootstrapped_at {
            let schedulers = serde_json::to_vec(&self.schedulers).unwrap_or_default();
            all.insert(keys::BOOTSTRAPPED.to_owned(), time.to_string().into_bytes());
            all.insert(keys::SCHEDULERS.to_owned(), schedulers);
        }
        let store =
            |(id, store): (&u64, &Store)| (format!("{}{id:020}", keys::STORES), store.persisted());
        all.extend(self.stores.iter().map(store));
        let region = |region: &Region| {
            (format!("{}{:020}", keys::REGIONS, region.id()), region.meta.encode_to_vec())
        };
        all.extend(self.regions.iter().map(region));
        all
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

    /// Persists what has changed. `false` when the leader key is not ours any more: then nothing
    /// counts that was not written.
    pub async fn commit(&mut self, server: &Server) -> Result<bool, Status> {
        let prefix = server.prefix();
        let now = self.persisted();
        let gone = self.saved.keys().filter(|key| !now.contains_key(*key)).map(|key| (key, None));
        let new = now.iter().filter(|(key, value)| self.saved.get(*key) != Some(value));
        let writes = gone.chain(new.map(|(key, value)| (key, Some(value.clone()))));
        let writes: Vec<Write> =
            writes.map(|(key, value)| (format!("{prefix}{key}"), value)).collect();
        for some in writes.chunks(WRITES_AT_ONCE) {
            if !server.write_while_leading(some).await? {
                return Ok(false);
            }
        }
        self.saved = now;
        Ok(true)
    }
}
