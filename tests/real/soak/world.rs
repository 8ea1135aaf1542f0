//! What it watches: servers of each kind that die and come back, and a configuration that changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hickory_server::proto::op::ResponseCode;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;

use dr_testkit::dns::{Dns, Manner};
use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::grafana::Grafana;
use dr_testkit::kube::fake::Fault;
use dr_testkit::kube::{Cluster, Flavour, User};
use dr_testkit::nats::Pair;
use dr_testkit::prometheus::{Prometheus, Toy};
use dr_testkit::proxy::{Mode, Proxy};
use dr_testkit::publisher::Publisher;
use dr_testkit::service::Service;

/// How many contracts of each kind, with one check each.
const HTTP: usize = 60;
const DNS: usize = 14;
const PROMQL: usize = 10;
const PODS: usize = 6;
const GRAFANA: usize = 4;
const MIRRORS: usize = 6;
pub(super) const CONTRACTS: usize = HTTP + DNS + PROMQL + PODS + GRAFANA + MIRRORS;
/// How many more come and go.
const GUESTS: usize = 10;

const SPACE: &str = "saas";

pub(super) struct World {
    interval: &'static str,
    services: Vec<(Service, Proxy)>,
    dns: Dns,
    pair: Pair,
    publisher: Publisher,
    toy: Toy,
    prometheus: Prometheus,
    prometheus_runs: bool,
    grafana: Grafana,
    cluster: Cluster,
    reader: User,
    /// What was done, and how often.
    done: BTreeMap<&'static str, u32>,
}

/// What is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contracts {
    All,
    WithGuests,
    /// Every third is away.
    Fewer,
}

impl World {
    pub(super) async fn start(interval: &'static str) -> Self {
        let mut services = Vec::new();
        for _ in 0..6 {
            let service = Service::start().await;
            let proxy = Proxy::to(service.address).await;
            services.push((service, proxy));
        }
        let pair = Pair::start().await;
        let publisher = Publisher::start(&pair.origin, 5);
        let toy = Toy::start("serving 1\n").await;
        let prometheus = Prometheus::start(&[toy.address]).await;
        let cluster = Cluster::start(Flavour::Fake).await;
        let reader = cluster.user();
        cluster.make_namespace(SPACE).await;
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]);
        cluster.grant(SPACE, &reader, rules).await;
        let world = Self {
            interval,
            services,
            dns: Dns::start("api A 192.0.2.1 60").await,
            pair,
            publisher,
            toy,
            prometheus,
            prometheus_runs: true,
            grafana: Grafana::start(&["overview", "nats"]).await,
            cluster,
            reader,
            done: BTreeMap::new(),
        };
        world.prometheus.has("serving").await;
        world.pod(true).await;
        world
    }

    async fn pod(&self, ready: bool) {
        let ready = if ready { "True" } else { "False" };
        let object = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": SPACE, "name": "nats-0", "labels": {"app": "nats"}},
            "spec": {"containers": [{"name": "main", "image": "nats"}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        self.cluster.apply(object).await;
    }

    /// The directory of the exporter.
    pub(super) fn config(&self) -> Config {
        Config::new(&self.yaml(Contracts::All))
            .with("token", "grafana-token\n")
            .with("password", "app\n")
            .with("dr.kubeconfig", &self.cluster.kubeconfig_of(&self.reader))
    }

    fn yaml(&self, which: Contracts) -> String {
        let (interval, primary, dr) = (self.interval, self.pair.primary.address, self.pair.dr.address);
        let mut yaml = format!(
            "defaults: {{ interval: {interval}, timeout: 900ms, interval_when_down: {interval}, failures_to_trigger: 2 }}
nats:
  primary: {{ servers: [\"nats://{primary}\"], user: app, password_file: password }}
  dr: {{ servers: [\"nats://{dr}\"], user: app, password_file: password }}
kubernetes:
  dr: {{ kubeconfig_file: dr.kubeconfig, api_timeout: 900ms }}
prometheus:
  main: {{ url: \"{}\" }}
triggers:
  - {{ name: api-fails, check: http-00/check, consecutive_failures: 3, action: failover, notification: page }}
  - {{ name: not-serving, promql: {{ prometheus: main, query: max(serving), below: 1 }}, action: look, notification: page }}
contracts:\n",
            self.prometheus.url()
        );
        let mut add = |kind: &str, number: usize, rpo: &str, stanza: &str| {
            // The trigger needs the first one.
            if which == Contracts::Fewer && number % 3 == 2 {
                return;
            }
            let _ = write!(
                yaml,
                "  - name: {kind}-{number:02}\n    component: {kind} {number}\n    owner: ops\n    priority: P1\n    \
                 rto: 5m\n{rpo}    checks: [{{ name: check, {stanza} }}]\n"
            );
        };
        for number in 0..HTTP {
            let (_, proxy) = &self.services[number % self.services.len()];
            add("http", number, "", &format!("http: {{ url: \"http://{}/{number}\" }}", proxy.address()));
        }
        if which == Contracts::WithGuests {
            for number in 0..GUESTS {
                let (service, _) = &self.services[number % self.services.len()];
                add("guest", number, "", &format!("http: {{ url: \"http://{}/\" }}", service.address));
            }
        }
        for number in 0..DNS {
            let stanza = format!(
                "dns: {{ name: api.example.com, resolvers: [\"{}\"], regions: {{ primary: [192.0.2.0/24], dr: [198.51.100.7] }} }}",
                self.dns.udp()
            );
            add("dns", number, "", &stanza);
        }
        for number in 0..PROMQL {
            let query = format!("max(serving) + {number}");
            let stanza = format!("promql: {{ prometheus: main, query: {query}, healthy_when: {{ above: {number} }} }}");
            add("promql", number, "", &stanza);
        }
        for number in 0..PODS {
            let stanza = format!("pods: {{ kubernetes: dr, namespace: {SPACE}, selector: app=nats, min_ready: 1 }}");
            add("pods", number, "", &stanza);
        }
        for number in 0..GRAFANA {
            let stanza = format!(
                "grafana_dashboards: {{ url: \"{}\", token_file: token, uids: [overview, nats] }}",
                self.grafana.url()
            );
            add("grafana", number, "", &stanza);
        }
        for number in 0..MIRRORS {
            let stanza = "nats_mirror: { origin: { nats: primary, stream: AGENTESE }, \
                          mirror: { nats: dr, stream: AGENTESE_MIRROR } }";
            add("mirror", number, "    rpo: 1m\n", stanza);
        }
        yaml
    }

    /// Does one thing to what is watched, or to what is configured. What is broken is mended more often than broken.
    pub(super) async fn churn(&mut self, exporter: &mut Exporter, random: &mut StdRng) {
        let breaks = random.random_bool(0.4);
        let done = match random.random_range(0..12) {
            0..3 => self.churn_service(breaks, random).await,
            3 => self.churn_dns(breaks, random),
            4..6 => self.churn_nats(breaks, random).await,
            6 => self.churn_prometheus(breaks, random).await,
            7 => self.churn_grafana(breaks, random).await,
            8 => self.churn_pods(breaks, random).await,
            _ => self.reload(exporter, random).await,
        };
        *self.done.entry(done).or_default() += 1;
    }

    async fn churn_service(&mut self, breaks: bool, random: &mut StdRng) -> &'static str {
        let at = random.random_range(0..self.services.len());
        let (service, proxy) = &mut self.services[at];
        match random.random_range(0..3) {
            _ if !breaks => {
                service.well(true);
                proxy.heal().await;
                "service mended"
            }
            0 => {
                service.well(false);
                "service fails"
            }
            1 => {
                proxy.cut().await;
                "service cut"
            }
            _ => {
                proxy.set(Mode::BlackHole).await;
                "service silent"
            }
        }
    }

    fn churn_dns(&mut self, breaks: bool, random: &mut StdRng) -> &'static str {
        let (manner, done) = match random.random_range(0..3) {
            _ if !breaks => (Manner::Serves, "DNS mended"),
            0 => (Manner::Silent, "DNS silent"),
            1 => (Manner::LosesOne, "DNS loses one question"),
            _ => (Manner::Code(ResponseCode::ServFail), "DNS fails"),
        };
        self.dns.answers(manner);
        done
    }

    async fn churn_nats(&mut self, breaks: bool, random: &mut StdRng) -> &'static str {
        let which = random.random_range(0..4);
        if !breaks {
            self.heal_nats().await;
            return "NATS mended";
        }
        match which {
            0 => {
                self.pair.link.cut().await;
                "NATS link cut"
            }
            1 => {
                self.pair.primary.kill();
                "NATS primary killed"
            }
            2 => {
                self.pair.dr.kill();
                "NATS in DR killed"
            }
            _ if self.pair.primary.runs() => {
                self.pair.primary.freeze();
                "NATS primary frozen"
            }
            _ => "NATS left alone",
        }
    }

    async fn heal_nats(&mut self) {
        self.pair.link.heal().await;
        for server in [&mut self.pair.primary, &mut self.pair.dr] {
            if server.runs() {
                server.thaw();
            } else {
                server.run();
            }
        }
    }

    async fn churn_prometheus(&mut self, breaks: bool, random: &mut StdRng) -> &'static str {
        match random.random_range(0..3) {
            _ if !breaks => {
                self.heal_prometheus().await;
                "Prometheus mended"
            }
            0 => {
                self.prometheus.kill();
                self.prometheus_runs = false;
                "Prometheus killed"
            }
            _ => {
                self.toy.tells("serving -1\n");
                "query fails"
            }
        }
    }

    async fn heal_prometheus(&mut self) {
        self.toy.tells("serving 1\n");
        if !std::mem::replace(&mut self.prometheus_runs, true) {
            self.prometheus.run().await;
        }
    }

    async fn churn_grafana(&mut self, breaks: bool, random: &mut StdRng) -> &'static str {
        // What it remembers of its readers would grow.
        self.grafana.has().asked.clear();
        match random.random_range(0..3) {
            _ if !breaks => {
                self.heal_grafana().await;
                "Grafana mended"
            }
            0 => {
                self.grafana.die();
                "Grafana dead"
            }
            1 => {
                self.grafana.has().database_fails = true;
                "Grafana fails"
            }
            _ => {
                self.grafana.loses("nats");
                "dashboard lost"
            }
        }
    }

    async fn heal_grafana(&mut self) {
        self.grafana.has().database_fails = false;
        self.grafana.gets("nats", 1, "nats");
        self.grafana.die();
        self.grafana.live().await;
    }

    async fn churn_pods(&mut self, breaks: bool, random: &mut StdRng) -> &'static str {
        let (fault, done) = match random.random_range(0..4) {
            _ if !breaks => {
                self.heal_pods().await;
                return "API server mended";
            }
            0 => {
                self.pod(false).await;
                return "pod not ready";
            }
            1 => (Fault::Status(503), "API server fails"),
            2 => (Fault::Close, "API server hangs up"),
            _ => (Fault::Delay(std::time::Duration::from_secs(5)), "API server slow"),
        };
        self.cluster.fake().fault(SPACE, "pods", fault);
        done
    }

    async fn heal_pods(&mut self) {
        self.cluster.fake().heal(SPACE, "pods");
        self.pod(true).await;
    }

    async fn reload(&mut self, exporter: &mut Exporter, random: &mut StdRng) -> &'static str {
        let which = random.random_range(0..4);
        let (yaml, is_good) = match which {
            0 => (self.yaml(Contracts::WithGuests), true),
            1 => (self.yaml(Contracts::Fewer), true),
            2 => (self.yaml(Contracts::All).replace("priority: P1", "colour: red"), false),
            _ => (self.yaml(Contracts::All), true),
        };
        exporter.config().file("config.yaml", &yaml);
        if random.random_bool(0.5) {
            exporter.process().signal("HUP");
            return "SIGHUP";
        }
        let answer = client().post(exporter.url("/-/reload")).send().await.expect("an answer");
        let (status, said) = (answer.status().as_u16(), answer.text().await.unwrap_or_default());
        match (status, is_good) {
            (200, true) => "reloaded",
            (400, false) => "reload refused",
            // It is done when the machine comes to it.
            (503, _) if said.contains("took too long") => "reload not answered in time",
            _ => panic!("{status} for a configuration that is {}: {said}", if is_good { "good" } else { "bad" }),
        }
    }

    /// Everything is well, and configured as at first.
    pub(super) async fn heal(&mut self, exporter: &mut Exporter) {
        for (service, proxy) in &mut self.services {
            service.well(true);
            proxy.heal().await;
        }
        self.dns.answers(Manner::Serves);
        self.heal_nats().await;
        self.heal_prometheus().await;
        self.heal_grafana().await;
        self.heal_pods().await;
        exporter.config().file("config.yaml", &self.yaml(Contracts::All));
        let answer = client().post(exporter.url("/-/reload")).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        let last = self.publisher.last();
        eprintln!("{last} messages were published");
    }

    /// What was done.
    pub(super) fn told(&self) -> String {
        self.done.iter().map(|(what, times)| format!("{what}: {times}")).collect::<Vec<_>>().join(", ")
    }
}
