//! Which dashboards DR should have according to the primary.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{ASKED, FORBIDDEN, GrafanaCheck, verdict};
use crate::decode::values::DashboardUid;

/// What is known of the primary's dashboards.
#[derive(Debug, Default)]
pub(super) struct OfPrimary {
    /// Those that it shows, or showed when it was last asked.
    pub(super) shown: BTreeSet<DashboardUid>,
    /// Those that DR should have. None if it never showed any.
    pub(super) expected: Option<BTreeSet<DashboardUid>>,
    /// Those of them that it has or no longer has: it answers, but does not tell which.
    pub(super) untold: BTreeSet<DashboardUid>,
    /// What people should know of it.
    pub(super) note: Option<String>,
}

impl GrafanaCheck {
    /// What the primary has. What is no longer in its list is forgotten once it says "not found": a list leaves out
    /// what the token may not see.
    pub(super) async fn of_primary(&self, deadline: Instant) -> Option<OfPrimary> {
        let primary = self.primary.as_ref()?;
        let known = self.lock().memory.primary.clone();
        let listed = match primary.dashboards(deadline).await {
            Ok(listed) => listed,
            Err(trouble) => {
                let note = Some(format!("the primary could not be asked: {}", trouble.finding));
                let shown = known.clone().unwrap_or_default();
                return Some(OfPrimary { shown, expected: known, untold: BTreeSet::new(), note });
            }
        };
        let (mut kept, mut untold, mut answers) = (BTreeSet::new(), BTreeSet::new(), true);
        for (index, uid) in known.iter().flatten().filter(|uid| !listed.contains(uid)).enumerate() {
            let told = if answers && index < ASKED { Some(primary.dashboard(uid, deadline).await) } else { None };
            let is_forbidden = matches!(&told, Some(Err(trouble)) if trouble.finding.reason == &FORBIDDEN);
            answers &= is_forbidden || !matches!(told, Some(Err(_)));
            if is_forbidden || (answers && told.is_none()) {
                untold.insert(uid.clone());
            }
            // An empty list is also that of a new one without a database, which does not know what it had.
            if listed.is_empty() || !matches!(told, Some(Ok(None))) {
                kept.insert(uid.clone());
            }
        }
        if listed.is_empty() {
            let note = Some("the primary's list is empty, so it does not count".to_owned());
            return Some(OfPrimary { shown: kept, expected: known, untold, note });
        }
        let names: Vec<&DashboardUid> = kept.iter().collect();
        let note = (!kept.is_empty()).then(|| {
            let names = verdict::names(&names);
            format!("the primary no longer lists these, but does not say that they are gone: {names}")
        });
        let expected: BTreeSet<DashboardUid> = listed.union(&kept).cloned().collect();
        self.lock().memory.primary = Some(expected.clone());
        Some(OfPrimary { shown: listed, expected: Some(expected), untold, note })
    }
}
