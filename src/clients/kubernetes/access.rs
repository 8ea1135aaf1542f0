//! The way into a cluster: a client that is made when it is needed, and anew when what it was made of has changed.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use std::{fs, io};

use kube::client::{AuthError, ClientBuilder};
use kube::config::{AuthInfo, ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::sync::watch;

use super::{CREDENTIALS_UNREADABLE, KubernetesConnection};
use crate::clients::blocking;
use crate::clients::failure::innermost;
use crate::domain::observation::Finding;

/// How a cluster is got into.
#[derive(Debug)]
pub(super) struct Access {
    config: KubernetesConnection,
    made: Mutex<Option<Made>>,
}

/// A client that is made, or being made. A plugin that hangs is waited for and not run once more.
struct Made {
    client: watch::Receiver<Option<Result<Client, String>>>,
    /// The kubeconfig as it was read.
    stamp: Option<Stamp>,
}

/// What tells whether a file has changed: when it was written, and its length.
type Stamp = (SystemTime, u64);

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").finish_non_exhaustive()
    }
}

impl Access {
    pub(super) fn new(config: KubernetesConnection) -> Self {
        Self { config, made: Mutex::default() }
    }

    /// The client. It is made anew when the kubeconfig has changed or credentials were refused.
    ///
    /// # Errors
    /// What is wrong with the kubeconfig, the service account, or a file or plugin that they name.
    pub(super) async fn client(&self) -> Result<Client, Finding> {
        let stamp = match self.config.kubeconfig_file.clone() {
            Some(file) => blocking(move || stamp(&file)).await.map(Some).map_err(|message| unusable(&message))?,
            None => None,
        };
        let mut client = self.made(stamp);
        let made = client.wait_for(Option::is_some).await.map(|made| made.clone());
        match made {
            Ok(Some(Ok(client))) => Ok(client),
            Ok(Some(Err(message))) => {
                self.forget();
                Err(unusable(&message))
            }
            Ok(None) | Err(_) => {
                self.forget();
                Err(unusable("the client could not be made"))
            }
        }
    }

    fn made(&self, stamp: Option<Stamp>) -> watch::Receiver<Option<Result<Client, String>>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let usable =
            |made: &&Made| made.stamp == stamp || made.client.borrow().is_none() && made.client.has_changed().is_ok();
        if let Some(made) = made.as_ref().filter(usable) {
            return made.client.clone();
        }
        let (sender, client) = watch::channel(None);
        let config = self.config.clone();
        tokio::spawn(async move { sender.send_replace(Some(make(&config).await)) });
        *made = Some(Made { client: client.clone(), stamp });
        client
    }

    /// Makes the next read start from the files.
    pub(super) fn forget(&self) {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn make(connection: &KubernetesConnection) -> Result<Client, String> {
    let mut config = read(connection).await?;
    // The next poll is the retry, and whoever waits is told at once.
    config.default_retry = false;
    config.connect_timeout = Some(connection.api_timeout.get());
    if let Some(user) = &connection.impersonate_user {
        config.auth_info.impersonate = Some(user.clone());
        config.auth_info.impersonate_groups = Some(connection.impersonate_groups.clone());
    }
    never_ask_a_person(&mut config.auth_info);
    // A plugin is run here the first time, and files are read.
    let builder = blocking(move || ClientBuilder::try_from(config)).await;
    builder.map(ClientBuilder::build).map_err(|error| of_client(&error))
}

async fn read(connection: &KubernetesConnection) -> Result<Config, String> {
    let Some(file) = connection.kubeconfig_file.clone() else {
        if connection.in_cluster {
            return blocking(Config::incluster).await.map_err(|error| format!("the service account: {error}"));
        }
        return Err("the connection is not configured".to_owned());
    };
    let path = file.path().to_owned();
    let kubeconfig = blocking(move || Kubeconfig::read_from(path)).await;
    let kubeconfig = kubeconfig.map_err(|error| format!("{file}: {}", of_kubeconfig(&error)))?;
    let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map_err(|error| format!("{file}: {}", of_kubeconfig(&error)))
}

/// A daemon has nobody to ask: a plugin that would wait for a person fails instead.
fn never_ask_a_person(auth: &mut AuthInfo) {
    if let Some(exec) = &mut auth.exec {
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
}

fn stamp(file: &crate::config::values::SecretFile) -> Result<Stamp, String> {
    let looked = |file: &crate::config::values::SecretFile| -> io::Result<Stamp> {
        let metadata = fs::metadata(file.path())?;
        Ok((metadata.modified()?, metadata.len()))
    };
    looked(file).map_err(|error| format!("{file}: {error}"))
}

fn unusable(message: &str) -> Finding {
    Finding::new(&CREDENTIALS_UNREADABLE, message)
}

/// What is wrong with a kubeconfig. The reader's own words can hold a line of the file, and so a token.
fn of_kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(_) => "this is not a kubeconfig".to_owned(),
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        error => error.to_string(),
    }
}

/// Why there is no client, without anything that a plugin printed or a file holds.
fn of_client(error: &kube::Error) -> String {
    match error {
        kube::Error::Auth(error) => of_auth(error),
        error => innermost(error),
    }
}

/// What is wrong with credentials. A plugin's output can hold them, so it is left out.
pub(super) fn of_auth(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => format!("the exec plugin failed, {}", out.status),
        AuthError::AuthExecParse(_) => "what the exec plugin printed is not an ExecCredential".to_owned(),
        AuthError::AuthExec(_) | AuthError::ParseTokenKey(_) => "the exec plugin gave no credentials".to_owned(),
        error => error.to_string(),
    }
}
