//! The small parts that every page uses: shapes, words, times.

use std::time::Duration;

use maud::{Markup, html};

use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::export::report::FindingStatus;
use crate::export::text;

/// The shape of a status. Each status has its own, so that it is told without its colour.
pub(super) fn shape(status: Option<Status>) -> Markup {
    html! {
        svg.shape viewBox="0 0 16 16" aria-hidden="true" {
            @match status {
                Some(Status::Met) => {
                    circle cx="8" cy="8" r="7.5" {}
                    path.cut d="M4.5 8.5l2.5 2.5 4.5-5.5" {}
                }
                Some(Status::AtRisk) => {
                    path d="M8 .8 15.8 15H.2z" {}
                    path.cut d="M8 6v4M8 12.6v.2" {}
                }
                Some(Status::Unproven) => {
                    path d="M8 0l8 8-8 8-8-8z" {}
                    path.cut.thin d="M5.9 6.4C5.9 4.2 10.1 4.2 10.1 6.5 10.1 8 8 8 8 9.4M8 11.6v.1" {}
                }
                Some(Status::Breached) => {
                    path d="M5 .5h6L15.5 5v6L11 15.5H5L.5 11V5z" {}
                    path.cut d="M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6" {}
                }
                None => { path d="M1 6.5h14v3H1z" {} }
            }
        }
    }
}

/// The class of a status.
pub(super) const fn class(status: Option<Status>) -> &'static str {
    match status {
        Some(status) => status.label(),
        None => "none",
    }
}

/// A status as a word.
pub(super) const fn word(status: Option<Status>) -> &'static str {
    match status {
        Some(Status::Met) => "Met",
        Some(Status::AtRisk) => "At risk",
        Some(Status::Unproven) => "Unproven",
        Some(Status::Breached) => "Breached",
        None => "Not observed",
    }
}

/// A status in shape and word.
pub(super) fn badge(status: Option<Status>) -> Markup {
    told(status, word(status))
}

/// The shape of a status with another word.
pub(super) fn told(status: Option<Status>, word: &str) -> Markup {
    html! { span class={ "word " (class(status)) } { (shape(status)) (word) } }
}

/// A time on the wall clock.
pub(super) fn time(at: Timestamp) -> Markup {
    let time = jiff::Timestamp::from(at);
    html! { time datetime=(at) { (time.strftime("%Y-%m-%d %H:%M:%S")) } }
}

/// How long ago something was. The script keeps it counting.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    let age = now.since(at);
    let exactly = jiff::Timestamp::from(at);
    html! {
        time datetime=(at) title=(exactly.strftime("%Y-%m-%d %H:%M:%S UTC")) data-age=(seconds(age)) {
            (text::duration(Duration::from_secs(age.as_secs())))
        }
        " ago"
    }
}

/// A running clock. The script keeps it counting.
pub(super) fn clock(elapsed: f64) -> Markup {
    html! { span.clock data-clock=(format!("{elapsed:.1}")) { (text::clock(elapsed)) } }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

/// Something wrong, with what to do about it.
pub(super) fn finding(finding: &FindingStatus) -> Markup {
    html! {
        div {
            // The runbooks name the label.
            b title=(finding.reason) { (plain_words(&finding.reason)) } ": " (finding.detail)
            p.todo { span.muted { "What to do: " } (finding.advice) }
        }
    }
}

/// A label as words: `connect_failed` is "connect failed".
pub(super) fn plain_words(label: &str) -> String {
    label.replace('_', " ")
}
