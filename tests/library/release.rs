//! What a release needs: one version and one environment everywhere.

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

/// `make soak` and `make bench` measure memory with this environment.
#[test]
fn what_ships_runs_in_the_environment_that_was_measured() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["Dockerfile", "deploy/systemd/dr-exporter.service"] {
        let text = fs::read_to_string(root.join(file)).expect("a file of the repository");
        for (name, value) in dr_testkit::exporter::GIVES_BACK {
            assert!(text.contains(&format!("{name}={value}")), "{file} sets no {name}={value}");
        }
    }
}

/// Every command has a man page and every shell its completions.
#[test]
fn the_command_line_can_be_described() {
    let command = dr_exporter::cli::command();
    command.clone().debug_assert();
    let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    assert!(names.contains(&"serve") && names.contains(&"check"), "{names:?}");
}

/// The pages of a release name files that are in it.
#[test]
fn the_links_of_a_release_lead_somewhere_in_it() {
    let root = &Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("the repository");
    let script = fs::read_to_string(root.join("scripts/dist")).expect("the script");
    let packed = script.lines().find_map(|line| line.strip_prefix("git ls-files -z ")?.strip_suffix(" |"));
    let packed = packed.expect("the script says what it packs").replace('\'', "");
    let listed = Command::new("git").arg("ls-files").args(packed.split(' ')).current_dir(root).output();
    let listed = String::from_utf8(listed.expect("git runs").stdout).expect("UTF-8");
    let files: Vec<_> = listed.lines().map(|file| root.join(file)).collect();
    let link = Regex::new(r"\]\(([^)#\s:]+)[^):\s]*\)").expect("a pattern");
    let mut found = 0;
    for page in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(page).expect("a page");
        for (_, [to]) in link.captures_iter(&text).map(|link| link.extract()) {
            let Ok(target) = page.with_file_name(to).canonicalize() else { continue };
            let there = files.iter().any(|file| file.starts_with(&target));
            assert!(there, "{}: {to} is not in a release", page.display());
            found += 1;
        }
    }
    assert!(found >= 100, "only {found} links were looked at");
}

/// What a workflow runs cannot be replaced behind its back, and each says what it may do.
#[test]
fn the_workflows_use_what_stays_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pattern = |pattern: &str| Regex::new(pattern).expect("a pattern");
    let pinned = pattern(r"^ *(- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$");
    let module = pattern(r"@v\d+\.\d+\.\d+$");
    let jobs = pattern(r"(?m)^  [a-z]+:\n    (needs|runs-on):");
    for name in ["ci", "release"] {
        let text = fs::read_to_string(root.join(format!(".github/workflows/{name}.yml"))).expect("a workflow");
        assert!(text.contains("\npermissions:"), "{name} says what it may do");
        assert_eq!(text.matches("timeout-minutes:").count(), jobs.find_iter(&text).count(), "{name}: every job ends");
        for line in text.lines() {
            assert!(!line.contains("uses:") || pinned.is_match(line), "{name}: {line}");
            let installed = line.split_once("go install ").map_or("", |(_, rest)| rest);
            let modules = installed.split(' ').chain(line.split_once("COSIGN: ").map(|(_, module)| module));
            for one in modules.filter(|word| word.contains('@')) {
                assert!(module.is_match(one), "{name}: {one}");
            }
        }
    }
}
