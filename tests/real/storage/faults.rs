//! What can be wrong with a disk and a file.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::{API, BACK_TO_5, SOON, Service, ask, config, open, recoveries};
use dr_exporter::domain::contract::Objective;
use dr_exporter::domain::status::{Basis, Status};
use dr_exporter::store::sqlite::Sqlite;
use dr_exporter::store::{Backend, Batch, ClosedRecovery, Transition};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::process::Process;
use dr_testkit::scrape::Scrape;
use dr_testkit::skip_without_root;

/// How often the store is looked at while it is written.
const LOOKS: usize = 20;

/// What the exporter says when it refuses to start, and its exit code.
fn refused(config: &Config) -> (Option<i32>, String) {
    let log = config.path("refused.log");
    let mut process = Process::start(env!("CARGO_BIN_EXE_dr-exporter"), |command| {
        command.current_dir(config.directory()).stderr(fs::File::create(&log).expect("a log"));
        command.args(["serve", "--config.file=config.yaml", "--web.listen-address=127.0.0.1:0"]);
    });
    let status = process.wait(SOON).expect("it refuses to start");
    (status.code(), fs::read_to_string(log).expect("a log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_file_is_refused() {
    let service = Service::start().await;
    let exporter = Exporter::start_in(Config::new(&config(&service, "30s", "200ms"))).await;
    let (code, said) = refused(exporter.config());
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("in use by another dr-exporter") && said.contains("--storage.path"), "{said}");
    exporter.until("the first goes on", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_later_version_is_refused_and_left_alone() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "30s", "200ms"))).await;
    exporter.kill();
    let file = exporter.config().directory().join("data/dr-exporter.db");
    rusqlite::Connection::open(&file).expect("it opens").pragma_update(None, "user_version", 99).expect("written");
    let before = fs::read(&file).expect("the file");
    let (code, said) = refused(exporter.config());
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("later version of dr-exporter (schema 99; this version knows 6)"), "{said}");
    assert_eq!(fs::read(&file).expect("the file"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_never_deleted() {
    let service = Service::start().await;
    let config = Config::new(&config(&service, "30s", "200ms"));
    fs::create_dir(config.directory().join("data")).expect("a directory");
    let rubbish = b"this is no database, and somebody may want it back".repeat(100);
    fs::write(config.directory().join("data/dr-exporter.db"), &rubbish).expect("written");
    let exporter = Exporter::start_in(config).await;
    exporter.logs(&["damaged", "set aside"], SOON).await;
    exporter.until("it measures", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
    let names = fs::read_dir(exporter.config().directory().join("data")).expect("a directory");
    let aside = names.flatten().find(|file| file.file_name().to_string_lossy().contains(".damaged-2"));
    assert_eq!(fs::read(aside.expect("a file that was set aside").path()).expect("it is there"), rubbish);
    assert_eq!(exporter.scrape().await.get("dr_exporter_store_errors_total", &[]), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_storage_fails_it_measures_on_and_writes_later() {
    let service = Service::start().await;
    let config = Config::new(&config(&service, "30s", "200ms"));
    // Where the directory should be there is a file.
    let blocked = config.file("data", "in the way");
    let mut exporter = Exporter::start_in(config).await;
    exporter.logs(&["the storage fails", "continues in memory"], SOON).await;
    exporter.seen_healthy("api", SOON).await;
    service.well(false);
    let clock = |wanted: f64| {
        move |scrape: &dr_testkit::scrape::Scrape| scrape.get("dr_recovery_in_progress", &API) == Some(wanted)
    };
    exporter.until("it measures", SOON, clock(1.0)).await;
    service.well(true);
    let scrape = exporter.until("it is over", SOON, clock(0.0)).await;
    assert!(scrape.get("dr_exporter_store_errors_total", &[]).is_some_and(|errors| errors >= 1.0), "{scrape}");
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    let status: serde_json::Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
    assert!(status["storage"]["failing"].as_str().is_some_and(|text| text.contains("data")), "{status}");
    let page = exporter.get("/").await.text().await.expect("a page");
    assert!(page.contains("The storage fails</span>") && page.contains("The past cannot be read: "), "{page}");
    assert_eq!(exporter.get("/api/v1/recoveries").await.status(), 503);

    fs::remove_file(blocked).expect("it is removed");
    exporter.logs(&["the storage works again"], SOON).await;
    assert_eq!(recoveries(&exporter, "").await.len(), 1, "what was held is written");
    exporter.kill_and_restart().await;
    let met = [("contract", "api"), ("result", "met"), ("mode", "real")];
    assert_eq!(exporter.scrape().await.get("dr_recoveries_total", &met), Some(1.0));
}

/// A file system of a megabyte; unmounted when it is dropped.
pub struct Small(pub std::path::PathBuf);

impl Small {
    pub fn mount(at: std::path::PathBuf) -> Option<Self> {
        fs::create_dir(&at).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            _ => None,
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_loses_nothing_that_is_over() {
    let service = Service::start().await;
    let config = Config::new(&config(&service, "30s", "200ms"));
    let Some(small) = Small::mount(config.directory().join("data")) else {
        return skip_without_root("a tmpfs cannot be mounted here");
    };
    let mut exporter = Exporter::start_in(config).await;
    exporter.until("it is healthy", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
    let ballast = small.0.join("ballast");
    // Filled to the last byte.
    let _ = fs::write(&ballast, vec![0_u8; 2 << 20]);
    let clock = |wanted: f64| {
        move |scrape: &dr_testkit::scrape::Scrape| scrape.get("dr_recovery_in_progress", &API) == Some(wanted)
    };
    for _ in 0..3 {
        service.well(false);
        exporter.until("the clock runs", SOON, clock(1.0)).await;
        service.well(true);
        exporter.until("it is over", SOON, clock(0.0)).await;
    }
    exporter.logs(&["the storage fails"], SOON).await;
    fs::remove_file(&ballast).expect("it is removed");
    exporter.logs(&["the storage works again"], SOON).await;
    exporter.kill_and_restart().await;
    let met = [("contract", "api"), ("result", "met"), ("mode", "real")];
    assert_eq!(exporter.scrape().await.get("dr_recoveries_total", &met), Some(3.0));
    assert_eq!(recoveries(&exporter, "").await.len(), 3);
    exporter.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_writes_everything_and_a_person_can_read_it_meanwhile() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "30s", "200ms"))).await;
    exporter.until("it is healthy", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
    assert!(ask(exporter.config().directory(), "SELECT count(*) FROM transitions") >= 1, "while it runs");
    let process: &mut Process = exporter.process();
    process.signal("TERM");
    let status = process.wait(SOON).expect("it ends");
    assert!(status.success(), "{status}");
    assert_eq!(
        ask(
            exporter.config().directory(),
            "SELECT count(*) FROM checks WHERE json_extract(state, '$.health_seen') IS NOT NULL"
        ),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_looks_at_it_while_it_is_used() {
    let service = Service::start().await;
    let exporter = Exporter::start_in(Config::new(&config(&service, "30s", "200ms"))).await;
    service.well(false);
    let runs = |scrape: &dr_testkit::scrape::Scrape| scrape.get("dr_recovery_in_progress", &API) == Some(1.0);
    exporter.until("the clock runs", SOON, runs).await;
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_dr-exporter"))
            .current_dir(exporter.config().directory())
            .args(["storage"])
            .args(arguments)
            .output()
            .expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, wrong) = run(&["check"]);
    assert_eq!(code, Some(0), "{wrong}");
    assert!(said.contains("1 contracts, 1 checks, 0 recoveries") && said.contains("running clocks: api"), "{said}");
    let (code, said, wrong) = run(&["export", "--output=json"]);
    assert_eq!(code, Some(0), "{wrong}");
    let export: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(export["schema"], 6);
    assert_eq!(export["state"]["clocks"]["api"]["circumstances"]["reason"], "unexpected_status");
    assert!(export["transitions"].as_array().is_some_and(|all| !all.is_empty()));
    let (code, _, wrong) = run(&["check", "--storage.path=nowhere"]);
    assert_eq!(code, Some(78), "{wrong}");
    assert!(wrong.contains("nowhere"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_became_read_only_is_still_gone_on_from() {
    let service = Service::start().await;
    let config = Config::new(&config(&service, "30s", "200ms"));
    let Some(small) = Small::mount(config.directory().join("data")) else {
        return skip_without_root("a tmpfs cannot be mounted here");
    };
    let remount = |how: &str| {
        let how = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", how.as_str()]).arg(&small.0).status().expect("mount runs");
        assert!(done.success(), "{how}");
    };
    let mut exporter = Exporter::start_in(config).await;
    service.well(false);
    let runs = |scrape: &dr_testkit::scrape::Scrape| scrape.get("dr_recovery_in_progress", &API) == Some(1.0);
    let before = exporter.until("the clock runs", SOON, runs).await;
    let started = before.get("dr_recovery_started_timestamp_seconds", &API);
    for orderly in [false, true] {
        if orderly {
            exporter.process().signal("TERM");
            exporter.process().wait(SOON).expect("it ends");
        } else {
            exporter.kill();
        }
        remount("ro");
        exporter.restart().await;
        let scrape = exporter.scrape().await;
        assert!(runs(&scrape), "orderly {orderly}: the outage is not forgotten:\n{scrape}");
        assert_eq!(scrape.get("dr_recovery_started_timestamp_seconds", &API), started, "orderly {orderly}\n{scrape}");
        assert!(scrape.get("dr_exporter_store_errors_total", &[]).is_some_and(|errors| errors >= 1.0), "{scrape}");
        remount("rw");
        exporter.logs(&["the storage works again"], SOON).await;
    }
    exporter.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_retention_lets_go_is_forgotten_and_nothing_else() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "30s", "200ms"))).await;
    service.well(false);
    let clock = |wanted: f64| {
        move |scrape: &dr_testkit::scrape::Scrape| scrape.get("dr_recovery_in_progress", &API) == Some(wanted)
    };
    exporter.until("the clock runs", SOON, clock(1.0)).await;
    service.well(true);
    exporter.until("it is over", SOON, clock(0.0)).await;
    exporter.kill();
    let backend = Sqlite::of(exporter.config().path("data"));
    let mut store = open(&backend);
    let recovery = backend.export().expect("exported").recoveries.remove(0);
    let old = "2020-01-01T00:00:00Z".parse::<jiff::Timestamp>().expect("a time").into();
    let (trigger, first_failure, healthy, earliest) = (old, old, old, old);
    let recoveries = vec![ClosedRecovery { trigger, first_failure, healthy, earliest, ..recovery }];
    let transition = |contract: &str| Transition {
        contract: contract.to_owned(),
        objective: Objective::Rto,
        at: old,
        was: None,
        status: Status::Met,
        basis: Basis::LastRecoveryMet,
    };
    let transitions = vec![transition("api"), transition("left")];
    store.save(&Batch { recoveries, transitions, ..Batch::default() }).expect("saved");
    drop(store);
    exporter.restart().await;
    exporter.logs(&["older than the retention"], SOON).await;
    let directory = exporter.config().directory();
    assert_eq!(ask(directory, "SELECT count(*) FROM recoveries"), 1);
    assert_eq!(ask(directory, "SELECT count(*) FROM transitions WHERE at < '2021' AND contract = 'api'"), 0);
    // The last status of a contract is what it goes on from when it comes back.
    assert_eq!(ask(directory, "SELECT count(*) FROM transitions WHERE contract = 'left'"), 1);
}

/// What an older version wrote is gone on from, and can be looked at before it is migrated.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_an_earlier_version_is_migrated() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "60s", "200ms"))).await;
    service.well(false);
    let runs = |scrape: &Scrape| scrape.get("dr_recovery_in_progress", &API) == Some(1.0);
    let before = exporter.until("the clock runs", SOON, runs).await;
    let started = before.get("dr_recovery_started_timestamp_seconds", &API).expect("a start");
    exporter.kill();
    let file = exporter.config().path("data/dr-exporter.db");
    let connection = rusqlite::Connection::open(&file).expect("it opens");
    let back = "DROP TABLE triggers; DROP TABLE firings; DROP TABLE degraded_operation; DROP TABLE retention; \
                DROP TABLE observed; DROP TABLE record; DROP TABLE record_head; DROP TABLE plans; PRAGMA user_version = 1;";
    connection.execute_batch(&format!("{BACK_TO_5} {back}")).expect("it is as version 1 made it");
    // The program of version 1 wrote no number of a commit.
    fs::remove_file(exporter.config().path("data/dr-exporter.db.head")).expect("it is removed");
    drop(connection);

    let looked = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"))
        .args(["storage", "check"])
        .current_dir(exporter.config().directory())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&looked.stdout);
    assert!(looked.status.success() && said.contains("schema 1"), "{said}");

    exporter.restart().await;
    let scrape = exporter.until("the clock runs on", SOON, runs).await;
    let now = scrape.get("dr_recovery_started_timestamp_seconds", &API).expect("a start");
    assert!((now - started).abs() < 0.001, "{scrape}");
    assert_eq!(ask(exporter.config().directory(), "SELECT user_version FROM pragma_user_version"), 6);
    assert_eq!(ask(exporter.config().directory(), "SELECT count(*) FROM firings"), 0);
}

/// Every run writes, while others read: what they read is of one instant.
#[tokio::test(flavor = "multi_thread")]
async fn who_looks_while_a_daemon_writes_finds_nothing_damaged() {
    const CONTRACTS: usize = 8;
    let service = Service::start().await;
    let contracts = (0..CONTRACTS).map(|number| service.contract(&format!("api-{number}"), "60s"));
    let yaml = format!("{}{}", Service::defaults("50ms"), contracts.collect::<String>());
    let yaml = yaml.replace("failures_to_trigger: 3", "failures_to_trigger: 1");
    let exporter = Exporter::start_in(Config::new(&yaml)).await;
    let flapping = async {
        for round in 0_u64.. {
            service.well(round % 2 == 0);
            dr_testkit::let_pass(Duration::from_millis(60)).await;
        }
    };
    let directory = exporter.config().directory().to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        for round in 0..LOOKS {
            for arguments in [["storage", "check"], ["report", "verify"]] {
                let looked = Command::new(env!("CARGO_BIN_EXE_dr-exporter"))
                    .args(arguments)
                    .current_dir(&directory)
                    .output()
                    .expect("it runs");
                let said = String::from_utf8_lossy(&looked.stdout);
                assert!(looked.status.success() && said.starts_with("ok, "), "{arguments:?}, {round}: {looked:?}");
            }
        }
    });
    tokio::select! {
        looked = looking => looked.expect("nothing is damaged"),
        () = flapping => {}
    }
    let written = ask(exporter.config().directory(), "SELECT count(*) FROM recoveries");
    assert!(written > 1, "nothing was written meanwhile");
}
