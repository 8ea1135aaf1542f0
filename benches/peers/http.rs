//! A small client. It uses little CPU itself, so that it does not disturb what it measures.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What Prometheus 2 asks for.
pub const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
/// The text format.
pub const TEXT: &str = "text/plain;version=0.0.4";

/// A connection that is kept.
pub struct Client {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    /// The last body, as it was sent.
    pub body: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a TCP socket");
        Self { stream: BufReader::with_capacity(256 << 10, stream), address, body: Vec::new() }
    }

    /// `/metrics` in this format.
    pub fn scrape(&mut self, accept: &str, gzip: bool) -> u16 {
        let encoding = if gzip { "gzip" } else { "identity" };
        self.ask(
            &format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nAccept-Encoding: {encoding}\r\n\r\n"),
            b"",
        )
    }

    /// Any GET.
    pub fn get(&mut self, path: &str) -> u16 {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"), b"")
    }

    /// A PUT of this body.
    pub fn put(&mut self, path: &str, body: &[u8]) -> u16 {
        self.ask(&format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()), body)
    }

    fn ask(&mut self, head: &str, body: &[u8]) -> u16 {
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("the request is sent");
        let status: u16 = self.line().split(' ').nth(1).expect("a status line").parse().expect("a status");
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line().to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().expect("a length"),
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
                None => break,
            }
        }
        self.body.clear();
        if !chunked {
            self.take(length);
            return status;
        }
        loop {
            let length = usize::from_str_radix(&self.line(), 16).expect("the length of a chunk");
            self.take(length);
            self.line();
            if length == 0 {
                return status;
            }
        }
    }

    // The buffer is not filled with zeros before: in this program, which is not optimised, that takes
    // longer than all else.
    fn take(&mut self, length: usize) {
        let part = self.stream.by_ref().take(length as u64).read_to_end(&mut self.body).expect("the body");
        assert_eq!(part, length, "{} closed the connection within the body", self.address);
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "{} closed the connection", self.address);
        line.trim_end().to_owned()
    }
}
