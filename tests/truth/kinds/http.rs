//! A service that answers, or does not, in all the ways in which services fail.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::judge::Promise;
use crate::plan::Dice;
use crate::stage::World;
use crate::story::{Copy, Health, Truth};
use dr_testkit::certs::Authority;
use dr_testkit::exporter::Config;
use dr_testkit::{free_ports, listen, own_ip};

/// How the service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Well,
    Slowly,
    RedirectsWell,
    Fails,
    Hangs,
    HangsInBody,
    Resets,
    Garbage,
    WrongBody,
    Truncates,
    Loops,
    /// Nobody listens.
    Dead,
}

impl Answer {
    const BAD: [Self; 9] = [
        Self::Fails,
        Self::Hangs,
        Self::HangsInBody,
        Self::Resets,
        Self::Garbage,
        Self::WrongBody,
        Self::Truncates,
        Self::Loops,
        Self::Dead,
    ];
    const GOOD: [Self; 3] = [Self::Well, Self::Slowly, Self::RedirectsWell];
}

const CONTRACT: &str = "api";

pub struct Http {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    tls: Option<(TlsAcceptor, String)>,
    /// In seconds.
    rto: u64,
    task: Option<JoinHandle<()>>,
}

impl World for Http {
    type Act = Answer;

    const NAME: &'static str = "http";
    const FIRST: &'static [(f64, Answer)] = &[(2.5, Answer::Fails), (5.0, Answer::Well)];

    fn block(dice: &mut Dice) -> Vec<(f64, Answer)> {
        let bad = |dice: &mut Dice| dice.one(&Answer::BAD);
        let (pause, good) = (dice.between(1.5, 4.0), dice.one(&Answer::GOOD));
        match dice.number(5) {
            // A blip that nobody need see.
            0 => vec![(pause, bad(dice)), (dice.between(0.1, 1.0), good)],
            // It comes back for a moment.
            1 => vec![
                (pause, bad(dice)),
                (dice.between(1.5, 5.0), good),
                (dice.between(0.1, 2.5), bad(dice)),
                (dice.between(1.5, 5.0), good),
            ],
            // Another fault in the middle of it.
            2 => vec![(pause, bad(dice)), (dice.between(0.5, 3.0), bad(dice)), (dice.between(0.5, 5.0), good)],
            _ => vec![(pause, bad(dice)), (dice.between(2.0, 16.0), good)],
        }
    }

    async fn start(flavour: u32) -> Self {
        let [address] = free_ports::<1>(own_ip());
        let tls = flavour.is_multiple_of(3).then(|| {
            let authority = Authority::new();
            (acceptor(&authority, &address.ip().to_string()), authority.pem())
        });
        let mut http = Self {
            address,
            answer: Arc::new(Mutex::new(Answer::Well)),
            tls,
            rto: if flavour == 1 { 4 } else { 8 },
            task: None,
        };
        http.listen();
        http
    }

    fn config(&self) -> Config {
        let (scheme, ca) = if self.tls.is_some() { ("https", ", ca_file: ca.pem") } else { ("http", "") };
        let yaml = format!(
            "defaults: {{ interval: 500ms, timeout: 600ms, interval_when_down: 250ms, failures_to_trigger: 3 }}
contracts:
  - name: {CONTRACT}
    component: API
    owner: ops-0
    priority: P0
    rto: {}s
    checks:
      - name: health
        http: {{ url: \"{scheme}://{}/\", expect_body: \"^well$\"{ca} }}
",
            self.rto, self.address
        );
        let config = Config::new(&yaml);
        if let Some((_, pem)) = &self.tls {
            config.file("ca.pem", pem);
        }
        config
    }

    fn promises(&self) -> Vec<Promise> {
        vec![Promise {
            contract: CONTRACT,
            rto: Some(Duration::from_secs(self.rto)),
            rpo: None,
            interval: Duration::from_millis(500),
            when_down: Duration::from_millis(250),
            timeout: Duration::from_millis(600),
            failures: 3,
            grain: Duration::ZERO,
            dating: Duration::ZERO,
            tells_age: false,
        }]
    }

    async fn act(&mut self, act: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = act;
        if act == Answer::Dead {
            if let Some(task) = self.task.take() {
                task.abort();
                let _ = task.await;
            }
        } else if self.task.is_none() {
            self.listen();
        }
    }

    fn truths(&self) -> Vec<Truth> {
        let answer = *self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let health = if Answer::GOOD.contains(&answer) { Health::Up } else { Health::Down };
        vec![Truth { contract: CONTRACT, health, copy: Copy::Whole, health_shows: true, copy_shows: true, dated: true }]
    }
}

fn acceptor(authority: &Authority, name: &str) -> TlsAcceptor {
    let (certificate, key) = authority.sign(name);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(
        vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")],
        PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key"),
    );
    TlsAcceptor::from(Arc::new(config.expect("a TLS server")))
}

impl Http {
    fn listen(&mut self) {
        let (answer, tls, address) =
            (Arc::clone(&self.answer), self.tls.as_ref().map(|(tls, _)| tls.clone()), self.address);
        let listener = listen(address);
        self.task = Some(tokio::spawn(async move {
            // Aborting this task drops the set, and with it every connection.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // What a connection meets is what was so when it was made.
                let answer = *answer.lock().unwrap_or_else(PoisonError::into_inner);
                connections.spawn(serve(stream, answer, tls.clone(), address));
                while connections.try_join_next().is_some() {}
            }
        }));
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, tls: Option<TlsAcceptor>, address: SocketAddr) {
    match answer {
        Answer::Resets => return,
        Answer::Hangs => return std::future::pending().await,
        Answer::Garbage => {
            let _ = stream.write_all(b"\x01\x02nothing that anybody speaks\r\n\r\n").await;
            let _ = stream.shutdown().await;
            return;
        }
        _ => {}
    }
    match tls {
        None => reply(stream, answer, &format!("http://{address}")).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                reply(stream, answer, &format!("https://{address}")).await;
            }
        }
    }
}

async fn reply(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer, origin: &str) {
    let (mut head, mut chunk) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let Ok(read @ 1..) = stream.read(&mut chunk).await else { return };
        head.extend_from_slice(&chunk[..read]);
    }
    let is_redirected = head.starts_with(b"GET /well ");
    let whole = |status: &str, more: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n{body}")
    };
    let text = match answer {
        Answer::RedirectsWell if !is_redirected => whole("302 Found", &format!("location: {origin}/well\r\n"), ""),
        Answer::Loops => whole("302 Found", &format!("location: {origin}/\r\n"), ""),
        Answer::Fails => whole("500 Internal Server Error", "", "well"),
        Answer::WrongBody => whole("200 OK", "", "not so well"),
        Answer::Truncates => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwe".to_owned(),
        Answer::HangsInBody => "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nwell".to_owned(),
        _ => whole("200 OK", "", "well"),
    };
    if answer == Answer::Slowly {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let _ = stream.write_all(text.as_bytes()).await;
    if answer == Answer::HangsInBody {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}
