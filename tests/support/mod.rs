//! The test rig: real nats-servers, a link that can be cut, a publisher that knows the truth, and the real exporter.
//!
//! Nothing here is a fake of NATS. Every port is chosen by the system, every wait has a deadline, and every process
//! ends with the value that stands for it, also when a test panics or is killed.
#![allow(dead_code, unreachable_pub, clippy::pedantic, clippy::disallowed_methods)]

pub mod certs;
pub mod cluster;
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

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

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
pub fn own_ip() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 1 + high % 254, low, NEXT.fetch_add(1, Ordering::Relaxed).max(1)))
}

/// Ports of `ip` that the system chose and that are free.
pub fn free_ports<const N: usize>(ip: IpAddr) -> [SocketAddr; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((ip, 0)).expect("a free port on loopback"));
    listeners.map(|listener| listener.local_addr().expect("a bound listener has an address"))
}

/// A program of `.tools/bin`, or the one that the environment variable `variable` names.
pub fn tool(variable: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/bin").join(name), PathBuf::from);
    path.is_file().then_some(path)
}

/// Shows `Some` value or fails with `what`.
#[track_caller]
pub fn present<T: Debug>(what: &str, value: Option<T>) -> T {
    value.unwrap_or_else(|| panic!("missing: {what}"))
}
