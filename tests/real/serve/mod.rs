//! The daemon and the one-shot check, as their users see them: what is served, what an outage looks like, how it ends.

pub(crate) mod api;
mod check;
mod health;
mod leaks;
mod leaks_in_config;
mod outage;
mod prometheus;
mod routes;
mod shards;
mod suite;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const SOON: Duration = dr_testkit::PATIENCE;

/// An HTTP service that is well or not, as the test wants it.
struct Service {
    url: String,
    well: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/health", listener.local_addr().expect("an address"));
        let well = Arc::new(AtomicBool::new(true));
        let is_well = Arc::clone(&well);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let status = if is_well.load(Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { url, well, task }
    }

    fn well(&self, well: bool) {
        self.well.store(well, Ordering::SeqCst);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A contract on one endpoint: every 200 ms, every 100 ms while down, three failures trigger.
fn contract(name: &str, rto: &str, url: &str) -> String {
    format!(
        "
  - name: {name}
    component: 'The \"<b>API</b>\" \\ & more'
    owner: ops
    priority: P0
    rto: {rto}
    checks:
      - name: health
        interval: 200ms
        interval_when_down: 100ms
        timeout: 5s
        http: {{ url: \"{url}\" }}
"
    )
}

fn contracts(contracts: &[String]) -> String {
    format!("contracts:{}", contracts.concat())
}
