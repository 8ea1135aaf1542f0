//! `config`: checks configuration files, and prints their schema.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{exit, no_shard};
use crate::config::rbac::Subject;
use crate::config::{self, Reading};
use crate::decode::{ConfigErrors, ConfigWarnings};
use crate::domain::shard::Shard;
use crate::engine::snapshot::{Divided, Share};
use crate::web::web_config;

/// The subcommands of `config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Report every error in these files, and warn about probable mistakes. The exit code is 0
    /// without errors, otherwise 78.
    Check {
        /// Treat warnings as errors.
        #[arg(long)]
        strict: bool,
        /// List what this shard holds. The first is 0. Without it, list every shard.
        #[arg(long, value_name = "INDEX", requires = "total_shards")]
        shard: Option<u32>,
        /// List what each of this many shards holds.
        #[arg(long, value_name = "NUMBER")]
        total_shards: Option<u32>,
        /// The web configuration: TLS, passwords and headers.
        #[arg(long = "web.config.file", value_name = "FILE")]
        web_config_file: Option<PathBuf>,
        /// The files.
        #[arg(required_unless_present = "web_config_file", value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print the Roles and their bindings that a configuration needs in one cluster, and no more.
    Rbac {
        /// The cluster: a name in the `kubernetes` section. Not needed if there is only one.
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// The service account that gets the rights.
        #[arg(long, value_name = "NAMESPACE/NAME", default_value = "dr-exporter/dr-exporter", value_parser = account)]
        service_account: Subject,
        /// The user who gets the rights, instead of a service account.
        #[arg(long, value_name = "NAME", conflicts_with = "service_account")]
        user: Option<String>,
        /// The configuration file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Config {
    /// Runs the subcommand.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self {
            Self::Check { strict, shard, total_shards, web_config_file, files } => {
                let listed = match listed(shard, total_shards) {
                    Ok(listed) => listed,
                    Err(message) => {
                        eprintln!("{message}");
                        return exit::USAGE.into();
                    }
                };
                // Every file is read, even if an earlier one has errors.
                let bad = files.iter().filter(|file| !check(file, strict, &listed)).count()
                    + web_config_file.iter().filter(|file| !check_web(file, strict)).count();
                if bad == 0 { ExitCode::SUCCESS } else { exit::CONFIG.into() }
            }
            Self::Schema => {
                // A closed pipe means that the reader has enough.
                let _ = writeln!(io::stdout(), "{:#}", config::schema());
                ExitCode::SUCCESS
            }
            Self::Rbac { cluster, service_account, user, file } => {
                rbac(&file, cluster.as_deref(), &user.map_or(service_account, Subject::User))
            }
        }
    }
}

/// Parses a service account.
fn account(text: &str) -> Result<Subject, String> {
    let named = text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let (namespace, name) = named.ok_or_else(|| "write it as NAMESPACE/NAME".to_owned())?;
    Ok(Subject::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// Prints the Roles that a file needs in a cluster.
fn rbac(file: &Path, cluster: Option<&str>, subject: &Subject) -> ExitCode {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return exit::CONFIG.into();
        }
    };
    let clusters = config.clusters();
    let found = match cluster {
        Some(wanted) => clusters.iter().find(|name| name.as_str() == wanted),
        None => Some(&clusters).filter(|clusters| clusters.len() == 1).and_then(|clusters| clusters.first()),
    };
    let Some(roles) = found.and_then(|name| config.roles(name, subject)) else {
        let names: Vec<_> = clusters.iter().map(|name| name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        eprintln!("name a cluster with --cluster; the section `kubernetes` of {} has: {names}", file.display());
        return exit::USAGE.into();
    };
    // A closed pipe means that the reader has enough.
    let _ = write!(io::stdout(), "{roles}");
    ExitCode::SUCCESS
}

/// The shards whose content is listed.
fn listed(shard: Option<u32>, total: Option<u32>) -> Result<Vec<Shard>, String> {
    let Some(total) = total else { return Ok(Vec::new()) };
    let first = Shard::new(shard.unwrap_or_default(), total);
    let first = first.ok_or_else(|| no_shard(shard.unwrap_or_default(), total))?;
    Ok(if shard.is_some() { vec![first] } else { Shard::all(total).collect() })
}

/// Whether a file has no errors.
fn check(file: &Path, strict: bool, listed: &[Shard]) -> bool {
    let Reading { config, warnings, .. } = config::read(file);
    told(config, &warnings, strict, file, |config| {
        let shards: String = listed.iter().map(|shard| holds(&config.of_shard(*shard))).collect();
        format!("contracts: {}, checks: {}{shards}", config.contracts.len(), config.checks())
    })
}

/// What a shard holds, in lines that each begin with a line break.
fn holds(config: &config::Config) -> String {
    let Share { shard, divided, .. } = &config.share;
    let mut text = format!("\nshard {shard}: contracts: {}, checks: {}", config.contracts.len(), config.checks());
    let contracts = config.contracts.iter().map(|of| ("contract", of.spec.name.as_str()));
    let triggers = config.triggers.iter().map(|of| ("trigger", of.name().as_str()));
    let incidents = config.incidents.iter().map(|of| ("incident", of.name.as_str()));
    let drills = config.drills.iter().map(|of| ("drill", of.name.as_str()));
    for (what, name) in contracts.chain(triggers).chain(incidents).chain(drills) {
        text.push_str(&format!("\n  {what} {name}"));
        let divided = divided.iter().find(|divided| (divided.what, divided.name.as_str()) == (what, name));
        if let Some(Divided { shards, .. }) = divided {
            let others = shards.iter().filter(|other| **other != shard.index()).map(u32::to_string);
            text.push_str(&format!(", also in shard {}", others.collect::<Vec<_>>().join(", ")));
        }
    }
    text
}

/// Whether a web configuration has no errors. The certificates that it names are read too.
fn check_web(file: &Path, strict: bool) -> bool {
    let web_config::Reading { settings, warnings, .. } = web_config::read(file);
    told(settings, &warnings, strict, file, |settings| {
        format!("TLS: {}, users: {}", if settings.has_tls() { "yes" } else { "no" }, settings.users())
    })
}

/// Prints the errors and warnings of a file, or what is in it.
fn told<T>(
    read: Result<T, ConfigErrors>,
    warnings: &ConfigWarnings,
    strict: bool,
    file: &Path,
    summary: impl FnOnce(T) -> String,
) -> bool {
    let count = warnings.warnings.len();
    if let Err(errors) = &read {
        eprintln!("{errors}");
    }
    if count > 0 {
        eprintln!("{warnings}");
    }
    let Ok(read) = read else { return false };
    let good = count == 0 || !strict;
    let verdict = if good { "ok" } else { "not ok" };
    let warned = if count == 0 { String::new() } else { format!(", warnings: {count}") };
    // A closed pipe means that the reader has enough.
    let summary = summary(read);
    let (first, rest) = summary.split_at(summary.find('\n').unwrap_or(summary.len()));
    let _ = writeln!(io::stdout(), "{}: {verdict}, {first}{warned}{rest}", file.display());
    good
}
