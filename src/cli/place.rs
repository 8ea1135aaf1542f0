//! Which storage: the flags that every command has which opens one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::clients::Connections;
use crate::config;
use crate::decode::values::{Name, PromDuration, StreamName, Word as _};
use crate::store::Backend;
use crate::store::jetstream::JetStream;
use crate::store::sqlite::Sqlite;

/// Which storage.
#[derive(Debug, Args)]
pub struct Place {
    /// Where state is kept: in a file of this process, or in a JetStream stream that several
    /// replicas share.
    #[arg(long = "storage.backend", value_enum, value_name = "BACKEND", default_value_t = Kind::Sqlite)]
    backend: Kind,
    /// The directory of the file, for `sqlite`. It is created if it does not exist.
    #[arg(long = "storage.path", value_name = "DIRECTORY", default_value = "data")]
    pub path: PathBuf,
    /// The connection in the section `nats` of the configuration, for `jetstream`.
    #[arg(long = "storage.nats", value_name = "NAME", required_if_eq("backend", "jetstream"), value_parser = name)]
    nats: Option<Name>,
    /// The stream, for `jetstream`.
    #[arg(
        long = "storage.stream",
        value_name = "NAME",
        default_value = "dr_exporter",
        value_parser = stream,
    )]
    stream: StreamName,
}

/// The kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A SQLite file.
    Sqlite,
    /// A JetStream stream.
    Jetstream,
}

/// This replica among those that share the storage. Only `serve` is one.
#[derive(Debug, Args)]
pub struct Replica {
    /// On how many servers the stream is kept, if it is made.
    #[arg(
        long = "storage.stream-replicas",
        value_name = "NUMBER",
        default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(1..=5),
    )]
    stream_replicas: u8,
    /// The name of this replica, for logs, metrics and the page. Default: the name of the host.
    #[arg(long = "storage.replica", value_name = "NAME", value_parser = replica)]
    name: Option<String>,
    /// How long the leader must be silent before another replica takes the lead.
    #[arg(
        long = "storage.takeover-after",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = takeover_after,
    )]
    takeover_after: PromDuration,
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).ok_or_else(|| format!("expected {}", Name::EXPECTED))
}

fn replica(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("expected a name, by which people know this replica".to_owned());
    }
    Ok(text.to_owned())
}

fn takeover_after(text: &str) -> Result<PromDuration, String> {
    /// A leader renews its lead every fifth of it, and one answer of a server may take a while.
    const LEAST: Duration = Duration::from_secs(1);
    let duration = PromDuration::from_arg(text)?;
    if duration.get() < LEAST {
        return Err("expected 1s or more: a shorter pause of the network would change the leader".to_owned());
    }
    Ok(duration)
}

fn stream(text: &str) -> Result<StreamName, String> {
    StreamName::parse(text).ok_or_else(|| format!("expected {}", StreamName::EXPECTED))
}

impl Place {
    /// The storage, with the connections of a configuration.
    ///
    /// # Errors
    /// The configuration has no such connection.
    pub fn backend(&self, connections: &Connections, replica: Option<&Replica>) -> Result<Box<dyn Backend>, String> {
        if self.backend == Kind::Sqlite && self.nats.is_some() {
            return Err("--storage.nats is for --storage.backend=jetstream, and the storage is a file".to_owned());
        }
        let (Kind::Jetstream, Some(nats)) = (self.backend, &self.nats) else {
            return Ok(Box::new(Sqlite::of(&self.path)));
        };
        let Some(connection) = connections.nats.get(nats) else {
            let known: Vec<&str> = connections.nats.keys().map(Name::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!(
                "--storage.nats: the configuration has no connection `{}` in `nats`; it has: {known}",
                nats.as_str()
            ));
        };
        let name = replica.and_then(|replica| replica.name.clone()).unwrap_or_else(host);
        let mut store = JetStream::new(nats.as_str(), connection.clone(), self.stream.clone(), &name);
        if let Some(replica) = replica {
            store.stream_replicas = replica.stream_replicas.into();
            store.takeover_after = replica.takeover_after.get();
            store.founding_after = store.takeover_after;
        }
        Ok(Box::new(store))
    }

    /// The same for a command that has no configuration yet.
    ///
    /// # Errors
    /// The configuration is needed and not given, or has errors.
    pub fn backend_of(&self, config_file: Option<&Path>) -> Result<Box<dyn Backend>, String> {
        if self.backend == Kind::Sqlite {
            return self.backend(&Connections::default(), None);
        }
        let file = config_file.ok_or("--storage.backend=jetstream needs --config.file, which has the connection")?;
        let config = config::read(file).config.map_err(|errors| errors.to_string())?;
        self.backend(&config.connections, None)
    }
}

/// The name of this machine.
#[cfg(target_os = "linux")]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name of this machine, as far as the environment tells it.
#[cfg(not(target_os = "linux"))]
fn host() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| "replica".to_owned())
}
