//! The way into a cluster: a client that is made when it is needed, and anew when what it was made of has changed.

use std::time::SystemTime;
use std::{fs, io};

use kube::client::{AuthError, ClientBuilder};
use kube::config::{AuthInfo, ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::sync::Mutex;

use super::{CREDENTIALS_UNREADABLE, KubernetesConnection};
use crate::clients::{blocking, causes};
use crate::domain::observation::Finding;

/// How a cluster is got into.
#[derive(Debug)]
pub(super) struct Access {
    config: KubernetesConnection,
    made: Mutex<Option<Made>>,
    forgotten: std::sync::atomic::AtomicBool,
}

struct Made {
    client: Client,
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
        Self { config, made: Mutex::default(), forgotten: false.into() }
    }

    /// The client. It is made anew when the kubeconfig has changed or credentials were refused.
    ///
    /// # Errors
    /// What is wrong with the kubeconfig, the service account, or a file or plugin that they name.
    pub(super) async fn client(&self) -> Result<Client, Finding> {
        let mut made = self.made.lock().await;
        if self.forgotten.swap(false, std::sync::atomic::Ordering::Relaxed) {
            *made = None;
        }
        let file = self.config.kubeconfig_file.clone();
        let stamp = match file {
            Some(file) => blocking(move || stamp(&file)).await.map(Some).map_err(|e| unusable(&e))?,
            None => None,
        };
        if let Some(made) = made.as_ref().filter(|made| made.stamp == stamp) {
            return Ok(made.client.clone());
        }
        let client = self.make().await.map_err(|message| unusable(&message))?;
        *made = Some(Made { client: client.clone(), stamp });
        Ok(client)
    }

    /// Makes the next read start from the files.
    pub(super) fn forget(&self) {
        self.forgotten.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    async fn make(&self) -> Result<Client, String> {
        let mut config = self.read().await?;
        // The next poll is the retry, and whoever waits is told at once.
        config.default_retry = false;
        config.connect_timeout = Some(self.config.api_timeout.get());
        if let Some(user) = &self.config.impersonate_user {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups = Some(self.config.impersonate_groups.clone());
        }
        never_ask_a_person(&mut config.auth_info);
        // A plugin is run here the first time, and files are read.
        let builder = blocking(move || ClientBuilder::try_from(config)).await;
        builder.map(ClientBuilder::build).map_err(|error| of_client(&error))
    }

    async fn read(&self) -> Result<Config, String> {
        let Some(file) = self.config.kubeconfig_file.clone() else {
            if self.config.in_cluster {
                return blocking(Config::incluster).await.map_err(|error| format!("the service account: {error}"));
            }
            return Err("the connection is not configured".to_owned());
        };
        let path = file.path().to_owned();
        let kubeconfig = blocking(move || Kubeconfig::read_from(path)).await;
        let kubeconfig = kubeconfig.map_err(|error| format!("{file}: {}", of_kubeconfig(&error)))?;
        let options = KubeConfigOptions { context: self.config.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.map_err(|error| format!("{file}: {}", of_kubeconfig(&error)))
    }
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

fn unusable(message: &String) -> Finding {
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
        error => causes(error).last().map_or_else(String::new, ToString::to_string),
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
