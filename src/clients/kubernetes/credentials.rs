//! Credentials, looked at before the client library makes headers of them: it ends its task on a token that no header
//! can carry.
//!
//! Nothing in here says what a credential holds. So what a plugin printed is not repeated, and neither is a file's line.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use http::HeaderValue;
use k8s_openapi::ByteString;
use kube::config::{AuthInfo, ExecConfig};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::clients::blocking;
use crate::clock;
use crate::domain::time::Timestamp;

/// How long before its token expires a plugin is run again.
const BEFORE: Duration = Duration::from_secs(60);

/// Where a client's credentials came from, beside the kubeconfig.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    /// A token file, and the hash of what it held.
    file: Option<(PathBuf, u64)>,
    /// When the plugin that gave them must be run again.
    renewal: Option<Instant>,
}

impl Origin {
    /// Whether there are newer ones. A token file that is gone takes nothing back: some are removed once they are read.
    pub(super) async fn is_outdated(&self) -> bool {
        if self.renewal.is_some_and(|renewal| renewal <= clock::instant()) {
            return true;
        }
        let Some((path, before)) = self.file.clone() else { return false };
        blocking(move || hash_of(&path)).await.is_ok_and(|now| now != before)
    }
}

/// The hash of what a file holds. Its size and time do not tell whether it was replaced.
pub(super) fn hash_of(path: &std::path::Path) -> io::Result<u64> {
    fs::read(path).map(|content| hash(&content))
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Replaces token files and plugins by what they give, and sees to it that every token is fit for a header. Blocks.
///
/// # Errors
/// What is wrong with them.
pub(super) fn settle(auth: &mut AuthInfo) -> Result<Origin, String> {
    let (file, exec, provider) = (auth.token_file.take(), auth.exec.take(), auth.auth_provider.take());
    let inline = auth.token.take();
    if let Some(mut provider) = provider {
        let token = if provider.name == "oidc" { provider.config.remove("id-token") } else { None };
        let unknown = || format!("the auth-provider {} is not supported; use an exec plugin", provider.name);
        auth.token = Some(fit(&token.ok_or_else(unknown)?, "the id-token of the auth-provider")?.into());
        (auth.username, auth.password) = (None, None);
        return Ok(Origin::default());
    }
    if auth.username.is_some() && auth.password.is_some() {
        return Ok(Origin::default());
    }
    // An empty one is as good as none, as for kubectl.
    if let Some(token) = inline.as_ref().map(ExposeSecret::expose_secret).filter(|token| !token.trim().is_empty()) {
        auth.token = Some(fit(token, "the token of the kubeconfig")?.into());
        return Ok(Origin::default());
    }
    if let Some(path) = file {
        let content = fs::read(&path).map_err(|error| format!("the token file {path}: {error}"))?;
        let token = std::str::from_utf8(&content).map_err(|_| format!("the token file {path} is no text"))?;
        auth.token = Some(fit(token, &format!("the token file {path}"))?.into());
        return Ok(Origin { file: Some((path.into(), hash(&content))), renewal: None });
    }
    match exec {
        Some(exec) => of_plugin(&exec, auth),
        None => Ok(Origin::default()),
    }
}

/// A token as a header has it. Files and YAML end with a line break, which is no part of it.
fn fit(token: &str, what: &str) -> Result<String, String> {
    let token = token.trim();
    if token.is_empty() {
        return Err(format!("{what} is empty"));
    }
    match HeaderValue::from_str(&format!("Bearer {token}")) {
        Ok(_) => Ok(token.to_owned()),
        Err(_) => {
            Err(format!("{what} has a line break or another character that no header can carry; write it on one line"))
        }
    }
}

/// What a plugin prints.
#[derive(Deserialize)]
struct ExecCredential {
    status: Option<ExecStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecStatus {
    expiration_timestamp: Option<jiff::Timestamp>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

fn of_plugin(exec: &ExecConfig, auth: &mut AuthInfo) -> Result<Origin, String> {
    let status = run(exec)?;
    let token = status.token.filter(|token| !token.is_empty());
    let pair = status.client_certificate_data.zip(status.client_key_data);
    if token.is_none() && pair.is_none() {
        return Err("the exec plugin gave no credentials".to_owned());
    }
    if let Some(token) = token {
        auth.token = Some(fit(&token, "the token that the exec plugin gave")?.into());
    }
    if let Some((certificate, key)) = pair {
        auth.client_certificate_data = Some(base64(certificate)?);
        auth.client_key_data = Some(base64(key)?.into());
    }
    Ok(Origin { file: None, renewal: status.expiration_timestamp.and_then(renewal) })
}

/// Runs a plugin. A daemon has nobody to ask: one that would wait for a person finds nobody.
fn run(exec: &ExecConfig) -> Result<ExecStatus, String> {
    let command = exec.command.as_deref().ok_or("the exec plugin has no command")?;
    let mut spec = json!({"interactive": false});
    if exec.provide_cluster_info {
        spec["cluster"] = serde_json::to_value(&exec.cluster).map_err(|error| error.to_string())?;
    }
    let info = json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec});
    let mut plugin = Command::new(command);
    plugin.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            plugin.env(name, value);
        }
    }
    plugin.env("KUBERNETES_EXEC_INFO", info.to_string()).stdin(Stdio::null());
    let out = plugin.output().map_err(|error| format!("the exec plugin {command}: {error}"))?;
    if !out.status.success() {
        return Err(format!("the exec plugin failed, {}", out.status));
    }
    let printed: ExecCredential = serde_saphyr::from_slice(&out.stdout)
        .map_err(|_| "what the exec plugin printed is not an ExecCredential".to_owned())?;
    printed.status.ok_or_else(|| "the exec plugin gave no credentials".to_owned())
}

fn renewal(expiry: jiff::Timestamp) -> Option<Instant> {
    let left = Timestamp::from(expiry).since(clock::wall());
    clock::instant().checked_add(left.saturating_sub(BEFORE))
}

fn base64(pem: String) -> Result<String, String> {
    match serde_json::to_value(ByteString(pem.into_bytes())) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        _ => Err("the exec plugin's certificate cannot be used".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(auth: &AuthInfo) -> Option<&str> {
        auth.token.as_ref().map(ExposeSecret::expose_secret)
    }

    #[test]
    fn tokens_are_fit_for_a_header_or_refused_without_being_told() {
        for (token, expected) in [
            ("abc", Some("abc")),
            ("abc\n", Some("abc")),
            (" abc\r\n", Some("abc")),
            ("hunter2\nhunter2", None),
            ("hunter2\0", None),
            ("\u{7f}hunter2", None),
        ] {
            let mut auth = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
            match (settle(&mut auth), expected) {
                (Ok(_), Some(expected)) => assert_eq!(token_of(&auth), Some(expected)),
                (Err(story), None) => assert!(!story.contains("hunter2"), "{story}"),
                (got, expected) => panic!("{token:?}: {got:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn an_empty_token_gives_way_to_the_token_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "from-the-file\n").expect("it is written");
        let path = Some(file.path().display().to_string());
        let mut auth = AuthInfo { token: Some(String::new().into()), token_file: path, ..AuthInfo::default() };
        settle(&mut auth).expect("credentials");
        assert_eq!((token_of(&auth), auth.token_file.as_deref()), (Some("from-the-file"), None));
    }

    #[tokio::test]
    async fn a_token_file_is_outdated_by_what_it_holds_and_not_by_being_gone() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "one").expect("it is written");
        let path = Some(file.path().display().to_string());
        let mut auth = AuthInfo { token_file: path, ..AuthInfo::default() };
        let origin = settle(&mut auth).expect("credentials");
        assert!(!origin.is_outdated().await);
        fs::write(file.path(), "two").expect("it is written");
        assert!(origin.is_outdated().await);
        file.close().expect("it is removed");
        assert!(!origin.is_outdated().await);
    }

    #[test]
    fn a_provider_that_nobody_has_any_more_is_refused() {
        let provider = |name: &str| {
            let provider =
                json!({"auth-provider": {"name": name, "config": {"id-token": "abc", "access-token": "abc"}}});
            serde_json::from_value::<AuthInfo>(provider).expect("an AuthInfo")
        };
        let mut oidc = provider("oidc");
        settle(&mut oidc).expect("credentials");
        assert_eq!(token_of(&oidc), Some("abc"));
        let story = settle(&mut provider("gcp")).expect_err("no credentials");
        assert!(story.contains("exec plugin") && !story.contains("abc"), "{story}");
    }
}
