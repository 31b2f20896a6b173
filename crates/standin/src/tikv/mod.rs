//! How does the stand-in store keep what it acknowledged, and what does an operator see of it? One
//! Raft group per region over the published `raft` crate, one embedded database per store, TiKV's
//! RawKV calls for clients, PD's protocol for registration and scheduling, and TiKV's status port.
//!
//! This is a test fixture. It is **not** TiKV: it never splits or merges regions, knows neither
//! transactions nor TLS, and is never shipped. What it shares with TiKV is what an operator can get
//! wrong: store identity, quorums, membership changes, leadership and configuration.

pub mod call;
pub mod command;
pub mod config;
pub mod disk;
pub mod errands;
pub mod first_region;
pub mod flags;
pub mod heartbeat;
pub mod identity;
pub mod kv_service;
pub mod pd_client;
pub mod peer;
pub mod peer_ready;
pub mod peer_schedule;
pub mod peer_storage;
pub mod region_error;
pub mod run;
pub mod status_server;
pub mod store;
pub mod store_regions;
pub mod wire;

pub use run::main;
