//! Whether an application matches git, as far as Argo CD knows.

use std::time::Duration;

use super::Seen;
use super::reasons::{
    BEING_DELETED, COMPARISON_ERROR, CONTROLLER_SILENT, HYDRATION_FAILED, NEVER_RECONCILED, NOT_HYDRATED, OUT_OF_SYNC,
    SPEC_NOT_COMPARED, SYNC_UNKNOWN,
};
use crate::clients::http::readable;
use crate::clients::kubernetes::objects::{Application, ComparedTo, Deployed, bare};
use crate::domain::observation::Finding;
use crate::domain::time::Timestamp;

/// The knowledge of Argo CD.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It was in sync at the last comparison, which is recent.
    Same {
        /// The time of that comparison.
        at: Timestamp,
    },
    /// It differs from git.
    Different(Finding),
    /// Argo CD has not compared for too long.
    Silent {
        /// When it was in sync, if that was the last result.
        in_sync: Option<Timestamp>,
        finding: Finding,
    },
    /// Argo CD cannot tell.
    Unknown(Finding),
}

/// Conditions under which the sync status says nothing.
const ERRORS: [&str; 3] = ["ComparisonError", "InvalidSpecError", "UnknownError"];

/// What Argo CD knows about an application at `now`.
pub(super) fn of(seen: &Seen, stale_after: Duration, now: Timestamp) -> Verdict {
    let status = &seen.application.status;
    let Some(at) = seen.reconciled else {
        return Verdict::Unknown(Finding::new(&NEVER_RECONCILED, "it was never compared"));
    };
    let trusted = trusted(&seen.application);
    let synced = status.sync.status == "Synced";
    let age = now.since(at);
    if age > stale_after {
        let detail = format!("last compared {}s ago", age.as_secs());
        let finding = Finding::new(&CONTROLLER_SILENT, detail);
        return Verdict::Silent { in_sync: (trusted.is_ok() && synced).then_some(at), finding };
    }
    match (trusted, status.sync.status.as_str()) {
        (Err(finding), _) => Verdict::Unknown(finding),
        (Ok(()), "Synced") => Verdict::Same { at },
        (Ok(()), "OutOfSync") => Verdict::Different(Finding::new(&OUT_OF_SYNC, differing(&seen.application))),
        (Ok(()), _) => Verdict::Unknown(Finding::new(&SYNC_UNKNOWN, "its sync status is unknown")),
    }
}

/// Whether the status is about the current spec of the application.
fn trusted(application: &Application) -> Result<(), Finding> {
    compared(application)?;
    hydrated(application)?;
    if application.status.sync.compared_to.as_ref().is_some_and(|compared| !is_of_this_spec(application, compared)) {
        return Err(Finding::new(&SPEC_NOT_COMPARED, "its last edit has not been compared"));
    }
    Ok(())
}

/// Whether there is a comparison at all. It may be with an earlier spec.
fn compared(application: &Application) -> Result<(), Finding> {
    if application.metadata.deletion_timestamp.is_some() {
        return Err(Finding::new(&BEING_DELETED, "the Application is being deleted, and its resources may go with it"));
    }
    let mut conditions = application.status.conditions.iter();
    if let Some(error) = conditions.find(|condition| ERRORS.contains(&condition.kind.as_str())) {
        return Err(Finding::new(&COMPARISON_ERROR, format!("{}: {}", error.kind, readable(&error.message))));
    }
    Ok(())
}

/// Whether the compared branch is up to date with the source. Of a hydrated source only the
/// rendered branch is compared, and that stays unchanged while rendering fails.
fn hydrated(application: &Application) -> Result<(), Finding> {
    let operation = application.status.source_hydrator.current_operation.as_ref();
    let Some(operation) = operation.filter(|_| application.spec.source_hydrator.is_some()) else { return Ok(()) };
    match operation.phase.as_str() {
        "Hydrated" => Ok(()),
        "Failed" => Err(Finding::new(&HYDRATION_FAILED, readable(&operation.message))),
        phase => Err(Finding::new(&NOT_HYDRATED, format!("its hydration is {phase}"))),
    }
}

/// `status.sync.comparedTo` is the spec at the time of the comparison. Argo CD leaves out empty
/// fields when it writes, but people may write them.
fn is_of_this_spec(application: &Application, compared: &ComparedTo) -> bool {
    let spec = &application.spec;
    let (source, sources, mut destination) = (spec.source, spec.sources, bare(&compared.destination));
    let wanted = bare(&spec.destination);
    // If the destination has a name, some versions write the server of that name.
    if wanted.get("name").is_some()
        && wanted.get("server").is_none()
        && let Some(destination) = destination.as_object_mut()
    {
        destination.remove("server");
    }
    // A hydrated source is neither in `source` nor in `sources`.
    let source_holds = match (source.is_empty(), sources.is_empty()) {
        (true, true) => true,
        (_, false) => sources == compared.sources,
        (false, true) => source == compared.source,
    };
    source_holds && wanted == destination
}

/// The revisions that an application was compared with, one for each source.
pub(super) fn revisions(application: &Application) -> Vec<&str> {
    let sync = &application.status.sync;
    of_sources(&sync.revision, &sync.revisions)
}

fn of_sources<'a>(revision: &'a str, revisions: &'a [String]) -> Vec<&'a str> {
    if revisions.is_empty() { vec![revision] } else { revisions.iter().map(String::as_str).collect() }
}

/// When the last full deployment began, if that proves that the application was in sync. This is
/// weaker evidence than a comparison, for an application that was never seen in sync.
///
/// A deployment has the revision with which it began, and may last for hours. A person can deploy an
/// older revision, so a deployment alone does not prove that the cluster matches git. It does if
/// Argo CD began it, or if its revision is the one that the application is compared with. Whether
/// auto-sync is on now says nothing about then.
pub(super) fn deployed(application: &Application) -> Option<jiff::Timestamp> {
    let last: &Deployed = application.status.history.iter().max_by_key(|deployed| deployed.deployed_at)?;
    proven(last, of_sources(&last.revision, &last.revisions) == revisions(application))
}

/// When a deployment began, if that proves what the cluster held. It does if the revision `is_right`,
/// or if Argo CD chose it.
fn proven(deployed: &Deployed, is_right: bool) -> Option<jiff::Timestamp> {
    deployed.deploy_started_at.filter(|_| is_right || deployed.initiated_by.automated)
}

/// A token for the last deployment: when, and of what. None if there was none.
pub(super) fn last_deployment(application: &Application) -> Option<String> {
    let last: &Deployed = application.status.history.iter().max_by_key(|deployed| deployed.deployed_at)?;
    Some(format!("{} of {}", last.deployed_at?, of_sources(&last.revision, &last.revisions).join("+")))
}

/// Whether the last comparison began after the last deployment. Both times are of Argo CD, in whole
/// seconds, so within the same second nobody can tell.
pub(super) fn is_compared_since_deployed(application: &Application) -> bool {
    let deployed = application.status.history.iter().filter_map(|deployed| deployed.deployed_at).max();
    application.status.reconciled_at > deployed
}

/// To when the cluster was rolled back, and when that was.
///
/// It was if the deployed revision was deployed before, and others since then: the cluster is as old
/// as that. Or if a person deployed a revision that is neither known nor what git has: nobody can
/// tell how old it is.
pub(super) fn rolled_back(application: &Application) -> Option<(Option<jiff::Timestamp>, jiff::Timestamp)> {
    let mut history: Vec<&Deployed> = application.status.history.iter().collect();
    history.sort_by_key(|deployed| deployed.deployed_at);
    let (last, before) = history.split_last()?;
    let is_last = |deployed: &&&Deployed| {
        of_sources(&deployed.revision, &deployed.revisions) == of_sources(&last.revision, &last.revisions)
    };
    let at = last.deployed_at?;
    // Deployed again, with nothing else in between, it is no older than it was.
    let others = before.iter().rev().skip_while(is_last);
    let is_followed = of_sources(&last.revision, &last.revisions) == revisions(application);
    if let Some(earlier) = others.skip(1).find(is_last) {
        return Some((proven(earlier, is_followed), at));
    }
    let is_news = !before.iter().any(|deployed| is_last(&deployed)) && !is_followed && !last.initiated_by.automated;
    is_news.then_some((None, at))
}

/// Whether what was deployed last had been deployed before.
pub(super) fn is_deployed_again(application: &Application) -> bool {
    let history = &application.status.history;
    let last = history.iter().max_by_key(|deployed| deployed.deployed_at);
    let of = |deployed: &Deployed| (deployed.revision.clone(), deployed.revisions.clone());
    last.is_some_and(|last| history.iter().filter(|deployed| of(deployed) == of(last)).count() > 1)
}

/// The revisions that Argo CD last compared the application with. None if the status has no
/// comparison.
///
/// Unlike the sync status, this stays valid when the comparisons stop: it is what was last
/// deployed, or will be.
pub(super) fn followed(application: &Application) -> Option<Vec<&str>> {
    compared(application).ok()?;
    let followed = revisions(application);
    let told = followed.iter().all(|revision| !revision.is_empty());
    (told && ["Synced", "OutOfSync"].contains(&application.status.sync.status.as_str())).then_some(followed)
}

/// Whether the application was deployed at these revisions, and now follows others.
pub(super) fn has_left(application: &Application, revisions: &[&str]) -> bool {
    let was_there = |deployed: &Deployed| of_sources(&deployed.revision, &deployed.revisions) == revisions;
    self::revisions(application) != revisions && application.status.history.iter().any(was_there)
}

/// A token for what the cluster holds. It changes with every successful operation, because that may
/// have brought what was missing. Failed operations, which Argo CD repeats, do not change it.
pub(super) fn holds(application: &Application) -> String {
    let status = &application.status;
    let operated = status.operation_state.as_ref().filter(|operation| operation.phase == "Succeeded");
    let operated = operated.and_then(|operation| operation.finished_at);
    let deployed = status.history.iter().filter_map(|deployed| deployed.deployed_at).max();
    operated.max(deployed).map_or_else(|| "never deployed".to_owned(), |at| format!("deployed {at}"))
}

/// A token for what the cluster should hold: the revisions that it was last compared with.
pub(super) fn expected(application: &Application) -> String {
    revisions(application).join("+")
}

/// Why the last operation failed. The application may be in sync all the same.
pub(super) fn failed_operation(application: &Application) -> Option<String> {
    let operation = application.status.operation_state.as_ref();
    let failed = operation.filter(|operation| ["Failed", "Error"].contains(&operation.phase.as_str()));
    let error = application.status.conditions.iter().find(|condition| condition.kind == "SyncError");
    let of_operation = failed.map(|failed| format!("{}: {}", failed.phase, readable(&failed.message)));
    of_operation.or_else(|| error.map(|error| format!("{}: {}", error.kind, readable(&error.message))))
}

/// Whether auto-sync is on.
pub(super) fn is_auto_synced(application: &Application) -> bool {
    let automated = application.spec.sync_policy.as_ref().and_then(|policy| policy.automated.as_ref());
    automated.is_some_and(|automated| automated.enabled != Some(false))
}

/// How many resources a finding names.
const NAMED: usize = 5;

fn differing(application: &Application) -> String {
    let differ = || application.status.resources.out_of_sync().filter(|(_, count)| *count > 0);
    let count: u32 = differ().map(|(_, count)| count).sum();
    let kinds: Vec<&str> = differ().map(|(kind, _)| kind).take(NAMED).collect();
    let auto = if is_auto_synced(application) { "on" } else { "off" };
    format!("{count} resources differ from git ({}); auto-sync is {auto}", kinds.join(", "))
}
