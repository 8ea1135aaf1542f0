//! A folder of dashboards as JSON, such as a git export. It tells which dashboards are expected.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::Value;

use super::FOLDER_UNREADABLE;
use crate::clients::blocking;
use crate::decode::values::{DashboardUid, DirectoryPath};
use crate::domain::observation::Finding;

/// How deep folders may be nested. A link to a parent folder would be endless.
const DEEPEST: usize = 16;
/// The highest number of files to look at.
const MOST: usize = 20_000;
/// The largest accepted file, in bytes.
const LARGEST: u64 = 16 << 20;

/// The identity of a file when it was read.
type Stamp = (PathBuf, SystemTime, u64);
/// The result, and the files that it comes from.
type Loaded = (Vec<Stamp>, Arc<BTreeSet<DashboardUid>>);

/// A folder. It is read again when one of its files changes.
#[derive(Debug, Clone)]
pub(super) struct Folder(Arc<(PathBuf, Mutex<Option<Loaded>>)>);

impl Folder {
    pub(super) fn new(path: &DirectoryPath) -> Self {
        Self(Arc::new((path.path().to_owned(), Mutex::default())))
    }

    /// The UIDs of its dashboards now.
    pub(super) async fn uids(&self) -> Result<Arc<BTreeSet<DashboardUid>>, Finding> {
        let folder = Arc::clone(&self.0);
        let read = blocking(move || load(&folder.0, &folder.1)).await;
        read.map_err(|problem| Finding::new(&FOLDER_UNREADABLE, problem))
    }
}

fn load(folder: &Path, last: &Mutex<Option<Loaded>>) -> Result<Arc<BTreeSet<DashboardUid>>, String> {
    let mut files = Vec::new();
    collect(folder, DEEPEST, &mut files)?;
    files.sort();
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((stamps, uids)) = &*last
        && *stamps == files
    {
        return Ok(Arc::clone(uids));
    }
    let mut uids = BTreeSet::new();
    for (path, _, size) in &files {
        if *size > LARGEST {
            return Err(format!("{}: larger than {LARGEST} bytes", path.display()));
        }
        let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
        let json: Value = serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        match uid(&json) {
            Found::Dashboard(uid) => drop(uids.insert(uid)),
            Found::Nameless => return Err(format!("{}: a dashboard without a uid", path.display())),
            Found::SomethingElse => {}
        }
    }
    if uids.is_empty() {
        return Err(format!("{}: holds no dashboard", folder.display()));
    }
    let uids = Arc::new(uids);
    *last = Some((files, Arc::clone(&uids)));
    Ok(uids)
}

/// The JSON files of a folder and its subfolders. Names that begin with a dot are left out: `.git`,
/// and the versions that a mounted `ConfigMap` keeps beside its links.
fn collect(folder: &Path, deep: usize, files: &mut Vec<Stamp>) -> Result<(), String> {
    let broken = |error: io::Error| unreadable(folder, &error);
    for entry in fs::read_dir(folder).map_err(broken)? {
        let path = entry.map_err(broken)?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if metadata.is_dir() {
            if deep == 0 {
                return Err(format!("{}: folders are nested too deeply, or in a circle", path.display()));
            }
            collect(&path, deep - 1, files)?;
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            let modified = metadata.modified().map_err(|error| unreadable(&path, &error))?;
            files.push((path, modified, metadata.len()));
        }
        if files.len() > MOST {
            return Err(format!("{}: more than {MOST} files", folder.display()));
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The content of a JSON file.
#[derive(Debug, PartialEq)]
enum Found {
    Dashboard(DashboardUid),
    /// A dashboard without a uid, or with one that Grafana does not accept.
    Nameless,
    SomethingElse,
}

/// The UID in one of the three formats of exported dashboards: the model itself, the answer of the
/// API, or a Kubernetes resource.
fn uid(json: &Value) -> Found {
    let text = |json: &Value, pointer: &str| json.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (uid, is_one) = if json.get("kind").and_then(Value::as_str) == Some("Dashboard") {
        (text(json, "/metadata/name"), true)
    } else if let Some(model) = json.get("dashboard").filter(|model| model.is_object()) {
        (text(model, "/uid"), true)
    } else {
        let is_model = ["panels", "schemaVersion", "rows"].iter().any(|key| json.get(key).is_some());
        (text(json, "/uid"), is_model)
    };
    match uid.as_deref().and_then(DashboardUid::of) {
        _ if !is_one => Found::SomethingElse,
        Some(uid) => Found::Dashboard(uid),
        None => Found::Nameless,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dashboard_is_known_in_each_form_of_export() {
        let found = |json: Value| match uid(&json) {
            Found::Dashboard(uid) => uid.as_str().to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(found(json!({"uid": "a", "title": "A", "panels": []})), "a");
        assert_eq!(found(json!({"dashboard": {"uid": "b", "title": "B"}, "meta": {}})), "b");
        let resource = json!({"apiVersion": "dashboard.grafana.app/v1beta1", "kind": "Dashboard", "metadata": {"name": "c"}, "spec": {}});
        assert_eq!(found(resource), "c");
        assert_eq!(found(json!({"uid": null, "schemaVersion": 39})), "Nameless");
        assert_eq!(found(json!({"uid": "../x", "panels": []})), "Nameless");
        assert_eq!(found(json!({"uid": "folder", "title": "a folder's metadata"})), "SomethingElse");
        assert_eq!(found(json!([1])), "SomethingElse");
    }

    #[test]
    fn a_folder_is_read_as_a_whole_and_anew_when_it_changes() {
        let folder = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        let last = Mutex::default();
        let read =
            || load(folder.path(), &last).map(|uids| uids.iter().map(DashboardUid::to_string).collect::<Vec<_>>());
        assert!(read().expect_err("empty").contains("no dashboard"));
        fs::create_dir(folder.path().join("team")).expect("made");
        fs::create_dir(folder.path().join(".git")).expect("made");
        write("a.json", r#"{"uid": "a", "panels": []}"#);
        write("team/b.json", r#"{"uid": "b", "panels": []}"#);
        write(".git/c.json", r#"{"uid": "c", "panels": []}"#);
        write("README.md", "not JSON");
        assert_eq!(read(), Ok(vec!["a".to_owned(), "b".to_owned()]));
        write("team/b.json", r#"{"uid": "changed", "panels": []}"#);
        assert_eq!(read(), Ok(vec!["a".to_owned(), "changed".to_owned()]));
        write("broken.json", "{");
        assert!(read().expect_err("broken").contains("broken.json"), "half a truth is none");
    }
}
