//! Endpoints that are probed. They answer every request with 200 and close the connection.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

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

/// The times between two requests for a path, each as a share of this interval.
pub fn between(asked: &Asked, interval: Duration) -> Vec<f64> {
    let asked = asked.lock().expect("no panic");
    let gaps = asked.values().flat_map(|times| times.windows(2).map(|pair| pair[1] - pair[0]));
    gaps.map(|gap| gap.as_secs_f64() / interval.as_secs_f64()).collect()
}

/// A Prometheus whose every answer is one good sample of now.
pub fn prometheus() -> SocketAddr {
    serve(|stream| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let body = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{{\"metric\":\
             {{\"dr_exporter_source\":\"0\"}},\"value\":[{now},\"{now}\"]}}]}}}}"
        );
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ";
        drop(answer_with(stream, format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()));
    })
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
fn answer(stream: impl Read + Write) -> Option<String> {
    answer_with(stream, ANSWER)
}

fn answer_with(mut stream: impl Read + Write, answer: &[u8]) -> Option<String> {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while !is_whole(&read) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    // Whoever asked may have gone away.
    let _ = stream.write_all(answer).and_then(|()| stream.flush());
    String::from_utf8_lossy(&read).split(' ').nth(1).map(str::to_owned)
}

/// Whether this is a head, with as much of a body as it says.
fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    request.len() >= end + 4 + length.unwrap_or(0)
}
