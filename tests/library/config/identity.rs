//! What a check measures is known again: after an upgrade, after the file was written or named in
//! another way, and not where it is another thing.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use dr_exporter::checks::KindConfig;
use dr_exporter::config::{self, Config};
use dr_exporter::decode::identity::Identity;
use proptest::prelude::*;
use serde_json::Value;

use super::{root, text};

fn read(text: &str, file: &str) -> Config {
    config::parse(text, Path::new(file)).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// What is measured, by name: of contracts' checks and of triggers' own.
fn identities(config: &Config) -> Vec<(String, Identity)> {
    let connections = &config.connections;
    let checks = config.contracts.iter().flat_map(|contract| {
        let name = &contract.spec.name;
        let checks = contract.checks.iter();
        checks.map(move |check| (format!("{name}/{}", check.spec.name), check.kind.identity(connections)))
    });
    let own = config.triggers.iter().filter_map(|trigger| {
        let name = trigger.spec(|_| None)?.name;
        Some((format!("trigger {name}"), trigger.own()?.identity(connections)))
    });
    checks.chain(own).collect()
}

fn fixture() -> String {
    text(&root().join("tests/fixtures/identity/v1.yaml"))
}

fn told(identities: &[(String, Identity)]) -> String {
    let mut told = String::new();
    for (name, identity) in identities {
        writeln!(told, "{name} {}", identity.fingerprint()).expect("text");
        for line in identity.text().lines() {
            writeln!(told, "  {line}").expect("text");
        }
    }
    told
}

/// What an earlier version stored must still match: whoever has to change this file withdraws every
/// proof of every user. `UPDATE=1` is for what is added.
#[test]
fn fingerprints_are_what_earlier_versions_stored() {
    let file = root().join("tests/fixtures/identity/v1.txt");
    let is = told(&identities(&read(&fixture(), "config.yaml")));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &is).expect("written");
    }
    assert_eq!(is, text(&file));
    for kind in KindConfig::ALL {
        assert!(is.contains(&format!("\n  {}.", kind.name)), "{} is missing", kind.name);
    }
}

#[test]
fn the_way_to_the_file_does_not_matter() {
    let expected = identities(&read(&fixture(), "c.yaml"));
    for file in ["./c.yaml", "/etc/dr/c.yaml", "../elsewhere/other.yaml"] {
        assert_eq!(identities(&read(&fixture(), file)), expected, "{file}");
    }
}

/// The same in another order of keys, as JSON, which is YAML too: every text is quoted.
fn written(value: &Value, seed: &mut u64, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            for index in (1..entries.len()).rev() {
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                entries.swap(index, usize::try_from(*seed >> 33).expect("31 bits") % (index + 1));
            }
            out.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { " " });
                write!(out, "{}: ", Value::from(key.as_str())).expect("text");
                written(value, seed, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                written(item, seed, out);
            }
            out.push(']');
        }
        other => write!(out, "{other}").expect("text"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn order_of_keys_and_quotes_do_not_matter(mut seed: u64) {
        let tree: Value = serde_saphyr::from_str(&fixture()).expect("YAML");
        let mut other = String::new();
        written(&tree, &mut seed, &mut other);
        prop_assert_eq!(identities(&read(&other, "config.yaml")), identities(&read(&fixture(), "config.yaml")));
    }
}

const ONE: &str = "
kubernetes:
  primary: { kubeconfig_file: kubeconfig, context: primary }
  dr: { kubeconfig_file: kubeconfig, context: dr }
contracts:
  - name: secrets
    component: Secrets
    owner: ops
    priority: P0
    rto: 30m
    rpo: 1h
    checks:
      - { name: app, argocd_app: { kubernetes: dr, namespace: a, name: b, primary: { kubernetes: primary } } }
      - { name: pods, pods: { kubernetes: dr, namespace: a, selector: app=b } }
";

/// Another way to judge, to ask or to write is no other thing; another place is.
#[test]
fn what_identifies_and_what_does_not() {
    let expected = identities(&read(ONE, "config.yaml"));
    for (from, to, same) in [
        // How it is judged, scheduled or asked.
        ("name: b, primary", "name: b, stale_after: 20m, primary", true),
        ("selector: app=b", "selector: app=b, min_ready: 5", true),
        ("context: dr }", "context: dr, api_timeout: 3s }", true),
        ("{ name: app,", "{ name: app, interval: 1m, warn_after: 5m,", true),
        ("rto: 30m", "rto: 15m", true),
        ("kubernetes:\n", "defaults: { timeout: 1s }\nkubernetes:\n", true),
        // A default that is written out, the same in other words.
        ("name: b, primary", "name: b, stale_after: 10m, primary", true),
        ("context: dr }", "context: dr, in_cluster: false }", true),
        ("file: kubeconfig, context: dr", "file: ./kubeconfig, context: 'dr'", true),
        ("selector: app=b", "selector: 'app == b'", true),
        // What is measured, and where.
        ("name: b, primary", "name: c, primary", false),
        ("primary: { kubernetes: primary }", "primary: { kubernetes: primary, name: c }", false),
        (", primary: { kubernetes: primary }", "", false),
        ("context: dr }", "context: dr2 }", false),
        ("context: dr }", "context: dr, impersonate_user: somebody }", false),
        ("file: kubeconfig, context: primary", "file: other, context: primary", false),
        ("selector: app=b", "selector: app=c", false),
    ] {
        let changed = ONE.replacen(from, to, 1);
        assert_ne!(changed, ONE, "{from}");
        let changed = identities(&read(&changed, "config.yaml"));
        assert_eq!(changed == expected, same, "{from} -> {to}\n{}", told(&changed));
    }
}

#[test]
fn a_connection_is_known_by_where_it_leads_and_not_by_its_name() {
    let expected = identities(&read(ONE, "config.yaml"));
    let renamed = ONE.replace("dr: {", "region-2: {").replace("kubernetes: dr", "kubernetes: region-2");
    assert_eq!(identities(&read(&renamed, "config.yaml")), expected);
    let swapped = ONE.replace("context: primary", "context: x").replace("context: dr", "context: primary");
    let swapped = swapped.replace("context: x", "context: dr");
    assert_ne!(identities(&read(&swapped, "config.yaml"))[1], expected[1]);
}

/// A check is built anew when anything of it or of its connections changes, though it measures the same.
#[test]
fn what_is_built_anew_is_told_by_everything() {
    let whole = |text: &str| {
        let config = read(text, "config.yaml");
        let connections = &config.connections;
        config.contracts[0].checks.iter().map(|check| check.kind.whole(connections)).collect::<Vec<_>>()
    };
    let expected = whole(ONE);
    for (from, to) in
        [("selector: app=b", "selector: app=b, min_ready: 5"), ("context: dr }", "context: dr, api_timeout: 3s }")]
    {
        let changed = whole(&ONE.replacen(from, to, 1));
        assert_ne!(changed[1], expected[1], "{to}");
    }
    assert_eq!(whole(&ONE.replacen("rto: 30m", "rto: 20m", 1)), expected);
}

/// An endpoint at another place or of another name is another one, and so is what another body asks for; the same place in
/// other words is the same.
#[test]
fn the_place_of_an_endpoint_identifies_it() {
    let of = |keys: &str| {
        let text = format!(
            "contracts: [{{ name: a, component: A, owner: o, priority: P0, rto: 5m, checks: \
             [{{ name: h, http: {{ url: \"https://api.example.com/\", method: POST{keys} }} }}] }}]"
        );
        identities(&read(&text, "config.yaml"))
    };
    let all = [
        "",
        ", connect_to: 203.0.113.10",
        ", connect_to: \"203.0.113.10:8443\"",
        ", connect_to: \"[2001:db8::1]\"",
        ", server_name: dr.example.com",
        ", body: x",
        ", body_file: x",
    ];
    for (index, one) in all.iter().enumerate() {
        for (other, keys) in all.iter().enumerate() {
            assert_eq!(of(one) == of(keys), index == other, "{one} {keys}");
        }
    }
    assert_eq!(of(", connect_to: \"2001:DB8:0::1\""), of(", connect_to: \"[2001:db8::1]\""));
    assert_eq!(of(", server_name: DR.example.com"), of(", server_name: dr.example.com"));
}
