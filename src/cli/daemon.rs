//! A running daemon, as the other subcommands ask it.

use std::time::Duration;

use bytes::Bytes;

use crate::clients::tls::{self, TlsFiles};

/// What `path` of the daemon at `url` answers; an answer that is no success is an error.
///
/// # Errors
/// Why there is none.
pub(super) async fn ask(url: &reqwest::Url, path: &str, limit: Duration) -> Result<Bytes, String> {
    let url = url.join(path).map_err(|error| format!("{url}: {error}"))?;
    let tls = TlsFiles { ca_file: None, cert_file: None, key_file: None, insecure_skip_verify: false };
    // Plain HTTP needs nobody to be trusted.
    let tls = if url.scheme() == "https" { tls::client_config(&tls).await } else { tls::trusting_nobody() };
    let tls = tls.map_err(|error| error.to_string())?;
    // A daemon is asked itself, not a proxy that the environment names.
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(limit).build();
    let answer = client.map_err(|error| error.to_string())?.get(url.clone()).send().await;
    let answer = answer.map_err(|error| told(&error))?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| told(&error))?;
    if status.is_success() {
        return Ok(body);
    }
    let story = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let story = story.as_ref().and_then(|story| story["error"].as_str()).unwrap_or_default();
    Err(format!("{url} answers {status}: {story}"))
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
