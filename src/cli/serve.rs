//! `serve`: the daemon.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info};
use url::Url;

use super::peers::PeerFlags;
use super::place::{Place, Replica};
use super::{LogOptions, ShardOptions, exit, runtime};
use crate::app;
use crate::app::{ConfigFile, Served};
use crate::config::{Config, Reading};
use crate::decode::ConfigWarnings;
use crate::decode::values::PromDuration;
use crate::engine::memory::Recalled;
use crate::engine::panics;
use crate::store::Stored;
use crate::store::keeper::{Storage, StorageOptions, StorageThread};
use crate::web::front::FrontOptions;
use crate::web::limits::Limits;
use crate::web::live::WebConfigFile;
use crate::web::server::WebOptions;
use crate::web::{address, listen};

/// How long the storage may take at shutdown.
const STORAGE_END: Duration = Duration::from_secs(5);

/// The options of `serve`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Serve {
    /// The configuration file.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: PathBuf,
    /// Reload the configuration when it, or a file that it names, has changed.
    #[arg(long = "config.watch")]
    config_watch: bool,
    /// The address to listen on. `:PORT` listens on every address of this machine. Can be given
    /// several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9877")]
    listen_addresses: Vec<String>,
    /// The file with TLS, passwords and headers, in the format of the exporter-toolkit.
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// Listen on the sockets that systemd passes, not on addresses.
    #[arg(long = "web.systemd-socket")]
    systemd_socket: bool,
    /// The URL under which the exporter is reached from outside. Its path is the default route
    /// prefix.
    #[arg(long = "web.external-url", value_name = "URL", value_parser = address::external)]
    external_url: Option<Url>,
    /// The path before all routes. By default, the path of the external URL.
    #[arg(long = "web.route-prefix", value_name = "PATH", value_parser = address::prefix)]
    route_prefix: Option<String>,
    /// Let `POST /-/reload` reload the configuration.
    #[arg(long = "web.enable-lifecycle")]
    enable_lifecycle: bool,
    /// The most connections at once. Half of the process's file descriptors are the limit anyway.
    #[arg(long = "web.max-connections", value_name = "NUMBER", default_value_t = 512)]
    max_connections: usize,
    /// Let people declare incidents, run drills and answer alarms over HTTP. Needs
    /// `--web.config.file` with users or client certificates.
    #[arg(long = "web.enable-admin-api", requires = "web_config_file")]
    enable_admin_api: bool,
    #[command(flatten)]
    peers: PeerFlags,
    #[command(flatten)]
    storage: Place,
    #[command(flatten)]
    replica: Replica,
    /// How long to keep recoveries, changed statuses, firings and tests of degraded operation.
    #[arg(long = "storage.retention", value_name = "DURATION", default_value = "400d", value_parser = PromDuration::from_arg)]
    storage_retention: PromDuration,
    #[command(flatten)]
    shard: ShardOptions,
    #[command(flatten)]
    log: LogOptions,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT. SIGHUP reloads the configuration.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let (config_file, config, warnings) = match self.read() {
            Ok(read) => read,
            Err((message, code)) => {
                eprintln!("{message}");
                return code.into();
            }
        };
        self.log.install();
        panics::install();
        app::tell_of_warnings(&warnings);
        let web_config = match self.web_config_file.as_deref().map(WebConfigFile::open).transpose() {
            Ok(web_config) => web_config,
            Err(errors) => {
                eprintln!("{errors}");
                return exit::CONFIG.into();
            }
        };
        if let Err(message) = self.admits_admins(web_config.as_ref()) {
            eprintln!("{message}");
            return exit::CONFIG.into();
        }
        let (storage, thread, stored) = match self.open(&config) {
            Ok(started) => started,
            Err(message) => {
                eprintln!("{message}");
                return exit::CONFIG.into();
            }
        };
        let recalled = Recalled { storage: Some(storage), stored };
        let peers = self.peers.options();
        let serve = async {
            let web = self.web(web_config).await?;
            let terminated = terminated().map_err(|error| format!("signals cannot be caught: {error}"))?;
            let hangups = hangups().map_err(|error| format!("signals cannot be caught: {error}"))?;
            let served = Served { config, config_file, recalled, web, admin: self.enable_admin_api, peers };
            app::serve(served, terminated, hangups).await.map_err(|fatal| fatal.to_string())
        };
        let served = runtime().and_then(|runtime| {
            let served = runtime.block_on(serve);
            // A file or a plugin that hangs must not delay the exit.
            runtime.shutdown_background();
            served
        });
        thread.join(STORAGE_END);
        match served {
            Ok(()) => {
                info!("stopped");
                ExitCode::SUCCESS
            }
            Err(message) => {
                error!(message);
                ExitCode::FAILURE
            }
        }
    }
}

impl Serve {
    /// Opens the storage.
    fn open(&self, config: &Config) -> Result<(Storage, StorageThread, Stored), String> {
        let backend = self.storage.backend(&config.connections, Some(&self.replica))?;
        let options = StorageOptions { backend, retention: self.storage_retention.get() };
        Storage::start(options).map_err(|error| error.to_string())
    }

    /// Reads the configuration of the shard. An error comes with its exit code.
    fn read(&self) -> Result<(ConfigFile, Config, ConfigWarnings), (String, u8)> {
        let shard = self.shard.shard().and_then(|shard| self.peers.fit(shard).map(|()| shard));
        let shard = shard.map_err(|message| (message, exit::USAGE))?;
        let (file, Reading { config, warnings, .. }) = ConfigFile::open(&self.config_file, self.config_watch, shard);
        let config = config.map_err(|errors| (errors.to_string(), exit::CONFIG))?;
        Ok((file, config, warnings))
    }

    /// Whether the admin API may be served: only if every client must prove who it is.
    fn admits_admins(&self, web_config: Option<&WebConfigFile>) -> Result<(), &'static str> {
        let authenticates = web_config.is_some_and(|file| file.settings().borrow().authenticates());
        if authenticates || !self.enable_admin_api {
            return Ok(());
        }
        Err("--web.enable-admin-api needs authentication: add `basic_auth_users` to the file of --web.config.file, or \
             require client certificates")
    }

    /// How the routes are served. Opens the sockets.
    async fn web(&self, config: Option<WebConfigFile>) -> Result<WebOptions, String> {
        Ok(WebOptions {
            listeners: self.listen().await?,
            limits: Limits::new(self.max_connections),
            front: FrontOptions {
                prefix: address::prefix_or_path(self.route_prefix.clone(), self.external_url.as_ref()),
                external: self.external_url.clone(),
                has_lifecycle: self.enable_lifecycle,
            },
            config,
        })
    }

    /// Opens the sockets.
    async fn listen(&self) -> Result<Vec<TcpListener>, String> {
        let listeners = if self.systemd_socket {
            listen::of_systemd().map_err(|error| error.to_string())?
        } else {
            let mut listeners = Vec::new();
            for address in &self.listen_addresses {
                listeners.push(listen::on(address).await.map_err(|error| format!("{address}: {error}"))?);
            }
            listeners
        };
        for listener in &listeners {
            let address = listener.local_addr().map_err(|error| error.to_string())?;
            let version = env!("CARGO_PKG_VERSION");
            info!(%address, version, config = %self.config_file.display(), "listening");
        }
        Ok(listeners)
    }
}

/// Completes at the first SIGTERM or SIGINT.
fn terminated() -> io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// A value for each SIGHUP.
fn hangups() -> io::Result<mpsc::Receiver<()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // If a reload already waits, it is enough.
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}
