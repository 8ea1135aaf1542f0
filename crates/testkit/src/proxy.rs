//! A TCP link that can be cut, blackened and throttled.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::{listen, own_ip};

/// How the link treats what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything.
    Pass,
    /// Accepts and holds everything, forwards nothing.
    BlackHole,
    /// Passes so many bytes a second in each direction of each connection.
    Throttle(u32),
}

/// A link from an own loopback address to `target`.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    mode: watch::Sender<Mode>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Opens a link that passes everything.
    pub async fn to(target: SocketAddr) -> Self {
        let ip: IpAddr = own_ip();
        let listener = TcpListener::bind((ip, 0)).await.expect("a free port for the proxy");
        let address = listener.local_addr().expect("the proxy has an address");
        let mut proxy = Self { address, target, mode: watch::Sender::new(Mode::Pass), accepting: None };
        proxy.accept(listener);
        proxy
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and refuses new ones.
    pub async fn cut(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Leads to another target from now on.
    pub async fn lead_to(&mut self, target: SocketAddr) {
        self.cut().await;
        self.target = target;
        self.heal().await;
    }

    /// Passes (again), in the given mode.
    pub async fn set(&mut self, mode: Mode) {
        self.mode.send_replace(mode);
        if self.accepting.is_none() {
            self.accept(listen(self.address));
        }
    }

    /// Passes everything again.
    pub async fn heal(&mut self) {
        self.set(Mode::Pass).await;
    }

    fn accept(&mut self, listener: TcpListener) {
        let (target, mode) = (self.target, self.mode.subscribe());
        self.accepting = Some(tokio::spawn(async move {
            // Aborting this task drops the set, and with it every connection.
            let mut connections = JoinSet::new();
            while let Ok((incoming, _)) = listener.accept().await {
                connections.spawn(join(incoming, target, mode.clone()));
                while connections.try_join_next().is_some() {}
            }
        }));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}

async fn join(incoming: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    if mode.wait_for(|mode| *mode != Mode::BlackHole).await.is_err() {
        return;
    }
    let Ok(outgoing) = TcpStream::connect(target).await else { return };
    let ((in_read, in_write), (out_read, out_write)) = (incoming.into_split(), outgoing.into_split());
    tokio::select! {
        () = pump(in_read, out_write, mode.clone()) => {}
        () = pump(out_read, in_write, mode.clone()) => {}
    }
}

/// Ends when either side does; the connection is then closed as a whole.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now = *mode.borrow_and_update();
        let size = match now {
            Mode::Pass => buffer.len(),
            Mode::Throttle(bytes_per_second) => (bytes_per_second as usize / 20).clamp(1, buffer.len()),
            Mode::BlackHole => {
                if mode.changed().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let read = tokio::select! {
            changed = mode.changed() => if changed.is_ok() { continue } else { return },
            read = from.read(&mut buffer[..size]) => read,
        };
        let Ok(read @ 1..) = read else { return };
        if let Mode::Throttle(bytes_per_second) = now {
            let pause = Duration::from_secs_f64(read as f64 / f64::from(bytes_per_second));
            let _ = tokio::time::timeout(pause, mode.changed()).await;
        }
        if mode.has_changed().is_ok() && *mode.borrow() == Mode::BlackHole {
            let _ = mode.wait_for(|mode| *mode != Mode::BlackHole).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
