//! Three nats-servers that form one JetStream cluster, and a region with a mirror of its stream.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::nats::{Api, MIRROR, ORIGIN, Server, app};
use super::proxy::Proxy;
use super::{PATIENCE, free_ports, own_ip, wait_until};

/// From a cold start until three servers have elected a leader.
const ELECTED: Duration = PATIENCE;

/// A cluster of three, of one domain. Accounts as a [`super::nats::Pair`] has them.
#[derive(Debug)]
pub struct Cluster {
    /// The three, in the order of their numbers.
    pub servers: Vec<Server>,
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
        Self { servers }
    }

    /// Starts all three.
    pub fn run(&mut self) {
        self.servers.iter_mut().for_each(Server::run);
    }

    /// A connection of the test's own to one of them.
    pub async fn api(&self, number: usize) -> Api {
        self.servers[number].connect(app()).await
    }

    /// Makes a stream as soon as the cluster has elected a leader.
    pub async fn create(&self, api: &Api, config: Value) {
        create(api, config).await;
    }
}

/// The number of the server that leads a stream.
pub async fn leader(api: &Api, stream: &str) -> usize {
    wait_until("the stream has a leader", ELECTED, async || {
        let info = api.info(stream).await.ok()?;
        info["cluster"]["leader"].as_str()?.rsplit('-').next()?.parse().ok()
    })
    .await
}

/// An origin of one or three replicas in a domain `primary`, and its mirror of one in a domain `dr`.
#[derive(Debug)]
pub struct Region {
    /// One server, or three that form a cluster.
    pub origin_servers: Vec<Server>,
    /// The server of the mirror.
    pub dr: Server,
    /// The way of the leafnode to the first of the origin's servers.
    pub link: Proxy,
    /// Connections of the test's own, past the link; the first knows all of the origin's servers.
    pub origin: Api,
    /// A connection to the server of the mirror.
    pub mirror: Api,
    /// The configuration that the origin was made with.
    pub origin_config: Value,
    /// The same of the mirror.
    pub mirror_config: Value,
}

/// `config` with all of `more`.
fn with(mut config: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

impl Region {
    /// Starts all of it. The limits are added to the configurations of the two streams.
    pub async fn start(binary: &Path, replicated: bool, origin_limits: &Value, mirror_limits: &Value) -> Self {
        let leafnodes = |listen: SocketAddr| {
            format!(
                "listen: \"{listen}\", no_advertise: true
               authorization {{ users: [{{user: leaf, password: leaf, account: APP}}] }}"
            )
        };
        let mut servers = if replicated {
            Cluster::new(binary, "primary", leafnodes).servers
        } else {
            let server = Server::new(binary);
            server.configure(&format!(
                "server_name: primary-0
                 jetstream {{ store_dir: \"{}\", domain: primary }}
                 accounts {{ SYS {{ users: [{{user: sys, password: sys}}] }}
                   APP {{ jetstream: enabled, users: [{{user: app, password: app}}] }} }}
                 system_account: SYS
                 leafnodes {{ {} }}\n",
                server.store(),
                leafnodes(server.leaf),
            ));
            vec![server]
        };
        servers.iter_mut().for_each(Server::run);
        let link = Proxy::to(servers[0].leaf).await;
        let mut dr = Server::new(binary);
        dr.configure(&format!(
            "server_name: dr\njetstream {{ store_dir: \"{}\", domain: dr }}
             accounts {{ SYS {{ users: [{{user: sys, password: sys}}] }}
               APP {{ jetstream: enabled, users: [{{user: app, password: app}}] }} }}
             system_account: SYS
             leafnodes {{ reconnect: 1, remotes: [{{ url: \"nats-leaf://leaf:leaf@{}\", account: APP
               deny_imports: [\"agentese.>\"], deny_exports: [\"agentese.>\"] }}] }}\n",
            dr.store(),
            link.address(),
        ));
        dr.run();
        let mirror = dr.api(app()).await;
        let origin = Api::of(&servers).await;
        let stream = json!({"name": ORIGIN, "subjects": ["agentese.>"], "storage": "file",
            "num_replicas": servers.len()});
        let origin_config = with(stream, origin_limits);
        create(&origin, origin_config.clone()).await;
        wait_until("the leafnode joins the two", ELECTED, async || {
            let asked = mirror.client.request("$JS.primary.API.INFO", "".into());
            tokio::time::timeout(Duration::from_millis(500), asked).await.ok()?.ok()
        })
        .await;
        let source = json!({"name": ORIGIN, "external": {"api": "$JS.primary.API", "deliver": ""}});
        let stream = json!({"name": MIRROR, "storage": "file", "num_replicas": 1, "mirror": source});
        let mirror_config = with(stream, mirror_limits);
        create(&mirror, mirror_config.clone()).await;
        Self { origin_servers: servers, dr, link, origin, mirror, origin_config, mirror_config }
    }

    /// The one server of the origin; or two of three, among them the one that the link does not lead to.
    pub fn some_of_origin(&mut self) -> &mut [Server] {
        let from = self.origin_servers.len().saturating_sub(2);
        &mut self.origin_servers[from..]
    }
}

/// Makes a stream as soon as a leader is elected.
async fn create(api: &Api, config: Value) {
    let name = config["name"].as_str().expect("a stream has a name").to_owned();
    wait_until("the stream is made", ELECTED, async || {
        api.call(&format!("STREAM.CREATE.{name}"), config.clone()).await.ok()
    })
    .await;
}
