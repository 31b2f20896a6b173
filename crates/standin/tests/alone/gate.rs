//! How does a test take a pod's address away, as a network does? By a gate: the name that a store
//! is known by. What goes through it to an address that is gone is swallowed without a word.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Where the name leads to now, and how often that has changed.
type Way = Arc<Mutex<(u64, Option<String>)>>;

pub struct Gate(Way);

impl Gate {
    /// Listens at `name` and leads to `address`.
    pub fn open(name: &str, address: &str) -> Self {
        let way: Way = Arc::new(Mutex::new((0, Some(address.to_owned()))));
        let (listener, shared) = (TcpListener::bind(name).unwrap(), Arc::clone(&way));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (turn, address) = shared.lock().unwrap().clone();
                match address.map(TcpStream::connect) {
                    // Nobody is there, and nobody says so.
                    None => std::mem::forget(stream),
                    Some(Err(_)) => drop(stream),
                    Some(Ok(beyond)) => {
                        let back = (beyond.try_clone().unwrap(), stream.try_clone().unwrap());
                        for (from, to) in [(stream, beyond), back] {
                            let shared = Arc::clone(&shared);
                            std::thread::spawn(move || carry(from, to, turn, &shared));
                        }
                    }
                }
            }
        });
        Self(way)
    }

    /// From now on the name leads elsewhere, or nowhere; connections there were fall silent.
    pub fn lead_to(&self, address: Option<&str>) {
        let mut way = self.0.lock().unwrap();
        *way = (way.0 + 1, address.map(str::to_owned));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, turn: u64, way: &Way) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        if way.lock().unwrap().0 != turn {
            // Neither end hears of the other's.
            std::mem::forget((from, to));
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            let _ = to.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}
