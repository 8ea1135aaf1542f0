//! Checks credentials before the client library makes headers from them. The library ends its task
//! if a token is not possible in a header.
//!
//! No message contains a credential. So the output of a plugin is not repeated, and neither are the
//! lines of a file.

use std::path::Path;

use http::HeaderValue;
use kube::config::{AuthInfo, AuthProviderConfig};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::files::Files;
use crate::clock;

/// The sources of a client's credentials, beside the kubeconfig.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    /// The files that were read.
    files: Files,
    /// When the plugin must be run again.
    pub(super) renewal: Option<Instant>,
}

impl Origin {
    /// Whether there are newer credentials.
    pub(super) async fn is_outdated(&self) -> bool {
        self.renewal.is_some_and(|renewal| renewal <= clock::instant()) || self.files.have_changed().await
    }
}

/// Replaces token files by their content, and checks that every token is possible in a header.
/// Blocks.
///
/// If there are several, the order is that of `kubectl`: the token file before the token, and both
/// before a plugin. So a plugin that remains must be run.
///
/// # Errors
/// What is wrong with them.
pub(super) fn settle(auth: &mut AuthInfo, mut files: Files) -> Result<Origin, String> {
    let (file, exec, provider) = (auth.token_file.take(), auth.exec.take(), auth.auth_provider.take());
    let inline = auth.token.take().filter(|token| !token.expose_secret().trim().is_empty());
    let mut provider = provider.map(supported).transpose()?;
    if auth.username.is_some() {
        if inline.is_some() || file.is_some() {
            return Err("the user has both a token and a username; remove one of them".to_owned());
        }
        auth.password.get_or_insert_default();
        return Ok(Origin { files, renewal: None });
    }
    auth.password = None;
    let of_file = file.map(|path| of_file(&path, &mut files));
    let token = match (of_file, inline) {
        (Some(Ok(token)), _) => Some(token),
        // The token is used while the file cannot be.
        (_, Some(inline)) => Some(fit(inline.expose_secret(), "the token of the kubeconfig")?),
        (Some(Err(story)), None) => return Err(story),
        (None, None) => match provider.as_mut().map(|provider| provider.config.remove("id-token")) {
            Some(token) => {
                let none = "the auth-provider oidc has no id-token; use an exec plugin such as kubelogin";
                Some(fit(&token.ok_or(none)?, "the id-token of the auth-provider")?)
            }
            None => None,
        },
    };
    if let Some(token) = token {
        auth.token = Some(token.into());
        return Ok(Origin { files, renewal: None });
    }
    auth.exec = exec;
    Ok(Origin { files, renewal: None })
}

/// The only auth-provider that is still supported, as far as it needs no renewal.
fn supported(provider: AuthProviderConfig) -> Result<AuthProviderConfig, String> {
    let plugin = match provider.name.as_str() {
        "oidc" => return Ok(provider),
        "gcp" => "the exec plugin gke-gcloud-auth-plugin",
        "azure" => "the exec plugin kubelogin (`kubelogin convert-kubeconfig`)",
        "openstack" => "the exec plugin client-keystone-auth",
        _ => "an exec plugin",
    };
    Err(format!("the auth-provider {} is not supported here, and no longer in kubectl; use {plugin}", provider.name))
}

fn of_file(path: &str, files: &mut Files) -> Result<String, String> {
    let content = files.read(Path::new(path)).map_err(|error| format!("the token file {path}: {error}"))?;
    let token = std::str::from_utf8(&content).map_err(|_| format!("the token file {path} is not a text"))?;
    fit(token, &format!("the token file {path}"))
}

/// A token for a header. The line break at the end of files and YAML texts is not part of it.
pub(super) fn fit(token: &str, what: &str) -> Result<String, String> {
    let token = token.trim_start_matches('\u{feff}').trim();
    if token.is_empty() {
        return Err(format!("{what} is empty"));
    }
    match HeaderValue::from_str(&format!("Bearer {token}")) {
        Ok(_) => Ok(token.to_owned()),
        Err(_) => Err(format!(
            "{what} has a line break or another character that is not possible in a header; write it on one line"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

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
            ("\u{feff}abc\r\n", Some("abc")),
            ("hunter2\nhunter2", None),
            ("hunter2\0", None),
            ("\u{7f}hunter2", None),
        ] {
            let mut auth = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
            match (settle(&mut auth, Files::default()), expected) {
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
        settle(&mut auth, Files::default()).expect("credentials");
        assert_eq!((token_of(&auth), auth.token_file.as_deref()), (Some("from-the-file"), None));
    }

    #[test]
    fn a_name_with_and_without_a_password() {
        let basic = |token: Option<&str>, password: Option<&str>| {
            let mut auth = AuthInfo { username: Some("me".to_owned()), ..AuthInfo::default() };
            auth.token = token.map(Into::into);
            auth.password = password.map(Into::into);
            settle(&mut auth, Files::default()).map(|_| auth.password.expect("a password").expose_secret().to_owned())
        };
        assert_eq!(basic(None, Some("hunter2")).as_deref(), Ok("hunter2"));
        assert_eq!(basic(None, None).as_deref(), Ok(""));
        assert_eq!(basic(Some(" "), Some("hunter2")).as_deref(), Ok("hunter2"));
        let story = basic(Some("abc"), Some("hunter2")).expect_err("only one of them can be meant");
        assert!(story.contains("remove one") && !story.contains("hunter2"), "{story}");
    }

    #[tokio::test]
    async fn a_token_file_is_outdated_by_what_it_holds_and_not_by_being_gone() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "one").expect("it is written");
        let path = Some(file.path().display().to_string());
        let mut auth = AuthInfo { token_file: path, ..AuthInfo::default() };
        let origin = settle(&mut auth, Files::default()).expect("credentials");
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
        settle(&mut oidc, Files::default()).expect("credentials");
        assert_eq!(token_of(&oidc), Some("abc"));
        let story = settle(&mut provider("gcp"), Files::default()).expect_err("no credentials");
        assert!(story.contains("exec plugin") && !story.contains("abc"), "{story}");
    }
}
