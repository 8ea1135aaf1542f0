//! `serve`: the daemon.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info};

use super::{LogOptions, exit, runtime};
use crate::app::Served;
use crate::config::Reading;
use crate::config::values::PromDuration;
use crate::engine::memory::Recalled;
use crate::engine::panics;
use crate::store::keeper::{Storage, StorageOptions};
use crate::{app, config};

/// How long the storage may take at the end.
const STORAGE_END: Duration = Duration::from_secs(5);

/// The options of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The configuration.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: PathBuf,
    /// Where to listen; `:PORT` is every address of this machine.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9877")]
    listen_address: String,
    /// The directory that what must outlive the process is kept in; made if it is not there.
    #[arg(long = "storage.path", value_name = "DIRECTORY", default_value = "data")]
    storage_path: PathBuf,
    /// How long recoveries and changes of status are kept.
    #[arg(long = "storage.retention", value_name = "DURATION", default_value = "400d", value_parser = PromDuration::from_arg)]
    storage_retention: PromDuration,
    #[command(flatten)]
    log: LogOptions,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT; SIGHUP reads the configuration anew.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let Reading { config, warnings } = config::read(&self.config_file);
        let config = match config {
            Ok(config) => config,
            Err(errors) => {
                eprintln!("{errors}");
                return exit::CONFIG.into();
            }
        };
        self.log.install();
        panics::install();
        app::tell_of_warnings(&warnings);
        let options = StorageOptions { path: self.storage_path.clone(), retention: self.storage_retention.get() };
        let (storage, thread, stored) = match Storage::start(options) {
            Ok(started) => started,
            Err(error) => {
                eprintln!("{error}");
                return exit::CONFIG.into();
            }
        };
        let recalled = Recalled { storage: Some(storage), stored };
        let serve = async {
            let listener = listen(&self.listen_address).await.map_err(|e| format!("{}: {e}", self.listen_address))?;
            let address = listener.local_addr().map_err(|error| error.to_string())?;
            let version = env!("CARGO_PKG_VERSION");
            info!(%address, version, config = %self.config_file.display(), "listening");
            let terminated = terminated().map_err(|error| format!("signals cannot be caught: {error}"))?;
            let hangups = hangups().map_err(|error| format!("signals cannot be caught: {error}"))?;
            let served = Served { config, config_file: self.config_file.clone(), recalled, listener };
            app::serve(served, terminated, hangups).await.map_err(|fatal| fatal.to_string())
        };
        let served = runtime().and_then(|runtime| {
            let served = runtime.block_on(serve);
            // A file or a plugin that hangs must not hold up the end.
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
            // One that waits already will do.
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else { return TcpListener::bind(address).await };
    let port = port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the port is not a number"))?;
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        // A machine without IPv6 has no such address.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        bound => bound,
    }
}
