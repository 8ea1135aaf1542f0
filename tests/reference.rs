//! The reference of every key, and the JSON Schema, as files: generated from the code, and held to it.
//!
//! `UPDATE=1 cargo test --test reference` writes them anew; read the difference.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use dr_exporter::config;
use serde_json::Value;

#[track_caller]
fn golden(file: &str, is: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, is).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(is == expected, "{file} is not what the code says; UPDATE=1 cargo test --test reference writes it anew");
}

#[test]
fn the_schema_is_as_the_code_has_it() {
    let schema = serde_json::to_string_pretty(&config::schema()).expect("JSON");
    golden("docs/config.schema.json", &format!("{schema}\n"));
}

#[test]
fn the_reference_has_every_key() {
    let schema = config::schema();
    let mut text = "# Every key of the configuration\n\nGenerated from the code; [configuration.md](configuration.md) tells what \
                    belongs together, with defaults and examples.\nThe same for editors: [config.schema.json](config.schema.json), \
                    as `dr-exporter config schema` prints it. `[]` is an item of a list,\n`NAME` a name that you choose.\n"
        .to_owned();
    let sections = schema["properties"].as_object().expect("sections");
    for (name, section) in sections {
        write!(text, "\n## `{name}`\n\n{}\n\n", cell(section["description"].as_str().unwrap_or_default()))
            .expect("text");
        text.push_str("| key | type | needed | meaning |\n|---|---|---|---|\n");
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
    let needed: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let meaning = cell(value["description"].as_str().unwrap_or_default());
        let needed = if needed.contains(&key.as_str()) { "yes" } else { "" };
        writeln!(text, "| `{path}` | {} | {needed} | {meaning} |", kind(value)).expect("text");
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
