//! `--config.watch`: a changed file reloads the configuration.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use dr_testkit::exporter::{Config, Exporter};

use super::{SOON, many};

async fn has(exporter: &Exporter, contracts: usize) {
    exporter
        .until(&format!("there are {contracts} contracts"), SOON, |scrape| {
            scrape.all("dr_contract_info", &[]).len() == contracts
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_read_and_a_broken_one_is_told() {
    let exporter = Exporter::start_in(Config::new(&many(1)).flag("--config.watch")).await;
    has(&exporter, 1).await;
    exporter.config().file("config.yaml", &many(2));
    has(&exporter, 2).await;
    exporter.config().file("config.yaml", "contracts: []\n");
    exporter.logs(&["config.yaml:1:12", "stays in use"], SOON).await;
    exporter
        .until("the error is shown", SOON, |scrape| {
            scrape.get("dr_exporter_config_last_reload_successful", &[]) == Some(0.0)
        })
        .await;
    // An editor replaces the file.
    let new = exporter.config().file("new.yaml", &many(3));
    fs::rename(new, exporter.config().path("config.yaml")).expect("renamed");
    has(&exporter, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_named_is_watched_too() {
    let yaml = format!("prometheus: {{main: {{url: 'http://127.0.0.1:9', bearer_token_file: token}}}}\n{}", many(1));
    let exporter = Exporter::start_in(Config::new(&yaml).with("token", "one").flag("--config.watch")).await;
    exporter.config().file("token", "another");
    exporter.logs(&["the configuration was reloaded"], SOON).await;
}

/// As Kubernetes changes a `ConfigMap`: the files are links through `..data`, which is swapped.
#[tokio::test(flavor = "multi_thread")]
async fn the_swap_of_a_config_map_is_seen() {
    let config = Config::new("").flag("--config.watch");
    let directory = config.directory().to_owned();
    let version = |name: &str, contracts: usize| {
        fs::create_dir(directory.join(name)).expect("a directory");
        fs::write(directory.join(name).join("config.yaml"), many(contracts)).expect("written");
    };
    let swap = |directory: &Path, to: &str| {
        symlink(to, directory.join("..data_tmp")).expect("a link");
        fs::rename(directory.join("..data_tmp"), directory.join("..data")).expect("renamed");
    };
    version("..one", 1);
    swap(&directory, "..one");
    fs::remove_file(directory.join("config.yaml")).expect("removed");
    symlink("..data/config.yaml", directory.join("config.yaml")).expect("a link");
    let exporter = Exporter::start_in(config).await;
    has(&exporter, 1).await;
    version("..two", 2);
    swap(&directory, "..two");
    fs::remove_dir_all(directory.join("..one")).expect("removed");
    has(&exporter, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_flag_nothing_is_watched() {
    let exporter = Exporter::start_in(Config::new(&many(1))).await;
    exporter.config().file("config.yaml", &many(2));
    // Longer than a change takes to be seen where it is watched.
    dr_testkit::let_pass(std::time::Duration::from_secs(4)).await;
    has(&exporter, 1).await;
}
