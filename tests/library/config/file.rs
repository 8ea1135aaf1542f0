//! Files as editors, shells and templates leave them.

use std::path::Path;

use dr_exporter::config;

const GOOD: &str = "\
contracts:
  - name: a
    component: A
    owner: o
    priority: P0
    rto: 5m
    checks:
      - name: h
        http: { url: \"http://a/\" }
";

/// What is said of a file with these bytes; nothing of a good one without warnings.
fn said(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a file.yaml");
    std::fs::write(&file, bytes).expect("written");
    let reading = config::read(&file);
    let errors = reading.config.map_or_else(|errors| format!("{errors}\n"), |_| String::new());
    (errors + &reading.warnings.to_string()).replace(&format!("{}/", directory.path().display()), "")
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

#[test]
fn what_is_meant_plainly_is_accepted() {
    let with_mark = format!("\u{feff}{GOOD}");
    for (name, bytes) in [
        ("a mark", with_mark.clone().into_bytes()),
        ("CRLF", GOOD.replace('\n', "\r\n").into_bytes()),
        ("a mark and CRLF", with_mark.replace('\n', "\r\n").into_bytes()),
        ("CR", GOOD.replace('\n', "\r").into_bytes()),
        ("UTF-16", utf16(&with_mark, u16::to_le_bytes)),
        ("UTF-16, the other way round", utf16(&with_mark, u16::to_be_bytes)),
        ("a first marker", format!("---\n{GOOD}").into_bytes()),
        ("an empty document before", format!("---\n---\n{GOOD}").into_bytes()),
        ("comments before", format!("# a\n---\n# b\n\n--- # c\n...\n---\n{GOOD}").into_bytes()),
        ("a mark and CRLF before", format!("\u{feff}---\n---\n{GOOD}").replace('\n', "\r\n").into_bytes()),
        ("a marker behind", format!("---\n{GOOD}---\n").into_bytes()),
        ("markers and comments behind", format!("{GOOD}...\n---\n# none\n\n---\n  # none\n").into_bytes()),
        ("CRLF and a marker behind", format!("{GOOD}---\n").replace('\n', "\r\n").into_bytes()),
        ("blanks behind", GOOD.replace("5m\n", "5m  \n").into_bytes()),
        ("a blank in a URL", GOOD.replace("a/\"", "a/ \"").into_bytes()),
        ("a name of digits", GOOD.replace("owner: o", "owner: 0755").into_bytes()),
        ("a word of YAML 1.1", GOOD.replace("owner: o", "owner: on").into_bytes()),
        ("a merge", MERGED.as_bytes().to_vec()),
    ] {
        assert_eq!(said(&bytes), "", "{name}");
    }
}

const MERGED: &str = "\
contracts:
  - &first
    name: a
    component: A
    owner: o
    priority: P0
    rto: 5m
    checks: &checks [{ name: h, http: { url: \"http://a/\" } }]
  - <<: *first
    name: b
    rto: 6m
  - { name: c, component: C, owner: o, priority: P0, rto: 5m, checks: *checks }
";

#[test]
fn what_is_written_beside_a_merge_wins() {
    let config = config::parse(MERGED, Path::new("c.yaml")).expect("a good file");
    let told: Vec<_> =
        config.contracts.iter().map(|a| (a.spec.name.as_str(), a.spec.rto.map(|rto| rto.as_secs()))).collect();
    assert_eq!(told, [("a", Some(300)), ("b", Some(360)), ("c", Some(300))]);
}

#[test]
fn what_is_no_text_is_told_with_its_place() {
    let umlaut = GOOD.replace("component: A", "component: B\u{fc}cher");
    let latin: Vec<u8> = umlaut.chars().map(|sign| u8::try_from(u32::from(sign)).expect("Latin-1")).collect();
    let cases = [
        ("Latin-1", latin, "a file.yaml:3:17: this is not UTF-8 (Latin-1, Windows-1252?)"),
        (
            "UTF-16 without a mark",
            utf16(GOOD, u16::to_be_bytes),
            "a file.yaml:1:1: a zero byte: this is not a text, or it is UTF-16",
        ),
        ("a zero byte", format!("{GOOD}\0").into_bytes(), "a file.yaml:10:1: a zero byte"),
        (
            "half a sign",
            [&utf16("\u{feff}a", u16::to_le_bytes)[..], b"x"].concat(),
            "a file.yaml:1:1: the file is invalid UTF-16",
        ),
    ];
    for (name, bytes, expected) in cases {
        let said = said(&bytes);
        assert!(said.starts_with(expected), "{name}: {said}");
    }
    let said = config::read(Path::new(env!("CARGO_MANIFEST_DIR"))).config.expect_err("a directory").to_string();
    assert!(said.ends_with(":1:1: this is a directory; give the name of the file in it"), "{said}");
}

#[test]
fn what_is_too_large_is_told_as_that() {
    let bomb = (1..12).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        let before = vec![format!("*a{}", level - 1); 9].join(", ");
        text + &format!("a{level}: &a{level} [{before}]\n")
    });
    let deep = "[".repeat(5000);
    let many = "contracts:\n".to_owned() + &"  - { name: a }\n".repeat(200_000);
    for (name, text) in [("aliases", bomb), ("depth", deep), ("entries", many)] {
        let said = said(text.as_bytes());
        assert!(said.contains("this is too large or too deeply nested for a configuration"), "{name}: {said}");
    }
    let large = said(&vec![b'#'; 5 << 20]);
    assert!(large.contains("is it a configuration?"), "{large}");
    // It tells no size, and has no end.
    #[cfg(unix)]
    {
        let endless = config::read(Path::new("/dev/zero")).config.expect_err("no file").to_string();
        assert!(endless.contains("is it a configuration?"), "{endless}");
    }
}

#[test]
fn a_number_that_no_key_takes_is_told_as_one() {
    for number in [".inf", "1e999", "-.inf", "99999999999999999999"] {
        let said =
            said(GOOD.replace("- name: h", &format!("- name: h\n        failures_to_trigger: {number}")).as_bytes());
        let expected = "expected a whole number from 1 to 1000, found a number that is far too large";
        assert!(said.contains(expected), "{number}: {said}");
    }
}
