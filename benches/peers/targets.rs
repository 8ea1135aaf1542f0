//! Endpoints that are probed. They answer every request with 200 and close the connection.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// An endpoint without TLS.
pub fn plain() -> SocketAddr {
    serve(|stream| drop(answer(stream)))
}

/// When each path was asked for.
pub type Asked = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

/// An endpoint without TLS that keeps when it was asked for what.
pub fn watching() -> (SocketAddr, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let address = serve(move |stream| {
        if let Some(path) = answer(stream) {
            seen.lock().expect("no panic").entry(path).or_default().push(Instant::now());
        }
    });
    (address, asked)
}

/// An endpoint with TLS. Its certificate is that of this directory, for 127.0.0.1.
pub fn secure(certificates: &Path) -> SocketAddr {
    dr_testkit::certs::Authority::new().write(certificates, "server", "127.0.0.1");
    let chain = CertificateDer::pem_file_iter(certificates.join("server.pem")).expect("a certificate");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(certificates.join("server.key")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate with its key");
    let config = Arc::new(config);
    serve(move |stream| {
        let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
        drop(answer(StreamOwned::new(session, stream)));
    })
}

fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (listener, answer) = (Arc::new(listener), Arc::new(answer));
    for _ in 0..4 {
        let (listener, answer) = (Arc::clone(&listener), Arc::clone(&answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream);
            }
        });
    }
    address
}

/// Answers a request. Returns its path.
fn answer(mut stream: impl Read + Write) -> Option<String> {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while !read.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    // Whoever asked may have gone away.
    let _ = stream.write_all(ANSWER).and_then(|()| stream.flush());
    String::from_utf8_lossy(&read).split(' ').nth(1).map(str::to_owned)
}
