//! The `neardata` command: everything the platform can do, from a terminal.
//!
//! The command is a library so that the Python wheel can carry it as well; [`main_with`] is its one entry.

mod args;
mod commands;
mod error;
mod output;
mod platform;
mod progress;
mod settings;

use std::ffi::OsString;

use clap::Parser;

use crate::args::Cli;
pub use crate::error::CliError;

/// Runs one command line. `arguments` starts with the program's name, as the operating system gives them; `self_command` is how
/// this program starts itself again for workers. Gives the exit code:
/// 0 done, 1 the work failed, 2 the command line is wrong, 4 the platform cannot be had (port or folder in use, not running), 130 interrupted.
pub fn main_with(arguments: Vec<OsString>, self_command: Vec<OsString>) -> i32 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _closed_pipe = error.print();
            return error.exit_code();
        }
    };
    let json = cli.json;
    match commands::run(cli, self_command) {
        Ok(()) => 0,
        Err(CliError::ClosedPipe) => 0,
        Err(error) => {
            output::print_error(&error, json);
            error.exit_code()
        }
    }
}
