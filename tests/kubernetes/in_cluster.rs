//! The way into its own cluster, with what the kubelet gives a pod: the exporter runs in a mount namespace of its own.

use std::path::Path;
use std::process::Command;

use super::access::front;
use super::{Pair, SOON, Status, contract, fails, minutes};
use dr_testkit::certs;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::kube::Flavour;
use dr_testkit::skip_without_root;

dr_testkit::both! {
    the_service_account_of_the_pod,
    a_certificate_that_stands_itself_in_the_pod,
}

/// Puts the folder `$1` where the files of a service account are, and runs the rest.
const POD: &str = "at=/run/secrets/kubernetes.io/serviceaccount
mount -t tmpfs tmpfs /run && mkdir -p $at && mount --bind \"$1\" $at && shift && exec \"$@\"";

/// A command in a pod with the files of this folder.
fn in_pod(files: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", POD, "sh"]).arg(files);
    command
}

/// A pod of DR, with an external secret to look at. None where the system allows no namespaces.
async fn pod(flavour: Flavour, authority: &str, token: impl FnOnce(&Pair) -> String) -> Option<(Pair, Config)> {
    let pair = Pair::new(flavour).await;
    pair.external_secret(pair.dr, "nats", Status::ready(minutes(20))).await;
    let check = format!("external_secret: {{ dr: dr, namespace: {}, name: nats }}", pair.namespace);
    let yaml = format!(
        "defaults: {{ interval: 500ms, timeout: 2s, interval_when_down: 300ms, failures_to_trigger: 1 }}
kubernetes: {{ dr: {{ in_cluster: true, api_timeout: 2s }} }}
contracts:
{}",
        contract("nats", "rto: 30m\n    rpo: 1h", &check)
    );
    let authority = if authority.is_empty() { pair.dr.ca() } else { authority.to_owned() };
    let config = Config::new(&yaml).with("namespace", "dr-exporter").with("ca.crt", &authority);
    let config = config.with("token", &token(&pair));
    if !in_pod(config.directory()).arg("true").status().is_ok_and(|status| status.success()) {
        skip_without_root("this system allows no mount namespaces");
        return None;
    }
    Some((pair, config))
}

async fn start(config: Config, server: std::net::SocketAddr) -> Exporter {
    let files = config.directory().to_owned();
    let prepare = |command: &mut Command| {
        let inner = std::mem::replace(command, in_pod(&files));
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(&files);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::piped());
        command.env("KUBERNETES_SERVICE_HOST", server.ip().to_string());
        command.env("KUBERNETES_SERVICE_PORT", server.port().to_string());
    };
    Exporter::start_as(config, prepare).await
}

/// A token that was refused is replaced by the one that the kubelet writes later.
async fn the_service_account_of_the_pod(flavour: Flavour) {
    let Some((pair, config)) = pod(flavour, "", |_| "expired".to_owned()).await else { return };
    let exporter = start(config, pair.dr.address()).await;
    fails(&exporter, "nats", "auth_failed").await;
    exporter.config().file("token", &pair.at_dr.token);
    exporter.becomes("nats", "rpo", "met", SOON).await;
}

/// An authority's, as `openssl req -x509` makes them. One for another name is not accepted, and neither is another
/// one. A new one is followed without a restart.
async fn a_certificate_that_stands_itself_in_the_pod(flavour: Flavour) {
    let (elsewhere, ours) = (certs::self_signed("api.example.com"), certs::self_signed("127.0.0.1"));
    let Some((pair, config)) = pod(flavour, &elsewhere.0, |pair| pair.at_dr.token.clone()).await else { return };
    let misnamed = start(config, front(pair.dr, elsewhere).await).await;
    fails(&misnamed, "nats", "tls_failed").await;
    misnamed.logs(&["tls_failed", "not for 127.0.0.1, but for api.example.com"], SOON).await;

    let stranger = certs::self_signed("127.0.0.1").0;
    let Some((pair, config)) = pod(flavour, &stranger, |pair| pair.at_dr.token.clone()).await else { return };
    let exporter = start(config, front(pair.dr, ours.clone()).await).await;
    fails(&exporter, "nats", "tls_failed").await;
    exporter.config().file("ca.crt", &ours.0);
    exporter.becomes("nats", "rpo", "met", SOON).await;
}
