//! Secrets that servers repeat. Each has a canary of its own, and no canary may be seen anywhere.

use std::fs;
use std::net::SocketAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::SOON;
use dr_testkit::exporter::{Config, Exporter};

/// Files with a secret each, and their canaries.
const SECRETS: [(&str, &str); 8] = [
    ("prometheus-token", "canary-Prometheus-4f1c"),
    ("prometheus-tenant", "canary-Tenant-\"77\"&<e>"),
    ("argocd-token", "canary-ArgoCD-a9d2"),
    ("grafana-token", "canary-Grafana-51be"),
    ("http-password", "canary-HTTP/pass word+1"),
    ("http-header", "canary-Header-c0de"),
    ("nats-token", "canary-NATS-0ff1"),
    ("kubernetes-token", "canary-Kubernetes-b33f"),
];

/// A server that repeats whatever it is sent: the path, all headers and the body.
async fn echo() -> (SocketAddr, JoinHandle<()>) {
    async fn repeat(uri: Uri, headers: HeaderMap, request: Request) -> Response {
        let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap_or_default();
        let lines =
            headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        let text = lines.chain([format!("{uri} {}", String::from_utf8_lossy(&body))]).collect::<Vec<_>>().join(" ");
        if uri.path().starts_with("/api/v1/query") {
            let error = serde_json::json!({ "status": "error", "errorType": "bad_data", "error": text });
            return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
        }
        if uri.path().starts_with("/apis") || uri.path().starts_with("/api/v1/namespaces") {
            let status = serde_json::json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": text });
            return (StatusCode::FORBIDDEN, axum::Json(status)).into_response();
        }
        if uri.path().starts_with("/redirect") {
            let sent = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let to = format!("http://127.0.0.1:1/{sent}").replace(' ', "/");
            return (StatusCode::FOUND, [("location", to)]).into_response();
        }
        let error = serde_json::json!({ "message": text, "error": text });
        (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(error)).into_response()
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = axum::Router::new().fallback(repeat);
    (address, tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") }))
}

/// A NATS server that repeats the client's CONNECT in its error.
async fn nats() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let info = "INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"max_payload\":1048576,\"auth_required\":true}\r\n";
                let _ = stream.write_all(info.as_bytes()).await;
                let mut line = String::new();
                let _ = stream.read_line(&mut line).await;
                let _ = stream.write_all(format!("-ERR 'no such user in {}'\r\n", line.trim()).as_bytes()).await;
                let _ = stream.read(&mut [0; 64]).await;
            });
        }
    });
    (address, task)
}

fn yaml(echo: SocketAddr, nats: SocketAddr) -> String {
    format!(
        "defaults: {{ interval: 300ms, timeout: 2s, failures_to_trigger: 1 }}
prometheus:
  main: {{ url: \"http://{echo}/\", bearer_token_file: prometheus-token, headers: {{ X-Scope-OrgID: {{ value_file: prometheus-tenant }} }} }}
nats:
  main: {{ servers: [\"nats://{nats}\"], token_file: nats-token }}
  other: {{ servers: [\"nats://{nats}\"], token_file: nats-token, domain: other }}
kubernetes:
  dr: {{ kubeconfig_file: kubeconfig }}
contracts:
  - name: all
    component: All
    owner: ops
    priority: P0
    rto: 5m
    rpo: 5m
    checks:
      - {{ name: promql, promql: {{ prometheus: main, query: up, healthy_when: {{ above: 0 }} }} }}
      - {{ name: argocd, argocd_app: {{ api: {{ url: \"http://{echo}/argo\", token_file: argocd-token }}, namespace: argocd, name: a, stale_after: 4m }} }}
      - {{ name: grafana, grafana_dashboards: {{ url: \"http://{echo}/grafana\", token_file: grafana-token, uids: [a] }} }}
      - name: http
        http:
          url: \"http://{echo}/http\"
          basic_auth: {{ username: ops, password_file: http-password }}
          headers: {{ X-Key: {{ value_file: http-header }} }}
          expect_body: nothing
      - name: redirect
        http: {{ url: \"http://{echo}/redirect\", basic_auth: {{ username: ops, password_file: http-password }} }}
      - {{ name: pods, pods: {{ kubernetes: dr, namespace: a, selector: app=a, min_ready: 1 }} }}
      - name: nats
        nats_mirror: {{ origin: {{ nats: main, stream: A }}, mirror: {{ nats: other, stream: B }} }}
triggers:
  - {{ name: spike, promql: {{ prometheus: main, query: up, above: 1 }}, action: a, notification: b }}
"
    )
}

fn kubeconfig(echo: SocketAddr) -> String {
    format!(
        "current-context: a
contexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]
clusters: [{{ name: a, cluster: {{ server: \"http://{echo}\" }} }}]
users: [{{ name: a, user: {{ tokenFile: kubernetes-token }} }}]
"
    )
}

/// The canaries, and how Basic authentication sends one of them.
fn canaries() -> Vec<String> {
    let basic = BASE64.encode(b"ops:canary-HTTP/pass word+1");
    let words = SECRETS.iter().flat_map(|(_, secret)| {
        let json = serde_json::to_string(secret).expect("JSON");
        [(*secret).to_owned(), json.trim_matches('"').to_owned(), secret.replace('/', "%2F").replace(' ', "%20")]
    });
    words.chain([basic]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_that_a_server_repeats_is_seen() {
    let ((echo, echoing), (nats, refusing)) = (echo().await, nats().await);
    let config = Config::new(&yaml(echo, nats)).with("kubeconfig", &kubeconfig(echo));
    let config = SECRETS.iter().fold(config, |config, (file, secret)| config.with(file, &format!("{secret}\n")));
    let mut exporter = Exporter::start_as(config, |command| {
        command.args(["--log.level=trace"]);
    })
    .await;
    let checks = ["promql", "argocd", "grafana", "http", "redirect", "pods", "nats"];
    let ran = |check: &str, scrape: &dr_testkit::scrape::Scrape| {
        scrape.series("dr_check_runs_total", &[("check", check)]).map(|(_, runs)| runs).sum::<f64>() >= 3.0
    };
    exporter.until("all have run", SOON, |scrape| checks.iter().all(|check| ran(check, scrape))).await;
    let mut seen = Vec::new();
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/contracts/all", "/api/v1/recoveries", "/api/v1/triggers"] {
        let text = exporter.get(path).await.text().await.expect("a text");
        seen.push((path.to_owned(), text));
    }
    // The servers did repeat the secrets, so something was to be blanked.
    let report: serde_json::Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
    for check in report["contracts"][0]["checks"].as_array().expect("checks") {
        let repeats = ["promql", "redirect", "nats"].iter().any(|name| check["name"] == **name);
        let findings = check["last_run"]["findings"].to_string();
        assert!(!repeats || findings.contains("[secret]"), "{check}");
    }
    seen.push(("the log".to_owned(), exporter.log()));
    exporter.kill();
    let data = exporter.config().path("data");
    for file in fs::read_dir(data).expect("a store").map(|entry| entry.expect("a file").path()) {
        let bytes = fs::read(&file).unwrap_or_default();
        seen.push((file.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    for (place, text) in &seen {
        for canary in canaries() {
            let at = text.find(&canary).map(|at| text.get(at.saturating_sub(200)..).unwrap_or(text));
            assert!(
                at.is_none(),
                "{place} shows {canary:?}: {}",
                at.unwrap_or_default().chars().take(400).collect::<String>()
            );
        }
    }
    echoing.abort();
    refusing.abort();
}
