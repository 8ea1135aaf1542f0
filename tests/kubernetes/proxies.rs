//! Proxies on the way to a cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::peer::{Case, SECRET, kubeconfig};
use super::{Pair, Status, minutes};
use dr_testkit::kube::{Flavour, base64};

dr_testkit::both! {
    the_proxy_of_a_kubeconfig_and_of_the_environment,
}

/// A proxy that leads to one place, whatever it is asked for. Dropping it ends it.
struct Leads {
    address: SocketAddr,
    used: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Leads {
    async fn to(target: SocketAddr, is_socks: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (mut task, used) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&used);
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let agreed = if is_socks { socks(&mut stream).await } else { tunnel(&mut stream).await };
                    if agreed.is_some() {
                        let mut onward = TcpStream::connect(target).await.expect("the API server");
                        let _ = copy_bidirectional(&mut stream, &mut onward).await;
                    }
                });
            }
        });
        Self { address, used, _task: task }
    }

    /// How often it was used since the last time.
    fn used(&self) -> bool {
        self.used.swap(0, Ordering::SeqCst) > 0
    }
}

async fn tunnel(stream: &mut TcpStream) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    request.starts_with(b"CONNECT ").then_some(())?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()
}

async fn socks(stream: &mut TcpStream) -> Option<()> {
    let (_version, methods) = (stream.read_u8().await.ok()?, stream.read_u8().await.ok()?);
    stream.read_exact(&mut vec![0; usize::from(methods)]).await.ok()?;
    stream.write_all(&[5, 0]).await.ok()?;
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.ok()?;
    let length = match request[3] {
        1 => 4,
        3 => stream.read_u8().await.ok()?,
        _ => 16,
    };
    stream.read_exact(&mut vec![0; usize::from(length) + 2]).await.ok()?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()
}

async fn the_proxy_of_a_kubeconfig_and_of_the_environment(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    pair.external_secret(pair.dr, "nats", Status::ready(minutes(20))).await;
    let (http, socks) = (Leads::to(pair.dr.address(), false).await, Leads::to(pair.dr.address(), true).await);
    let ca = base64(pair.dr.ca().as_bytes());
    let token = format!("token: {}", pair.at_dr.token);
    // Only the proxy knows where that is.
    let far = |more: &str| {
        let server = "server: https://api.far.invalid:6443\ntls-server-name: 127.0.0.1";
        kubeconfig(&format!("{server}\ncertificate-authority-data: {ca}\n{more}"), &token)
    };
    let near = format!("server: https://{}\ncertificate-authority-data: {ca}", pair.dr.address());
    let (over_http, over_socks) = (format!("http://{}", http.address), format!("socks5://{}", socks.address));
    let of_file = format!("proxy-url: {over_http}");
    let cases = [
        (Case::new("http", far(&of_file)), true, [true, false]),
        (Case::new("socks5", far(&format!("proxy-url: {over_socks}"))), true, [false, true]),
        // NO_PROXY is not about the kubeconfig's own.
        (
            Case::new("http, and NO_PROXY", far(&of_file)).within("NO_PROXY", "api.far.invalid,127.0.0.1"),
            true,
            [true, false],
        ),
        (Case::new("of both", far(&of_file)).within("HTTPS_PROXY", &over_socks), true, [true, false]),
        (Case::new("of the environment", far("")).within("HTTPS_PROXY", &over_http), true, [true, false]),
        (
            Case::new("of the environment, without a scheme", far("")).within("HTTPS_PROXY", http.address.to_string()),
            true,
            [true, false],
        ),
        (Case::new("in small letters", far("")).within("https_proxy", &over_socks), true, [false, true]),
        (
            Case::new("exempt", far("")).within("HTTPS_PROXY", &over_http).within("NO_PROXY", ".far.invalid"),
            false,
            [false, false],
        ),
        (
            Case::new("exempt, though the proxy is not", far(""))
                .within("HTTPS_PROXY", &over_http)
                .within("NO_PROXY", "127.0.0.1"),
            true,
            [true, false],
        ),
        (
            Case::new("exempt at this port", far(""))
                .within("HTTPS_PROXY", &over_http)
                .within("NO_PROXY", "api.far.invalid:6443"),
            false,
            [false, false],
        ),
        (
            Case::new("exempt at another port", far(""))
                .within("HTTPS_PROXY", &over_http)
                .within("NO_PROXY", "api.far.invalid:443"),
            true,
            [true, false],
        ),
        (
            Case::new("exempt as all of a domain", far(""))
                .within("HTTPS_PROXY", &over_http)
                .within("NO_PROXY", "*.far.invalid"),
            false,
            [false, false],
        ),
        // This machine is exempt by itself.
        (Case::new("near", kubeconfig(&near, &token)).within("HTTPS_PROXY", &over_http), true, [false, false]),
    ];
    for (case, good, used) in cases {
        let name = case.name;
        let case = if good { case } else { case.otherwise() };
        let text = tokio::task::block_in_place(|| case.told(&pair));
        assert!(!text.contains("KUBECTL"), "{name}: {text}");
        assert_eq!(text.contains("PASS      nats  rpo"), good, "{name}: {text}");
        assert_eq!([http.used(), socks.used()], used, "{name}: {text}");
    }
    let case = Case::new("no URL", kubeconfig(&near.replace("127.0.0.1", "10.255.255.1"), &token));
    let text = case.within("HTTPS_PROXY", format!("socks4://me:{SECRET}@proxy")).otherwise().told(&pair);
    assert!(text.contains("credentials_unreadable") && text.contains("environment variable HTTPS_PROXY"), "{text}");
}
