//! A cluster of three, of which one is cut off from the others: clients that know all three are served.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::majority::{as_any, running, writer};
use super::{CONTRACT, SOON, as_app, contract, runs_on, start};
use dr_testkit::nats::{Api, MIRROR, ORIGIN, Server, app, current};
use dr_testkit::proxy::Proxy;
use dr_testkit::watch::Watch;
use dr_testkit::{free_ports, own_ip, wait_until};

/// JetStream has no leader that this server knows of.
const NO_QUORUM: u64 = 10_008;

/// Three servers; the only way between the first and the others leads through the proxy.
async fn cluster() -> (Vec<Server>, Proxy) {
    let mut servers: Vec<_> = (0..3).map(|_| Server::new(&current())).collect();
    let routes: [_; 3] = free_ports(own_ip());
    let way = Proxy::to(routes[0]).await;
    for (number, (server, route)) in servers.iter().zip(&routes).enumerate() {
        // What a server advertises is told to all: nobody may go round the proxy.
        let (others, advertised) = match number {
            0 => (format!("\"nats://{}\"", routes[0]), way.address().to_string()),
            _ => (format!("\"nats://{}\", \"nats://{}\"", way.address(), routes[3 - number]), "127.0.0.1:1".to_owned()),
        };
        server.configure(&format!(
            "server_name: n-{number}
             jetstream {{ store_dir: \"{}\" }}
             cluster {{ name: C, listen: \"{route}\", advertise: \"{advertised}\", no_advertise: true,
               routes: [{others}] }}
             authorization {{ users: [{{ user: app, password: app }}] }}\n",
            server.store(),
        ));
    }
    servers.iter_mut().for_each(Server::run);
    (servers, way)
}

/// Makes the stream, led by another server than the first.
async fn create_led_elsewhere(api: &Api) {
    let config = json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 3});
    wait_until("the stream is made", SOON, async || {
        api.call(&format!("STREAM.CREATE.{ORIGIN}"), config.clone()).await.ok()
    })
    .await;
    wait_until("another server leads", SOON, async || {
        let led = api.info(ORIGIN).await.ok()?["cluster"]["leader"].as_str()?.to_owned();
        if led != "n-0" {
            return Some(());
        }
        let _ = api.call(&format!("STREAM.LEADER.STEPDOWN.{ORIGIN}"), Value::Null).await;
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_in_use_is_cut_off_from_the_others() {
    let (servers, mut way) = cluster().await;
    let api = servers[1].connect(app()).await;
    create_led_elsewhere(&api).await;
    wait_until("a message is stored", SOON, async || api.publish("agentese.a", "x").await.ok()).await;
    let dr = Server::new(&current());
    let exporter = start(&contract(&as_any(&servers), &as_app(&dr), ORIGIN, MIRROR)).await;
    exporter.seen_healthy(CONTRACT, SOON).await;
    exporter.logs(&["nats connected", "n-0"], SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    way.cut().await;
    let cut_off = servers[0].connect(app()).await;
    wait_until("the first server knows of no leader", Duration::from_secs(60), async || {
        match cut_off.info(ORIGIN).await {
            Ok(info) => info["cluster"]["leader"].as_str().is_none_or(str::is_empty).then_some(()),
            Err(error) => (error.err_code == NO_QUORUM).then_some(()),
        }
    })
    .await;
    runs_on(&exporter).await;
    let scrape = exporter.seen_healthy(CONTRACT, SOON).await;
    assert!(writer(&scrape, "origin"), "{scrape}");
    api.publish("agentese.a", "x").await.expect("clients of the others are served");
    let seen_from = SystemTime::now();
    runs_on(&exporter).await;
    for look in watch.since(since) {
        assert!(!running(&look.scrape), "clients are served:\n{}", look.scrape);
    }
    for look in watch.since(seen_from) {
        assert!(writer(&look.scrape, "origin"), "{}", look.scrape);
    }
}
