//! The reasons of `external_secret`.

use crate::clients::kubernetes;
use crate::clients::reasons;
use crate::domain::observation::{Reason, join};

/// The DR side is not ready.
pub static NOT_READY: Reason = Reason::new(
    "not_ready",
    "External Secrets cannot refresh the secret: run kubectl describe externalsecret, then look at the store and the provider.",
);
/// The DR side is gone.
pub static EXTERNAL_SECRET_MISSING: Reason =
    Reason::new("external_secret_missing", "There is no such ExternalSecret in DR: create it. Is Argo CD in sync?");
/// The DR secret is gone.
pub static SECRET_MISSING: Reason =
    Reason::new("secret_missing", "There is no secret in DR: kubectl describe externalsecret shows why.");
/// There is nothing in the primary to compare with.
pub static PRIMARY_MISSING: Reason = reasons::primary_missing(
    "There is no such secret in the primary: was it deleted on purpose? Correct the check's names, or remove the check.",
);
/// The last refresh is too long ago.
pub static STALE: Reason =
    reasons::stale("The refresh is overdue: is the External Secrets controller running? Check its log.");
/// The last edit of the spec has not been synced.
pub static SPEC_NOT_SYNCED: Reason = Reason::new(
    "spec_not_synced",
    "The ExternalSecret was edited, and not synced since: wait, or look at the controller.",
);
/// The provider no longer holds the secret.
pub static SOURCE_GONE: Reason =
    Reason::new("source_gone", "The provider no longer has the secret; the cluster still has the last value.");
/// The refresh policy says nothing about age.
pub static NO_FRESHNESS: Reason = Reason::new(
    "no_freshness",
    "Only periodic refreshes show the age of the data: set refreshInterval, or use compare: data_hash.",
);
/// The two differ, and there is still time for the next refresh.
pub static PENDING: Reason =
    Reason::new("pending", "A rotation has reached one cluster: DR should follow with its next refresh.");
/// The two have differed for longer than a refresh takes.
pub static DRIFT: Reason = Reason::new(
    "drift",
    "The secrets have differed for longer than a refresh takes: is one side not refreshed, or do the stores read other keys?",
);
/// The DR secret changed, and is not known to be older than the primary's.
pub static DR_CHANGED: Reason = Reason::new(
    "dr_changed",
    "DR has another value than both had: did it get a rotation first? Is the primary refreshed? Was DR restored from a backup?",
);
/// A side has no hash.
pub static HASH_MISSING: Reason = Reason::new(
    "hash_missing",
    "The secret has no data-hash annotation: is it managed by External Secrets? If not, use compare: freshness.",
);
/// The external secret creates something other than a secret.
pub static NOT_A_SECRET: Reason = Reason::new(
    "not_a_secret",
    "target.manifest creates an object of another kind, which is not read: use compare: freshness.",
);
/// Somebody else has written the data, so the hash may not match the data.
pub static FOREIGN_WRITER: Reason = Reason::new(
    "foreign_writer",
    "Who wrote the data? kubectl get secret -o yaml --show-managed-fields. Then refresh: annotate the ExternalSecret.",
);
/// Both sides are the same object.
pub static SAME_OBJECT: Reason = reasons::same_object(
    "Both connections lead to the same cluster: is a context missing, or has the name of an API server failed over?",
);
/// The object is being deleted.
pub static BEING_DELETED: Reason = reasons::being_deleted(
    "It is being deleted and waits for a finalizer: who deleted it? Create it again, or remove the check.",
);
/// The hashes come from different algorithms.
pub static HASH_ALGORITHMS_DIFFER: Reason = Reason::new(
    "hash_algorithms_differ",
    "The clusters run External Secrets from before and after 0.16.2: upgrade the older one, or use compare: freshness.",
);

pub(super) const REASONS: [&Reason; 30] = join(
    kubernetes::REASONS,
    [
        &NOT_READY,
        &EXTERNAL_SECRET_MISSING,
        &SECRET_MISSING,
        &PRIMARY_MISSING,
        &STALE,
        &SPEC_NOT_SYNCED,
        &SOURCE_GONE,
        &NO_FRESHNESS,
        &PENDING,
        &DRIFT,
        &DR_CHANGED,
        &HASH_MISSING,
        &HASH_ALGORITHMS_DIFFER,
        &NOT_A_SECRET,
        &FOREIGN_WRITER,
        &SAME_OBJECT,
        &BEING_DELETED,
    ],
);
