//! A report as a document: built once, and written as Markdown or as a page.

use maud::{DOCTYPE, html};

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A heading.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A list.
    List(Vec<String>),
    /// A table.
    Table(Vec<&'static str>, Vec<Vec<String>>),
}

/// A document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// Its parts.
    pub blocks: Vec<Block>,
}

impl Document {
    /// A document with nothing but a title.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), blocks: Vec::new() }
    }

    /// Adds a heading.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Heading(text.into()));
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text(text.into()));
    }

    /// Adds a list. An empty one says "none".
    pub fn list(&mut self, items: Vec<String>) {
        if items.is_empty() { self.text("None.") } else { self.blocks.push(Block::List(items)) }
    }

    /// Adds a table. An empty one says "none".
    pub fn table(&mut self, head: &[&'static str], rows: Vec<Vec<String>>) {
        if rows.is_empty() { self.text("None.") } else { self.blocks.push(Block::Table(head.to_vec(), rows)) }
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("# {}\n", escaped(&self.title));
        for block in &self.blocks {
            out.push('\n');
            match block {
                Block::Heading(text) => out.push_str(&format!("## {}\n", escaped(text))),
                Block::Text(text) => out.push_str(&format!("{}\n", escaped(text))),
                Block::List(items) => items.iter().for_each(|item| out.push_str(&format!("- {}\n", escaped(item)))),
                Block::Table(head, rows) => {
                    out.push_str(&format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len())));
                    for row in rows {
                        let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
                        out.push_str(&format!("| {} |\n", cells.join(" | ")));
                    }
                }
            }
        }
        out
    }

    /// As a page that can be saved and printed.
    #[must_use]
    pub fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) }
                    style { (STYLE) }
                }
                body {
                    h1 { (self.title) }
                    @for block in &self.blocks {
                        @match block {
                            Block::Heading(text) => h2 { (text) },
                            Block::Text(text) => p { (text) },
                            Block::List(items) => ul { @for item in items { li { (item) } } },
                            Block::Table(head, rows) => {
                                table {
                                    thead { tr { @for cell in head { th { (cell) } } } }
                                    tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                                }
                            }
                        }
                    }
                }
            }
        };
        page.into_string()
    }
}

const STYLE: &str = "
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b1f24 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d5d9de; vertical-align: top; overflow-wrap: anywhere }
h2 { margin-top: 2rem; break-after: avoid } tr { break-inside: avoid }
@media print { body { margin: 0; max-width: none } @page { margin: 18mm } }
";

/// Text that Markdown shows as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '\\' | '|' | '*' | '`' | '[' | ']' | '#' | '~' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let mut document = Document::new("a <b> | c");
        document.table(&["x"], vec![vec!["1 | 2\n## <script>alert(1)</script> [a](b)".to_owned()]]);
        document.list(Vec::new());
        let markdown = document.markdown();
        assert_eq!(markdown.lines().filter(|line| line.starts_with('#')).count(), 1, "{markdown}");
        assert!(markdown.contains("1 \\| 2") && !markdown.contains("<script>") && markdown.contains("None."));
        let html = document.html();
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{html}");
    }
}
