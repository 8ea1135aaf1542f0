//! What a release needs: one version everywhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use regex::Regex;

/// The version stands in Cargo.toml. `scripts/set-version` writes it to all other places.
#[test]
fn the_version_is_the_same_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tracked = Command::new("git").arg("ls-files").current_dir(root).output().expect("git runs");
    let tracked = String::from_utf8(tracked.stdout).expect("UTF-8");
    let version =
        Regex::new(r"(?m)(?:dr-exporter[:-]|newTag: |^ARG VERSION=|^(?:version|appVersion): )(\d+\.\d+\.\d+)\b");
    let version = version.expect("a pattern");
    let mut found = 0;
    for file in tracked.lines().filter(|file| !file.starts_with("tests/") && *file != "Cargo.lock") {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        for place in version.captures_iter(&text) {
            assert_eq!(&place[1], env!("CARGO_PKG_VERSION"), "{file}: {}", &place[0]);
            found += 1;
        }
    }
    assert!(found >= 10, "only {found} places have a version");
}

/// Every command has a man page and every shell its completions.
#[test]
fn the_command_line_can_be_described() {
    let command = dr_exporter::cli::command();
    command.clone().debug_assert();
    let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    assert!(names.contains(&"serve") && names.contains(&"check"), "{names:?}");
}
