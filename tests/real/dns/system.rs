//! The resolvers of the machine, in a mount namespace where the test writes `/etc/resolv.conf`.

use std::process::Command;

use super::REGIONS;
use dr_testkit::exporter::Config;
use dr_testkit::skip_without_root;

/// What one run of the check tells on a machine with this `resolv.conf`; none where the system allows no namespaces.
fn told(resolv_conf: &str) -> Option<String> {
    let yaml = crate::single::config(&format!("dns: {{ name: api.example.com, {REGIONS} }}"));
    let config = Config::new(&yaml).with("resolv.conf", resolv_conf);
    let unshared = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(config.path("resolv.conf")).arg(config.path("config.yaml")).arg(env!("CARGO_BIN_EXE_dr-exporter"));
        command.output().ok()
    };
    let mounted = unshared("mount --bind \"$1\" /etc/resolv.conf");
    if !mounted.is_some_and(|output| output.status.success()) {
        skip_without_root("this system allows no mount namespaces");
        return None;
    }
    let script = "mount --bind \"$1\" /etc/resolv.conf && exec \"$3\" check --config.file=\"$2\"";
    Some(String::from_utf8(unshared(script)?.stdout).expect("UTF-8"))
}

#[test]
fn the_resolvers_of_the_machine_are_asked() {
    let Some(text) = told("search example.com\nnameserver 127.0.0.9\nnameserver 127.0.0.10\n") else { return };
    assert!(text.contains("connect_failed: 127.0.0.9: ") && text.contains("; 127.0.0.10: "), "{text}");
}

#[test]
fn a_machine_without_resolvers_knows_nothing() {
    let Some(text) = told("search example.com\n") else { return };
    assert!(text.contains("no_resolvers: /etc/resolv.conf names no resolver"), "{text}");
    assert!(text.contains("health could not be measured"), "{text}");
}
