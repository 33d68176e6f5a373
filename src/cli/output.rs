//! What the commands print alike: failures, tables, numbers, times.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde_json::Value;

use crate::engine::ErrorKind;

/// Why a command could not do its work.
#[derive(Debug)]
pub(super) struct Failure {
    /// the exit code
    pub(super) code: u8,
    /// a lowercase fragment
    pub(super) message: String,
    /// what to do next
    pub(super) hint: Option<String>,
    /// the reader of standard output has gone away
    pub(super) gone: bool,
}

impl Failure {
    pub(super) fn user(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { code: 2, message: message.into(), hint, gone: false }
    }

    /// Whether nothing is wrong but that nobody reads any more what is printed.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }
}

impl From<crate::files::Error> for Failure {
    fn from(error: crate::files::Error) -> Self {
        Self::user(error.to_string(), error.hint().map(str::to_owned))
    }
}

impl From<crate::engine::Error> for Failure {
    fn from(error: crate::engine::Error) -> Self {
        Self { code: exit_code(error.kind()), ..Self::user(error.to_string(), error.hint()) }
    }
}

impl From<crate::remote::Error> for Failure {
    fn from(error: crate::remote::Error) -> Self {
        crate::engine::Error::from(error).into()
    }
}

impl From<crate::store::Error> for Failure {
    fn from(error: crate::store::Error) -> Self {
        crate::engine::Error::Store(error).into()
    }
}

impl From<crate::plan::UnknownSelector> for Failure {
    fn from(error: crate::plan::UnknownSelector) -> Self {
        Self::user(error.to_string(), error.hint)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let gone = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { gone, ..Self::user(error.to_string(), None) }
    }
}

/// The exit code of an error; documented in the help.
pub(super) fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Bug => 1,
        ErrorKind::User => 2,
        ErrorKind::Remote => 3,
        ErrorKind::Data => 4,
        ErrorKind::Store => 5,
    }
}

/// The exit code of a run that was stopped between two commits.
pub(super) const STOPPED: u8 = 130;

pub(super) fn print_failure(failure: &Failure) {
    print_error(&failure.message, failure.hint.as_deref());
}

pub(super) fn print_error(message: &str, hint: Option<&str>) {
    let (red, cyan) = (bold(AnsiColor::Red), bold(AnsiColor::Cyan));
    anstream::eprintln!("{red}error{red:#}: {message}");
    if let Some(hint) = hint {
        anstream::eprintln!("{cyan}hint{cyan:#}: {hint}");
    }
}

pub(super) fn bold(color: AnsiColor) -> Style {
    Style::new().bold().fg_color(Some(color.into()))
}

pub(super) const DIM: Style = Style::new().dimmed();

/// Columns below which a terminal's width is not believed.
const TERMINAL_COLUMNS_MIN: u16 = 20;

/// A table of text with its headings; columns in `right` are numbers.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    // a terminal that does not know its width (0 columns) would get one letter a line
    if std::io::stdout().is_terminal() && table.width().is_none_or(|columns| columns >= TERMINAL_COLUMNS_MIN) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    let cell = |at: usize, text: &str| {
        let cell = Cell::new(text);
        if right.contains(&at) { cell.set_alignment(CellAlignment::Right) } else { cell }
    };
    table.set_header(headings.iter().enumerate().map(|(at, text)| cell(at, text)));
    for row in rows {
        table.add_row(row.iter().enumerate().map(|(at, text)| cell(at, text)));
    }
    table
}

/// A time as people read it.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A value as people write it: a text without its quotes, all else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A text from outside for a terminal: what one would obey (control characters) is made visible.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

/// `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// One line of JSON on standard output. A reader that has gone away ends the program quietly.
pub(super) fn json_line(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_terminal_would_obey_is_visible() {
        assert_eq!(super::visible("a\u{1b}[2Jb\nc\u{9b}31m\td é"), "a·[2Jb·c·31m·d é");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(super::count(0), "0");
        assert_eq!(super::count(999), "999");
        assert_eq!(super::count(1_234_567), "1,234,567");
    }
}
