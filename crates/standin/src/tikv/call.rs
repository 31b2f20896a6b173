//! What can a client ask of a region? Reads and writes, with the header that says which region,
//! peer and epoch the client believes in, and where the answer goes.

use anyhow::Result;
use tokio::sync::oneshot;

use super::disk::PAIRS;
use super::peer_storage::PeerStorage;
use super::region_error as refuse;
use crate::proto::errorpb;
use crate::proto::kvrpcpb::Context;
use crate::proto::standinpb::Command;

/// What comes of a call: an answer, or a refusal that sends the client elsewhere.
pub type Answered = Result<Answer, errorpb::Error>;

/// Where the answer goes. Dropped without an answer when the outcome is unknown.
pub type Reply = oneshot::Sender<Answered>;

/// A request on its way to its region's peer.
pub struct Call {
    /// What the client believes about the region.
    pub context: Context,
    /// What it wants.
    pub operation: Operation,
    /// Who waits.
    pub reply: Reply,
}

/// A read or a write.
pub enum Operation {
    /// Answered from the leader's pairs once a majority confirmed the leader.
    Read(Read),
    /// Answered once committed and applied.
    Write(Command),
}

/// Which pair is read.
#[derive(Clone, Debug)]
pub struct Read {
    /// A key of another region is refused.
    pub key: Vec<u8>,
}

/// The value that was read; nothing for a write, and where there is none.
pub type Answer = Option<Vec<u8>>;

/// Refuses a key outside the region.
pub fn within(key: &[u8], storage: &PeerStorage) -> Result<(), errorpb::Error> {
    if storage.contains(key) {
        Ok(())
    } else {
        Err(refuse::key_not_in_region(key, &storage.region))
    }
}

/// Reads from a region; an error outside is the disk's.
pub fn read(Read { key }: &Read, storage: &PeerStorage) -> Result<Answered> {
    if let Err(refused) = within(key, storage) {
        return Ok(Err(refused));
    }
    let value = storage.disk.read()?.open_table(PAIRS)?.get(&**key)?;
    Ok(Ok(value.map(|value| value.value().to_vec())))
}
