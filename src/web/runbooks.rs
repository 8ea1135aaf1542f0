//! The runbooks of the alerts. They are compiled in, so that they are at hand when the wiki is down.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};

use super::page::{Links, plain};
use super::pages::missing;

macro_rules! compiled_in {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../docs/runbooks/", $name, ".md")))),+]
    };
}

/// Every runbook with its text in Markdown. The first one is the list of all.
pub const ALL: &[(&str, &str)] = compiled_in![
    "README",
    "DRCheckNotAnswering",
    "DRCheckWarning",
    "DRClockSkew",
    "DRConfigReloadFailed",
    "DRContractConflict",
    "DRCopyLost",
    "DRDegradedOperationViolated",
    "DRDrillOverdue",
    "DRExporterDown",
    "DRGitOpsStale",
    "DRIncidentActive",
    "DRObjectiveAtRisk",
    "DRObjectiveBreached",
    "DRObjectiveUnproven",
    "DRRecoveryMissedObjective",
    "DRResponseLate",
    "DRSecretsOutOfSync",
    "DRShardMissing",
    "DRSplitBrain",
    "DRStoreDamaged",
    "DRStoreFailing",
    "DRSyncLagWarning",
    "DRTriggerActive",
    "DRTriggerUnknown",
];

/// The list of the runbooks.
pub(super) async fn list(uri: Uri, headers: HeaderMap) -> Response {
    show("README", Links::ROOT, &uri, &headers)
}

/// The runbook of an alert, with or without `.md`.
pub(super) async fn serve(name: Result<Path<String>, PathRejection>, uri: Uri, headers: HeaderMap) -> Response {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    show(name.strip_suffix(".md").unwrap_or(&name), Links::FOLDER, &uri, &headers)
}

fn show(name: &str, links: Links, uri: &Uri, headers: &HeaderMap) -> Response {
    match ALL.iter().find(|(known, _)| *known == name) {
        Some((name, text)) => {
            let title = if *name == "README" { "Runbooks" } else { name };
            plain::runbook(links, title, rendered(text, links))
        }
        None => missing("there is no runbook with this name; /runbooks lists them", uri, headers),
    }
}

/// What is wide scrolls by itself, also with the keyboard.
const WIDE: &str = "tabindex=\"0\" role=\"region\"";

/// Markdown as HTML. HTML in the text is shown as text. Links to other runbooks stay, and those to
/// the rest of the documentation become plain text, because it is not served.
fn rendered(text: &str, links: Links) -> String {
    let mut kept = Vec::new();
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Some(Event::Text(html)),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let target = target(&dest_url, links);
            kept.push(target.is_some());
            target.map(|target| Event::Start(Tag::Link { link_type, dest_url: CowStr::from(target), title, id }))
        }
        Event::End(end @ pulldown_cmark::TagEnd::Link) => kept.pop().unwrap_or(false).then_some(Event::End(end)),
        event => Some(event),
    });
    let mut out = String::with_capacity(text.len() * 2);
    html::push_html(&mut out, events);
    // In texts these signs are escaped.
    out.replace("<pre>", &format!("<pre {WIDE} aria-label=\"Commands\">"))
        .replace("<table>", &format!("<div class=\"wide\" {WIDE} aria-label=\"Table\"><table>"))
        .replace("</table>", "</table></div>")
}

/// Where a link of a runbook leads here. None if that is not served.
fn target(link: &str, links: Links) -> Option<String> {
    if link.starts_with("https://") || link.starts_with('#') {
        return Some(link.to_owned());
    }
    let (page, place) = link.split_once('#').map_or((link, String::new()), |(page, place)| (page, format!("#{place}")));
    let name = page.strip_suffix(".md").filter(|name| ALL.iter().any(|(known, _)| known == name))?;
    Some(links.to(&format!("runbooks/{name}{place}")))
}
