//! The way into a cluster: a client that is made when it is needed, and anew when what it was made of has changed.

use std::sync::{Mutex, PoisonError};

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::sync::watch;

use super::credentials::{Origin, hash_of, settle};
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
#[derive(Clone)]
pub(super) struct Made {
    usable: watch::Receiver<Option<Result<Usable, String>>>,
    /// The hash of the kubeconfig as it was read.
    kubeconfig: Option<u64>,
}

#[derive(Clone)]
struct Usable {
    client: Client,
    origin: Origin,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").finish_non_exhaustive()
    }
}

impl Access {
    pub(super) fn new(config: KubernetesConnection) -> Self {
        Self { config, made: Mutex::default() }
    }

    /// The client. It is made anew when the kubeconfig or the token file has changed, when a plugin must be run again, and
    /// when credentials were refused.
    ///
    /// # Errors
    /// What is wrong with the kubeconfig, the service account, or a file or plugin that they name.
    pub(super) async fn client(&self) -> Result<(Client, Made), Finding> {
        let kubeconfig = match self.config.kubeconfig_file.clone() {
            Some(file) => {
                let hashed = blocking(move || hash_of(file.path()).map_err(|error| format!("{file}: {error}"))).await;
                Some(hashed.map_err(|message| unusable(&message))?)
            }
            None => None,
        };
        let made = self.made(kubeconfig);
        let usable = self.usable(&made).await?;
        if !usable.origin.is_outdated().await {
            return Ok((usable.client, made));
        }
        self.forget(&made);
        let made = self.made(kubeconfig);
        let usable = self.usable(&made).await?;
        Ok((usable.client, made))
    }

    async fn usable(&self, made: &Made) -> Result<Usable, Finding> {
        let story = match made.usable.clone().wait_for(Option::is_some).await.map(|usable| usable.clone()) {
            Ok(Some(Ok(usable))) => return Ok(usable),
            Ok(Some(Err(story))) => story,
            Ok(None) | Err(_) => "the client could not be made".to_owned(),
        };
        self.forget(made);
        Err(unusable(&story))
    }

    fn made(&self, kubeconfig: Option<u64>) -> Made {
        let mut current = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let is_under_way = |made: &Made| made.usable.borrow().is_none() && made.usable.has_changed().is_ok();
        if let Some(made) = current.as_ref().filter(|made| made.kubeconfig == kubeconfig || is_under_way(made)) {
            return made.clone();
        }
        let (sender, usable) = watch::channel(None);
        let config = self.config.clone();
        tokio::spawn(async move { sender.send_replace(Some(make(&config).await)) });
        let made = Made { usable, kubeconfig };
        *current = Some(made.clone());
        made
    }

    /// Makes the next read start from the files, unless a newer client than this one is there.
    pub(super) fn forget(&self, made: &Made) {
        let mut current = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.usable.same_channel(&made.usable)) {
            *current = None;
        }
    }
}

async fn make(connection: &KubernetesConnection) -> Result<Usable, String> {
    let mut config = read(connection).await?;
    // The next poll is the retry, and whoever waits is told at once.
    config.default_retry = false;
    config.connect_timeout = Some(connection.api_timeout.get());
    if let Some(user) = &connection.impersonate_user {
        config.auth_info.impersonate = Some(user.clone());
        config.auth_info.impersonate_groups = Some(connection.impersonate_groups.clone());
    }
    // A plugin is run here, and files are read.
    let made = blocking(move || {
        let origin = settle(&mut config.auth_info)?;
        let builder = ClientBuilder::try_from(config).map_err(|error| of_client(&error))?;
        Ok((builder, origin))
    });
    made.await.map(|(builder, origin)| Usable { client: builder.build(), origin })
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

/// Why there is no client.
fn of_client(error: &kube::Error) -> String {
    innermost(error)
}
