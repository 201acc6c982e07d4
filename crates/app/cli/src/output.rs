//! What a person or a program sees: colours on a terminal only, one JSON value a line with `--json`.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::CliError;

/// Writes one line to standard output; a reader that has gone away ends the command quietly.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<(), CliError> {
    writeln!(std::io::stdout().lock(), "{text}").map_err(|error| CliError::io("standard output", &error))
}

/// Writes one value as a line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), CliError> {
    line(serde_json::to_string(value)?)
}

/// Whether standard error is a person's terminal that wants colours and bars.
pub(crate) fn is_fancy() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() && std::env::var("TERM").as_deref() != Ok("dumb")
}

pub(crate) fn print_error(error: &CliError, as_json: bool) {
    let mut stderr = std::io::stderr().lock();
    let _nobody_listens = if as_json {
        writeln!(
            stderr,
            "{}",
            serde_json::json!({"v": 1, "error": {"message": error.to_string(), "exit_code": error.exit_code()}})
        )
    } else if is_fancy() {
        writeln!(stderr, "\x1b[1;31merror\x1b[0m: {error}")
    } else {
        writeln!(stderr, "error: {error}")
    };
}

/// A table with left-aligned columns, wide enough for what is in them.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(padded.join("  ").trim_end())
    };
    print(&mut header.iter().copied())?;
    for row in rows {
        print(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}
