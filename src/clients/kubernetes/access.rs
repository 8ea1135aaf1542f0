//! Access to a cluster. A client is made when it is needed, and made again when its files have
//! changed.

use std::sync::{Mutex, PoisonError};

use data_encoding::BASE64;
use kube::config::AuthInfo;
use kube::{Client, Config};
use secrecy::ExposeSecret;
use tokio::sync::watch;

use super::credentials::{Origin, settle};
use super::files::{Files, hash_of};
use super::identity::authorities;
use super::{CREDENTIALS_UNREADABLE, KubernetesConnection, kubeconfig, plugin, transport};
use crate::clients::blocking;
use crate::decode::values::secrets;
use crate::domain::observation::Finding;

/// How a cluster is accessed.
#[derive(Debug)]
pub(super) struct Access {
    config: KubernetesConnection,
    made: Mutex<Option<Made>>,
}

/// A client that is made, or is being made. A plugin that hangs is waited for, and not run a second
/// time.
#[derive(Clone)]
pub(super) struct Made {
    usable: watch::Receiver<Option<Result<Usable, String>>>,
    /// The hash of the kubeconfig when it was read.
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

    /// The client. It is made again when the kubeconfig or the token file has changed, when a
    /// plugin must be run again, and when credentials were refused.
    ///
    /// # Errors
    /// What is wrong with the kubeconfig, the service account, or a file or plugin in them.
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

    /// The next read starts from the files again, unless there is already a newer client.
    pub(super) fn forget(&self, made: &Made) {
        let mut current = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.usable.same_channel(&made.usable)) {
            *current = None;
        }
    }
}

async fn make(connection: &KubernetesConnection) -> Result<Usable, String> {
    let (mut config, files) = read(connection).await?;
    // The next poll is the retry, and the caller gets an error at once.
    config.default_retry = false;
    config.connect_timeout = Some(connection.api_timeout.get());
    if let Some(user) = &connection.impersonate_user {
        config.auth_info.impersonate = Some(user.clone());
        config.auth_info.impersonate_groups = Some(connection.impersonate_groups.clone());
    }
    let file = connection.kubeconfig_file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
    let in_file = |problem: String| format!("{file}{problem}");
    // Files are read here.
    let settled = blocking(move || {
        let mut config = config;
        settle(&mut config.auth_info, files).map(|origin| (config, origin))
    });
    let (mut config, mut origin) = settled.await.map_err(in_file)?;
    if let Some(exec) = config.auth_info.exec.take() {
        origin.renewal = plugin::run(&exec, &mut config.auth_info).await.map_err(in_file)?;
    }
    remember_secrets(connection, &config.auth_info);
    let client = blocking(move || transport::client(&config)).await.map_err(in_file)?;
    Ok(Usable { client, origin })
}

/// What is sent to the API server, so that it is blanked out of what the server says.
fn remember_secrets(connection: &KubernetesConnection, auth: &AuthInfo) {
    let file = connection.kubeconfig_file.as_ref().map_or_else(|| "in the cluster".to_owned(), ToString::to_string);
    let place = format!("{file}, context {}", connection.context.as_deref().unwrap_or_default());
    if let Some(token) = &auth.token {
        secrets::remember(&format!("{place}, token"), token.expose_secret());
    }
    if let (Some(name), Some(password)) = (&auth.username, &auth.password) {
        let pair = format!("{name}:{}", password.expose_secret());
        secrets::remember(&format!("{place}, password"), password.expose_secret());
        secrets::remember(&format!("{place}, basic"), &BASE64.encode(pair.as_bytes()));
    }
}

async fn read(connection: &KubernetesConnection) -> Result<(Config, Files), String> {
    let Some(file) = connection.kubeconfig_file.clone() else {
        if connection.in_cluster {
            return blocking(of_pod).await.map_err(|problem| format!("the service account: {problem}"));
        }
        return Err("the connection is not configured".to_owned());
    };
    let (path, context) = (file.path().to_owned(), connection.context.clone());
    let chosen = blocking(move || {
        let mut files = Files::default();
        kubeconfig::read(&path, context.as_deref(), &mut files).map(|chosen| (chosen, files))
    });
    let in_file = |problem: String| format!("{file}: {problem}");
    let (chosen, files) = chosen.await.map_err(in_file)?;
    Ok((chosen.config().await.map_err(in_file)?, files))
}

/// What the kubelet gives the pod. The certificates are among the watched files, as those that a
/// kubeconfig names are: `kube` would follow them too, but with its own rules for certificates. Blocks.
fn of_pod() -> Result<(Config, Files), String> {
    let (mut config, mut files) = (Config::incluster().map_err(|error| error.to_string())?, Files::default());
    if let Some(path) = config.root_cert_file.take() {
        let what = format!("the certificate authority {}", path.display());
        let pem = files.read(&path).map_err(|error| format!("{what}: {error}"))?;
        let usable = authorities(&pem, &what)?;
        config.root_cert = Some(usable.into_iter().map(|found| found.to_vec()).collect());
    }
    Ok((config, files))
}

fn unusable(message: &str) -> Finding {
    Finding::new(&CREDENTIALS_UNREADABLE, message)
}
