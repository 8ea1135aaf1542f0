//! The configuration: what is refused and how it is told, what is accepted, and what never shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dr_exporter::config::{self, Config};
use dr_exporter::decode::ConfigErrors;
use proptest::prelude::*;

mod file;
mod identity;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).expect("the directory exists");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    files.sort();
    assert!(!files.is_empty(), "{directory} has no {ending}");
    files
}

/// Every configuration that is shipped.
fn shipped() -> impl Iterator<Item = PathBuf> {
    files("config", "yaml").into_iter().chain(files("config/recipes", "yaml"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    config::parse(text, Path::new("/etc/dr/config.yaml"))
}

/// What is said of a file stands beside it; `UPDATE=1` writes it anew, and the difference is to be read.
#[track_caller]
fn says(file: &Path, said: &str) {
    let beside = file.with_extension("txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&beside, format!("{said}\n")).expect("written");
    }
    assert_eq!(format!("{said}\n"), text(&beside), "{}", file.display());
}

/// One bad file per rule.
#[test]
fn every_bad_file_is_refused_with_its_exact_message() {
    for file in files("tests/fixtures/config/bad", "yaml") {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        says(&file, &config::parse(&text(&file), Path::new(&name)).expect_err(&name).to_string());
    }
}

/// One file per sort of warning. It is good all the same.
#[test]
fn what_can_hardly_be_meant_is_warned_of_with_its_exact_message() {
    for file in files("tests/fixtures/config/warned", "yaml") {
        let reading = config::read(&file);
        if let Err(errors) = reading.config {
            panic!("{errors}");
        }
        let directory = format!("{}/", file.parent().expect("a directory").display());
        says(&file, &reading.warnings.to_string().replace(&directory, ""));
    }
}

/// What is there and of no use: a fixture cannot hold it.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_warned_of() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory = tempfile::tempdir().expect("a directory");
    symlink("circle", directory.path().join("circle")).expect("a link");
    fs::write(directory.path().join("locked"), "x").expect("written");
    let none = fs::Permissions::from_mode(0o0);
    fs::set_permissions(directory.path().join("locked"), none).expect("locked");
    let warnings = |name: &str| {
        let text = format!(
            "nats: {{ n: {{ servers: ['nats://n'], token_file: {name} }} }}
contracts: [{{ name: a, component: A, owner: o, priority: P0, rto: 5m, \
             checks: [{{ name: h, http: {{ url: 'http://a/' }} }}] }}]"
        );
        config::read_text(&text, &directory.path().join("config.yaml")).warnings.to_string()
    };
    let told = warnings("circle");
    assert!(told.contains("nats.n.token_file: this file cannot be read ("), "{told}");
    // Nothing is locked to root.
    if fs::File::open(directory.path().join("locked")).is_err() {
        let told = warnings("locked");
        assert!(told.contains("nats.n.token_file: this file cannot be read (permission denied)"), "{told}");
    }
    // To open it would wait for a writer that never comes.
    let pipe = Command::new("mkfifo").arg(directory.path().join("pipe")).status();
    assert!(pipe.expect("mkfifo runs").success());
    assert_eq!(warnings("pipe"), "");
}

#[test]
fn every_expected_message_has_its_file() {
    for directory in ["bad", "warned"] {
        for file in files(&format!("tests/fixtures/config/{directory}"), "txt") {
            let known = file.with_extension("yaml").exists() || file.ends_with("here.txt");
            assert!(known, "{} has no yaml", file.display());
        }
    }
}

/// What is wrong or can hardly be meant in a shipped file would be copied.
#[test]
fn no_shipped_file_is_warned_of_but_for_files_that_its_user_brings() {
    for file in shipped() {
        let warnings = config::read(&file).warnings.warnings;
        let others: Vec<_> = warnings.iter().filter(|warning| !warning.message.contains("does not exist")).collect();
        assert!(others.is_empty(), "{}: {others:#?}", file.display());
    }
}

#[test]
fn every_shipped_file_loads() {
    for file in shipped() {
        if let Err(errors) = config::load(&file) {
            panic!("{errors}");
        }
    }
}

#[test]
fn defaults_fill_the_gaps() {
    let text = "
defaults: { interval: 10s, interval_when_down: 1m, timeout: 4s, at_risk_ratio: 0.5, failures_to_trigger: 7 }
contracts:
  - name: api
    component: API
    owner: ops
    priority: P2
    rto: 1h30m
    checks:
      - { name: a, http: { url: 'http://a/' } }
      - { name: b, interval: 2s, failures_to_trigger: 1, successes_to_recover: 2, http: { url: 'http://b/' } }
";
    let config = parse(text).expect("a good file");
    let spec = &config.contracts[0].spec;
    assert_eq!(spec.rto, Some(Duration::from_secs(5400)));
    assert!((spec.at_risk_ratio - 0.5).abs() < f64::EPSILON);
    let seconds = |seconds| Duration::from_secs(seconds);
    let checks: Vec<_> = config.contracts[0].checks.iter().map(|check| &check.spec).collect();
    let figures: Vec<_> = checks
        .iter()
        .map(|c| (c.interval, c.timeout, c.interval_when_down, c.failures_to_trigger, c.successes_to_recover))
        .collect();
    assert_eq!(figures, [(seconds(10), seconds(4), seconds(10), 7, 1), (seconds(2), seconds(4), seconds(2), 1, 2)]);
    assert!(checks.iter().all(|check| check.feeds.rto && !check.feeds.rpo));
}

#[test]
fn files_are_named_from_the_directory_of_the_configuration() {
    let text = "
nats: { n: { servers: ['nats://n'], token_file: secrets/token } }
contracts: [{ name: a, component: A, owner: o, priority: P0, rto: 5m, checks: [{ name: h, http: { url: 'http://a/' } }] }]
";
    let config = parse(text).expect("a good file");
    let connection = config.connections.nats.values().next().expect("a connection");
    let token = connection.token_file.as_ref().expect("a token file");
    assert_eq!(token.path(), Path::new("/etc/dr/secrets/token"));
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("latin1.yaml");
    fs::write(&path, b"owner: \xe4").expect("written");
    let cases = [
        (directory.path().join("absent.yaml"), "cannot be read"),
        (directory.path().to_owned(), "is a directory"),
        (path, "not UTF-8"),
    ];
    for (path, expected) in cases {
        let error = config::load(&path).expect_err("unreadable").to_string();
        assert!(error.contains(expected) && error.contains(&*path.to_string_lossy()), "{error}");
    }
}

const SECRET: &str = "hunter2-S3cr3t";

/// Every scalar of every shipped and bad file, in its turn, becomes a secret; and so do keys, and texts that break YAML.
#[test]
fn no_error_repeats_a_value() {
    let shipped = files("config", "yaml")
        .into_iter()
        .chain(files("tests/fixtures/config/bad", "yaml"))
        .chain(files("tests/fixtures/config/warned", "yaml"));
    let texts: Vec<_> = shipped.map(|file| text(&file)).collect();
    let places: Vec<_> = texts.iter().flat_map(|text| scalars(text).into_iter().map(move |at| (text, at))).collect();
    // The longest of the tests that need no server: on all cores.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = |first: usize| {
        places.iter().skip(first).step_by(threads).map(|(text, at)| refused_with_secret_at(text, *at)).sum::<usize>()
    };
    let refused: usize = std::thread::scope(|scope| {
        let shares: Vec<_> = (0..threads).map(|first| scope.spawn(move || share(first))).collect();
        shares.into_iter().map(|share| share.join().expect("no secret is told")).sum()
    });
    assert!(refused > 1000, "only {refused} were refused; is there anything to see?");
}

/// How many files are refused when a secret stands at this place of a text. Nothing that is said
/// holds the secret.
fn refused_with_secret_at(text: &str, (start, end): (usize, usize)) -> usize {
    let mut refused = 0;
    for secret in [SECRET.to_owned(), format!("\"{SECRET}"), format!("{SECRET}: [{SECRET}"), format!("*{SECRET}")] {
        let broken = format!("{}{secret}{}", &text[..start], &text[end..]);
        let reading = config::read_text(&broken, Path::new("/etc/dr/config.yaml"));
        let mut told = format!("{} {:?}", reading.warnings, reading.warnings);
        if let Err(errors) = reading.config {
            refused += 1;
            told.push_str(&format!("{errors} {errors:?}"));
        }
        assert!(!told.contains(SECRET), "{told}\n{broken}");
    }
    refused
}

/// The places of what stands after a colon, a comma, a bracket or a dash.
fn scalars(text: &str) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    let mut start = None;
    for (index, character) in text.char_indices() {
        let word = character.is_alphanumeric() || "./_-\"'$%".contains(character);
        match (start, word) {
            (None, true) => start = Some(index),
            (Some(from), false) => {
                places.push((from, index));
                start = None;
            }
            _ => {}
        }
    }
    places
}

#[tokio::test]
async fn a_secret_is_read_whole_and_never_printed() {
    use dr_exporter::decode::values::SecretFile;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let cases: &[(&[u8], Result<&str, &str>)] = &[
        (b"hunter2", Ok("hunter2")),
        (b"hunter2\n", Ok("hunter2")),
        (b"hunter2\r\n", Ok("hunter2")),
        (b" hunter2 \n\n", Ok(" hunter2 \n")),
        (b"", Err("empty")),
        (b"\n", Err("empty")),
        (b"hunter\xff2", Err("not UTF-8")),
    ];
    for (content, expected) in cases {
        fs::write(&path, content).expect("written");
        let file = SecretFile::from(path.clone());
        match (file.read().await, expected) {
            (Ok(secret), Ok(expected)) => {
                assert_eq!(secret.expose(), *expected);
                assert_eq!(format!("{secret:?}"), "[secret]");
            }
            (Err(error), Err(expected)) => {
                let told = error.to_string();
                assert!(told.contains(expected) && told.contains("secret") && !told.contains("hunter"), "{told}");
            }
            (read, expected) => panic!("{content:?}: {read:?}, expected {expected:?}"),
        }
    }
    fs::remove_file(&path).expect("removed");
    let error = SecretFile::from(path).read().await.expect_err("it is gone");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

fn json(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).expect("YAML")
}

#[test]
fn the_schema_accepts_every_shipped_file_and_the_examples_of_the_docs() {
    let schema = jsonschema::validator_for(&config::schema()).expect("a schema");
    for file in shipped() {
        let errors: Vec<_> = schema.iter_errors(&json(&text(&file))).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", file.display());
    }
    let mut examples = 0;
    for file in ["README.md", "docs/configuration.md", "docs/prometheus.md", "docs/triggers.md"] {
        let text = text(&root().join(file));
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            examples += 1;
            assert!(schema.is_valid(&json(block)), "{file}:\n{block}");
            parse(block).unwrap_or_else(|errors| panic!("{file}: {errors}\n{block}"));
        }
    }
    assert!(examples >= 3, "only {examples} examples were found");
}

/// What is wrong with one value or key, the schema refuses too; what only the whole can tell is beyond it.
#[test]
fn the_schema_refuses_what_it_can_express() {
    let schema = jsonschema::validator_for(&config::schema()).expect("a schema");
    let beyond = [
        // Not YAML, or not one document.
        "alias-without-anchor",
        "broken-yaml",
        "no-break-after-colon",
        "no-break-indentation",
        "windows-path",
        "two-documents-and-a-comment",
        "comments-only",
        // Another reader of YAML reads them as what was meant.
        "exponent",
        "leading-zero",
        "yes",
        "tab",
        "tab-after-blanks",
        "tab-before-a-list",
        "two-documents",
        "doubled-key",
        "doubled-connection",
        "empty",
        // References and names.
        "connection-missing",
        "connection-section-missing",
        "prometheus-missing",
        "contract-name-twice",
        "check-name-twice",
        "trigger-name-twice",
        "trigger-check-missing",
        "trigger-check-of-doubled-names",
        "independent-of-missing",
        "independent-of-itself",
        "incident-clock-missing",
        "drill-contract-missing",
        // Rules between keys.
        "trigger-no-condition",
        "trigger-two-conditions",
        "trigger-interval-beside-check",
        "trigger-failures-beside-pods",
        "trigger-query-without-bound",
        "independent-without-rto",
        "no-objective",
        "objective-without-check",
        "check-feeds-nothing",
        "feeds-impossible",
        "feeds-not-promised",
        "warn-after-without-rpo",
        "drill-without-rto",
        "mirror-is-its-origin",
        "same-cluster",
        "same-stream",
        "same-grafana",
        "dns-no-regions",
        "dns-regions-overlap",
        "dns-regions-of-another-type",
        "dns-names-without-cname",
        "dns-resolver-twice",
        "dns-ca-without-tls",
        "dns-rpo",
        "argocd-no-source",
        "argocd-silent-for-the-rto",
        "external-secret-nothing-to-compare",
        "kubernetes-groups-alone",
        "kubernetes-no-way-in",
        "kubernetes-two-ways-in",
        "two-ways-to-authenticate",
        "user-without-password",
        "password-without-user",
        "two-kinds-of-authorization",
        "certificate-without-key",
        "key-without-certificate",
        "body-of-head",
        "header-without-value",
        "header-with-both",
        "header-with-credential",
        "prometheus-two-ways-to-authenticate",
        "promql-no-meaning",
        "promql-two-meanings",
        "promql-two-conditions",
        "promql-undatable",
        "promql-renewed-by",
        "promql-renewed-by-itself",
        "promql-renewed-by-scrape",
        "promql-without-series",
        "promql-feeds-the-other",
        "grafana-nothing-expected",
        "grafana-list-and-folder",
        // Texts with a grammar of their own.
        "owner-empty",
        "duration-overflow",
        "pattern-broken",
        "pattern-too-large",
        "header-name",
        "dns-network-with-host-bits",
        "stream-with-wildcard",
        "inbox-with-wildcard",
        "file-content-in-place-of-name",
    ];
    for file in files("tests/fixtures/config/bad", "yaml") {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        if !beyond.contains(&name.as_str()) {
            let document = serde_saphyr::from_str::<serde_json::Value>(&text(&file));
            assert!(!document.is_ok_and(|document| schema.is_valid(&document)), "{name} is valid to the schema");
        }
    }
}

fn program(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dr-exporter"))
        .current_dir(root())
        .args(arguments)
        .output()
        .expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn config_check_tells_of_every_file() {
    let (code, out, _) = program(&["config", "check", "config/minimal.yaml", "config/kgents.yaml"]);
    assert_eq!(code, Some(0));
    assert_eq!(out.lines().count(), 2);
    let bad = "tests/fixtures/config/bad/no-objective.yaml";
    let (code, out, err) = program(&["config", "check", bad, "config/minimal.yaml", "absent.yaml"]);
    assert_eq!(code, Some(78));
    assert!(out.contains("config/minimal.yaml: ok"), "{out}");
    assert!(err.contains(&format!("{bad}:2:5: ")) && err.contains("absent.yaml"), "{err}");
}

#[test]
fn a_warning_is_an_error_where_that_is_asked_for() {
    let warned = "tests/fixtures/config/warned/paces.yaml";
    let (code, out, err) = program(&["config", "check", warned, "config/minimal.yaml"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(&format!("{warned}: ok, ")) && out.contains("minimal.yaml: ok"), "{out}");
    let first = format!("{warned}:1:27: warning: defaults.timeout: the timeout (10s)");
    assert!(err.starts_with(&first) && err.lines().count() > 3, "all at once: {err}");
    let (code, out, _) = program(&["config", "check", "--strict", warned, "config/minimal.yaml"]);
    assert_eq!(code, Some(78));
    assert!(out.contains(&format!("{warned}: not ok")) && out.contains("minimal.yaml: ok"), "{out}");
    assert_eq!(program(&["config", "check", "--strict", "config/minimal.yaml"]).0, Some(0));
}

#[test]
fn config_schema_prints_the_schema() {
    let (code, out, _) = program(&["config", "schema"]);
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).expect("JSON"), config::schema());
}

#[test]
fn usage_errors_exit_64() {
    for arguments in [&["config"][..], &["config", "check"], &["nonsense"], &["check"], &["serve", "--port=1"]] {
        assert_eq!(program(arguments).0, Some(64), "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        assert_eq!(program(&arguments).0, Some(0), "{arguments:?}");
    }
}

fn rto(written: &str) -> Option<Duration> {
    let text = text(&root().join("config/minimal.yaml")).replace("rto: 5m", &format!("rto: \"{written}\""));
    parse(&text).ok()?.contracts.first()?.spec.rto
}

#[test]
fn durations_are_written_as_prometheus_writes_them() {
    let ms = Duration::from_millis;
    for (written, expected) in [
        ("1ms", Some(ms(1))),
        ("30s", Some(ms(30_000))),
        ("5m", Some(ms(300_000))),
        ("1h30m", Some(ms(5_400_000))),
        ("2d", Some(ms(172_800_000))),
        ("1w", Some(ms(604_800_000))),
        ("1y", Some(ms(31_536_000_000))),
        ("1h0m5s", Some(ms(3_605_000))),
        ("0s", None),
        ("", None),
        ("5", None),
        ("m", None),
        ("5M", None),
        ("1.5h", None),
        ("5m ", None),
        ("5m5m", None),
        ("5s1m", None),
        ("201y", None),
        ("18446744073709551616s", None),
    ] {
        assert_eq!(rto(written), expected, "{written}");
    }
}

/// Whatever its depth, on the small stack of a worker thread.
#[test]
fn depth_is_refused_and_does_not_overflow_the_stack() {
    let deep = |depth| format!("contracts: {}{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [30, 100, 10_000, 1_000_000] {
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || parse(&deep(depth)).is_err());
        assert!(thread.expect("a thread").join().expect("no overflow"), "{depth} levels");
    }
}

proptest! {
    #[test]
    fn any_duration_can_be_written_and_read(millis in 1..6_000_000_000_000_u64) {
        let mut rest = millis;
        let mut written = String::new();
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= size {
                written.push_str(&format!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        prop_assert_eq!(rto(&written), Some(Duration::from_millis(millis)));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0..2000_usize, damage in "[\\PC\\n]{0,8}") {
        let mut text = text(&root().join("config/kgents.yaml"));
        let at = text.char_indices().map(|(index, _)| index).nth(at).unwrap_or(0);
        text.insert_str(at, &damage);
        let _ = parse(&text);
    }
}
