//! The whole region of the origin is gone, and a router on the way says so.
#![cfg(target_os = "linux")]

use std::process::Command;

use super::{CONTRACT, contract};
use dr_testkit::exporter::Config;
use dr_testkit::skip_without_root;

/// In a network of its own: this machine, a router with no way to the region, and what the arguments say.
const BEHIND_A_ROUTER: &str = r#"
set -e
unshare --net sleep 60 & router=$!
trap 'kill $router' EXIT
until [ "$(readlink /proc/$router/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link set lo up
ip link add here type veth peer name there
ip link set there netns $router
ip addr add 10.77.0.1/24 dev here
ip link set here up
ip route add default via 10.77.0.2
nsenter --target $router --net sh -ec '
  ip addr add 10.77.0.2/24 dev there
  ip link set there up
  echo 1 > /proc/sys/net/ipv4/ip_forward'
"$@"
"#;

#[test]
fn a_router_that_has_lost_the_route_is_not_our_own_fault() {
    let network = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--mount", "bash", "-c", BEHIND_A_ROUTER, "network"]).args(arguments);
        command
    };
    match network(&["true"]).output() {
        Ok(made) if made.status.success() => {}
        // What is judged there is judged in `clients::route` too, without a network.
        made => return skip_without_root(format!("this machine makes no networks: {made:?}")),
    }
    let region = "servers: [\"nats://203.0.113.9:4222\"]";
    let yaml = contract(region, region, "ORDERS", "ORDERS_MIRROR");
    let yaml = yaml.replace("timeout: 500ms", "timeout: 3s");
    let config = Config::new(&yaml);
    let file = format!("--config.file={}", config.path("config.yaml").display());
    let exporter = env!("CARGO_BIN_EXE_dr-exporter");
    let output = network(&[exporter, "check", &file, "--output=json"]).output().expect("the exporter runs");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains(CONTRACT), "{output:?}");
    assert!(report.contains("\"connect_failed\""), "a router on the way has no route, and we have: {output:?}");
    assert!(!report.contains("\"local\""), "{output:?}");
}
