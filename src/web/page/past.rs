//! The statuses of the past: as a strip, as a chart, and as a table.

use std::borrow::Cow;
use std::time::Duration;

use maud::{Markup, html};

use super::bar::fixed;
use super::parts::{badge, class, time, word};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::export::history::{HistoryReport, ObjectiveHistory, Piece};
use crate::export::text::duration;

/// At most this many rows are in the table of a chart.
const ROWS: usize = 200;
/// At most this many are in that of a strip, and a strip has at most so many blocks: a page may have
/// hundreds of them, and is fetched every few seconds.
const FEW_ROWS: usize = 20;
const BLOCKS: u32 = 96;

/// How bad it is to find this status in a block. What nobody observed is not good.
fn badness(status: Option<Status>) -> u8 {
    match status {
        Some(Status::Met) => 0,
        Some(Status::AtRisk) => 1,
        None => 2,
        Some(Status::Unproven) => 3,
        Some(Status::Breached) => 4,
    }
}

/// The blocks of a strip: the pieces. If they are too many, each block is an equal part of the time
/// with the worst status in it.
fn blocks<'a>(past: &'a ObjectiveHistory, report: &HistoryReport) -> Cow<'a, [Piece]> {
    if past.pieces.len() <= BLOCKS as usize {
        return Cow::Borrowed(&past.pieces);
    }
    let length = report.until.since(report.from) / BLOCKS;
    let mut blocks: Vec<Piece> = Vec::new();
    for number in 0..BLOCKS {
        let (from, until) = (report.from.plus(length * number), report.from.plus(length * (number + 1)));
        let within = past.pieces.iter().filter(|piece| piece.from < until && piece.until > from);
        let Some(status) = within.map(|piece| piece.status).max_by_key(|status| badness(*status)) else { continue };
        match blocks.last_mut() {
            Some(last) if last.status == status => last.until = until,
            _ => blocks.push(Piece { from, until, status, because: "The worst of this time".to_owned() }),
        }
    }
    Cow::Owned(blocks)
}

/// Where a piece lies in a drawing of this width, and how wide it is. A short piece is still seen.
fn place(piece: &Piece, report: &HistoryReport, width: f64) -> (f64, f64) {
    let whole = report.until.since(report.from).as_secs_f64().max(1.0);
    let x = piece.from.since(report.from).as_secs_f64() / whole * width;
    let length = piece.until.since(piece.from).as_secs_f64() / whole * width;
    (x.min(width - 2.0), length.max(2.0))
}

fn hover(piece: &Piece) -> String {
    let at = |at: Timestamp| jiff::Timestamp::from(at).strftime("%b %d %H:%M:%S").to_string();
    let lasted = duration(piece.until.since(piece.from));
    format!("{} to {} ({lasted}): {}. {}", at(piece.from), at(piece.until), word(piece.status), piece.because)
}

/// How much of the time each status had, in words.
fn shares(past: &ObjectiveHistory, report: &HistoryReport) -> String {
    let whole = report.until.since(report.from).as_secs_f64().max(1.0);
    let statuses = [Some(Status::Breached), Some(Status::Unproven), Some(Status::AtRisk), Some(Status::Met), None];
    let shares = statuses.into_iter().filter_map(|status| {
        let pieces = past.pieces.iter().filter(|piece| piece.status == status);
        let lasted: Duration = pieces.map(|piece| piece.until.since(piece.from)).sum();
        let share = percent(lasted.as_secs_f64() / whole);
        (!lasted.is_zero()).then(|| format!("{} {} ({share})", word(status).to_lowercase(), duration(lasted)))
    });
    shares.collect::<Vec<_>>().join(", ")
}

/// A share in percent. A short breach is not rounded to nothing, nor the rest to everything.
fn percent(share: f64) -> String {
    match share * 100.0 {
        few if few > 0.0 && few < 0.1 => "< 0.1 %".to_owned(),
        most if most < 100.0 && most > 99.9 => "> 99.9 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

/// The past of an objective in one line.
pub(super) fn strip(past: &ObjectiveHistory, report: &HistoryReport) -> Markup {
    let lasted = duration(report.until.since(report.from));
    let label = format!("The last {lasted}: {}", shares(past, report));
    html! {
        svg.strip viewBox="0 0 1000 24" preserveAspectRatio="none" role="img" aria-label=(label) {
            @for piece in blocks(past, report).iter() {
                @let (x, width) = place(piece, report, 1000.0);
                // The height tells the status without its colour.
                @let (y, height) = match piece.status {
                    Some(Status::Breached) => (0, 24),
                    Some(Status::Unproven) => (6, 12),
                    Some(Status::AtRisk) => (10, 14),
                    Some(Status::Met) => (16, 8),
                    None => (22, 2),
                };
                rect class={ "fill-" (class(piece.status)) } x=(fixed(x)) y=(y) width=(fixed(width)) height=(height) {
                    title { (hover(piece)) }
                }
            }
        }
        p.ends { span { (lasted) " ago" } span { "now" } }
        (table(past, "strip", FEW_ROWS))
    }
}

/// The same as a table, folded away.
fn table(past: &ObjectiveHistory, what: &str, rows: usize) -> Markup {
    let id = format!("table-{what}-{}-{}", past.contract, past.objective.label());
    let left_out = past.pieces.len().saturating_sub(rows);
    html! {
        details id=(id) {
            summary { "The same as a table" span.unseen { " for " (past.contract) " " (past.objective.label().to_uppercase()) } }
            div.wide id={ (id) "-wide" } tabindex="0" role="region" aria-label={ "Statuses of " (past.contract) " " (past.objective.label().to_uppercase()) } {
                table {
                    tr { th scope="col" { "From" } th scope="col" { "For" } th scope="col" { "Status" } th scope="col" { "Why" } }
                    @for piece in past.pieces.iter().rev().take(rows) {
                        tr {
                            td { (time(piece.from)) }
                            td { (duration(piece.until.since(piece.from))) }
                            td { (badge(piece.status)) }
                            td { (piece.because) }
                        }
                    }
                }
                @if left_out > 0 { p.muted { (left_out) " older ones are left out." } }
            }
        }
    }
}

/// The rows of the chart, from the top.
const LEVELS: [Option<Status>; 5] =
    [Some(Status::Breached), Some(Status::Unproven), Some(Status::AtRisk), Some(Status::Met), None];
const LEFT: f64 = 110.0;
const PLOT: f64 = 840.0;

/// The past of an objective as a chart with a time axis.
pub(super) fn chart(past: &ObjectiveHistory, report: &HistoryReport) -> Markup {
    let label = format!("{} {}: {}", past.contract, past.objective.label().to_uppercase(), shares(past, report));
    let id = format!("chart-{}-{}", past.contract, past.objective.label());
    html! {
        div.wide id=(id) tabindex="0" role="region" aria-label={ "Chart of " (past.contract) " " (past.objective.label().to_uppercase()) } {
            svg.chart viewBox="0 0 960 150" role="img" aria-label=(label) {
                @for (row, status) in LEVELS.into_iter().enumerate() {
                    @let y = 12 + row * 24;
                    text x="0" y=(y + 13) { (word(status)) }
                    line.grid x1="110" x2="950" y1=(y + 18) y2=(y + 18) {}
                }
                @for (x, at) in ticks(report) {
                    line.grid x1=(fixed(x)) x2=(fixed(x)) y1="6" y2="132" {}
                    text x=(fixed(x)) y="147" text-anchor="middle" { (at) }
                }
                @for piece in &past.pieces {
                    @let (x, width) = place(piece, report, PLOT);
                    @let row = LEVELS.iter().position(|level| *level == piece.status).unwrap_or_default();
                    rect class={ "fill-" (class(piece.status)) } x=(fixed(x + LEFT)) y=(12 + row * 24) width=(fixed(width)) height="18" {
                        title { (hover(piece)) }
                    }
                }
            }
        }
        p.muted { (shares(past, report)) }
        (table(past, "chart", ROWS))
    }
}

/// Where the time axis has its marks, and what they say.
fn ticks(report: &HistoryReport) -> Vec<(f64, String)> {
    const MARKS: u32 = 6;
    let whole = report.until.since(report.from);
    let format = if whole > Duration::from_secs(2 * 24 * 60 * 60) { "%b %d" } else { "%H:%M" };
    let mark = |mark: u32| {
        let after = whole.saturating_mul(mark) / MARKS;
        let x = LEFT + after.as_secs_f64() / whole.as_secs_f64().max(1.0) * PLOT;
        (x, jiff::Timestamp::from(report.from.plus(after)).strftime(format).to_string())
    };
    // The last mark would not fit.
    (0..MARKS).map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::contract::Objective;

    /// A day in which it changed every ten minutes, and was breached for a second of it.
    #[test]
    fn a_strip_of_many_changes_shows_the_worst_of_each_time() {
        let at = Timestamp::from_unix_seconds;
        let piece = |from, until, status| Piece { from: at(from), until: at(until), status, because: String::new() };
        let report = HistoryReport { from: at(0), until: at(86_400), objectives: Vec::new() };
        let of = |pieces| ObjectiveHistory { contract: "api".to_owned(), objective: Objective::Rpo, pieces };
        let mut pieces: Vec<Piece> = (0..144)
            .map(|number| {
                let status = if number % 2 == 0 { Status::Met } else { Status::AtRisk };
                piece(number * 600, (number + 1) * 600, Some(status))
            })
            .collect();
        pieces[100].until = at(60_500);
        pieces.insert(101, piece(60_500, 60_501, Some(Status::Breached)));
        pieces[102].from = at(60_501);
        let past = of(pieces);
        let blocks = blocks(&past, &report);
        assert!(blocks.len() <= 96, "{}", blocks.len());
        let breached: Vec<_> = blocks.iter().filter(|block| block.status == Some(Status::Breached)).collect();
        assert_eq!(
            breached.iter().map(|block| (block.from, block.until)).collect::<Vec<_>>(),
            [(at(60_300), at(61_200))]
        );
        assert_eq!(blocks.first().map(|block| block.from), Some(at(0)));
        assert_eq!(blocks.last().map(|block| block.until), Some(at(86_400)));
        assert!(blocks.windows(2).all(|pair| pair[0].until == pair[1].from), "without a gap");
        let few = of(vec![piece(0, 86_400, None)]);
        assert_eq!(super::blocks(&few, &report).as_ref(), few.pieces.as_slice());
    }

    #[test]
    fn a_short_breach_is_not_rounded_away() {
        let at = Timestamp::from_unix_seconds;
        let piece = |from, until, status| Piece { from: at(from), until: at(until), status, because: String::new() };
        let told = |pieces: Vec<Piece>| {
            let past = ObjectiveHistory { contract: "api".to_owned(), objective: Objective::Rpo, pieces };
            shares(&past, &HistoryReport { from: at(0), until: at(86_400), objectives: Vec::new() })
        };
        let short = vec![piece(0, 10, Some(Status::Breached)), piece(10, 86_400, Some(Status::Met))];
        assert_eq!(told(short), "breached 10s (< 0.1 %), met 23h59m (> 99.9 %)");
        let half = vec![piece(0, 43_200, None), piece(43_200, 86_400, Some(Status::Met))];
        assert_eq!(told(half), "met 12h (50.0 %), not observed 12h (50.0 %)");
        assert_eq!(told(vec![piece(0, 86_400, Some(Status::Met))]), "met 1d (100.0 %)");
    }
}
