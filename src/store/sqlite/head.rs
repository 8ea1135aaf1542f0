//! The file beside the database that repeats the last commit.
//!
//! A database whose end was lost is whole in itself: SQLite takes a write-ahead log that was cut for
//! one that ended there, and an old copy of the file is a database, too. So the number of the last
//! commit is kept in a second file as well. It is written after the commit and before anybody is told
//! of it. The file has two places that are written in turn, so that one survives a torn write.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ring::digest;

use super::seals::Count;

/// The last commit: its number, and the account of everything in the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) number: i64,
    pub(super) seals: Count,
}

/// How many bytes one place has.
const PLACE: usize = 128;
/// The places.
const PLACES: i64 = 2;
const FORM: &str = "dr-exporter head v1";

/// The path of the file that belongs to a database.
pub(super) fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".head");
    PathBuf::from(path)
}

/// Notes a commit. It is on the disk when this returns.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(database: &Path, sealed: Sealed) -> io::Result<()> {
    let path = beside(database);
    let created = !path.exists();
    let mut file = File::options().create(true).truncate(false).write(true).open(&path)?;
    let length = u64::try_from(PLACES).unwrap_or_default() * u64::try_from(PLACE).unwrap_or_default();
    if file.metadata()?.len() < length {
        // Both places, so that a full disk fails here and not later.
        file.write_all(&[b' '; 2 * PLACE])?;
    }
    let place = u64::try_from(sealed.number.rem_euclid(PLACES)).unwrap_or_default();
    file.seek(SeekFrom::Start(place * u64::try_from(PLACE).unwrap_or_default()))?;
    file.write_all(line(sealed).as_bytes())?;
    file.sync_data()?;
    if created && let Some(directory) = path.parent() {
        // So that the name is on the disk, too.
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// The newest commit that the file knows. None if there is no file, or if nothing in it can be read.
///
/// # Errors
/// The file is there, and cannot be opened.
pub(super) fn read(database: &Path) -> io::Result<Option<Sealed>> {
    let mut bytes = Vec::new();
    match File::open(beside(database)) {
        Ok(file) => file.take(4096).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(bytes.chunks(PLACE).filter_map(parse).max_by_key(|sealed| sealed.number))
}

fn line(Sealed { number, seals: Count { rows, sum } }: Sealed) -> String {
    let text = format!("{FORM} {number} {rows} {sum}");
    let text = format!("{text} {}", check(&text));
    format!("{text:<width$}\n", width = PLACE - 1)
}

/// 64 bits of the hash of a line.
fn check(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    data_encoding::HEXLOWER.encode(digest.as_ref().get(..8).unwrap_or_default())
}

fn parse(place: &[u8]) -> Option<Sealed> {
    let text = std::str::from_utf8(place).ok()?.trim_end();
    let (text, found) = text.rsplit_once(' ')?;
    if found != check(text) {
        return None;
    }
    let mut numbers = text.strip_prefix(FORM)?.split_ascii_whitespace().map(str::parse::<i64>);
    let mut next = || numbers.next()?.ok();
    Some(Sealed { number: next()?, seals: Count { rows: next()?, sum: next()? } })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sealed(number: i64) -> Sealed {
        Sealed { number, seals: Count { rows: number.wrapping_mul(3), sum: i64::MIN + number } }
    }

    #[test]
    fn the_newest_of_two_places_counts_and_one_survives_any_fault() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = directory.path().join("db");
        assert_eq!(read(&database).expect("read"), None);
        for number in [0, 1, 2, 3, 7, i64::MAX - 1] {
            write(&database, sealed(number)).expect("written");
            assert_eq!(read(&database).expect("read"), Some(sealed(number)));
        }
        let (before, whole) = (sealed(7), fs::read(beside(&database)).expect("bytes"));
        assert_eq!(whole.len(), 2 * PLACE);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(beside(&database), &changed).expect("written");
            let found = read(&database).expect("read").expect("one of the two");
            assert!(found == before || found == sealed(i64::MAX - 1), "byte {at}: {found:?}");
        }
        fs::write(beside(&database), [0; 256]).expect("written");
        assert_eq!(read(&database).expect("read"), None);
    }
}
