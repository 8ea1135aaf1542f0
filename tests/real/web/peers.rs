//! The same web configuration is judged and obeyed as Prometheus does it, whose toolkit defines the
//! format.

use std::process::Command;

use dr_testkit::certs::Authority;
use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::prometheus::Prometheus;
use dr_testkit::tool;

use super::{contracts, hash};

/// What both judge in the same way. The certificate and the key are there.
const BOTH: &[(&str, bool)] = &[
    ("", true),
    ("{}", true),
    ("# nothing\n", true),
    ("basic_auth_users:\n", true),
    ("basic_auth_users: {alice: HASH}\n", true),
    ("basic_auth_users: {alice: secret}\n", false),
    ("basic_auth_users: [alice]\n", false),
    ("basic_auth_user: {alice: HASH}\n", false),
    ("nonsense\n", false),
    ("tls_server_config:\n", true),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key}\n", true),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ''}\n", true),
    ("tls_server_config: {cert_file: server.pem}\n", false),
    ("tls_server_config: {key_file: server.key}\n", false),
    ("tls_server_config: {cert_file: absent.pem, key_file: server.key}\n", false),
    ("tls_server_config: {cert_file: server.key, key_file: server.pem}\n", false),
    ("tls_server_config: {cert_file: server.pem, key_file: other.key}\n", false),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem}\n",
        true,
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAnyClientCert}\n",
        true,
    ),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireClientCert}\n", true),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequestClientCert}\n", true),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem}\n",
        true,
    ),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: Always}\n", false),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem}\n", false),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: absent.pem, client_auth_type: RequireAndVerifyClientCert}\n",
        false,
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS12, max_version: TLS13}\n",
        true,
    ),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS14}\n", false),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]}\n",
        true,
    ),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: [TLS_INVENTED]}\n", false),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, curve_preferences: [X25519, CurveP256, CurveP384]}\n",
        true,
    ),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, curve_preferences: [CurveP999]}\n", false),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, prefer_server_cipher_suites: false}\n", true),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, ciphers: []}\n", false),
    ("http_server_config: {http2: false}\n", true),
    ("http_server_config: {http3: true}\n", false),
    (
        "http_server_config: {headers: {X-Frame-Options: deny, X-Content-Type-Options: nosniff, X-XSS-Protection: '1', Strict-Transport-Security: max-age=1, Content-Security-Policy: default-src}}\n",
        true,
    ),
    ("http_server_config: {headers: {X-Frame-Options: maybe}}\n", false),
    ("http_server_config: {headers: {X-Content-Type-Options: sniff}}\n", false),
    ("http_server_config: {headers: {Server: me}}\n", false),
    ("http_server_config: {headers: {x-frame-options: deny}}\n", false),
];

/// What the toolkit takes, and this exporter refuses, because it would be less secure than it looks
/// or is not there. Each message names the key, and what would be right.
const STRICTER: &[(&str, &str)] = &[
    ("tls_server_config: {min_version: TLS12}\n", "`cert_file` is missing"),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS11}\n", "TLS11 is insecure"),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, max_version: TLS10}\n", "TLS10 is insecure"),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS13, max_version: TLS12}\n",
        "below `min_version`",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, curve_preferences: [CurveP521]}\n",
        "CurveP521 is not supported",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]}\n",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAndVerifyClientCert}\n",
        "needs `client_ca_file`",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: server.key, client_auth_type: RequireAndVerifyClientCert}\n",
        "holds no certificate",
    ),
    ("basic_auth_users: {'a:b': HASH}\n", "a user name"),
];

/// What only newer versions of the toolkit know.
const NEWER: &[(&str, bool)] = &[
    ("rate_limit: {interval: 1s, burst: 5}\n", true),
    ("rate_limit: {interval: 0, burst: 0}\n", true),
    ("rate_limit: {interval: 100ms, burst: 1}\n", true),
    ("rate_limit: {interval: soon}\n", false),
    ("rate_limit: {interval: 1s, burst: many}\n", false),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, client_allowed_sans: [a.example]}\n",
        true,
    ),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key, client_allowed_sans: [a.example]}\n", false),
    ("tls_server_config: {cert: PEM-C, key: PEM-K}\n", true),
    (
        "tls_server_config: {cert: PEM-C, key_file: server.key, client_ca: PEM-C, client_auth_type: VerifyClientCertIfGiven}\n",
        true,
    ),
    ("tls_server_config: {cert: PEM-C}\n", false),
    ("tls_server_config: {cert: nonsense, key: PEM-K}\n", false),
];

/// A directory with certificates, and how each program judges a file in it.
struct Judges {
    directory: Config,
    pem: (String, String),
}

impl Judges {
    fn new() -> Self {
        let directory = Config::new(&contracts());
        let authority = Authority::new();
        authority.write(directory.directory(), "other", "127.0.0.1");
        authority.write(directory.directory(), "server", "127.0.0.1");
        let read = |name: &str| std::fs::read_to_string(directory.path(name)).expect("a file");
        let pem = (read("server.pem"), read("server.key"));
        Self { directory, pem }
    }

    fn write(&self, web: &str) {
        let quoted = |pem: &str| format!("{pem:?}");
        let web = web.replace("PEM-C", &quoted(&self.pem.0)).replace("PEM-K", &quoted(&self.pem.1));
        self.directory.file("web.yml", &web.replace("HASH", &quoted(&hash("secret"))));
    }

    fn peer(&self) -> bool {
        let promtool = tool("PROMTOOL", "promtool").expect("no promtool: run `scripts/tools prometheus`");
        let mut judge = Command::new(promtool);
        judge.current_dir(self.directory.directory()).args(["check", "web-config", "web.yml"]);
        judge.output().expect("promtool runs").status.success()
    }

    fn own(&self) -> (bool, String) {
        let judged = Command::new(env!("CARGO_BIN_EXE_dr-exporter"))
            .current_dir(self.directory.directory())
            .args(["config", "check", "--web.config.file=web.yml"])
            .output()
            .expect("the program runs");
        (judged.status.success(), String::from_utf8_lossy(&judged.stderr).into_owned())
    }
}

#[test]
fn the_same_files_are_accepted() {
    let judges = Judges::new();
    for (web, expected) in BOTH {
        judges.write(web);
        assert_eq!(judges.peer(), *expected, "promtool: {web}");
        let (accepted, told) = judges.own();
        assert_eq!(accepted, *expected, "{web}\n{told}");
        assert!(accepted || told.starts_with("web.yml:"), "a place is named: {told}");
    }
    for (web, message) in STRICTER {
        judges.write(web);
        assert!(judges.peer(), "promtool: {web}");
        let (accepted, told) = judges.own();
        assert!(!accepted && told.contains(message), "{web}\n{told}");
    }
    for (web, expected) in NEWER {
        judges.write(web);
        let (accepted, told) = judges.own();
        assert_eq!(accepted, *expected, "{web}\n{told}");
        let secret = judges.pem.1.lines().nth(1).expect("a line of the key");
        assert!(!told.contains(secret) && !told.contains("$2"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_requests_are_let_in() {
    let web = format!(
        "basic_auth_users: {{alice: \"{}\"}}\nhttp_server_config: {{headers: {{X-Frame-Options: sameorigin, \
         Strict-Transport-Security: max-age=31}}}}\n",
        hash("secret")
    );
    let prometheus = Prometheus::start_with(&[], &[], &web).await;
    let exporter = Exporter::start_in(super::with_web(&web)).await;
    let asked = async |base: &str, header: Option<&str>| {
        let mut request = client().get(format!("{base}/metrics"));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let answer = request.send().await.expect("an answer");
        let of = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        let challenge = of("www-authenticate").map(|challenge| challenge.starts_with("Basic"));
        (answer.status().as_u16(), challenge, of("x-frame-options"), of("strict-transport-security"))
    };
    for header in [
        None,
        Some("Basic YWxpY2U6c2VjcmV0"),
        Some("basic YWxpY2U6c2VjcmV0"),
        Some("BASIC YWxpY2U6c2VjcmV0"),
        Some("Basic  YWxpY2U6c2VjcmV0"),
        Some("Basic YWxpY2U6c2VjcmV0 "),
        Some("Basic YWxpY2U6c2VjcmV0="),
        Some("Basic YWxpY2U6c2VjcmV"),
        Some("Basic YWxpY2U6"),
        Some("Basic YWxpY2U="),
        Some("Basic OnNlY3JldA=="),
        Some("Basic Ym9iOnNlY3JldA=="),
        Some("Basic"),
        Some("Basic "),
        Some("Bearer YWxpY2U6c2VjcmV0"),
        Some("YWxpY2U6c2VjcmV0"),
    ] {
        let peer = asked(&prometheus.url(), header).await;
        let own = asked(&format!("http://{}", exporter.address), header).await;
        assert_eq!(own, peer, "{header:?}");
        assert_eq!(
            own.0 == 200,
            header.is_some_and(|header| header.to_lowercase().trim() == "basic ywxpy2u6c2vjcmv0"),
            "{header:?}"
        );
    }
}
