//! The directory of the storage is gone for a while, under a running exporter.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{API, SOON, Service, config, recoveries};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::scrape::Scrape;
use dr_testkit::skip_without_root;

fn runs(command: &str, arguments: &[&str]) -> bool {
    Command::new(command).args(arguments).output().is_ok_and(|done| done.status.success())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A disk that is mounted at a directory, until it is dropped.
struct Mounted<'a>(&'a Path, &'a Path);

impl Mounted<'_> {
    fn mount(&self) -> bool {
        runs("mount", &["--bind", text(self.0), text(self.1)])
    }

    /// As when a volume is taken away: who has files open there can still use them.
    fn unmount(&self) -> bool {
        runs("umount", &["-l", text(self.1)])
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Two outages: one that is over before the directory is gone, and one that begins and ends while it is.
/// A third goes on when it is back.
async fn an_exporter_whose_storage_is_gone(config: Config, goes: impl Fn(), returns: impl Fn(), service: &Service) {
    let clock = |wanted: f64| move |scrape: &Scrape| scrape.get("dr_recovery_in_progress", &API) == Some(wanted);
    let met = |scrape: &Scrape| scrape.get("dr_recoveries_total", &[API[0], ("result", "met"), ("mode", "real")]);
    let mut exporter = Exporter::start_in(config).await;
    exporter.seen_healthy("api", SOON).await;
    let outage = async |exporter: &Exporter| {
        service.well(false);
        exporter.until("the clock runs", SOON, clock(1.0)).await;
        service.well(true);
        exporter.until("it is over", SOON, clock(0.0)).await;
    };
    outage(&exporter).await;
    goes();
    outage(&exporter).await;
    exporter.logs(&["the storage fails", "is gone"], SOON).await;
    let status: serde_json::Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
    assert!(status["storage"]["failing"].as_str().is_some_and(|text| text.contains("is gone")), "{status}");
    service.well(false);
    let before = exporter.until("it measures", SOON, clock(1.0)).await;
    let started = before.get("dr_recovery_started_timestamp_seconds", &API);
    // Longer than a failed write waits for the next one.
    dr_testkit::let_pass(std::time::Duration::from_secs(6)).await;
    assert!(!exporter.log().contains("the storage works again"), "it does not begin another one:\n{}", exporter.log());
    returns();
    exporter.logs(&["the storage works again"], SOON).await;
    assert_eq!(recoveries(&exporter, "").await.len(), 2, "what was held is written");
    exporter.kill_and_restart().await;
    let scrape = exporter.scrape().await;
    assert!(clock(1.0)(&scrape), "the clock goes on:\n{scrape}");
    assert_eq!(scrape.get("dr_recovery_started_timestamp_seconds", &API), started, "{scrape}");
    assert_eq!(met(&scrape), Some(2.0), "{scrape}");
    assert_eq!(scrape.get("dr_exporter_store_damaged", &[]), Some(0.0), "{scrape}");
    exporter.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_renamed_for_a_while_loses_nothing() {
    let service = Service::start().await;
    let config = Config::new(&config(&service, "30s", "200ms"));
    let (data, aside) = (config.path("data"), config.path("aside"));
    let goes = || fs::rename(&data, &aside).expect("renamed");
    let returns = || fs::rename(&aside, &data).expect("nothing stands in its place");
    an_exporter_whose_storage_is_gone(config, goes, returns, &service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_unmounted_for_a_while_loses_nothing() {
    let service = Service::start().await;
    let config = Config::new(&config(&service, "30s", "200ms"));
    let (data, disk) = (config.path("data"), config.path("disk"));
    fs::create_dir(&data).and_then(|()| fs::create_dir(&disk)).expect("directories");
    let mounted = Mounted(&disk, &data);
    if !mounted.mount() {
        return skip_without_root("nothing can be mounted here");
    }
    let goes = || assert!(mounted.unmount(), "unmounted");
    let returns = || assert!(mounted.mount(), "mounted again");
    an_exporter_whose_storage_is_gone(config, goes, returns, &service).await;
    assert!(mounted.unmount());
    let beneath: Vec<_> = fs::read_dir(&data).expect("a directory").flatten().map(|file| file.file_name()).collect();
    assert!(beneath.is_empty(), "nothing was written beneath the disk: {beneath:?}");
}
