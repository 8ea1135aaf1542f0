//! Reads a kubeconfig as `kubectl` does, with all files that it names.
//!
//! Messages name the field and what to do, and never contain a secret.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use http::{HeaderValue, Uri};
use kube::Config;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedAuthInfo, NamedCluster};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use super::files::Files;
use super::identity::{authorities, check_pair, decoded, in_pem};
use super::proxy;

/// The cluster and user of one context of a kubeconfig, and the files that it names. Blocks.
///
/// # Errors
/// What is wrong with the kubeconfig or with one of the files.
pub(super) fn read(path: &Path, context: Option<&str>, files: &mut Files) -> Result<Chosen, String> {
    let read = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut chosen = choose(&parsed(&read)?, context)?;
    let dir = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut beside = Beside { dir, files };
    let is_secure = settle_cluster(&mut chosen.cluster, &chosen.user, &mut beside)?;
    // As in kubectl, an unencrypted connection has no credentials.
    if !is_secure {
        chosen.user.auth_info = Some(AuthInfo::default());
        return Ok(chosen);
    }
    let name = chosen.user.name.as_str();
    if !name.is_empty() && !chosen.is_user_known {
        return Err(format!("the context names the user {name}, which is not under users; add or correct the user"));
    }
    settle_user(&mut chosen.user, &mut beside)?;
    Ok(chosen)
}

/// The chosen cluster and user.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    cluster: NamedCluster,
    user: NamedAuthInfo,
    /// Whether the user is in the kubeconfig.
    is_user_known: bool,
}

impl Chosen {
    /// The same for the client library.
    ///
    /// # Errors
    /// The client library refuses it.
    pub(super) async fn config(self) -> Result<Config, String> {
        const NAME: &str = "chosen";
        let proxy_url = self.cluster.cluster.as_ref().and_then(|cluster| cluster.proxy_url.clone());
        let mut kubeconfig = Kubeconfig::default();
        kubeconfig.clusters.push(NamedCluster { name: NAME.to_owned(), ..self.cluster });
        kubeconfig.auth_infos.push(NamedAuthInfo { name: NAME.to_owned(), ..self.user });
        let context =
            kube::config::Context { cluster: NAME.to_owned(), user: Some(NAME.to_owned()), ..Default::default() };
        kubeconfig.contexts.push(kube::config::NamedContext {
            name: NAME.to_owned(),
            context: Some(context),
            ..Default::default()
        });
        let options = KubeConfigOptions { context: Some(NAME.to_owned()), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.map_err(|error| of_kubeconfig(&error))?;
        config.proxy_url = proxy::for_server(proxy_url.as_deref(), &config.cluster_url)?;
        Ok(config)
    }
}

fn parsed(content: &[u8]) -> Result<Kubeconfig, String> {
    let text = text_of(content).ok_or("this is not a text; a kubeconfig is YAML in UTF-8")?;
    let text = text.trim_start_matches('\u{feff}');
    Kubeconfig::from_yaml(text).or_else(|error| lenient(text).ok_or(error)).map_err(|error| of_kubeconfig(&error))
}

/// Accepts what kubectl accepts and the client library does not: JSON with tabs, duplicate keys
/// (the last one counts), fields that are null or empty, contexts without a cluster, and entries
/// without a name, which nobody can ask for.
fn lenient(text: &str) -> Option<Kubeconfig> {
    let yaml = || {
        let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
        serde_saphyr::from_str_with_options(text, options).ok()
    };
    let mut file: Value = serde_json::from_str(text).ok().or_else(yaml)?;
    drop_nulls(&mut file);
    let contexts = file.get_mut("contexts").and_then(Value::as_array_mut);
    for context in contexts.into_iter().flatten().filter_map(|named| named.get_mut("context")?.as_object_mut()) {
        context.entry("cluster").or_insert_with(|| Value::from(""));
    }
    for section in ["clusters", "contexts", "users"] {
        let entries = file.get_mut(section).and_then(Value::as_array_mut).into_iter().flatten();
        for entry in entries.filter_map(Value::as_object_mut) {
            entry.entry("name").or_insert_with(|| Value::from(""));
        }
    }
    Kubeconfig::from_yaml(&file.to_string()).ok()
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| !(value.is_null() || name == "interactiveMode" && *value == ""));
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn text_of(content: &[u8]) -> Option<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks();
        String::from_utf16(&units.iter().copied().map(unit).collect::<Vec<_>>()).ok().filter(|_| rest.is_empty())
    };
    match content {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => String::from_utf8(content.to_vec()).ok(),
    }
}

/// What is wrong with a kubeconfig. The parser's own message can contain a line of the file, and so
/// a token.
fn of_kubeconfig(error: &KubeconfigError) -> String {
    let KubeconfigError::Parse(error) = error else { return error.to_string() };
    let place = error.location().filter(|place| place.line() > 0);
    let place = place.map(|place| format!(" from line {}, column {} on", place.line(), place.column()));
    format!("this is not a kubeconfig{}", place.unwrap_or_default())
}

fn choose(kubeconfig: &Kubeconfig, context: Option<&str>) -> Result<Chosen, String> {
    if let Some(kind) = kubeconfig.kind.as_deref().filter(|kind| !["", "Config"].contains(kind)) {
        return Err(format!("this has kind {kind}, so it is not a kubeconfig (kind: Config)"));
    }
    unique("clusters", kubeconfig.clusters.iter().map(|named| &named.name))?;
    unique("contexts", kubeconfig.contexts.iter().map(|named| &named.name))?;
    unique("users", kubeconfig.auth_infos.iter().map(|named| &named.name))?;
    let mut known: Vec<_> = kubeconfig.contexts.iter().map(|named| named.name.as_str()).take(10).collect();
    known.sort_unstable();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let name = context.or(kubeconfig.current_context.as_deref()).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        format!(
            "no context is chosen: add `context` to the connection, or current-context to the file; it has: {known}"
        )
    })?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == name).and_then(|named| named.context.as_ref());
    let context = context
        .ok_or_else(|| format!("there is no context {name}; correct `context`, or the file, which has: {known}"))?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster).cloned();
    let cluster = cluster.ok_or_else(|| match context.cluster.as_str() {
        "" => format!("the context {name} names no cluster"),
        cluster => format!("the context {name} names the cluster {cluster}, which is not under clusters"),
    })?;
    let user = context.user.as_deref().unwrap_or_default();
    let of_user = kubeconfig.auth_infos.iter().find(|named| named.name == user).cloned();
    let is_user_known = of_user.is_some();
    let user = of_user.unwrap_or_else(|| NamedAuthInfo { name: user.to_owned(), ..NamedAuthInfo::default() });
    Ok(Chosen { cluster, user, is_user_known })
}

fn unique<'a>(section: &str, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut names = names;
    match names.find(|name| !seen.insert(*name)) {
        Some(twice) => Err(format!("{twice} is under {section} more than once; remove all but one")),
        None => Ok(()),
    }
}

/// The files beside the kubeconfig. Paths are relative to its directory.
struct Beside<'a> {
    dir: PathBuf,
    files: &'a mut Files,
}

impl Beside<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// The content of a pair of fields: either the data itself, or a file.
    fn bytes(&mut self, data: Option<&str>, path: Option<&str>, what: &str) -> Result<Option<Vec<u8>>, String> {
        if let Some(data) = data.filter(|data| !data.trim().is_empty()) {
            return decoded(data, &format!("the {what}")).map(Some);
        }
        let Some(path) = path.filter(|path| !path.is_empty()).map(|path| self.path(path)) else { return Ok(None) };
        let read = self.files.read(&path);
        read.map(Some).map_err(|error| format!("the {what} {}: {error}", path.display()))
    }
}

/// Completes the cluster. Returns whether the connection is encrypted.
fn settle_cluster(named: &mut NamedCluster, user: &NamedAuthInfo, beside: &mut Beside<'_>) -> Result<bool, String> {
    let name = &named.name;
    let cluster = named.cluster.get_or_insert_default();
    for field in [&mut cluster.server, &mut cluster.proxy_url, &mut cluster.tls_server_name] {
        *field = filled(field.take());
    }
    let what = format!("certificate-authority of the cluster {name}");
    let (data, path) = (cluster.certificate_authority_data.take(), cluster.certificate_authority.take());
    if let Some(pem) = beside.bytes(data.as_deref(), path.as_deref(), &what)? {
        cluster.certificate_authority_data =
            Some(BASE64.encode(in_pem(&authorities(&pem, &format!("the {what}"))?).as_bytes()));
    }
    let server = server_of(cluster, user).map_err(|problem| format!("the server of the cluster {name} {problem}"))?;
    // The parser has converted the scheme to lower case.
    let is_secure = server.scheme_str() == Some("https");
    cluster.server = Some(server.to_string());
    Ok(is_secure)
}

/// The server's URL. Without a scheme, it is https if a TLS field is set beside it. Otherwise it is
/// http, as in kubectl.
fn server_of(cluster: &Cluster, user: &NamedAuthInfo) -> Result<Uri, String> {
    let server = cluster.server.clone().ok_or("is missing; add its URL, such as https://10.0.0.1:6443")?;
    let server = if server.contains("://") {
        server
    } else {
        let certified = user.auth_info.as_ref().is_some_and(|user| {
            filled(user.client_certificate.clone()).is_some() || filled(user.client_certificate_data.clone()).is_some()
        });
        let trusts = cluster.certificate_authority_data.is_some() || cluster.insecure_skip_tls_verify == Some(true);
        let scheme = if certified || trusts { "https" } else { "http" };
        format!("{scheme}://{server}")
    };
    let placeholder = |char: char| "${}()<>".contains(char);
    if server.contains(placeholder) {
        return Err("has a placeholder that was not filled in; write the address itself".to_owned());
    }
    let uri = server.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let uri = uri.filter(|uri| ["https", "http"].contains(&uri.scheme_str().unwrap_or_default()));
    Ok(uri.ok_or("is not the URL of an API server, such as https://10.0.0.1:6443")?)
}

fn settle_user(named: &mut NamedAuthInfo, beside: &mut Beside<'_>) -> Result<(), String> {
    let name = format!("the user {}", named.name);
    let user = named.auth_info.get_or_insert_default();
    for field in [&mut user.username, &mut user.token_file, &mut user.impersonate, &mut user.impersonate_uid] {
        *field = filled(field.take());
    }
    user.token_file = user.token_file.take().map(|path| beside.path(&path).display().to_string());
    if let Some(exec) = &mut user.exec {
        let command = exec.command.take().filter(|command| !command.is_empty());
        let path =
            |command: String| if command.contains('/') { beside.path(&command).display().to_string() } else { command };
        exec.command = command.map(path);
    }
    let acted_as = user.impersonate.iter().chain(user.impersonate_groups.iter().flatten()).chain(&user.impersonate_uid);
    if acted_as.into_iter().any(|name| HeaderValue::from_str(name).is_err()) {
        return Err(format!("{name} has a line break or control character in `as`, as-groups or as-uid; remove it"));
    }
    let groups = user.impersonate_groups.as_ref().is_some_and(|groups| !groups.is_empty());
    let extra = user.impersonate_user_extra.as_ref().is_some_and(|extra| !extra.is_empty());
    if user.impersonate.is_none() && (groups || extra || user.impersonate_uid.is_some()) {
        return Err(format!("{name} has as-groups, as-uid or as-user-extra without `as`; add the user to act as"));
    }
    let (data, path) = (user.client_certificate_data.take(), user.client_certificate.take());
    let (key_data, key_path) = (user.client_key_data.take(), user.client_key.take());
    let certificate = beside.bytes(data.as_deref(), path.as_deref(), &format!("client-certificate of {name}"))?;
    // A key without a certificate is ignored, as in kubectl.
    let Some(certificate) = certificate else { return Ok(()) };
    let key_data = key_data.as_ref().map(ExposeSecret::expose_secret);
    let key = beside.bytes(key_data, key_path.as_deref(), &format!("client-key of {name}"))?;
    let key = key.ok_or_else(|| format!("{name} has a client-certificate, but no client-key; add the key"))?;
    check_pair(&certificate, &key, &name)?;
    user.client_certificate_data = Some(BASE64.encode(&certificate));
    user.client_key_data = Some(SecretString::from(BASE64.encode(&key)));
    Ok(())
}

/// A text without surrounding white space. None if nothing is left, as in kubectl.
fn filled(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(user: &str) -> Option<String> {
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{}}}}]\nusers: [{{name: u, user: {{{user}}}}}]"
        );
        let chosen = choose(&parsed(text.as_bytes()).ok()?, None).expect("a context");
        chosen.user.auth_info?.token.map(|token| token.expose_secret().to_owned())
    }

    #[test]
    fn a_token_is_what_is_written() {
        for token in ["abc", "12345", "0123", "1e3", "0x1F", "true", "1234567890123456789012345678901234567890"] {
            assert_eq!(token_of(&format!("token: {token}")).as_deref(), Some(token));
        }
    }

    #[test]
    fn what_kubectl_takes_beside() {
        for user in
            ["token: old, token: abc", "token: abc, exec: {command: x, interactiveMode: \"\", env: null, args: null}"]
        {
            assert_eq!(token_of(user).as_deref(), Some("abc"), "{user}");
        }
    }

    #[test]
    fn texts_of_every_kind_and_what_is_none() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
        assert_eq!(text_of(&utf16("\u{feff}a: b", u16::to_le_bytes)).as_deref(), Some("a: b"));
        assert_eq!(text_of(&utf16("\u{feff}a: b", u16::to_be_bytes)).as_deref(), Some("a: b"));
        for none in [&b"\xff\xfea"[..], b"\xfe\xff\xd8\x00", b"\x80abc"] {
            assert_eq!(text_of(none), None);
        }
    }

    #[test]
    fn no_kubeconfig_breaks_it() {
        let whole = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: a, cluster: {server: \"https://10.0.0.1:6443\", \
            certificate-authority-data: QQ==, proxy-url: \"http://p:1\", tls-server-name: x}}]\ncontexts: [{name: c, context: {cluster: a, user: u}}]\n\
            users: [{name: u, user: {token: abc, exec: {command: x, args: [a], env: [{name: A, value: b}]}}}]\n";
        crate::fuzzing::texts(&[whole], |text| {
            if let Ok(kubeconfig) = parsed(text.as_bytes()) {
                let _ = choose(&kubeconfig, None);
            }
        });
    }
}
