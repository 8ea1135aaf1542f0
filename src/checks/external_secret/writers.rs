//! Who wrote the data of a secret. This tells whether the hash on it matches the data.
//!
//! The hash is an annotation. Somebody who edits the data does not change it, and External Secrets
//! only corrects that with its next refresh, if there is one. The API server records who wrote
//! which field, and when.

use crate::clients::kubernetes::objects::{SecretMetadata, Writer};

/// The field managers of External Secrets, one for each `ExternalSecret`.
const MANAGERS: &str = "externalsecrets.external-secrets.io/";
/// The field manager before 0.8.2. Later versions use it for `PushSecret`, which writes no hash.
const PROGRAM: &str = "external-secrets";

/// Who wrote the data since the last refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Writers {
    /// Nobody else: the hash matches the current data.
    OnlyItself,
    /// This field manager wrote it.
    Another(String),
    /// The API server does not tell.
    Untold,
}

/// Who wrote the data of `secret` after it was `refreshed`. Both times are by the cluster's clock.
///
/// A refresh in the same second as the write may have been before it. A refresh saw every earlier
/// write: it corrected the data, or included it in the hash.
pub(super) fn of(secret: &SecretMetadata, refreshed: Option<jiff::Timestamp>) -> Writers {
    let mut owners = secret.writers.iter().filter(|writer| writer.owns_data).peekable();
    if owners.peek().is_none() {
        return Writers::Untold;
    }
    let mut told = Writers::OnlyItself;
    for writer in owners.filter(|writer| !is_its_own(writer, secret)) {
        match writer.time {
            None => told = Writers::Untold,
            Some(time) if refreshed.is_none_or(|refreshed| time >= refreshed) => {
                return Writers::Another(writer.manager.clone());
            }
            Some(_) => {}
        }
    }
    told
}

/// When External Secrets last changed the secret, as far as the API server tells.
pub(super) fn changed(secret: &SecretMetadata) -> Option<jiff::Timestamp> {
    secret.writers.iter().filter(|writer| is_its_own(writer, secret)).filter_map(|writer| writer.time).max()
}

fn is_its_own(writer: &Writer, secret: &SecretMetadata) -> bool {
    let is_recent = |writer: &Writer| writer.manager.starts_with(MANAGERS);
    is_recent(writer) || (writer.manager == PROGRAM && !secret.writers.iter().any(is_recent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "externalsecrets.external-secrets.io/nats";

    fn secret(writers: &[(&str, bool, Option<&str>)]) -> SecretMetadata {
        let writer = |(manager, owns_data, time): &(&str, bool, Option<&str>)| Writer {
            manager: (*manager).to_owned(),
            operation: "Update".to_owned(),
            time: time.map(|time| time.parse().expect("a time")),
            owns_data: *owns_data,
        };
        SecretMetadata { writers: writers.iter().map(writer).collect(), ..SecretMetadata::default() }
    }

    #[test]
    fn who_wrote_the_data_since_the_refresh() {
        let refreshed = "2026-09-20T11:40:00Z".parse().ok();
        let (before, then, since) =
            (Some("2026-09-20T11:39:59Z"), Some("2026-09-20T11:40:00Z"), Some("2026-09-20T11:50:00Z"));
        let another = |name: &str| Writers::Another(name.to_owned());
        let table = [
            ("itself", secret(&[(OWN, true, since)]), Writers::OnlyItself),
            (
                "a long name",
                secret(&[("externalsecrets.external-secrets.io/sha3/0a1b", true, since)]),
                Writers::OnlyItself,
            ),
            ("an old one", secret(&[("external-secrets", true, since)]), Writers::OnlyItself),
            ("an edit", secret(&[(OWN, true, before), ("kubectl-edit", true, since)]), another("kubectl-edit")),
            ("an edit of all keys", secret(&[("kubectl-edit", true, since)]), another("kubectl-edit")),
            ("in the very second", secret(&[(OWN, true, then), ("kubectl", true, then)]), another("kubectl")),
            ("an edit that was seen", secret(&[(OWN, true, before), ("kubectl", true, before)]), Writers::OnlyItself),
            ("a label", secret(&[(OWN, true, before), ("kubectl-label", false, since)]), Writers::OnlyItself),
            (
                "pushed by the same program",
                secret(&[(OWN, true, before), ("external-secrets", true, since)]),
                another("external-secrets"),
            ),
            ("at an unknown time", secret(&[(OWN, true, before), ("kubectl", true, None)]), Writers::Untold),
            ("nobody", secret(&[]), Writers::Untold),
            ("nobody who wrote data", secret(&[(OWN, false, since)]), Writers::Untold),
        ];
        for (name, secret, expected) in table {
            assert_eq!(of(&secret, refreshed), expected, "{name}");
        }
        assert_eq!(of(&secret(&[("kubectl", true, before)]), None), another("kubectl"), "never refreshed");
    }
}
