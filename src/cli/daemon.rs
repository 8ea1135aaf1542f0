//! Requests of the other subcommands to a running daemon.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;

use crate::clients::tls::{self, TlsFiles};
use crate::decode::values::{FilePath, SecretFile};

/// How a daemon with TLS or passwords is asked.
#[derive(Debug, Default, Args)]
pub struct Access {
    /// The authorities that the daemon's certificate is verified against. By default those of the
    /// system.
    #[arg(long, value_name = "FILE", value_parser = path::<FilePath>)]
    ca_file: Option<FilePath>,
    /// The client certificate for the daemon.
    #[arg(long, value_name = "FILE", value_parser = path::<FilePath>, requires = "key_file")]
    cert_file: Option<FilePath>,
    /// The private key of the client certificate.
    #[arg(long, value_name = "FILE", value_parser = path::<SecretFile>, requires = "cert_file")]
    key_file: Option<SecretFile>,
    /// Accept any certificate of the daemon. For a daemon on this machine.
    #[arg(long)]
    insecure_skip_verify: bool,
    /// The user name for the daemon.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    username: Option<String>,
    /// The file with the password for the daemon.
    #[arg(long, value_name = "FILE", value_parser = path::<SecretFile>, requires = "username")]
    password_file: Option<SecretFile>,
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn path<T: From<PathBuf>>(text: &str) -> Result<T, std::convert::Infallible> {
    Ok(PathBuf::from(text).into())
}

/// Why a daemon did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// It refuses it.
    Refused(String),
    /// It did not answer, or could not do it.
    Unanswered(String),
}

impl Failure {
    pub(super) fn text(&self) -> &str {
        let (Self::Refused(text) | Self::Unanswered(text)) = self;
        text
    }
}

/// The answer to a request for `path` of the daemon at `url`. An answer without success is an
/// error.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn ask(url: &reqwest::Url, access: &Access, path: &str, limit: Duration) -> Result<Bytes, Failure> {
    let mut base = url.clone();
    if !base.path().ends_with('/') {
        // Otherwise the last part of a route prefix would be replaced.
        base.set_path(&format!("{}/", base.path()));
    }
    let url = base.join(path).map_err(|error| Failure::Refused(format!("{url}: {error}")))?;
    let tls = TlsFiles {
        ca_file: access.ca_file.as_ref(),
        cert_file: access.cert_file.as_ref(),
        key_file: access.key_file.as_ref(),
        insecure_skip_verify: access.insecure_skip_verify,
    };
    // Plain HTTP needs no trusted authorities.
    let tls = if url.scheme() == "https" { tls::client_config(&tls).await } else { tls::trusting_nobody() };
    let tls = tls.map_err(|error| Failure::Refused(error.to_string()))?;
    // Proxies from the environment are not used: the daemon itself must answer.
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(limit).build();
    let mut request = client.map_err(|error| Failure::Refused(error.to_string()))?.get(url.clone());
    if let (Some(name), Some(file)) = (&access.username, &access.password_file) {
        let password = file.read().await.map_err(|error| Failure::Refused(error.to_string()))?;
        request = request.basic_auth(name, Some(password.expose()));
    }
    let answer = request.send().await;
    let answer = answer.map_err(|error| Failure::Unanswered(described(&error)))?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| Failure::Unanswered(described(&error)))?;
    if status.is_success() {
        return Ok(body);
    }
    let story = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let story = story.as_ref().and_then(|story| story["error"].as_str()).unwrap_or_default();
    let told = format!("{url} answers {status}: {story}");
    Err(if status.is_server_error() { Failure::Unanswered(told) } else { Failure::Refused(told) })
}

/// An error with its causes.
pub(super) fn described(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
