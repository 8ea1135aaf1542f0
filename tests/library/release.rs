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
    let version = Regex::new(
        r#"(?m)(?:dr-exporter[:-]|newTag: |^ARG VERSION=|^(?:version|appVersion): |"version": ")(\d+\.\d+\.\d+)\b"#,
    );
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

/// No place keeps the old version, whatever stands before it there.
#[test]
fn the_script_writes_the_version_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = tempfile::tempdir().expect("a directory");
    let bash = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script, "bash"]).arg(copy.path()).current_dir(root);
        let output = command.output().expect("bash runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    bash(r#"git ls-files -z | tar --null --files-from=- --create | tar --extract --directory "$1""#);
    bash(r#"git -C "$1" init --quiet && git -C "$1" add --all"#);
    bash(r#""$1/scripts/set-version" 77.88.99"#);
    let old = Regex::new(&format!(r"(^|[^\d.]){}($|[^\d.])", regex::escape(env!("CARGO_PKG_VERSION"))));
    let old = old.expect("a pattern");
    for file in bash(r#"git -C "$1" ls-files"#).lines() {
        // Tests and the changelog speak of what was, and the lock file also of others.
        if file.starts_with("tests/") || ["CHANGELOG.md", "Cargo.lock"].contains(&file) {
            continue;
        }
        let Ok(text) = fs::read_to_string(copy.path().join(file)) else { continue };
        for line in text.lines() {
            assert!(!old.is_match(line), "{file}: {line}");
        }
    }
    let lock = fs::read_to_string(copy.path().join("Cargo.lock")).expect("a file");
    assert!(lock.contains("name = \"dr-exporter\"\nversion = \"77.88.99\""));
}

/// A release has no scripts. What the page says to do must reach every file with alerts in it.
#[test]
fn the_alerts_of_a_release_can_be_given_your_addresses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/alerts.md")).expect("a page");
    let install = page.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block").0;
    let copy = tempfile::tempdir().expect("a directory");
    let files = ["alerts/dr-exporter.rules.yml", "deploy/kubernetes/components/monitoring/prometheusrule.yaml"];
    for file in files {
        let to = copy.path().join(file);
        fs::create_dir_all(to.parent().expect("a directory")).expect("made");
        fs::copy(root.join(file), to).expect("copied");
    }
    let ran = Command::new("bash").args(["-e", "-c", install]).current_dir(copy.path()).status().expect("bash runs");
    assert!(ran.success(), "{install}");
    for file in files {
        let text = fs::read_to_string(copy.path().join(file)).expect("a file");
        assert!(text.contains("_url: https://dr-exporter.example.org/runbooks/DR"), "{file}");
        let left = text.lines().find(|line| line.contains("_url:") && line.contains("example.com"));
        assert_eq!(left, None, "{file}");
    }
}

/// The script of a step of the release, found by a part of it.
fn step_of_release(part: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join(".github/workflows/release.yml")).expect("a workflow");
    let workflow: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let jobs = workflow["jobs"].as_object().expect("jobs").values();
    let steps = jobs.flat_map(|job| job["steps"].as_array().into_iter().flatten());
    let scripts = steps.filter_map(|step| step["run"].as_str()).filter(|script| script.contains(part));
    let [script] = scripts.collect::<Vec<_>>()[..] else { panic!("{part} is not in one step") };
    script.to_owned()
}

/// Runs it as GitHub does, with a program of this name and content in front of all others.
fn run_step(script: &str, directory: &Path, program: &str, content: &str) -> std::process::Output {
    use std::os::unix::fs::PermissionsExt as _;
    let file = directory.join(program);
    fs::write(&file, format!("#!/usr/bin/env bash\n{content}\n")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command.args(["-e", "-c", script]).current_dir(directory).env("PATH", path).env("TAG", "v1.2.3");
    command.output().expect("bash runs")
}

/// "Re-run all jobs" finds the draft that the first attempt made.
#[test]
fn a_release_can_be_run_again() {
    let script = step_of_release("gh release create");
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    fs::write(directory.join("Cargo.toml"), "version = \"1.2.3\"\n").expect("written");
    fs::write(directory.join("CHANGELOG.md"), "## 1.2.3 - 2030-01-01\n\nNews.\n").expect("written");
    // As the real one: a second release of a tag is refused, and what is not there is not shown.
    let gh = "case \"$2\" in\n\
              view) [ -e made ] && if [ -e public ]; then echo false; else echo true; fi ;;\n\
              create) [ ! -e made ] && [ \"$3\" = v1.2.3 ] && cp notes.md made ;;\n\
              *) exit 1 ;;\nesac";
    for attempt in ["the first", "again"] {
        let output = run_step(&script, directory, "gh", gh);
        assert!(output.status.success(), "{attempt}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read_to_string(directory.join("made")).expect("a release"), "\nNews.\n");
    }
    fs::write(directory.join("public"), "").expect("written");
    let public = run_step(&script, directory, "gh", gh);
    assert!(!public.status.success(), "what is public stays as it is");
    assert_eq!(String::from_utf8_lossy(&public.stderr), "v1.2.3 is public already\n");
    fs::remove_file(directory.join("public")).expect("removed");
    fs::remove_file(directory.join("made")).expect("removed");
    fs::write(directory.join("Cargo.toml"), "version = \"1.2.4\"\n").expect("written");
    assert!(!run_step(&script, directory, "gh", gh).status.success(), "the tag is of another version");
}

/// A program needs the glibc that it was built with, or a newer one. RHEL 9 has 2.34.
#[test]
fn the_programs_of_a_release_start_on_older_distributions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join(".github/workflows/release.yml")).expect("a workflow");
    let workflow: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let runners = &workflow["jobs"]["files"]["strategy"]["matrix"]["runner"];
    assert_eq!(*runners, serde_json::json!(["ubuntu-22.04", "ubuntu-22.04-arm"]));
    let script = step_of_release("dpkg-deb");
    let directory = tempfile::tempdir().expect("a directory");
    for (glibc, fits) in [("2.34", true), ("2.9", true), ("2.35", false), ("2.39", false)] {
        let deb = format!("echo 'libc6 (>= {glibc}), libgcc-s1, ca-certificates'");
        let output = run_step(&script, directory.path(), "dpkg-deb", &deb);
        assert_eq!(output.status.success(), fits, "{glibc}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let output = run_step(&script, directory.path(), "dpkg-deb", "exit 1");
    assert!(!output.status.success(), "what cannot be read is not right");
}

/// Ubuntu 22.04, on which releases are built, has Python 3.10.
#[test]
fn the_licences_can_be_written_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().expect("a directory");
    let script = "import ast, runpy, sys\n\
                  sys.modules['tomllib'] = None\n\
                  ast.parse(open('scripts/third-party').read(), feature_version=(3, 10))\n\
                  sys.argv = ['scripts/third-party', sys.argv[1]]\n\
                  runpy.run_path('scripts/third-party', run_name='__main__')";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(directory.path()).env("SOURCE_DATE_EPOCH", "0").current_dir(root);
    let output = command.output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bill = fs::read_to_string(directory.path().join("sbom.cdx.json")).expect("a bill of materials");
    let bill: serde_json::Value = serde_json::from_str(&bill).expect("JSON");
    let components = bill["components"].as_array().expect("components");
    let hashed = components.iter().filter(|part| part["hashes"][0]["content"].as_str().is_some_and(|h| h.len() == 64));
    assert!(components.len() > 100 && hashed.count() >= components.len() - 5, "{}", components.len());
}

/// What was freed is given back: the allocator was built as `.cargo/config.toml` says, and the image is built with that file.
#[cfg(target_os = "linux")]
#[test]
fn the_program_keeps_no_memory_that_was_freed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, part) in [("Dockerfile", "COPY .cargo .cargo"), (".dockerignore", "!.cargo")] {
        let text = fs::read_to_string(root.join(file)).expect("a file of the repository");
        assert!(text.lines().any(|line| line == part), "{file} has no line {part}");
    }
    let mut program = Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
    let told = program.arg("--version").env("_RJEM_MALLOC_CONF", "stats_print:true").output().expect("it runs");
    let told = String::from_utf8_lossy(&told.stderr);
    for option in ["opt.narenas: 1", "opt.dirty_decay_ms: 0", "opt.muzzy_decay_ms: 0", "opt.tcache_max: 1024"] {
        assert!(told.lines().any(|line| line.trim().starts_with(option)), "not {option}: {told}");
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
