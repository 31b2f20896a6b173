//! Where may a server listen? At a loopback address of this process alone, so that no other process
//! takes the port between this choice and the server's start, with a port that nobody else got.

use std::sync::atomic::{AtomicU32, Ordering};

pub fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(12_000);
    let process = std::process::id();
    let (high, low) = (1 + process / 256 % 250, process % 256);
    format!("127.{high}.{low}.1:{}", NEXT.fetch_add(1, Ordering::SeqCst))
}
