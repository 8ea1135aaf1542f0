//! The wall clock is set while the exporter is away: the machine's boot tells how long that was.

use dr_testkit::exporter::{Config, Exporter, client, faketime};
use dr_testkit::scrape::Scrape;
use dr_testkit::skip;

use super::{API, SOON, Service, config};

fn runs(scrape: &Scrape) -> bool {
    scrape.get("dr_recovery_in_progress", &API) == Some(1.0)
}

/// An hour would be a breach of the target, and an hour less than nothing has passed is unknown.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_takes_as_long_as_it_did_though_the_clock_was_set_meanwhile() {
    if let Err(why) = faketime() {
        return skip(why);
    }
    for ahead in [3600.0, -3600.0, 2.0] {
        let service = Service::start().await;
        let config = Config::new(&config(&service, "5m", "200ms")).with_own_clock();
        let mut exporter = Exporter::start_in(config).await;
        exporter.until("it is healthy", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
        service.well(false);
        let before = exporter.until("the clock runs", SOON, runs).await;
        let started = before.get("dr_recovery_started_timestamp_seconds", &API).expect("a start");

        exporter.kill();
        exporter.config().set_clock(ahead);
        exporter.restart().await;
        exporter.logs(&["the wall clock was set"], SOON).await;
        let scrape = exporter.scrape().await;
        assert!(runs(&scrape), "{ahead}: it runs from the first scrape on:\n{scrape}");
        let elapsed = scrape.observed("api", "rto").expect("a time");
        assert!(elapsed < 120.0, "{ahead}: {elapsed} s\n{scrape}");
        let now = scrape.get("dr_recovery_started_timestamp_seconds", &API).expect("a start");
        assert!((now - ahead - started).abs() < 0.3, "{ahead}: {started} is called {now} now");

        service.well(true);
        let over = exporter.until("it is over", SOON, |scrape| !runs(scrape)).await;
        let took = over.get("dr_recovery_last_seconds", &API).expect("a recovery time");
        assert!(took < 120.0, "{ahead}: {took} s");
        assert_eq!(over.status("api", "rto"), "met", "{ahead}:\n{over}");

        exporter.kill();
        exporter.config().set_clock(0.0);
        exporter.restart().await;
        exporter.logs(&["the wall clock was set"], SOON).await;
        let again = exporter.scrape().await;
        assert_eq!(again.get("dr_recovery_last_seconds", &API), Some(took), "{ahead}:\n{again}");
        let end = |scrape: &Scrape| scrape.get("dr_recovery_last_end_timestamp_seconds", &API).expect("an end");
        assert!((end(&over) - ahead - end(&again)).abs() < 0.3, "{ahead}: {} is {} now", end(&over), end(&again));
    }
}

/// Its times were stored by the clock of that time, and are read by the one of now.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_comes_back_is_as_old_as_it_is_though_the_clock_was_set_meanwhile() {
    if let Err(why) = faketime() {
        return skip(why);
    }
    let service = Service::start().await;
    let yaml = config(&service, "5m", "200ms");
    let other = yaml.replace("name: api", "name: other");
    for ahead in [3600.0, -3600.0] {
        service.well(true);
        let mut exporter = Exporter::start_in(Config::new(&yaml).with_own_clock()).await;
        let is_with = async |exporter: &Exporter, yaml: &str, contract: &'static str| {
            exporter.config().file("config.yaml", yaml);
            let answer = client().post(exporter.url("/-/reload")).send().await.expect("an answer");
            assert!(answer.status().is_success(), "{answer:?}");
            exporter
                .until("the other configuration is in use", SOON, |scrape| {
                    scrape.get("dr_contract_info", &[("contract", contract)]).is_some()
                })
                .await
        };
        exporter.until("it is healthy", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
        service.well(false);
        exporter.until("the clock runs", SOON, runs).await;
        is_with(&exporter, &other, "other").await;

        exporter.kill();
        exporter.config().set_clock(ahead);
        exporter.restart().await;
        let scrape = is_with(&exporter, &yaml, "api").await;
        assert!(runs(&scrape), "{ahead}: it runs:\n{scrape}");
        let elapsed = scrape.observed("api", "rto").expect("a time");
        assert!((0.1..120.0).contains(&elapsed), "{ahead}: {elapsed} s\n{scrape}");
    }
}
