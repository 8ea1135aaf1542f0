//! The reference of every key, and the JSON Schema, as files: generated from the code, and held to it.
//!
//! `UPDATE=1 cargo test --test library reference::` writes them anew; read the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use dr_exporter::config;
use dr_exporter::config::rbac::Subject;
use serde_json::Value;

#[track_caller]
fn golden(file: &str, is: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, is).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == expected,
        "{file} is not what the code says; UPDATE=1 cargo test --test library reference:: writes it anew"
    );
}

#[test]
fn the_schema_is_as_the_code_has_it() {
    let schema = serde_json::to_string_pretty(&config::schema()).expect("JSON");
    golden("docs/config.schema.json", &format!("{schema}\n"));
}

/// `UPDATE=1` writes them anew, as for the others.
#[test]
fn the_roles_of_the_examples_are_as_the_code_has_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let account = Subject::ServiceAccount { namespace: "dr-exporter".to_owned(), name: "dr-exporter".to_owned() };
    for (config, cluster, roles) in [
        ("config/kgents.yaml", "primary", "deploy/rbac/primary/rbac.yaml"),
        ("config/kgents.yaml", "dr", "deploy/rbac/dr/rbac.yaml"),
        ("deploy/kubernetes/examples/own/config.yaml", "dr", "deploy/kubernetes/examples/own/rbac.yaml"),
    ] {
        let config = config::load(&root.join(config)).expect("a configuration");
        let cluster = config.clusters().into_iter().find(|name| name.as_str() == cluster).expect("a cluster").clone();
        golden(roles, &config.roles(&cluster, &account).expect("a cluster"));
    }
}

#[test]
fn the_reference_has_every_key() {
    let schema = config::schema();
    let mut text = "# Every key of the configuration\n\nThis page is generated from the code. \
                    [configuration.md](configuration.md) explains how the keys\nwork together, with defaults and \
                    examples. Editors use the same as a JSON Schema:\n[config.schema.json](config.schema.json), as \
                    `dr-exporter config schema` prints it. `[]` is an item of\na list, and `NAME` is a name that you \
                    choose.\n"
        .to_owned();
    let sections = schema["properties"].as_object().expect("sections");
    for (name, section) in sections {
        write!(text, "\n## `{name}`\n\n{}\n\n", cell(section["description"].as_str().unwrap_or_default()))
            .expect("text");
        text.push_str("| key | type | required | meaning |\n|---|---|---|---|\n");
        rows(name, section, &mut text);
    }
    golden("docs/reference.md", &text);
    assert!(text.lines().count() > 150, "where are the keys?");
}

/// A row for each key under this one.
fn rows(path: &str, schema: &Value, text: &mut String) {
    if let Some(items) = schema.get("items") {
        return rows(&format!("{path}[]"), items, text);
    }
    if let Some(values @ Value::Object(_)) = schema.get("additionalProperties") {
        return rows(&format!("{path}.NAME"), values, text);
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let meaning = cell(value["description"].as_str().unwrap_or_default());
        let required = if required.contains(&key.as_str()) { "yes" } else { "" };
        writeln!(text, "| `{path}` | {} | {required} | {meaning} |", kind(value)).expect("text");
        rows(&path, value, text);
    }
}

/// What is written behind a key.
fn kind(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some("object") => "mapping".to_owned(),
        Some(other) => other.to_owned(),
        None => {
            let any = schema["anyOf"].as_array().into_iter().flatten();
            any.map(kind).collect::<Vec<_>>().join(" or ")
        }
    }
}

/// A text on one line, without what ends a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The tables of a page by their headings: the code spans of the first column, and all rows.
fn tables(page: &str) -> BTreeMap<&str, (BTreeSet<&str>, String)> {
    let mut found = BTreeMap::<_, (BTreeSet<_>, String)>::new();
    let mut heading = "";
    for line in page.lines() {
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim();
        } else if let Some((first, _)) = line.strip_prefix("| ").and_then(|row| row.split_once(" |")) {
            let (keys, rows) = found.entry(heading).or_default();
            keys.extend(first.split('`').skip(1).step_by(2));
            rows.push_str(line);
        }
    }
    found
}

/// Compares the first column of a section's table with the keys of its schema, and looks for the
/// keys further down in its rows. The kinds of a check have sections of their own.
fn compare(section: &str, schema: &Value, tables: &BTreeMap<&str, (BTreeSet<&str>, String)>, faults: &mut Vec<String>) {
    let items = schema.get("items").or_else(|| schema.get("additionalProperties").filter(|values| values.is_object()));
    let Some((first, cells)) = tables.get(format!("`{section}`").as_str()) else {
        return faults.push(format!("`{section}` has no table"));
    };
    let (mut keys, mut nested) = (BTreeSet::new(), BTreeSet::new());
    for (key, value) in items.unwrap_or(schema)["properties"].as_object().into_iter().flatten() {
        let is_kind = section == "checks" && value["type"] == "object";
        if !is_kind {
            keys.insert(key.clone());
        }
        // The checks of a drill are only references.
        if is_kind || section == "contracts" && key == "checks" {
            compare(key, value, tables, faults);
            continue;
        }
        let mut below = String::new();
        rows("", value, &mut below);
        let below = below.lines().filter_map(|row| row.split('`').nth(1)?.rsplit('.').next());
        nested.extend(below.filter(|key| *key != "NAME").map(str::to_owned));
    }
    let absent = keys.iter().filter(|key| !first.contains(key.as_str()));
    let unmentioned = nested.iter().filter(|key| !cells.contains(&format!("`{key}`")));
    faults.extend(absent.chain(unmentioned).map(|key| format!("the table of `{section}` lacks `{key}`")));
    let unknown = first.iter().filter(|key| !keys.contains(**key) && !nested.contains(**key));
    faults.extend(unknown.map(|key| format!("`{section}` has no key `{key}`")));
}

#[test]
fn every_key_is_in_the_table_of_its_section() {
    let page = include_str!("../../docs/configuration.md");
    let tables = tables(page);
    let mut faults = Vec::new();
    for (name, section) in config::schema()["properties"].as_object().expect("sections") {
        compare(name, section, &tables, &mut faults);
    }
    assert!(tables.len() > 15, "only {} tables", tables.len());
    assert!(faults.is_empty(), "docs/configuration.md: {faults:#?}");
}

/// The crates that sections of `Cargo.toml` with this ending name.
fn crates(manifest: &str, ending: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_in = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            is_in = section.trim_end_matches(']').ends_with(ending);
        } else if let Some((name, _)) = line.split_once([' ', '.']).filter(|_| is_in && !line.starts_with('#')) {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = include_str!("../../Cargo.toml").replace("[workspace.dependencies]", "[workspace]");
    let docs = include_str!("../../docs/dependencies.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    let named = rows.flat_map(|(crates, _)| crates.split(", ")).filter(|name| *name != "crate");
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    let of_tests = &crates(&manifest, "dev-dependencies")
        | &crates(include_str!("../../crates/testkit/Cargo.toml"), "dependencies");
    let of_the_program = crates(&manifest.replace("[dev-dependencies]", "[tests]"), "dependencies");
    assert_eq!(named, of_the_program);
    let (_, for_tests) = docs.split_once("For tests only:").expect("what tests need");
    let untold: Vec<_> =
        of_tests.difference(&named).filter(|name| !for_tests.contains(name.as_str())).cloned().collect();
    assert!(untold.is_empty(), "{untold:?} have no reason in docs/dependencies.md");
}
