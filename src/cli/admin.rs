//! Where the daemon is, and who asks.

use std::path::PathBuf;

use clap::Args;
use reqwest::Url;
use reqwest::header::HeaderValue;

use super::api::{Api, LIMIT};
use crate::clients::tls::{self, TlsFiles};
use crate::decode::values::FilePath;

pub(super) use super::daemon::Failure;

/// Which daemon, and who asks.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The daemon's address. Can be given several times, or as a list with commas, for replicas that
    /// share their storage: if one does not answer, the next one is asked. The default is
    /// `DR_EXPORTER_URL`, or else `http://127.0.0.1:9877`.
    #[arg(long = "url", value_name = "URL", value_delimiter = ',', global = true)]
    urls: Vec<Url>,
    /// The user name. The default is `DR_EXPORTER_USER`.
    #[arg(long, alias = "username", value_name = "NAME", global = true)]
    user: Option<String>,
    /// The file with the user's password. The default is `DR_EXPORTER_PASSWORD_FILE`.
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// The file with a token, for a proxy that asks for one.
    #[arg(long, value_name = "FILE", global = true, conflicts_with_all = ["user", "password_file"])]
    token_file: Option<PathBuf>,
    /// The file with the authority of the daemon's certificate. The default is that of the system.
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// The key of an order that an earlier command gave: it is carried out once, however often it is
    /// given. A command that does not know what became of its order tells its key.
    #[arg(long, value_name = "KEY", value_parser = key, global = true)]
    idempotency_key: Option<String>,
}

/// A key, to which the number of the order is added.
fn key(text: &str) -> Result<String, String> {
    let fits = (1..=100).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("expected 1 to 100 visible characters".to_owned()) }
}

impl Connection {
    /// The name of the person, if the command line gives none.
    pub(super) fn name(&self) -> String {
        let known = self.user.clone().or_else(|| variable("DR_EXPORTER_USER")).or_else(|| variable("USER"));
        known.unwrap_or_else(|| "unknown".to_owned())
    }

    /// A connection.
    pub(super) async fn open(&self) -> Result<Api, String> {
        let urls = self.urls()?;
        let ca_file = self.ca_file.clone().map(FilePath::from);
        let tls = if urls.iter().any(|url| url.scheme() == "https") {
            trusting(ca_file.as_ref()).await
        } else {
            tls::trusting_nobody()
        };
        let tls = tls.map_err(|error| error.to_string())?;
        // Proxies from the environment are not used: the daemon itself must answer.
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(LIMIT).build();
        let client = client.map_err(|error| error.to_string())?;
        Ok(Api::new(urls, self.authorization()?, client, self.idempotency_key.clone()))
    }

    fn urls(&self) -> Result<Vec<Url>, String> {
        if !self.urls.is_empty() {
            return Ok(self.urls.clone());
        }
        let known = variable("DR_EXPORTER_URL").unwrap_or_else(|| "http://127.0.0.1:9877".to_owned());
        let parse = |url: &str| url.trim().parse().map_err(|error| format!("DR_EXPORTER_URL: {error}"));
        known.split(',').map(parse).collect()
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let read = |file: &PathBuf| {
            let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Ok::<_, String>(text.trim_end_matches(['\r', '\n']).to_owned())
        };
        let value = if let Some(file) = &self.token_file {
            format!("Bearer {}", read(file)?)
        } else if let Some(user) = self.user.clone().or_else(|| variable("DR_EXPORTER_USER")) {
            let file = self.password_file.clone().or_else(|| variable("DR_EXPORTER_PASSWORD_FILE").map(PathBuf::from));
            let file = file.ok_or("--user needs --password-file, or DR_EXPORTER_PASSWORD_FILE")?;
            let pair = format!("{user}:{}", read(&file)?);
            format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
        } else {
            return Ok(None);
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| "the password or token has a control character")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn trusting(ca_file: Option<&FilePath>) -> Result<rustls::ClientConfig, tls::TlsError> {
    tls::client_config(&TlsFiles { ca_file, cert_file: None, key_file: None, insecure_skip_verify: false }).await
}
