//! The verdict on what was seen of a Grafana. Pure.

use serde_json::Value;

use super::api::Trouble;
use super::{DASHBOARDS_MISSING, PRIMARY_UNKNOWN};
use crate::decode::values::DashboardUid;
use crate::domain::observation::{Finding, Health};

/// What one run saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The number of expected dashboards.
    pub(super) expected: usize,
    /// Why the expected dashboards are not known.
    pub(super) unknown: Option<Finding>,
    /// Why Grafana gave no answer, or not all answers.
    pub(super) trouble: Option<Trouble>,
    /// The dashboards that are proven not to exist.
    pub(super) missing: Vec<DashboardUid>,
    /// The dashboards that do not exist, and of which the primary does not tell whether it still has them.
    pub(super) untold: Vec<DashboardUid>,
    /// The dashboards that may exist, but that this token may not see.
    pub(super) hidden: Vec<DashboardUid>,
    /// The message of Grafana for the first of those.
    pub(super) forbidden: Option<Finding>,
    /// The number of further dashboards that are not in the list and were not requested.
    pub(super) unasked: usize,
}

impl Seen {
    /// Whether it is known for each dashboard whether it exists.
    pub(super) fn is_complete(&self) -> bool {
        let is_known = self.unknown.is_none() && self.untold.is_empty();
        is_known && self.trouble.is_none() && self.hidden.is_empty() && self.unasked == 0
    }
}

/// Failures have priority over what is not known, and that has priority over good news.
pub(super) fn of(seen: &Seen) -> Health {
    if !seen.missing.is_empty() {
        let names: Vec<&DashboardUid> = seen.missing.iter().collect();
        let mut story = format!("{} of {} dashboards are missing: {}", names.len(), seen.expected, self::names(&names));
        if seen.unasked > 0 {
            story.push_str(&format!("; {} more are not listed", seen.unasked));
        }
        return Health::Unhealthy(Finding::new(&DASHBOARDS_MISSING, story));
    }
    if let Some(Trouble { finding, of_grafana }) = &seen.trouble {
        return if *of_grafana { Health::Unhealthy(finding.clone()) } else { Health::NoAnswer(finding.clone()) };
    }
    if let Some(finding) = &seen.unknown {
        return Health::NoAnswer(finding.clone());
    }
    if !seen.untold.is_empty() {
        let names = names(&seen.untold.iter().collect::<Vec<_>>());
        let story = format!("these are missing here, and the primary does not tell whether it still has them: {names}");
        return Health::NoAnswer(Finding::new(&PRIMARY_UNKNOWN, story));
    }
    if let Some(finding) = &seen.forbidden {
        let hidden: Vec<&DashboardUid> = seen.hidden.iter().collect();
        let story = format!("{}; not to be seen: {}", finding.detail, names(&hidden));
        return Health::NoAnswer(Finding::new(finding.reason, story));
    }
    Health::Healthy
}

/// UIDs as text, as many as people can read.
pub(super) fn names(uids: &[&DashboardUid]) -> String {
    const MOST: usize = 50;

    let mut text = uids.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if uids.len() > MOST {
        text.push_str(&format!(" and {} more", uids.len() - MOST));
    }
    text
}

/// A dashboard without the fields that each Grafana sets itself.
pub(super) fn content(mut dashboard: Value) -> Value {
    if let Some(model) = dashboard.as_object_mut() {
        for key in ["id", "version", "iteration"] {
            model.remove(key);
        }
    }
    dashboard
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{CONNECT_FAILED, FOLDER_UNREADABLE, FORBIDDEN};
    use super::*;

    fn uid(text: &str) -> DashboardUid {
        DashboardUid::of(text).expect("a uid")
    }

    fn reason(seen: &Seen) -> String {
        match of(seen) {
            Health::Healthy => "healthy".to_owned(),
            Health::Unhealthy(finding) => format!("unhealthy {}", finding.reason.label),
            Health::Pending(finding) => format!("pending {}", finding.reason.label),
            Health::NoAnswer(finding) => format!("no_answer {}", finding.reason.label),
        }
    }

    #[test]
    fn what_is_proven_missing_outweighs_what_is_not_known() {
        let forbidden = || Some(Finding::new(&FORBIDDEN, "Access denied"));
        let refused = |of_grafana| Some(Trouble { finding: Finding::new(&CONNECT_FAILED, "refused"), of_grafana });
        let unknown = || Some(Finding::new(&FOLDER_UNREADABLE, "gone"));
        let seen = |missing: &[&str], hidden: &[&str]| Seen {
            expected: 3,
            missing: missing.iter().map(|text| uid(text)).collect(),
            hidden: hidden.iter().map(|text| uid(text)).collect(),
            forbidden: (!hidden.is_empty()).then(forbidden).flatten(),
            ..Seen::default()
        };
        assert_eq!(reason(&seen(&[], &[])), "healthy");
        assert_eq!(reason(&seen(&[], &["a"])), "no_answer forbidden");
        assert_eq!(reason(&seen(&["b"], &["a"])), "unhealthy dashboards_missing");
        assert_eq!(reason(&Seen { trouble: refused(true), ..seen(&[], &[]) }), "unhealthy connect_failed");
        assert_eq!(reason(&Seen { trouble: refused(false), ..seen(&[], &[]) }), "no_answer connect_failed");
        assert_eq!(reason(&Seen { trouble: refused(false), ..seen(&["b"], &[]) }), "unhealthy dashboards_missing");
        assert_eq!(reason(&Seen { unknown: unknown(), ..seen(&[], &[]) }), "no_answer folder_unreadable");
        let untold = || vec![uid("c")];
        assert_eq!(reason(&Seen { untold: untold(), ..seen(&[], &[]) }), "no_answer primary_unknown");
        assert_eq!(reason(&Seen { untold: untold(), ..seen(&["b"], &[]) }), "unhealthy dashboards_missing");
        let both = Seen { unknown: unknown(), trouble: refused(true), ..seen(&[], &[]) };
        assert_eq!(reason(&both), "unhealthy connect_failed");
    }

    #[test]
    fn counters_of_a_grafana_are_no_difference() {
        let model = |id: u32, title: &str| json!({"id": id, "version": id, "iteration": id, "uid": "a", "title": title, "panels": [{"id": 1}]});
        assert_eq!(content(model(1, "A")), content(model(2, "A")));
        assert_ne!(content(model(1, "A")), content(model(1, "B")));
    }
}
