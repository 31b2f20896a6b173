//! How does a test take a pod's address away, as a network does? By a gate: the name that a store
//! is known by. What goes through it to an address that is gone is swallowed without a word, and so
//! is who wants to connect where it has fallen silent itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where the name leads to now, and how often that has changed.
type Way = Arc<Mutex<(u64, Option<String>)>>;

pub struct Gate {
    name: SocketAddr,
    way: Way,
    is_silent: Arc<AtomicBool>,
}

impl Gate {
    /// Listens at `name` and leads to `address`.
    pub fn open(name: &str, address: &str) -> Self {
        let way: Way = Arc::new(Mutex::new((0, Some(address.to_owned()))));
        let (listener, shared) = (listen(name), Arc::clone(&way));
        let is_silent = Arc::new(AtomicBool::new(false));
        let falls_silent = Arc::clone(&is_silent);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                while falls_silent.load(Ordering::SeqCst) {
                    std::thread::park();
                }
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
        Self { name: name.parse().unwrap(), way, is_silent }
    }

    /// From now on the name leads elsewhere, or nowhere; connections there were fall silent.
    pub fn lead_to(&self, address: Option<&str>) {
        let mut way = self.way.lock().unwrap();
        *way = (way.0 + 1, address.map(str::to_owned));
    }

    /// From now on and for ever who connects to the name waits for an answer that does not come, as
    /// from a machine that is not there. Connections go on until one of their ends closes them.
    pub fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
        // The system answers until its queue of those that nobody takes is full.
        let connect = || TcpStream::connect_timeout(&self.name, Duration::from_millis(300));
        while let Ok(waiting) = connect() {
            std::mem::forget(waiting);
        }
    }
}

/// Listens with a short queue.
fn listen(name: &str) -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _inside = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(name.parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap().into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    listener
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
