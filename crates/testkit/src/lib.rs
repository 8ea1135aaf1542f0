//! The test rig: real nats-servers, a link that can be cut, a publisher that knows the truth, and the real exporter.
//!
//! Nothing here is a fake of NATS. Every port is chosen by the system, every wait has a deadline, and every process
//! ends with the value that stands for it, also when a test panics or is killed.
// Tests measure the exporter against the real time.
#![allow(clippy::disallowed_methods)]
// Everything here fails by a panic, as a test does. What a test forgets to use it sees by itself.
#![allow(clippy::missing_panics_doc, clippy::missing_errors_doc)]
#![allow(clippy::must_use_candidate, clippy::return_self_not_must_use)]
// Figures of a scrape are exact. A test may keep a large future, and need not care which of them
// wait for something.
#![allow(clippy::float_cmp, clippy::cast_precision_loss, clippy::large_futures, clippy::unused_async)]

pub mod certs;
pub mod cluster;
pub mod dns;
pub mod exporter;
pub mod grafana;
pub mod jwt;
pub mod kube;
pub mod nats;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod publisher;
pub mod scrape;
pub mod service;
pub mod watch;

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr as SocketName, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, UdpSocket};

/// More than anything takes that is no fault, however busy the machine is. A wait for what must come ends when it comes,
/// so a long deadline costs time only where something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Looks at `condition` again and again until it is `Some`; panics, naming `what`, when that takes longer than `limit`.
pub async fn wait_until<T>(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Ok(Some(value)) = tokio::time::timeout(limit, condition()).await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Lets the world go on for `time`, where the passing of time itself is what is tested.
pub async fn let_pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A loopback address that no other server of this machine uses, so that a port on it stays its owner's while the
/// owner is dead: nothing else listens there, and outgoing connections start from 127.0.0.1.
///
/// The second byte is this process's, the two after it are the address's.
pub fn own_ip() -> IpAddr {
    static NET: OnceLock<(u8, UnixListener)> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (net, _) = NET.get_or_init(own_net);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, 0, high, low] = number.to_be_bytes() else { panic!("this process has used its 65,535 addresses") };
    IpAddr::V4(Ipv4Addr::new(127, *net, high, low))
}

/// A second byte of loopback addresses that no other process uses. Its owner is who holds the socket
/// of this name. The socket is no file, and the kernel closes it when the process ends, however that
/// happens.
fn own_net() -> (u8, UnixListener) {
    let first = std::process::id();
    let mut nets = (1..=254_u8).cycle().skip((first % 254) as usize).take(254);
    let free = nets.find_map(|net| {
        let name = SocketName::from_abstract_name(format!("dr-testkit-127.{net}")).expect("a name for a socket");
        UnixListener::bind_addr(&name).ok().map(|held| (net, held))
    });
    free.expect("254 other processes of tests run on this machine")
}

/// Ports of `ip` that the system chose and that are free.
///
/// Their sockets never listen. A process that another test starts holds a copy of every socket until it runs its own
/// program, and a copy that listens would keep the port from its owner for that moment.
pub fn free_ports<const N: usize>(ip: IpAddr) -> [SocketAddr; N] {
    let sockets = [(); N].map(|()| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("servers set the same");
        socket.bind((ip, 0).into()).expect("a free port on loopback");
        socket
    });
    sockets.map(|socket| socket.local_addr().expect("a bound socket has an address"))
}

/// Listens on `address`, which is the test's own.
pub fn listen(address: SocketAddr) -> TcpListener {
    let listener = listen_std(address);
    listener.set_nonblocking(true).expect("a listener for tokio");
    TcpListener::from_std(listener).expect("a listener in a runtime")
}

/// The same outside a runtime.
pub(crate) fn listen_std(address: SocketAddr) -> std::net::TcpListener {
    bind(address, std::net::TcpListener::bind)
}

/// Takes datagrams on `address`, which is the test's own.
pub fn datagrams(address: SocketAddr) -> UdpSocket {
    let socket = bind(address, std::net::UdpSocket::bind);
    socket.set_nonblocking(true).expect("a socket for tokio");
    UdpSocket::from_std(socket).expect("a socket in a runtime")
}

/// For a moment an address can still be taken: by a copy of the socket before it in a process that another test starts,
/// and by a UDP socket that has this port on every address until it connects.
fn bind<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> std::io::Result<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match bind(address) {
            Ok(bound) => return bound,
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{address}: {error}"),
        }
    }
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    let this = Path::new(env!("CARGO_MANIFEST_DIR"));
    this.ancestors().nth(2).expect("this crate is two folders below it")
}

/// A program of `.tools/bin`, or the one that the environment variable `variable` names.
pub fn tool(variable: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map_or_else(|| root().join(".tools/bin").join(name), PathBuf::from);
    path.is_file().then_some(path)
}

/// Tells that a part of a test is left out, and why. Unlike `eprintln!` it is seen although the test passes.
///
/// It fails where `CI` is set: there everything that a test needs was to be had.
#[track_caller]
pub fn skip(why: impl Display) {
    assert!(std::env::var_os("CI").is_none(), "left out, though CI has to have it: {why}");
    leave_out(why);
}

/// The same of what only root may do: without root it is left out in CI as well.
#[track_caller]
pub fn skip_without_root(why: impl Display) {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if is_root { skip(why) } else { leave_out(why) }
}

/// The same of what a machine need not have.
pub fn leave_out(why: impl Display) {
    // Not through the macro, whose output of a test that passes nobody sees.
    let _ = writeln!(std::io::stderr().lock(), "left out: {why}");
}
