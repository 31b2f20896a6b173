//! Is the stand-in TiKV honest? Real processes on loopback: stores, a stand-in PD over a real etcd,
//! and the published client.

mod cluster;
mod identity;
mod kills;
mod leaders;
mod membership;
mod mistakes;
mod recordings;
mod starts;
mod versions;
