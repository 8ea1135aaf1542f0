//! The reasons of `argocd_app`.

use crate::clients::kubernetes;
use crate::clients::reasons;
use crate::domain::observation::{Reason, join};

/// There is no such application.
pub static APPLICATION_MISSING: Reason =
    Reason::new("application_missing", "There is no such Application: was it deleted, or are the names wrong?");
/// The resources of the application fail.
pub static DEGRADED: Reason = Reason::new("degraded", "Resources of the application fail: argocd app get shows which.");
/// Resources of the application are missing.
pub static RESOURCES_MISSING: Reason = Reason::new(
    "resources_missing",
    "Resources of the application do not exist: sync it, and find out why it was not synced.",
);
/// Argo CD cannot say whether the application works.
pub static HEALTH_UNCERTAIN: Reason = Reason::new(
    "health_uncertain",
    "The application is progressing, suspended or unknown: argocd app get shows which resource. See accept_health.",
);
/// The application differs from git.
pub static OUT_OF_SYNC: Reason = Reason::new(
    "out_of_sync",
    "The cluster differs from git: run argocd app diff. Is auto-sync on? Does the sync fail?",
);
/// Argo CD cannot say whether the application matches git.
pub static SYNC_UNKNOWN: Reason =
    Reason::new("sync_unknown", "Argo CD cannot compare the application: look at the conditions in argocd app get.");
/// Argo CD fails to compare.
pub static COMPARISON_ERROR: Reason = Reason::new(
    "comparison_error",
    "Argo CD cannot load the manifests: is git reachable, and do the manifests render?",
);
/// Argo CD has not compared the application since its spec was edited.
pub static SPEC_NOT_COMPARED: Reason = Reason::new(
    "spec_not_compared",
    "The application was edited, and not compared since: wait, or look at the controller.",
);
/// Argo CD never looked at the application.
pub static NEVER_RECONCILED: Reason = Reason::new(
    "never_reconciled",
    "Argo CD never compared this application: does its controller run, and does it watch this namespace?",
);
/// Argo CD has fallen silent.
pub static CONTROLLER_SILENT: Reason = Reason::new(
    "controller_silent",
    "Argo CD has not compared the application for too long: is argocd-application-controller running?",
);
/// The two clusters are at different revisions.
pub static REVISION_DIFFERS: Reason = Reason::new(
    "revision_differs",
    "Primary and DR follow different revisions: compare targetRevision and the repository.",
);
/// There is nothing in the primary to compare with.
pub static PRIMARY_MISSING: Reason =
    reasons::primary_missing("There is no such Application in the primary: correct `primary`, or remove it.");

/// The hydrated branch could not be rendered.
pub static HYDRATION_FAILED: Reason = Reason::new(
    "hydration_failed",
    "The hydrated branch is old: argocd app get shows why it could not be rendered or pushed.",
);
/// The hydrated branch is being rendered.
pub static NOT_HYDRATED: Reason = Reason::new(
    "not_hydrated",
    "The hydrated branch is being rendered: does that never end? Look at argocd-application-controller and the commit server.",
);
/// Both sides are the same object.
pub static SAME_OBJECT: Reason = reasons::same_object(
    "DR and `primary` are the same Application: is a context missing, or has the name of an API server failed over?",
);
/// The application is being deleted.
pub static BEING_DELETED: Reason = reasons::being_deleted(
    "It is being deleted and waits for a finalizer: who deleted it? Create it again, or remove the check.",
);
/// The last operation failed.
pub static OPERATION_FAILED: Reason = Reason::new(
    "operation_failed",
    "The last sync failed, although the application may be in sync: argocd app get shows why, such as a failed hook.",
);

pub(super) const REASONS: [&Reason; 29] = join(
    kubernetes::REASONS,
    [
        &APPLICATION_MISSING,
        &DEGRADED,
        &RESOURCES_MISSING,
        &HEALTH_UNCERTAIN,
        &OUT_OF_SYNC,
        &SYNC_UNKNOWN,
        &COMPARISON_ERROR,
        &SPEC_NOT_COMPARED,
        &NEVER_RECONCILED,
        &CONTROLLER_SILENT,
        &REVISION_DIFFERS,
        &PRIMARY_MISSING,
        &HYDRATION_FAILED,
        &NOT_HYDRATED,
        &SAME_OBJECT,
        &BEING_DELETED,
    ],
);
