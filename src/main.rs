//! The `dr-exporter` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    dr_exporter::cli::run()
}
