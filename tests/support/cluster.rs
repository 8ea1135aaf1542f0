//! Three nats-servers that form one JetStream cluster.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::nats::{Api, Server, app};
use super::{free_ports, own_ip, wait_until};

/// From a cold start until three servers have elected a leader.
const ELECTED: Duration = Duration::from_secs(40);

/// A cluster of three, of one domain. Accounts as a [`super::nats::Pair`] has them.
#[derive(Debug)]
pub struct Cluster {
    pub servers: Vec<Server>,
    routes: Vec<SocketAddr>,
}

impl Cluster {
    /// Three servers, configured and not running; `leafnodes` is the stanza of that name for each of them, made from the server's
    /// own address for leafnodes.
    pub fn new(binary: &Path, domain: &str, leafnodes: impl Fn(SocketAddr) -> String) -> Self {
        let servers: Vec<_> = (0..3).map(|_| Server::new(binary)).collect();
        let routes: Vec<_> = servers.iter().map(|_| free_ports::<1>(own_ip())[0]).collect();
        let all: Vec<_> = routes.iter().map(|route| format!("\"nats://{route}\"")).collect();
        for (number, (server, route)) in servers.iter().zip(&routes).enumerate() {
            server.configure(&format!(
                "server_name: {domain}-{number}
                 jetstream {{ store_dir: \"{}\", domain: {domain} }}
                 cluster {{ name: {domain}, listen: \"{route}\", routes: [{}] }}
                 accounts {{ SYS {{ users: [{{user: sys, password: sys}}] }}
                   APP {{ jetstream: enabled, users: [{{user: app, password: app}}] }} }}
                 system_account: SYS
                 leafnodes {{ {} }}\n",
                server.store(),
                all.join(", "),
                leafnodes(server.leaf),
            ));
        }
        Self { servers, routes }
    }

    /// Starts all three.
    pub fn run(&mut self) {
        self.servers.iter_mut().for_each(Server::run);
    }

    /// The connection of the exporter, which knows all three.
    pub fn as_app(&self) -> String {
        let servers: Vec<_> = self.servers.iter().map(|server| format!("\"nats://{}\"", server.address)).collect();
        format!("servers: [{}], user: app, password_file: app", servers.join(", "))
    }

    /// A connection of the test's own to one of them.
    pub async fn api(&self, number: usize) -> Api {
        self.servers[number].connect(app()).await
    }

    /// Makes a stream as soon as the cluster has elected a leader.
    pub async fn create(&self, api: &Api, config: Value) {
        let name = config["name"].as_str().expect("a stream has a name").to_owned();
        wait_until("the cluster makes a stream", ELECTED, async || {
            api.call(&format!("STREAM.CREATE.{name}"), config.clone()).await.ok()
        })
        .await;
    }

    /// The number of the server that leads a stream.
    pub async fn leader(&self, api: &Api, stream: &str) -> usize {
        wait_until("the stream has a leader", ELECTED, async || {
            let info = api.info(stream).await.ok()?;
            info["cluster"]["leader"].as_str()?.rsplit('-').next()?.parse().ok()
        })
        .await
    }
}
