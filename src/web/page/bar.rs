//! The figure of an objective against its target, as a bar.

use maud::{Markup, html};

use crate::export::report::ObjectiveStatus;
use crate::export::text;

/// The width of the drawing, and where the target lies in it. What is beyond the target has the
/// rest.
const WIDTH: f64 = 1000.0;
const TARGET: f64 = 800.0;

/// The bar. What is known is thick, and what may be is thin. Two ticks mark the at-risk share and
/// the target.
pub(super) fn bar(objective: &ObjectiveStatus, at_risk_ratio: f64) -> Markup {
    let place = |seconds: f64| (seconds / objective.target_seconds * TARGET).clamp(0.0, WIDTH);
    let known = objective.known_seconds.map(place).unwrap_or_default();
    // A figure without an upper end may be anything.
    let most = objective.observed_seconds.map_or(WIDTH, place).max(known);
    let figure = objective.observed_seconds.is_some() || objective.known_seconds.is_some();
    let risk = at_risk_ratio * TARGET;
    let caption = caption(objective, at_risk_ratio);
    html! {
        svg class={ "bar " (objective.status.label()) } viewBox="0 0 1000 40" preserveAspectRatio="none" role="img" aria-label=(caption) {
            rect.track x="0" y="8" width="1000" height="24" {}
            @if figure {
                rect.maybe x="0" y="15" width=(fixed(most)) height="10" {}
                rect.known x="0" y="8" width=(fixed(known)) height="24" {}
            }
            rect.tick x=(fixed(risk - 1.5)) y="4" width="3" height="12" { title { "at risk above this" } }
            rect.tick x=(fixed(TARGET - 2.5)) y="0" width="5" height="40" { title { "the target" } }
        }
        p.ends { span { (caption) } }
    }
}

fn caption(objective: &ObjectiveStatus, at_risk_ratio: f64) -> String {
    let target = text::seconds(objective.target_seconds);
    let risk = text::seconds(objective.target_seconds * at_risk_ratio);
    let used = match objective.used_ratio {
        Some(ratio) => format!("{:.0} % of the target", ratio * 100.0),
        None => "no upper end".to_owned(),
    };
    format!("{used}; at risk above {risk}, target {target}")
}

/// A place in a drawing.
pub(super) fn fixed(number: f64) -> String {
    format!("{number:.1}")
}
