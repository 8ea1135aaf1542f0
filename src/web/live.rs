//! Follows the web configuration: a changed file is used for the next connection and request.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::web_config::{Reading, Settings, read};
use crate::clients::blocking;
use crate::clients::stamps::{Stamps, Watch, read_with};
use crate::decode::{ConfigError, ConfigErrors, ConfigWarnings};
use crate::export::server as figures;

/// The web configuration of a server.
#[derive(Debug)]
pub struct WebConfigFile {
    file: PathBuf,
    watch: Watch,
    settings: watch::Sender<Arc<Settings>>,
}

impl WebConfigFile {
    /// Reads the file, and logs its warnings.
    ///
    /// # Errors
    /// All errors of the file.
    pub fn open(file: &Path) -> Result<Self, ConfigErrors> {
        let (Reading { settings, warnings, .. }, stamps) = look(file, &[]);
        let settings = settings?;
        tell_of(&warnings);
        figures::configuration(true);
        Ok(Self { file: file.to_owned(), watch: Watch::of(stamps), settings: watch::Sender::new(Arc::new(settings)) })
    }

    /// The settings, now and after each change.
    #[must_use]
    pub fn settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// Reads the file again whenever it or a file that it names has changed. A file with errors
    /// changes nothing.
    pub async fn follow(mut self) {
        loop {
            self.watch.changed().await;
            self.read_again().await;
        }
    }

    async fn read_again(&mut self) {
        let (file, known) = (self.file.clone(), self.watch.files());
        let (Reading { settings, warnings, .. }, stamps) = blocking(move || look(&file, &known)).await;
        self.watch = Watch::of(stamps);
        let web_config = self.file.display();
        let current = Arc::clone(&self.settings.borrow());
        let refused = match settings {
            Ok(settings) if settings.has_tls() != current.has_tls() => {
                Some("TLS cannot be switched on or off while the exporter runs; restart it".to_owned())
            }
            // A file that is being written, or that a full disk emptied, must not let everybody in.
            Ok(settings) if settings.users() == 0 && current.users() > 0 => {
                Some("passwords cannot be switched off while the exporter runs; restart it".to_owned())
            }
            Ok(settings) => {
                tell_of(&warnings);
                self.settings.send_replace(Arc::new(settings));
                info!(%web_config, "the web configuration was read again");
                None
            }
            Err(errors) => Some(errors.to_string()),
        };
        figures::configuration(refused.is_none());
        if let Some(errors) = refused {
            error!(%web_config, errors, "the web configuration has errors; the previous one stays in use");
        }
    }
}

fn look(file: &Path, known: &[PathBuf]) -> (Reading, Stamps) {
    read_with(known, || {
        let reading = read(file);
        let files = reading.files.clone();
        (reading, files)
    })
}

fn tell_of(warnings: &ConfigWarnings) {
    let web_config = warnings.file.display();
    for ConfigError { at, path, message } in &warnings.warnings {
        warn!(%web_config, line = at.line, column = at.column, path, "{message}");
    }
}
