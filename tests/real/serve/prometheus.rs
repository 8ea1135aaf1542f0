//! A real Prometheus scrapes, and its figures are the exporter's.

use super::{SOON, Service, contract, contracts};
use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::process::Process;
use dr_testkit::{free_ports, own_ip, tool, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_true_figures() {
    let service = Service::start().await;
    let exporter = Exporter::start(&contracts(&[contract("api", "30s", &service.url)])).await;
    let program = tool("PROMETHEUS", "prometheus").expect("no prometheus: run `scripts/tools prometheus`");
    let [address] = free_ports::<1>(own_ip());
    let config = Config::new("");
    let file = config.file(
        "prometheus.yml",
        &format!(
            "scrape_configs:\n- job_name: dr\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  static_configs:\n  - targets: ['{}']\n",
            exporter.address
        ),
    );
    let _prometheus = Process::start(program, |command| {
        command.current_dir(file.parent().expect("a directory")).stderr(std::process::Stdio::null()).args([
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            format!("--web.listen-address={address}"),
        ]);
    });
    let query = async |query: &str| -> Option<f64> {
        let url = format!("http://{address}/api/v1/query");
        let url = reqwest::Url::parse_with_params(&url, [("query", query)]).expect("a URL");
        let answer: serde_json::Value = client().get(url).send().await.ok()?.json().await.ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    let unproven = r#"dr_objective_status{contract="api",objective="rto",status="unproven"}"#;
    wait_until("Prometheus has the status", SOON, async || (query(unproven).await == Some(1.0)).then_some(())).await;
    // A scrape that a busy machine did not make in time is made again.
    let component = r#"count(dr_contract_info{component="The \"<b>API</b>\" \\ & more"})"#;
    for (what, asked) in [("it is up", "up"), ("labels arrive as they are", component)] {
        wait_until(what, SOON, async || (query(asked).await == Some(1.0)).then_some(())).await;
    }
    let down = std::time::Instant::now();
    service.well(false);
    wait_until("Prometheus sees the outage", SOON, async || {
        (query("dr_recovery_in_progress").await == Some(1.0)).then_some(())
    })
    .await;
    let age = wait_until("Prometheus has the start", SOON, async || {
        query("time() - dr_recovery_started_timestamp_seconds").await
    })
    .await;
    let most = down.elapsed().as_secs_f64();
    assert!((-1.0..=most).contains(&age), "the clock's start is {age} s ago by Prometheus's own clock");
}
