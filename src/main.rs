//! The `dr-exporter` program: parse, run, exit code.

use std::process::ExitCode;

/// Gives back what was freed at once. That of glibc keeps the most that it ever held, in pieces.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    dr_exporter::cli::run()
}
