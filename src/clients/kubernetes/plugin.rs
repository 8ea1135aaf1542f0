//! Exec plugins of a kubeconfig: programs that print credentials.
//!
//! They run in bounded time and memory, and are ended together with the caller. Their output is
//! never repeated in a message.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use data_encoding::BASE64;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::credentials::fit;
use super::identity::check_pair;
use crate::clock;
use crate::domain::time::Timestamp;

/// How long before its token expires a plugin is run again.
const BEFORE: Duration = Duration::from_secs(60);
/// How long a plugin may run. It may have to ask a distant server.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest accepted output of a plugin, in bytes. Credentials take a few KiB.
const LARGEST: u64 = 1 << 20;

/// The output of a plugin.
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

/// Runs a plugin for its credentials. Returns when it must be run again.
///
/// # Errors
/// It gives no usable credentials.
pub(super) async fn run(exec: &ExecConfig, auth: &mut AuthInfo) -> Result<Option<Instant>, String> {
    let status = status(exec, PATIENCE).await?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let token = filled(status.token);
    let (certificate, key) = (filled(status.client_certificate_data), filled(status.client_key_data));
    if certificate.is_some() != key.is_some() {
        return Err("the exec plugin gave a client certificate without its key, or a key alone".to_owned());
    }
    let pair = certificate.zip(key);
    if token.is_none() && pair.is_none() {
        return Err("the exec plugin gave no credentials".to_owned());
    }
    if let Some(token) = token {
        auth.token = Some(fit(&token, "the token that the exec plugin gave")?.into());
    }
    if let Some((certificate, key)) = pair {
        check_pair(certificate.as_bytes(), key.as_bytes(), "the exec plugin")?;
        auth.client_certificate_data = Some(BASE64.encode(certificate.as_bytes()));
        auth.client_key_data = Some(BASE64.encode(key.as_bytes()).into());
    }
    Ok(status.expiration_timestamp.and_then(renewal))
}

/// Runs a plugin. Nobody can answer its questions, so a plugin that needs a person is refused.
async fn status(exec: &ExecConfig, patience: Duration) -> Result<ExecStatus, String> {
    let command = exec.command.as_deref().ok_or("the exec plugin has no command; add it")?;
    if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(format!(
            "the exec plugin {command} needs a person (interactiveMode: Always); use one that does not"
        ));
    }
    let mut spec = json!({"interactive": false});
    if exec.provide_cluster_info {
        spec["cluster"] = serde_json::to_value(&exec.cluster).map_err(|error| error.to_string())?;
    }
    let info = json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec});
    let mut plugin = Command::new(command);
    plugin.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let Some(name) = variable.get("name") {
            plugin.env(name, variable.get("value").map(String::as_str).unwrap_or_default());
        }
    }
    plugin.env("KUBERNETES_EXEC_INFO", info.to_string()).kill_on_drop(true);
    plugin.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = plugin.spawn().map_err(|error| not_run(exec, command, &error))?;
    let printed = timeout(patience, printed(child, command)).await.map_err(|_| {
        let seconds = patience.as_secs_f64();
        format!("the exec plugin {command} had not ended after {seconds} s and was killed; run it by hand to see why")
    })??;
    let printed: ExecCredential = serde_saphyr::from_slice(&printed)
        .map_err(|_| format!("the output of the exec plugin {command} is not an ExecCredential"))?;
    printed.status.ok_or_else(|| format!("the exec plugin {command} gave no credentials"))
}

/// The output of a plugin until its end.
async fn printed(mut child: Child, command: &str) -> Result<Vec<u8>, String> {
    let lost = |error: io::Error| format!("the exec plugin {command}: {error}");
    let mut printed = Vec::new();
    if let Some(out) = child.stdout.take() {
        let size = out.take(LARGEST + 1).read_to_end(&mut printed).await.map_err(lost)?;
        if size as u64 > LARGEST {
            return Err(format!("the exec plugin {command} prints more than 1 MiB, which cannot be credentials"));
        }
    }
    let status = child.wait().await.map_err(lost)?;
    if status.success() { Ok(printed) } else { Err(format!("the exec plugin {command} failed, {status}")) }
}

/// How much of the install hint in a kubeconfig is repeated.
const HINT: usize = 300;

/// Why a plugin could not be started, and how to install it.
fn not_run(exec: &ExecConfig, command: &str, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::NotFound {
        return format!("the exec plugin {command}: {error}; the exporter must be able to run it");
    }
    let hint = exec.install_hint.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let hint: String = hint.chars().filter(|char| !char.is_control()).take(HINT).collect();
    let hint = if hint.is_empty() { hint } else { format!("; the kubeconfig says: {hint}") };
    let way_out = "install it where the exporter runs (its image has none), or give the exporter a tokenFile";
    format!("the exec plugin {command} is not installed; {way_out}{hint}")
}

fn renewal(expiry: jiff::Timestamp) -> Option<Instant> {
    let left = Timestamp::from(expiry).since(clock::wall());
    clock::instant().checked_add(left.saturating_sub(BEFORE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(script: &str) -> ExecConfig {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
            "env": [{"name": "TOKEN", "value": "abc"}, {"name": "EMPTY"}],
        });
        serde_json::from_value(exec).expect("a plugin")
    }

    #[tokio::test]
    async fn a_plugin_has_bounded_time_and_memory() {
        for (script, words) in [
            ("sleep 30", "had not ended after 0.2 s"),
            ("sleep 30 &", "had not ended after 0.2 s"),
            ("exec >&-; sleep 30", "had not ended after 0.2 s"),
        ] {
            let story = status(&plugin(script), Duration::from_millis(200)).await.err().expect("it takes too long");
            assert!(story.contains(words), "{script}: {story}");
        }
        let story = status(&plugin("yes hunter2"), PATIENCE).await.err().expect("it prints too much");
        assert!(story.contains("more than 1 MiB") && !story.contains("hunter2"), "{story}");
    }

    #[tokio::test]
    async fn empty_fields_and_values_are_as_good_as_none() {
        let script = r#"test "$TOKEN$EMPTY" = abc && test -n "${EMPTY+set}" && echo '{"status":
            {"token": "abc", "clientCertificateData": "", "clientKeyData": "", "expirationTimestamp": null}}'"#;
        let mut auth = AuthInfo::default();
        assert_eq!(run(&plugin(script), &mut auth).await, Ok(None));
        assert!(auth.token.is_some() && auth.client_certificate_data.is_none());
    }
}
