//! Those who read, well and badly.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use dr_testkit::exporter::{Exporter, client};
use dr_testkit::scrape::Scrape;

/// What each reader asks for, and how many seconds it waits between two requests where the pace is 1.
const READERS: [(&str, &str, f64); 7] = [
    ("/metrics", "text/plain; version=0.0.4", 5.0),
    ("/metrics", "application/openmetrics-text; version=1.0.0", 10.0),
    ("/", "text/html", 15.0),
    ("/contracts/http-00", "text/html", 15.0),
    ("/api/v1/status", "application/json", 15.0),
    ("/api/v1/recoveries", "application/json", 20.0),
    ("/api/v1/report", "application/json", 30.0),
];

/// What those who hang up send before they do, and what they read.
const RUDE: [(&[u8], usize); 4] = [
    (b"GET /metrics HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n", 700),
    (b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", 20_000),
    (b"GET / HTTP/1.1\r\nhost: a\r\nx-unfini", 0),
    (b"POST /-/reload HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nhalf", 0),
];

/// How many were answered, and how many were not.
#[derive(Debug, Default)]
pub(super) struct Counted {
    read: [AtomicU64; READERS.len()],
    zipped: AtomicU64,
    hung_up: AtomicU64,
    refused: AtomicU64,
}

fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((path, accepts, _), read) in READERS.iter().zip(&self.read) {
            write!(f, "{} of {path} as {accepts}, ", read.load(Ordering::Relaxed))?;
        }
        let [zipped, hung_up, refused] =
            [&self.zipped, &self.hung_up, &self.refused].map(|of| of.load(Ordering::Relaxed));
        write!(f, "{zipped} compressed, {hung_up} hung up in the middle, {refused} without an answer")
    }
}

impl Counted {
    pub(super) fn assert_each_was_answered(&self) {
        for ((path, accepts, _), read) in READERS.iter().zip(&self.read) {
            assert!(read.load(Ordering::Relaxed) > 0, "{path} as {accepts} was never read");
        }
        for (of, what) in [(&self.zipped, "a compressed scrape"), (&self.hung_up, "an interrupted scrape")] {
            assert!(of.load(Ordering::Relaxed) > 0, "no {what}");
        }
        assert_eq!(self.refused.load(Ordering::Relaxed), 0, "requests without a good answer");
    }
}

/// All of them, until they are stopped.
pub(super) struct Clients {
    tasks: JoinSet<()>,
    counted: Arc<Counted>,
}

impl Clients {
    pub(super) fn start(exporter: &Exporter, pace: f64) -> Self {
        let (mut tasks, counted) = (JoinSet::new(), Arc::new(Counted::default()));
        let address = exporter.address;
        let pause = move |seconds: f64| tokio::time::sleep(Duration::from_secs_f64(seconds * pace));
        for (number, (path, accepts, every)) in READERS.into_iter().enumerate() {
            let counted = Arc::clone(&counted);
            tasks.spawn(async move {
                loop {
                    pause(every).await;
                    count(if reads(address, path, accepts).await { &counted.read[number] } else { &counted.refused });
                }
            });
        }
        let zipping = Arc::clone(&counted);
        tasks.spawn(async move {
            // As Prometheus does: over one connection.
            let http =
                reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client");
            loop {
                pause(5.0).await;
                let request = http.get(format!("http://{address}/metrics")).header("accept-encoding", "gzip");
                let is_zipped = match request.send().await {
                    Ok(answer) => answer.headers().get("content-encoding").is_some() && answer.bytes().await.is_ok(),
                    Err(_) => false,
                };
                count(if is_zipped { &zipping.zipped } else { &zipping.refused });
            }
        });
        let rude = Arc::clone(&counted);
        tasks.spawn(async move {
            for (bytes, taken) in RUDE.into_iter().cycle() {
                pause(2.0).await;
                let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                let (mut read, mut some) = (0, [0; 700]);
                let sent = stream.write_all(bytes).await;
                while sent.is_ok() && read < taken {
                    let Ok(more @ 1..) = stream.read(&mut some).await else { break };
                    read += more;
                }
                count(&rude.hung_up);
            }
        });
        Self { tasks, counted }
    }

    pub(super) async fn stop(mut self) -> Arc<Counted> {
        self.tasks.shutdown().await;
        self.counted
    }
}

/// Whether it is answered well, and whole.
async fn reads(address: SocketAddr, path: &str, accepts: &str) -> bool {
    let request = client().get(format!("http://{address}{path}")).header("accept", accepts);
    let Ok(answer) = request.send().await else { return false };
    let is_well = answer.status().is_success();
    let Ok(text) = answer.text().await else { return false };
    if accepts.starts_with("text/plain") {
        // Fails where it cannot be read.
        return is_well && !Scrape::parse(&text).all("dr_contract_info", &[]).is_empty();
    }
    is_well && !text.is_empty()
}
