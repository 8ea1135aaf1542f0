//! Reads credentials from files, and checks them before a protocol or a library uses them. Content
//! that no server can have meant is reported as an error of the file, and never reaches code that
//! expects valid input.

use crate::decode::values::{Secret, SecretFile};

/// Reads a credential of one line: a token, a password, the value of a header.
///
/// # Errors
/// The file cannot be read, or its content cannot be such a credential. The message names the file
/// and what to do, and never contains the content.
pub(crate) async fn read_line(file: &SecretFile) -> Result<Secret, String> {
    let secret = file.read().await.map_err(|error| error.to_string())?;
    match fault(secret.expose()) {
        None => Ok(secret),
        Some(fault) => Err(format!("{file}: {fault}")),
    }
}

/// Why a text is not a credential of one line.
fn fault(text: &str) -> Option<&'static str> {
    if text.contains(['\n', '\r']) {
        return Some("holds more than one line; it must hold only the credential, on one line");
    }
    if text.contains(char::is_control) {
        return Some("holds control characters; it must hold only the credential, as plain text");
    }
    if text.trim().is_empty() {
        return Some("holds nothing but blanks; it must hold the credential");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_credential() {
        for good in ["hunter2", "with a blank", "pass:word", "pässword", " leading", "="] {
            assert_eq!(fault(good), None, "{good:?}");
        }
        for (bad, words) in [
            ("hunter2\nhunter3", "more than one line"),
            ("hunter2\n", "more than one line"),
            ("\nhunter2", "more than one line"),
            ("hunter2\rx", "more than one line"),
            ("hunter2\0", "control characters"),
            ("hunter2\u{7f}", "control characters"),
            ("hunter2\u{85}", "control characters"),
            ("a\tb", "control characters"),
            ("  ", "nothing but blanks"),
        ] {
            let fault = fault(bad);
            assert!(fault.is_some_and(|fault| fault.contains(words)), "{bad:?}: {fault:?}");
        }
    }

    #[tokio::test]
    async fn the_file_is_named_and_nothing_of_its_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        let file = SecretFile::from(path.clone());
        for content in ["hunter2\nhunter2", "hunter2\n\n", "hunter2\u{1}"] {
            std::fs::write(&path, content).expect("written");
            let told = read_line(&file).await.expect_err("no credential");
            assert!(told.contains("token: holds") && !told.contains("hunter2"), "{told}");
        }
        for content in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            std::fs::write(&path, content).expect("written");
            assert_eq!(read_line(&file).await.expect("a credential").expose(), "hunter2");
        }
    }
}
