//! The shipped rules over many shards, in one real Prometheus: the figures of `docs/scaling.md`.
//!
//! `cargo run --example rules-of-shards -- PROGRAM SHARDS CONTRACTS MINUTES` runs the exporter
//! PROGRAM once, on CONTRACTS contracts with two checks each. It serves that scrape as SHARDS
//! targets, with a name of its own for every contract. It prints what scraping and the rules take.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dr_testkit::exporter::{Config, client};
use dr_testkit::process::Process;
use dr_testkit::prometheus::{Prometheus, Toy, unix};
use dr_testkit::service::Service;
use dr_testkit::{free_ports, wait_until};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, shards, contracts, minutes] = arguments.as_slice() else {
        eprintln!("usage: rules-of-shards PROGRAM SHARDS CONTRACTS MINUTES");
        std::process::exit(64);
    };
    let number = |text: &String| text.parse::<usize>().expect("a number");
    let (shards, contracts, minutes) = (number(shards), number(contracts), number(minutes));
    let scrape = scrape_of(&PathBuf::from(program).canonicalize().expect("the program exists"), contracts).await;
    let series = scrape.lines().filter(|line| !line.starts_with('#')).count();
    println!("a scrape of {contracts} contracts: {series} series, {} KB", scrape.len() / 1000);

    let mut toys = Vec::new();
    for shard in 0..shards {
        toys.push(Toy::start(&of_shard(&scrape, shard, shards, contracts)).await);
    }
    let mut prometheus = Prometheus::cold(&[], &[]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = std::fs::read_to_string(root.join("alerts/dr-exporter.rules.yml")).expect("the rules");
    std::fs::write(prometheus.directory().join("rules.yml"), rules).expect("written");
    let targets = toys.iter().map(|toy| format!("'{}'", toy.address)).collect::<Vec<_>>().join(", ");
    let config = format!(
        "global: {{ scrape_interval: 15s, scrape_timeout: 10s, evaluation_interval: 15s }}\nrule_files: [rules.yml]\n\
         scrape_configs:\n- job_name: dr-exporter\n  static_configs:\n  - targets: [{targets}]\n"
    );
    std::fs::write(prometheus.directory().join("prometheus.yml"), config).expect("written");
    prometheus.run().await;
    for minute in 1..=minutes {
        tokio::time::sleep(Duration::from_secs(60)).await;
        told(&prometheus, minute).await;
    }
    // A lost shard is noticed, and all others stay as they are.
    toys[0].die();
    let lost = r#"ALERTS{alertname="DRShardMissing",scope="shards",alertstate="firing"}"#;
    let begun = unix();
    wait_until("the lost shard is noticed", Duration::from_secs(240), async || prometheus.ask(lost).await).await;
    let others = prometheus.ask(r#"count(ALERTS{alertname="DRExporterDown",scope="contract"})"#).await;
    println!("a lost shard was noticed after {:.0} s; contracts without an exporter: {others:?}", unix() - begun);
}

/// The scrape of an exporter with this many contracts, each with an RTO and an RPO.
async fn scrape_of(program: &Path, contracts: usize) -> String {
    let service = Service::start().await;
    let toy = Toy::start(&format!("backup {}\n", unix())).await;
    let source = Prometheus::start(&[toy.address]).await;
    source.has("backup").await;
    let mut yaml = format!("prometheus: {{ main: {{ url: \"{}\" }} }}\ncontracts:\n", source.url());
    for contract in 0..contracts {
        let _ = write!(
            yaml,
            "  - name: cnnn-{contract}\n    component: Component {contract}\n    owner: ops\n    priority: P1\n    rto: 5m\n    \
             rpo: 1h\n    checks:\n      - {{ name: health, http: {{ url: \"http://{}/\" }} }}\n      - {{ name: backup, \
             promql: {{ prometheus: main, query: max(backup), timestamp_seconds: true }} }}\n",
            service.address
        );
    }
    let config = Config::new(&yaml);
    let [address] = free_ports::<1>([127, 0, 0, 1].into());
    let _process = Process::start(program, |command| {
        command.current_dir(config.directory()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["serve", "--config.file=config.yaml", &format!("--web.listen-address={address}")]);
    });
    wait_until("it is ready", Duration::from_secs(120), async || {
        let answer = client().get(format!("http://{address}/-/ready")).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    let answer = client().get(format!("http://{address}/metrics")).header("accept", "text/plain; version=0.0.4");
    answer.send().await.expect("a scrape").text().await.expect("a text")
}

/// The same scrape as that of one shard of many.
fn of_shard(scrape: &str, shard: usize, shards: usize, contracts: usize) -> String {
    let own = scrape.replace("cnnn-", &format!("c{shard:03}-"));
    let lines = own.lines().filter(|line| {
        !["dr_exporter_shard_info{", "dr_exporter_total_shards ", "dr_exporter_config_contracts "]
            .iter()
            .any(|name| line.starts_with(name))
    });
    let mut text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let all = shards * contracts;
    let _ = write!(
        text,
        "dr_exporter_shard_info{{shard=\"{shard}\"}} 1\ndr_exporter_total_shards {shards}\ndr_exporter_config_contracts {all}\n"
    );
    text
}

/// What Prometheus tells of itself.
async fn told(prometheus: &Prometheus, minute: usize) {
    let answer = client().get(format!("{}/metrics", prometheus.url())).send().await.expect("an answer");
    let text = answer.text().await.expect("a text");
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
    let of = |name: &str| text.lines().filter(|line| line.starts_with(name)).map(value).sum::<f64>();
    let groups: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("prometheus_rule_group_last_duration_seconds{"))
        .filter_map(|line| Some(format!("{} {:.2} s", line.split(';').nth(1)?.split('"').next()?, value(line))))
        .collect();
    println!(
        "minute {minute}: {} series, {:.0} MiB, {:.1} s of CPU so far, {} missed, {} failures; groups: {}",
        of("prometheus_tsdb_head_series "),
        of("process_resident_memory_bytes ") / 1048576.0,
        of("process_cpu_seconds_total "),
        of("prometheus_rule_group_iterations_missed_total{"),
        of("prometheus_rule_evaluation_failures_total{"),
        groups.join(", ")
    );
}
