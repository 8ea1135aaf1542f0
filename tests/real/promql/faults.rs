//! Everything that is no answer, each with its reason, and none of it a failure of the component.

use std::fs;

use serde_json::json;

use super::{SOON, config, contract, ends, exporter, fails, figure, runs};
use dr_testkit::certs::{self, Authority};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::prometheus::{Front, Gate, Prometheus, Toy};

const UP: &str = "query: min(up)\nhealthy_when: { above: 0 }";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_one_number_is_no_answer() {
    let toy = Toy::start("a{x=\"1\"} 1\na{x=\"2\"} 2\n").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("max(a)").await;
    let cases = [
        ("several", "a", "many_series"),
        ("nothing", "max(no_such_metric)", "no_sample"),
        ("filtered", "max(a) > 5", "no_sample"),
        ("nan", "sum(a) * 0 / 0", "not_a_number"),
        ("plus", "sum(a) / 0", "infinite"),
        ("minus", "-sum(a) / 0", "infinite"),
        ("range", "a{x='1'}[1m]", "not_a_number"),
        ("words", "'text'", "not_a_number"),
        ("broken", "sum(a", "query_refused"),
        ("unknown", "no_such_function(a)", "query_refused"),
        ("matching", "sum by (x) (a) + on () group_left () a", "query_failed"),
    ];
    let mut contracts: Vec<String> = cases
        .iter()
        .map(|(name, query, _)| contract(name, "rto: 1h", &format!("query: \"{query}\"\nhealthy_when: {{ above: 0 }}")))
        .collect();
    contracts.push(contract("scalar", "rto: 1h", "query: scalar(max(a)) + 1\nhealthy_when: { equals: 3 }"));
    contracts.push(contract("constant", "rto: 1h", "query: 2 * 2\nhealthy_when: { equals: 4 }"));
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for (name, _, reason) in cases {
        let scrape = fails(&exporter, name, reason).await;
        assert_eq!(runs(&scrape, name, "healthy") + runs(&scrape, name, "unhealthy"), 0.0, "{name}\n{scrape}");
        // A scrape that a busy machine did not make in time leaves no sample.
        let others = scrape.reasons(name).into_keys().filter(|other| other != reason && other != "no_sample");
        assert_eq!(others.count(), 0, "{name}: {:?}", scrape.reasons(name));
        assert_eq!(scrape.status(name, "rto"), "unproven", "{name}");
    }
    for name in ["scalar", "constant"] {
        ends(&exporter, name, "healthy").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_prefix_is_kept_and_a_wrong_one_is_told() {
    let toy = Toy::start("").await;
    let prometheus = Prometheus::start_with(&[toy.address], &["--web.route-prefix=/prom"], "").await;
    let right = exporter(&format!("url: \"{}/prom\"", prometheus.url()), &[contract("up", "rto: 1h", UP)]).await;
    let wrong = exporter(&format!("url: \"{}/metrics/\"", prometheus.url()), &[contract("up", "rto: 1h", UP)]).await;
    ends(&right, "up", "healthy").await;
    let scrape = fails(&wrong, "up", "bad_answer").await;
    assert_eq!(runs(&scrape, "up", "unhealthy"), 0.0);
    assert!(wrong.log().contains("404"), "{}", wrong.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_read_anew_when_it_changes() {
    let toy = Toy::start("").await;
    // bcrypt of s3cret-pw
    let web = "basic_auth_users: { dr: \"$2b$04$abcdefghijklmnopqrstuufbu7IbsAKnz0sK.RhkuQd5ApLvLcZVy\" }\n";
    let prometheus = Prometheus::start_with(&[toy.address], &[], web).await;
    let connection = format!("url: \"{}\", basic_auth: {{ username: dr, password_file: password }}", prometheus.url());
    let directory = Config::new(&config(&connection, &[contract("up", "rto: 1h", UP)]));
    let exporter = Exporter::start_in(directory).await;
    fails(&exporter, "up", "credentials_unreadable").await;
    exporter.config().file("password", "wrong-S3cr3t\n");
    fails(&exporter, "up", "auth_failed").await;
    exporter.config().file("password", "s3cret-pw\n");
    let scrape = ends(&exporter, "up", "healthy").await;
    assert_eq!(runs(&scrape, "up", "unhealthy"), 0.0);
    let told = format!("{}{}", exporter.log(), exporter.get("/").await.text().await.expect("a page"));
    assert!(!told.contains("S3cr3t") && !told.contains("s3cret-pw"), "a password is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_their_certificates() {
    let toy = Toy::start("").await;
    let mut prometheus = Prometheus::cold(&[toy.address], &[]);
    let authority = Authority::new();
    authority.write(prometheus.directory(), "server", &prometheus.address.ip().to_string());
    prometheus.web(
        "tls_server_config: { cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem, \
         client_auth_type: RequireAndVerifyClientCert }\n",
    );
    prometheus.run().await;
    let url = format!("url: \"https://{}\"", prometheus.address);
    let start = async |keys: &str| {
        let directory = Config::new(&config(&format!("{url}, {keys}"), &[contract("up", "rto: 1h", UP)]));
        Authority::new().write(directory.directory(), "other", "other");
        fs::rename(directory.path("ca.pem"), directory.path("other-ca.pem")).expect("renamed");
        authority.write(directory.directory(), "client", "dr-exporter");
        Exporter::start_in(directory).await
    };
    let pair = "cert_file: client.pem, key_file: client.key";
    let right = start(&format!("ca_file: ca.pem, {pair}")).await;
    let unverified = start(&format!("insecure_skip_verify: true, {pair}")).await;
    let distrusting = start(&format!("ca_file: other-ca.pem, {pair}")).await;
    let anonymous = start("ca_file: ca.pem").await;
    ends(&right, "up", "healthy").await;
    ends(&unverified, "up", "healthy").await;
    for exporter in [&distrusting, &anonymous] {
        let scrape = fails(exporter, "up", "tls_failed").await;
        assert_eq!(runs(&scrape, "up", "unhealthy") + runs(&scrape, "up", "healthy"), 0.0, "{scrape}");
    }
    fs::remove_file(right.config().path("client.pem")).expect("removed");
    fails(&right, "up", "credentials_unreadable").await;
}

/// A server of TLS as they are found in the field, asked as a Prometheus and as an HTTP endpoint that is the component.
async fn over_tls((certificate, key): (String, String), settings: &str) -> (Toy, Prometheus, Exporter) {
    let toy = Toy::start("").await;
    let mut prometheus = Prometheus::cold_at([127, 0, 0, 1].into(), &[toy.address], &[]);
    fs::write(prometheus.directory().join("server.pem"), &certificate).expect("written");
    fs::write(prometheus.directory().join("server.key"), key).expect("written");
    prometheus.web(&format!(
        "tls_server_config: {{ cert_file: server.pem, key_file: server.key{settings} }}\n\
         http_server_config: {{ http2: false }}\n"
    ));
    prometheus.run().await;
    let url = format!("https://{}", prometheus.address);
    let web = format!(
        "  - name: web\n    component: web\n    owner: ops\n    priority: P1\n    rto: 1h\n    checks:\n      \
         - name: web\n        http: {{ url: \"{url}/-/healthy\", ca_file: server.pem }}\n"
    );
    let connection = format!("url: \"{url}\", ca_file: server.pem");
    let yaml = config(&connection, &[contract("up", "rto: 1h", UP), web]);
    (toy, prometheus, Exporter::start_in(Config::new(&yaml).with("server.pem", &certificate)).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_stands_itself_in_the_ca_file() {
    let (_toy, _prometheus, exporter) = over_tls(certs::self_signed("127.0.0.1"), "").await;
    ends(&exporter, "up", "healthy").await;
    ends(&exporter, "web", "healthy").await;
}

/// What other clients may well be served with is no outage.
#[tokio::test(flavor = "multi_thread")]
async fn tls_that_is_not_supported_here_is_no_answer() {
    let good = || certs::self_signed("127.0.0.1");
    for (pair, settings, words) in [
        (good(), ", min_version: TLS10, max_version: TLS11", "it speaks no version of TLS that is supported"),
        (good(), ", max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA]", "handshake_failure"),
        (certs::of_fixture("p521"), "", "handshake_failure"),
        (certs::of_fixture("rsa1024"), "", "is RSA of 1024 bits, which is not supported"),
        (certs::of_fixture("v1"), "", "it has no subjectAltName"),
    ] {
        let (_toy, _prometheus, exporter) = over_tls(pair, settings).await;
        for contract in ["up", "web"] {
            let scrape = fails(&exporter, contract, "tls_unsupported").await;
            let told = runs(&scrape, contract, "unhealthy") + runs(&scrape, contract, "healthy");
            assert!(told == 0.0, "{settings} {words}: {contract} is measured\n{scrape}");
        }
        exporter.logs(&["tls_unsupported", words], SOON).await;
        let log = exporter.log();
        assert!(words == "it has no subjectAltName" || log.contains("supported here: TLS 1.2 and 1.3"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_named_and_a_token_goes_nowhere_else() {
    let toy = Toy::start("").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    let front = Front::start(prometheus.address, Gate::Needs("x-scope-orgid", "dr")).await;
    let elsewhere = Front::start(prometheus.address, Gate::Needs("x-scope-orgid", "dr")).await;
    let start = async |tenant: &str| {
        let connection = format!(
            "url: \"http://{}\", bearer_token_file: token, headers: {{ X-Scope-OrgID: {{ value: {tenant} }} }}",
            front.address
        );
        let directory = Config::new(&config(&connection, &[contract("up", "rto: 1h", UP)]));
        Exporter::start_in(directory.with("token", "t0ken\n")).await
    };
    let wrong = start("another").await;
    fails(&wrong, "up", "auth_failed").await;
    drop(wrong);
    let exporter = start("dr").await;
    ends(&exporter, "up", "healthy").await;
    for asked in front.asked() {
        assert_eq!((asked.method.as_str(), asked.uri.to_string().as_str()), ("POST", "/api/v1/query"));
        assert_eq!(asked.headers["authorization"], "Bearer t0ken");
        assert!(asked.body.starts_with("query="), "{}", asked.body);
    }
    front.becomes(Gate::Says(307, Some(format!("http://{}/api/v1/query", elsewhere.address)), String::new()));
    fails(&exporter, "up", "bad_answer").await;
    assert!(elsewhere.asked().is_empty(), "a redirect was followed, with the token");
    assert!(exporter.log().contains("not followed"), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_whole_or_no_answer_is_told_apart() {
    let toy = Toy::start("").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    let front = Front::start(prometheus.address, Gate::Needs("host", "nobody")).await;
    let connection = format!("url: \"http://{}/\"", front.address);
    // The same answer comes to whatever is asked, so one series is asked for.
    let one = "query: up\nhealthy_when: { above: 0 }";
    let exporter = exporter(&connection, &[contract("up", "rto: 1h", one)]).await;
    let vector =
        json!({"resultType": "vector", "result": [{"metric": {"dr_exporter_source": "0"}, "value": [1.8e9, "1.8e9"]}]});
    let error = |kind: &str| json!({"status": "error", "errorType": kind, "error": "it says why"}).to_string();
    let partial = json!({"status": "success", "data": vector, "warnings": ["store gateway 3 is unreachable"]});
    // A storage node of VictoriaMetrics is away.
    let half = json!({"status": "success", "isPartial": true, "data": vector});
    let infos =
        json!({"status": "success", "isPartial": false, "data": vector, "infos": ["metric might not be a counter"]});
    for (status, body, reason) in [
        (400, error("bad_data"), "query_refused"),
        (422, error("execution"), "query_failed"),
        (503, error("timeout"), "timeout"),
        (503, error("canceled"), "timeout"),
        (500, error("internal"), "server_error"),
        (200, error("execution"), "query_failed"),
        (429, error("too_many_requests"), "throttled"),
        (403, "Forbidden".to_owned(), "forbidden"),
        (401, "no org id".to_owned(), "auth_failed"),
        (502, "<html>Bad Gateway</html>".to_owned(), "server_error"),
        (404, "404 page not found".to_owned(), "bad_answer"),
        (200, "<html>Sign in</html>".to_owned(), "bad_answer"),
        (200, "{}".to_owned(), "bad_answer"),
        (200, json!({"status": "success"}).to_string(), "bad_answer"),
        (200, json!({"status": "success", "data": {"resultType": "stream", "result": []}}).to_string(), "bad_answer"),
        (200, format!("{}{}", "[".repeat(5 << 20), "]".repeat(10)), "bad_answer"),
        (200, partial.to_string(), "warnings"),
        (200, half.to_string(), "warnings"),
    ] {
        front.becomes(Gate::Says(status, None, body));
        fails(&exporter, "up", reason).await;
    }
    front.becomes(Gate::Hangs);
    let scrape = fails(&exporter, "up", "timeout").await;
    for outcome in ["healthy", "unhealthy"] {
        assert_eq!(runs(&scrape, "up", outcome), 0.0, "{scrape}");
    }
    // What is worth knowing is no warning.
    front.becomes(Gate::Says(200, None, infos.to_string()));
    ends(&exporter, "up", "healthy").await;
    assert!(exporter.log().contains("store gateway 3 is unreachable"), "the warning is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_goes_on_while_prometheus_cannot_say_that_it_is_over() {
    let toy = Toy::start("healthy 0\n").await;
    let mut prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("healthy").await;
    let stanza = "query: healthy\nhealthy_when: { equals: 1 }";
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &[contract("api", "rto: 1h", stanza)]).await;
    let running =
        |value: f64| move |scrape: &super::Scrape| figure(scrape, "dr_recovery_in_progress", "api") == Some(value);
    exporter.until("the clock runs", SOON, running(1.0)).await;
    prometheus.kill();
    let scrape = fails(&exporter, "api", "connect_failed").await;
    assert!(running(1.0)(&scrape), "{scrape}");
    toy.tells("healthy 1\n");
    prometheus.run().await;
    exporter.until("the clock stops", SOON, running(0.0)).await;
}
