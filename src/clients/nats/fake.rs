//! A NATS server for tests, which says what the test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Connection, NatsConnection};
use crate::decode::values::{NatsServer, Word};

const INFO: &[u8] =
    b"INFO {\"server_id\":\"X\",\"server_name\":\"fake\",\"version\":\"2.12.0\",\"max_payload\":1048576,\"headers\":true}\r\n";

/// The answer to a request at a subject with a payload. Without one, every client is refused.
pub(crate) type Answers = Option<fn(&str, &str) -> &'static str>;

/// A server of the test's own.
pub(crate) struct Fake {
    server: NatsServer,
    asked: Arc<AtomicUsize>,
}

impl Fake {
    pub(crate) async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers, Arc::clone(&counted)));
            }
        });
        let server = NatsServer::parse(&format!("nats://{address}")).expect("an address");
        Self { server, asked }
    }

    /// How often something was asked, or somebody was refused.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// A connection to these servers.
    pub(crate) fn connect(servers: &[&Self]) -> Arc<Connection> {
        let servers = servers.iter().map(|fake| fake.server.clone()).collect();
        Arc::new(Connection::start("fake", NatsConnection { servers, ..NatsConnection::without_servers() }))
    }
}

async fn serve(mut stream: TcpStream, answers: Answers, asked: Arc<AtomicUsize>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    writer.write_all(INFO).await?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        match (words.as_slice(), answers) {
            (["CONNECT", ..], None) => {
                asked.fetch_add(1, Ordering::Relaxed);
                return writer.write_all(b"-ERR 'Authorization Violation'\r\n").await;
            }
            (["PING"], _) => writer.write_all(b"PONG\r\n").await?,
            (["PUB", subject, inbox, _], Some(answers)) => {
                asked.fetch_add(1, Ordering::Relaxed);
                let payload = lines.next_line().await?.unwrap_or_default();
                let text = answers(subject, &payload);
                writer.write_all(format!("MSG {inbox} 1 {}\r\n{text}\r\n", text.len()).as_bytes()).await?;
            }
            _ => {}
        }
    }
    Ok(())
}
