//! Orders to a running daemon, and what it tells of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::daemon::described;
use crate::clients::tls::{self, TlsFiles};
use crate::decode::values::FilePath;

/// How long a daemon may take to answer.
const LIMIT: Duration = Duration::from_secs(40);
/// How often an order is given, if the daemon does not say that it was stored.
const TRIES: u32 = 4;
/// How long to wait before it is given again.
const PAUSE: Duration = Duration::from_secs(2);

/// Which daemon, and who asks.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The daemon's address. The default is `DR_EXPORTER_URL`, or else `http://127.0.0.1:9877`.
    #[arg(long, value_name = "URL", global = true)]
    url: Option<Url>,
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
}

/// Why an order was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// The daemon refuses it.
    Refused(String),
    /// The daemon did not answer, or could not store it.
    Unanswered(String),
}

impl Failure {
    pub(super) fn text(&self) -> &str {
        let (Self::Refused(text) | Self::Unanswered(text)) = self;
        text
    }
}

impl Connection {
    /// The name of the person, if the command line gives none.
    pub(super) fn name(&self) -> String {
        let known = self.user.clone().or_else(|| variable("DR_EXPORTER_USER")).or_else(|| variable("USER"));
        known.unwrap_or_else(|| "unknown".to_owned())
    }

    /// A connection.
    pub(super) async fn open(&self) -> Result<Api, String> {
        let url = match (&self.url, variable("DR_EXPORTER_URL")) {
            (Some(url), _) => url.clone(),
            (None, Some(url)) => url.parse().map_err(|error| format!("DR_EXPORTER_URL: {error}"))?,
            (None, None) => Url::parse("http://127.0.0.1:9877").map_err(|error| error.to_string())?,
        };
        let ca_file = self.ca_file.clone().map(FilePath::from);
        let tls = if url.scheme() == "https" { trusting(ca_file.as_ref()).await } else { tls::trusting_nobody() };
        let tls = tls.map_err(|error| error.to_string())?;
        // Proxies from the environment are not used: the daemon itself must answer.
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(LIMIT).build();
        Ok(Api { url, authorization: self.authorization()?, client: client.map_err(|error| error.to_string())? })
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

/// A connection to a daemon.
#[derive(Debug, Clone)]
pub(super) struct Api {
    url: Url,
    authorization: Option<HeaderValue>,
    client: reqwest::Client,
}

impl Api {
    /// What the daemon tells.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let text = self.text(path, query).await?;
        serde_json::from_str(&text).map_err(|error| Failure::Unanswered(format!("the answer is no JSON: {error}")))
    }

    /// The same as a text.
    pub(super) async fn text(&self, path: &[&str], query: &[(&str, &str)]) -> Result<String, Failure> {
        let mut url = self.place(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(Method::GET, url, None).await
    }

    /// Gives an order. It is given again if it is not known whether it was stored. A key keeps it
    /// from being carried out twice.
    pub(super) async fn order(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let key = format!("{:032x}", rand::random::<u128>());
        for _ in 1..TRIES {
            match self.send(Method::POST, self.place(path), Some((body, &key))).await {
                Err(Failure::Unanswered(why)) => {
                    eprintln!("{why}; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
                answered => return parsed(&answered?),
            }
        }
        parsed(&self.send(Method::POST, self.place(path), Some((body, &key))).await?)
    }

    fn place(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }

    async fn send(&self, method: Method, url: Url, body: Option<(&Value, &str)>) -> Result<String, Failure> {
        let unanswered = |error: &reqwest::Error| Failure::Unanswered(described(error));
        let mut request = self.client.request(method, url.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some((body, key)) = body {
            request = request.header("content-type", "application/json").header("idempotency-key", key);
            request = request.body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| unanswered(&error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| unanswered(&error))?;
        if status.is_success() {
            return Ok(text);
        }
        let story = serde_json::from_str::<Value>(&text).ok();
        let story = story.as_ref().and_then(|story| story["error"].as_str()).unwrap_or_default();
        let told = format!("{status}: {story}");
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Err(Failure::Unanswered(told)),
            _ => Err(Failure::Refused(told)),
        }
    }
}

fn parsed(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Unanswered(format!("the answer is no JSON: {error}")))
}
