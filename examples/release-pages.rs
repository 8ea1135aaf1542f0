//! The man pages and the completions of the command line, for `scripts/dist`.
//!
//! `release-pages DIRECTORY` writes `man/man1/*.1` and `completions/*`.

use std::path::Path;
use std::{env, fs, io};

use clap_complete::Shell;

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: release-pages DIRECTORY"))?;
    let (man, completions) = (Path::new(&directory).join("man/man1"), Path::new(&directory).join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut command = dr_exporter::cli::command();
    for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, "dr-exporter", &completions)?;
    }
    // Without a page for `help` and each of its topics.
    clap_mangen::generate_to(dr_exporter::cli::command().disable_help_subcommand(true), &man)
}
