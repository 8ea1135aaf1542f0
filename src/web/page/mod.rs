//! The pages for people. They show what `export` computed, and decide nothing.
//!
//! Everything works without a script, and nothing is loaded from elsewhere: the files are compiled
//! in (`files`), and no style or script stands in a page.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::files::STAMP;

pub(super) mod contract;
pub(super) mod plain;
pub(super) mod status;

mod bar;
mod checks;
mod parts;
mod past;
mod people;
mod progress;
mod shards;

/// Where a page lies, and so how it reaches the others. All links are relative, so a page works
/// behind any prefix.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links(usize);

impl Links {
    /// From `/`, and other pages without a folder.
    pub(super) const ROOT: Self = Self(0);
    /// From a page in a folder.
    pub(super) const FOLDER: Self = Self(1);

    /// From this path.
    pub(super) fn from(path: &str) -> Self {
        Self(path.trim_start_matches('/').matches('/').count())
    }

    /// The link to a path, which begins without a slash.
    pub(super) fn to(self, path: &str) -> String {
        if path.is_empty() && self.0 == 0 { "./".to_owned() } else { format!("{}{path}", "../".repeat(self.0)) }
    }
}

/// What a page is made of.
pub(super) struct Page {
    pub(super) links: Links,
    pub(super) title: String,
    /// The answer that the page shows, and the instant for which it does, if it keeps itself fresh.
    pub(super) fresh: Option<Fresh>,
    pub(super) body: Markup,
}

/// A page that keeps itself fresh.
pub(super) struct Fresh {
    /// The instant.
    pub(super) now: String,
    /// A word that changes if a screen reader is to tell.
    pub(super) answer: String,
}

impl Page {
    /// The page with this status.
    pub(super) fn respond(self, status: StatusCode) -> Response {
        let mut response = (status, axum::response::Html(self.render().into_string())).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn render(self) -> Markup {
        let Self { links, title, fresh, body } = self;
        let (now, answer) = fresh.map(|Fresh { now, answer }| (now, answer)).unzip();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) " · dr-exporter" }
                    link rel="stylesheet" href=(links.to(&format!("static/page.css?{STAMP:x}")));
                    link rel="icon" type="image/svg+xml" href=(links.to(&format!("static/icon.svg?{STAMP:x}")));
                    @if now.is_some() {
                        script defer src=(links.to(&format!("static/page.js?{STAMP:x}"))) {}
                        noscript { meta http-equiv="refresh" content="10"; }
                    }
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header {
                        p { "dr-exporter" }
                        (navigation(links))
                    }
                    p.notice #connection hidden { span role="alert" {} span {} }
                    p.unseen #news role="status" {}
                    main #main tabindex="-1" data-now=[now] data-answer=[answer] { (body) }
                    footer { p { "dr-exporter " (env!("CARGO_PKG_VERSION")) ". All times are in UTC." } }
                }
            }
        }
    }
}

fn navigation(links: Links) -> Markup {
    let pages = [
        ("", "Status"),
        ("config", "Configuration"),
        ("runbooks", "Runbooks"),
        ("api/v1/openapi.json", "API"),
        ("metrics", "Metrics"),
    ];
    html! {
        nav aria-label="Pages" {
            ul { @for (path, name) in pages { li { a href=(links.to(path)) { (name) } } } }
        }
    }
}
