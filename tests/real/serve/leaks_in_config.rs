//! Secrets in the configuration and its files: no error and no command shows one.

use std::process::Command;
use std::time::Duration;

use dr_testkit::exporter::Config;
use dr_testkit::process::Process;

/// A text that no output may contain. It has 20 letters, so that a part of it would be found as well.
const CANARY: &str = "canaryXq7Zv2Lw9Rk4Tb";

/// A configuration around one check, with the connections that it needs.
fn with(connections: &str, check: &str) -> String {
    format!(
        "{connections}
contracts:
  - name: api
    component: API
    owner: ops
    priority: P0
    rto: 5m
    checks: [{{ name: a, {check} }}]
"
    )
}

const PODS: &str = "pods: { kubernetes: dr, namespace: a, selector: app=a, min_ready: 1 }";
const UP: &str = "promql: { prometheus: main, query: up, healthy_when: { above: 0 } }";
const KUBERNETES: &str = "kubernetes: { dr: { kubeconfig_file: kubeconfig } }";

/// Places where people put secrets: the case, the configuration, and a file with its content.
fn cases() -> Vec<(&'static str, String, &'static str, String)> {
    let none = || ("nothing", String::new());
    let kubeconfig = |cluster: &str, user: &str| {
        format!(
            "current-context: a\ncontexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\n\
             clusters: [{{ name: a, cluster: {{ server: \"https://127.0.0.1:1\"{cluster} }} }}]\n\
             users: [{{ name: a, user: {{ {user} }} }}]\n"
        )
    };
    let url = |place: &str| format!("http: {{ url: \"{place}\" }}");
    let mut cases = Vec::new();
    let mut add = |case, config: String, (file, content): (&'static str, String)| {
        cases.push((case, config, file, content));
    };
    for (case, place) in [
        ("a password in a URL", format!("http://user:{CANARY}@127.0.0.1:1/")),
        ("a name in a URL", format!("http://{CANARY}@127.0.0.1:1/")),
        ("a password in a URL without a host", format!("http://user:{CANARY}@")),
        ("a password in a URL with a wrong port", format!("http://user:{CANARY}@127.0.0.1:99999/")),
        ("a password with a stray character", format!("http://user:{CANARY}/x@127.0.0.1:1/")),
    ] {
        add(case, with("", &url(&place)), none());
        add(case, with(&format!("prometheus: {{ main: {{ url: \"{place}\" }} }}"), UP), none());
        let nats = place.replace("http:", "nats:");
        let nats = format!(
            "nats: {{ a: {{ servers: [\"{nats}\"] }}, b: {{ servers: [\"nats://127.0.0.1:1\"], domain: b }} }}"
        );
        let mirror = "nats_mirror: { origin: { nats: a, stream: A }, mirror: { nats: b, stream: B } }";
        add(case, with(&nats, mirror), none());
    }
    let token = |key: &str| format!("prometheus: {{ main: {{ url: \"http://127.0.0.1:1\", {key} }} }}");
    add("a token instead of its file", with(&token(&format!("bearer_token: {CANARY}")), UP), none());
    add(
        "a token as the name of its file",
        with(&token(&format!("bearer_token_file: {{ value: {CANARY} }}")), UP),
        none(),
    );
    let two_lines = ("token", format!("{CANARY}\nsecond {CANARY}\n"));
    add("a token of two lines", with(&token("bearer_token_file: token"), UP), two_lines);
    let control = ("token", format!("{CANARY}\u{1}\n"));
    add("a token with a control character", with(&token("bearer_token_file: token"), UP), control);
    for (case, cluster, user) in [
        ("an inline token", String::new(), format!("token: {CANARY}")),
        ("a token with a control character", String::new(), format!("token: \"{CANARY}\\u0001\"")),
        ("a token that is a list", String::new(), format!("token: [{CANARY}]")),
        ("a password without a name", String::new(), format!("password: {CANARY}")),
        ("a name and a password", String::new(), format!("username: a, password: {CANARY}")),
        ("a key that is no key", String::new(), format!("client-certificate-data: YQ==, client-key-data: {CANARY}")),
        (
            "a key that is no Base64",
            String::new(),
            format!("client-certificate-data: YQ==, client-key-data: \"{CANARY}!\""),
        ),
        ("a proxy with a password", format!(", proxy-url: \"http://a:{CANARY}@127.0.0.1:1\""), "token: a".to_owned()),
        ("a proxy that is none", format!(", proxy-url: \"ftp://a:{CANARY}@127.0.0.1:1\""), "token: a".to_owned()),
        (
            "an exec plugin that prints it",
            String::new(),
            format!(
                "exec: {{ apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, \"echo {CANARY}; echo {CANARY} >&2; exit 3\"], interactiveMode: Never }}"
            ),
        ),
        (
            "an exec plugin that prints no JSON",
            String::new(),
            format!(
                "exec: {{ apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, \"echo {CANARY}\"], interactiveMode: Never }}"
            ),
        ),
        (
            "an exec plugin with it in its environment",
            String::new(),
            format!(
                "exec: {{ apiVersion: client.authentication.k8s.io/v1, command: \"false\", env: [{{ name: A, value: {CANARY} }}], interactiveMode: Never }}"
            ),
        ),
    ] {
        add(case, with(KUBERNETES, PODS), ("kubeconfig", kubeconfig(&cluster, &user)));
    }
    let broken = format!("users:\n  - name: a\n    user: {{ token: {CANARY}\n  - : [\n");
    add("a kubeconfig that is no YAML", with(KUBERNETES, PODS), ("kubeconfig", broken));
    let nats = |key: &str| {
        let main = format!("a: {{ servers: [\"nats://127.0.0.1:1\"], {key} }}");
        format!("nats: {{ {main}, b: {{ servers: [\"nats://127.0.0.1:1\"], domain: b }} }}")
    };
    let mirror = "nats_mirror: { origin: { nats: a, stream: A }, mirror: { nats: b, stream: B } }";
    let credentials = format!("-----BEGIN NATS USER JWT-----\n{CANARY}\n------END NATS USER JWT------\n");
    add("credentials without a seed", with(&nats("creds_file: creds"), mirror), ("creds", credentials));
    let seed = format!("-----BEGIN USER NKEY SEED-----\nSU{CANARY}\n------END USER NKEY SEED------\n");
    add("a seed that is none", with(&nats("creds_file: creds"), mirror), ("creds", seed));
    add("a token of NATS instead of its file", with(&nats(&format!("token: {CANARY}")), mirror), none());
    let header =
        format!("http: {{ url: \"http://127.0.0.1:1/\", headers: {{ Authorization: \"Bearer {CANARY}\\u0001\" }} }}");
    add("a header that cannot be sent", with("", &header), none());
    let value_file = "http: { url: \"http://127.0.0.1:1/\", headers: { X-Key: { value_file: key } } }";
    add("a header's file with a line break", with("", value_file), ("key", format!("{CANARY}\r\nX: {CANARY}")));
    cases
}

/// What a command printed, to both.
fn printed(config: &Config, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
    let output = command.current_dir(config.directory()).args(arguments).output().expect("it runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn shows_nothing(case: &str, place: &str, text: &str) {
    // Also not a part of it.
    for part in CANARY.as_bytes().windows(10).map(|part| std::str::from_utf8(part).expect("ASCII")) {
        assert!(!text.contains(part), "{case}: {place} shows {part:?}: {text}");
    }
}

#[test]
fn no_command_shows_a_secret_of_the_configuration() {
    for (case, yaml, file, content) in cases() {
        let config = Config::new(&yaml).with(file, &content);
        for arguments in [
            &["config", "check", "config.yaml"][..],
            &["config", "check", "--strict", "config.yaml"],
            &["config", "rbac", "--config.file=config.yaml"],
            &["check", "--config.file=config.yaml", "--log.level=trace"],
            &["check", "--config.file=config.yaml", "--output=json"],
        ] {
            shows_nothing(case, &arguments.join(" "), &printed(&config, arguments));
        }
        let log = config.path("serve.log");
        let mut process = Process::start(env!("CARGO_BIN_EXE_dr-exporter"), |command| {
            command.current_dir(config.directory()).stderr(std::fs::File::create(&log).expect("a log"));
            command.args([
                "serve",
                "--config.file=config.yaml",
                "--web.listen-address=127.0.0.1:0",
                "--log.level=trace",
            ]);
        });
        // It ends at once if it refuses the file; otherwise its checks have run by then.
        process.wait(Duration::from_millis(700));
        drop(process);
        shows_nothing(case, "serve", &std::fs::read_to_string(&log).expect("a log"));
    }
}
