//! Whether files have changed. Files are looked at, not watched: that also works for a file on a
//! network, and for a `ConfigMap`, whose files are links that are all changed at once.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clients::blocking;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What tells files apart from what they were before. A file that does not exist has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// Length, times and identity of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp([i128; 6]);

impl Stamps {
    /// The stamps of these files. Links are followed.
    pub(crate) fn of(paths: &[PathBuf]) -> Self {
        Self(paths.iter().map(|path| (path.clone(), fs::metadata(path).ok().map(|found| Stamp::of(&found)))).collect())
    }

    /// The stamps of the same files, now.
    pub(crate) fn again(&self) -> Self {
        Self::of(&self.paths().map(Path::to_path_buf).collect::<Vec<_>>())
    }

    /// The files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(path, _)| path.as_path())
    }
}

/// Reads something from files that it names itself, with stamps that are older than what was read.
/// So a change in between is seen later. `known` are the files of the last time.
pub(crate) fn read_with<T>(known: &[PathBuf], read: impl Fn() -> (T, Vec<PathBuf>)) -> (T, Stamps) {
    let mut stamps = Stamps::of(known);
    loop {
        let (what, files) = read();
        if stamps.paths().eq(files.iter().map(PathBuf::as_path)) {
            return (what, stamps);
        }
        stamps = Stamps::of(&files);
    }
}

/// Waits for changes of files.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The files as they were read.
    read: Stamps,
    /// The files as they were last seen.
    seen: Stamps,
}

impl Watch {
    /// Waits for the next change after these stamps.
    pub(crate) fn of(read: Stamps) -> Self {
        Self { seen: read.clone(), read }
    }

    /// The files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.read.paths().map(Path::to_path_buf).collect()
    }

    /// Completes when a file has changed, and nothing has changed since the last look: several files
    /// are often written one after the other. Nothing is lost if this is dropped.
    pub(crate) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(EVERY).await;
            let seen = self.seen.clone();
            let now = blocking(move || seen.again()).await;
            let is_steady = now == self.seen;
            self.seen = now;
            if is_steady && self.seen != self.read {
                return;
            }
        }
    }
}

impl Stamp {
    #[cfg(unix)]
    fn of(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self([
            found.dev().into(),
            found.ino().into(),
            found.len().into(),
            nanos(found.mtime(), found.mtime_nsec()),
            // It changes even if somebody sets the other time back.
            nanos(found.ctime(), found.ctime_nsec()),
            i128::from(found.is_dir()),
        ])
    }
}
