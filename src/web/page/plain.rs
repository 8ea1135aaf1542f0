//! Pages without figures: the configuration, the runbooks, and what is not there.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, PreEscaped, html};

use super::parts::time;
use super::{Links, Page};
use crate::clock::Moment;
use crate::engine::snapshot::Configuration;

/// The configuration in use.
pub(in crate::web) fn configuration(configuration: Option<&Configuration>, moment: Moment) -> Response {
    let body = html! {
        h1 { "Configuration" }
        @match configuration {
            Some(configuration) => {
                p { "As it is in use, read at " (time(moment.wall(configuration.read))) ", without comments. Secrets stand in the files that it names." }
                @if let Some(refused) = &configuration.refused {
                    p { b { "A later one was refused:" } }
                    pre #refused tabindex="0" role="region" aria-label="Errors of the refused configuration" { (refused) }
                }
                pre #configuration tabindex="0" role="region" aria-label="Configuration" { code { (configuration.shown.whole) } }
            }
            None => p { "It is not known here." }
        }
    };
    let links = Links::ROOT;
    Page { links, title: "Configuration".to_owned(), fresh: None, body }.respond(StatusCode::OK)
}

/// A runbook, rendered.
pub(in crate::web) fn runbook(links: Links, title: &str, html: String) -> Response {
    let body = PreEscaped(html);
    Page { links, title: title.to_owned(), fresh: None, body }.respond(StatusCode::OK)
}

/// What is not there, with links to what is.
pub(in crate::web) fn not_found(links: Links, message: &str, places: &[(&str, &str)]) -> Response {
    let body: Markup = html! {
        h1 { "There is nothing here" }
        p { (message) }
        ul { @for (path, what) in places { li { a href=(links.to(path)) { "/" (path) } ": " (what) } } }
    };
    Page { links, title: "Not found".to_owned(), fresh: None, body }.respond(StatusCode::NOT_FOUND)
}
