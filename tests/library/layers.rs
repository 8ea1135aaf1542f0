//! The order of the layers: each uses only those below it.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. `domain` is a crate of its own, so the compiler keeps it.
const LAYERS: [&str; 12] =
    ["domain", "clock", "decode", "clients", "store", "engine", "checks", "config", "export", "web", "app", "cli"];

/// The height of a layer; none of what is no layer.
fn height(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == name)
}

/// What code names behind `crate::`: `crate::a::b`, `crate::{a::b, c}`.
fn named(code: &str) -> Vec<&str> {
    let word = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut named = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => named.push(&rest[..word(rest)]),
            Some(list) => {
                // Only what stands at the first level: `{a::{b, c}, d}` names a and d.
                let (mut depth, mut start) = (0, 0);
                for (at, sign) in list.char_indices() {
                    let ends = depth == 0 && matches!(sign, ',' | '}');
                    if ends {
                        let item = list[start..at].trim();
                        named.push(&item[..word(item)]);
                        start = at + 1;
                    }
                    match sign {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

/// What a file of a layer uses that lies above it.
fn back_edges(layer: &str, code: &str) -> Vec<String> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let own = height(layer).unwrap_or_else(|| panic!("the layer `{layer}` is not in the list"));
    let above = named(&code).into_iter().filter(|name| height(name).is_some_and(|other| other > own));
    above.map(str::to_owned).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn no_layer_uses_one_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut seen = 0;
    for file in files(&src) {
        let path = file.strip_prefix(&src).expect("below src").to_owned();
        let layer = path.iter().next().and_then(|name| name.to_str()).expect("a name").trim_end_matches(".rs");
        // `fuzzing` is compiled for tests alone.
        if ["lib", "main", "fuzzing"].contains(&layer) {
            continue;
        }
        seen += 1;
        let code = fs::read_to_string(&file).expect("a text");
        found.extend(back_edges(layer, &code).into_iter().map(|other| format!("src/{} uses {other}", path.display())));
    }
    assert!(seen > 100, "where is the code? {seen} files");
    assert!(found.is_empty(), "these go up; see docs/architecture.md:\n{}", found.join("\n"));
}

#[test]
fn what_goes_up_is_found() {
    assert_eq!(back_edges("clients", "use crate::config::Config;\n"), ["config"]);
    assert_eq!(back_edges("engine", "use crate::{clock, domain::{a, checks}, web::{b}};"), ["web"]);
    assert_eq!(back_edges("store", "let a = crate::engine::start();"), ["engine"]);
    assert_eq!(back_edges("web", "use crate::{export::{a, b}, engine};\n// crate::app"), Vec::<String>::new());
}
