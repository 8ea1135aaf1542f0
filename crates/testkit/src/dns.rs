//! A real DNS server, which holds what the test wants, and fails as it wants.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::{Time, TokioRuntimeProvider};
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_server::proto::rr::{Name, RData, Record};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, MessageResponseBuilder, ZoneHandler, ZoneType};
use tokio_rustls::rustls::ServerConfig;

use super::{datagrams, free_ports, listen, own_ip};

/// The zones that every server has.
const ZONES: [&str; 2] = ["example.com.", "example.net."];

/// How a server answers.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// From its zones.
    Serves,
    /// With this code.
    Code(ResponseCode),
    /// Not at all.
    Silent,
    /// Not to the next request, then from its zones.
    LosesOne,
}

struct State {
    manner: Manner,
    zones: Arc<Catalog>,
    asked: Vec<Protocol>,
}

/// A DNS server on an address of its own. Dropping it ends it.
pub struct Dns {
    state: Arc<Mutex<State>>,
    /// Where it is asked over UDP and TCP.
    pub address: SocketAddr,
    /// Where it is asked over TLS.
    pub tls: SocketAddr,
    tls_config: Option<Arc<ServerConfig>>,
    server: Option<Server<Handler>>,
}

impl Dns {
    /// A server with these records, one a line or after a semicolon: `api A 192.0.2.1 60`. A name without a dot is of
    /// `example.com`.
    pub async fn start(records: &str) -> Self {
        Self::start_with(records, None).await
    }

    /// One that speaks TLS, too.
    pub async fn start_with(records: &str, tls_config: Option<Arc<ServerConfig>>) -> Self {
        Self::start_on_its_address(records, |_| tls_config).await
    }

    /// The same, where TLS depends on the address that the server has.
    pub async fn start_on_its_address(
        records: &str,
        tls_config: impl FnOnce(IpAddr) -> Option<Arc<ServerConfig>>,
    ) -> Self {
        let zones = Arc::new(zones(records).await);
        let state = Arc::new(Mutex::new(State { manner: Manner::Serves, zones, asked: Vec::new() }));
        let [address, tls] = free_ports(own_ip());
        let mut dns = Self { state, address, tls, tls_config: tls_config(tls.ip()), server: None };
        dns.revive().await;
        dns
    }

    /// Starts one that was killed, on its address.
    pub async fn revive(&mut self) {
        let mut server = Server::new(Handler(Arc::clone(&self.state)));
        server.register_socket(datagrams(self.address));
        server.register_listener(listen(self.address), Duration::from_secs(5), 64);
        if let Some(config) = &self.tls_config {
            let registered = server.register_tls_listener_with_tls_config(
                listen(self.tls),
                Duration::from_secs(5),
                Arc::clone(config),
            );
            registered.expect("TLS");
        }
        self.server = Some(server);
    }

    /// Ends it: nobody listens there any more.
    pub async fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        server.shutdown_gracefully().await.expect("it ends");
    }

    /// Holds these records from now on.
    pub async fn holds(&self, records: &str) {
        let zones = Arc::new(zones(records).await);
        self.lock().zones = zones;
    }

    /// Answers in this manner from now on.
    pub fn answers(&self, manner: Manner) {
        self.lock().manner = manner;
    }

    /// How it was asked so far.
    pub fn asked(&self) -> Vec<Protocol> {
        self.lock().asked.clone()
    }

    /// As `resolvers` names it.
    pub fn udp(&self) -> String {
        self.address.to_string()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Handler(Arc<Mutex<State>>);

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut answer: R) -> ResponseInfo {
        let (manner, zones) = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.asked.push(request.protocol());
            let manner = state.manner;
            if matches!(manner, Manner::LosesOne) {
                state.manner = Manner::Serves;
            }
            (manner, Arc::clone(&state.zones))
        };
        match manner {
            Manner::Serves => zones.handle_request::<R, T>(request, answer).await,
            Manner::Code(code) => {
                let message = MessageResponseBuilder::from_message_request(request).error_msg(&request.metadata, code);
                answer.send_response(message).await.expect("it is sent")
            }
            Manner::Silent | Manner::LosesOne => std::future::pending().await,
        }
    }
}

async fn zones(records: &str) -> Catalog {
    let mut catalog = Catalog::new();
    let records: Vec<Record> =
        records.split([';', '\n']).map(str::trim).filter(|line| !line.is_empty()).map(record).collect();
    for origin in ZONES {
        let origin = name(origin);
        let zone: InMemoryZoneHandler<TokioRuntimeProvider> =
            InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        let soa = SOA::new(name("ns.example.com."), name("ops.example.com."), 1, 60, 60, 60, 60);
        zone.upsert(Record::from_rdata(origin.clone(), 60, RData::SOA(soa)), 1).await;
        for record in records.iter().filter(|record| origin.zone_of(&record.name)) {
            zone.upsert(record.clone(), 1).await;
        }
        let zone: Arc<dyn ZoneHandler> = Arc::new(zone);
        catalog.upsert(origin.into(), vec![zone]);
    }
    catalog
}

fn name(text: &str) -> Name {
    let full = if text.contains('.') { text.to_owned() } else { format!("{text}.example.com.") };
    Name::from_ascii(full).expect("a name")
}

fn record(line: &str) -> Record {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [of, kind, to, ttl] = words[..] else { panic!("{line:?} is no record") };
    let data = match kind {
        "A" => RData::A(A(to.parse().expect("an address"))),
        "AAAA" => RData::AAAA(AAAA(to.parse().expect("an address"))),
        "CNAME" => RData::CNAME(CNAME(name(to))),
        other => panic!("{other} is not known here"),
    };
    Record::from_rdata(name(of), ttl.parse().expect("a TTL"), data)
}
