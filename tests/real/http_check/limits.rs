//! Our own machine: its limits are not the endpoint's failure, and its environment changes nothing. Each of these runs
//! in a process of its own.

use std::fs::File;
use std::process::Command;

use super::server::{Reply, Server, nowhere};
use super::{assert_no_answer, assert_unhealthy, check, run};
use dr_exporter::domain::observation::Health;

/// Runs the test `name` of this file again, in a process that `shell` prepares.
fn again(name: &str, shell: &str) {
    let (_, module) = module_path!().split_once("::").expect("a module of this program");
    let output = Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", &format!("{module}::{name}"), "--nocapture"])
        .env("IN_A_PROCESS_OF_ITS_OWN", "1")
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn is_on_its_own() -> bool {
    std::env::var_os("IN_A_PROCESS_OF_ITS_OWN").is_some()
}

#[tokio::test]
async fn out_of_file_descriptors() {
    if !is_on_its_own() {
        return again("out_of_file_descriptors", "ulimit -n 64;");
    }
    // Nothing listens there: a server in this process would take and free descriptors of its own.
    let address = nowhere();
    let by_address = check(&format!("url: \"http://{address}/\""));
    let by_name = check(&format!("url: \"http://localhost:{}/\"", address.port()));
    assert_unhealthy(&run(&by_address).await, "connect_failed", &[]);
    assert_unhealthy(&run(&by_name).await, "connect_failed", &[]);
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    assert_no_answer(&run(&by_address).await, "local", &["Too many open files"]);
    assert_no_answer(&run(&by_name).await, "local", &["Too many open files"]);
    drop(taken);
    assert_unhealthy(&run(&by_address).await, "connect_failed", &[]);
}

#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    if !is_on_its_own() {
        let proxy = nowhere();
        let variables = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        let shell: String = variables.iter().map(|name| format!("export {name}=http://{proxy};")).collect();
        return again("proxies_of_the_environment_are_not_used", &format!("unset no_proxy NO_PROXY; {shell}"));
    }
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    assert_eq!(run(&check(&format!("url: \"{}\"", server.url("/")))).await, Health::Healthy);
}

#[tokio::test]
async fn an_address_that_nothing_leads_to() {
    let health = run(&check("url: \"http://[fe80::1]/\"")).await;
    assert_no_answer(&health, "local", &["a problem of this machine"]);
    // While an address that something leads to, and nothing listens at, is the endpoint's failure.
    assert_unhealthy(&run(&check(&format!("url: \"http://{}/\"", nowhere()))).await, "connect_failed", &[]);
}
