//! Where the exporter listens, what it is called from outside, and who may reload it.

use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::wait_until;

use super::{SOON, contracts};

#[tokio::test(flavor = "multi_thread")]
async fn it_listens_on_several_addresses() {
    let exporter = Exporter::start_in(Config::new(&contracts()).flag("--web.listen-address=[::1]:0")).await;
    let second = wait_until("the second address is logged", SOON, async || {
        let log = exporter.log();
        let line = log.lines().find(|line| line.contains("listening") && line.contains("[::1]"))?;
        let (_, port) = line.split_once("[::1]:")?;
        port.split(|sign: char| !sign.is_ascii_digit()).next()?.parse::<u16>().ok()
    })
    .await;
    let answer = client().get(format!("http://[::1]:{second}/-/healthy")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(exporter.get("/-/healthy").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_below_the_prefix() {
    let config = Config::new(&contracts()).flag("--web.external-url=https://dr.example.org/ops/dr/");
    let exporter = Exporter::start_in(config).await;
    for path in ["/ops/dr/metrics", "/ops/dr/-/healthy", "/ops/dr/", "/ops/dr/api/v1/recoveries?limit=1"] {
        assert_eq!(exporter.get(path).await.status(), 200, "{path}");
    }
    for path in ["/metrics", "/-/healthy", "/ops", "/ops/drmetrics", "/ops/dr//metrics"] {
        assert_eq!(exporter.get(path).await.status(), 404, "{path}");
    }
    // The client follows the redirection.
    for path in ["/", "/ops/dr"] {
        let answer = exporter.get(path).await;
        assert_eq!((answer.status().as_u16(), answer.url().path()), (200, "/ops/dr/"), "{path}");
    }
    let health = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"))
        .args(["health", "--url"])
        .arg(exporter.url("/ops/dr"))
        .status();
    assert!(health.expect("the program runs").success());
    let bare =
        Config::new(&contracts()).flag("--web.external-url=https://dr.example.org/dr").flag("--web.route-prefix=/");
    assert_eq!(Exporter::start_in(bare).await.get("/metrics").await.status(), 200, "a proxy takes the prefix off");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_cannot_reload_it() {
    let config =
        Config::new(&contracts()).flag("--web.external-url=https://dr.example.org").flag("--web.route-prefix=/");
    let exporter = Exporter::start_in(config).await;
    let post = async |headers: &[(&str, &str)]| {
        let mut request = client().post(exporter.url("/-/reload"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(post(&[]).await, 200);
    assert_eq!(post(&[("origin", "https://dr.example.org"), ("host", "dr.example.org")]).await, 200);
    assert_eq!(post(&[("origin", "https://evil.example")]).await, 403);
    assert_eq!(post(&[("origin", "null")]).await, 403);
    assert_eq!(post(&[("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(post(&[("host", "evil.example")]).await, 403);
    assert_eq!(client().put(exporter.url("/-/reload")).send().await.expect("an answer").status(), 200, "as Prometheus");
    let metrics = exporter.metrics().await;
    assert!(metrics.contains("dr_exporter_web_requests_refused_total{reason=\"cross_site\"} 4"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_carry_what_protects_the_browser() {
    let exporter = Exporter::start(&contracts()).await;
    for path in ["/", "/metrics", "/api/v1/status", "/nothing"] {
        let answer = exporter.get(path).await;
        let of = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text")).unwrap_or_default();
        let policy = of("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!((of("x-content-type-options"), of("referrer-policy")), ("nosniff", "no-referrer"), "{path}");
        assert_eq!(of("cache-control") == "no-store", path != "/metrics", "{path}");
    }
}
