//! Two shards as two processes: what each measures, and what the page says of both.

use serde_json::Value;

use super::api::must_be_as_described;
use super::{SOON, Service};
use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::{free_ports, own_ip, wait_until};

/// In two shards `api` is in shard 1, and `secrets` in shard 0.
fn config(service: &Service) -> String {
    format!("contracts:\n{}{}", contract(service, "api"), contract(service, "secrets"))
}

fn contract(service: &Service, name: &str) -> String {
    format!(
        "  - name: {name}\n    component: {name}\n    owner: ops\n    priority: P0\n    rto: 1h\n    checks:\n      \
         - {{ name: health, interval: 200ms, interval_when_down: 100ms, timeout: 5s, http: {{ url: \"{}\" }} }}\n",
        service.url
    )
}

async fn shard(service: &Service, index: u32, total: u32, flags: &[String]) -> Exporter {
    let config = Config::new(&config(service)).flag(&format!("--shard={index}"));
    let config = config.flag(&format!("--total-shards={total}"));
    Exporter::start_in(flags.iter().fold(config, |config, flag| config.flag(flag))).await
}

async fn json(exporter: &Exporter, path: &str) -> Value {
    exporter.get(path).await.json().await.expect("JSON")
}

async fn page(exporter: &Exporter) -> String {
    exporter.get("/").await.text().await.expect("a page")
}

fn names(status: &Value) -> Vec<&str> {
    status["contracts"].as_array().expect("contracts").iter().filter_map(|of| of["name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shard_measures_its_own_and_says_so() {
    let service = Service::start().await;
    let shards = [shard(&service, 0, 3, &[]).await, shard(&service, 1, 3, &[]).await, shard(&service, 2, 3, &[]).await];
    for (index, (exporter, held)) in shards.iter().zip([vec!["secrets"], vec!["api"], vec![]]).enumerate() {
        wait_until("it is ready", SOON, async || (exporter.get("/-/ready").await.status() == 200).then_some(())).await;
        assert_eq!(exporter.get("/-/healthy").await.status(), 200, "also without a contract");
        let status = json(exporter, "/api/v1/status").await;
        assert_eq!(names(&status), held);
        assert_eq!(status["shard"]["shard"], index);
        assert_eq!(status["shard"]["of_contracts"], 2);
        assert_eq!(status["failover"]["answer"], "unknown", "{status}");
        let scrape = exporter.get("/metrics").await.text().await.expect("a scrape");
        for line in [
            format!("dr_exporter_shard_info{{shard=\"{index}\"}} 1"),
            "dr_exporter_total_shards 3".to_owned(),
            "dr_exporter_config_contracts 2".to_owned(),
        ] {
            assert!(scrape.lines().any(|told| told.starts_with(&line)), "{line}\n{scrape}");
        }
        assert_eq!(scrape.matches("dr_contract_info{").count(), held.len(), "{scrape}");
        let page = page(exporter).await;
        let part = format!("this is shard {index} of 3, with {} of 2 contracts", held.len());
        assert!(page.contains(&part) && page.contains("2 of 3 shards are not known here"), "{page}");
        assert_eq!(page.contains("This shard holds no contract"), held.is_empty());
        assert_eq!(exporter.get("/api/v1/shards").await.status(), 404);
        let missing = exporter.get("/contracts/other").await;
        assert_eq!(missing.status(), 404);
        assert!(missing.text().await.expect("an answer").contains("another one may have it"));
        assert!(exporter.log().contains("this is one of several shards"), "{}", exporter.log());
    }
    // A reload divides the new configuration in the same way. `a` belongs to the last shard.
    for (exporter, held) in shards.iter().zip([vec!["secrets"], vec!["api"], vec!["a"]]) {
        exporter.config().file("config.yaml", &(config(&service) + &contract(&service, "a")));
        let reloaded = client().post(exporter.url("/-/reload")).send().await.expect("an answer");
        assert_eq!(reloaded.status(), 200);
        let status = json(exporter, "/api/v1/status").await;
        assert_eq!((names(&status), &status["shard"]["of_contracts"]), (held, &Value::from(3)));
    }
}

/// The other shard answers, dies, and comes back; and one that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_one_shard_shows_all_and_believes_no_silence() {
    let service = Service::start().await;
    let mut other = shard(&service, 0, 2, &[]).await;
    let [nowhere] = free_ports::<1>(own_ip());
    let peers = [format!("--web.peers=http://{}", other.address), format!("--web.peers=http://{nowhere}/")];
    let here = shard(&service, 1, 2, &peers).await;
    let known = async |wanted: bool| {
        wait_until("the other shard is known, or not", SOON, async || {
            let all = json(&here, "/api/v1/shards").await;
            let is_known = all["shards"][0]["contracts"] == 1;
            (is_known == wanted).then_some(all)
        })
        .await
    };
    let all = known(true).await;
    let description = json(&here, "/api/v1/openapi.json").await;
    must_be_as_described(&description, "/api/v1/shards", "get", 200, &all);
    assert_eq!(all["elsewhere"][0]["contract"]["name"], "secrets");
    assert_eq!(all["shards"][1]["here"], true);
    assert_eq!(all["silent"][0]["url"], format!("http://{nowhere}"));
    let page_of_all = page(&here).await;
    for part in ["Contracts of the other shards", "secrets", &format!("http://{}/contracts/secrets", other.address)] {
        assert!(page_of_all.contains(part), "{part}: {page_of_all}");
    }
    assert!(!page_of_all.contains("is not known: no peer"), "{page_of_all}");

    // It stops to answer: first it hangs, and then it is gone.
    other.freeze();
    let all = known(false).await;
    let sentence = all["failover"]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("shard 0 is not known"), "{all}");
    assert!(page(&here).await.contains("shard 0 is not known"));
    // A scrape does not wait for a peer that hangs: one that does, does each time.
    wait_until("a scrape comes at once", SOON, async || {
        let asked = std::time::Instant::now();
        here.get("/metrics").await;
        (asked.elapsed() < std::time::Duration::from_secs(2)).then_some(())
    })
    .await;
    other.thaw();
    known(true).await;
    other.kill();
    known(false).await;
}

/// A peer that sends without end, and one whose answer is something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_nonsense_is_unknown_and_costs_no_memory() {
    use axum::body::{Body, Bytes};
    use futures_util::stream;
    let service = Service::start().await;
    let endless = || async {
        let chunk = Bytes::from(vec![b' '; 64 * 1024]);
        Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone())))
    };
    let router = axum::Router::new()
        .route("/endless/api/v1/status", axum::routing::get(endless))
        .route("/html/api/v1/status", axum::routing::get(|| async { "<html>" }))
        .route("/moved/api/v1/status", axum::routing::get(|| async { axum::response::Redirect::temporary("/html") }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let peers = ["endless", "html", "moved"].map(|path| format!("--web.peers=http://{address}/{path}"));
    let here = shard(&service, 1, 2, &peers).await;
    let all = wait_until("all three have failed", SOON, async || {
        let all = json(&here, "/api/v1/shards").await;
        // Before the configuration is shown there are no shards.
        let silent = all["silent"].as_array()?;
        let asked = silent.iter().all(|peer| peer["error"] != "it was not asked yet");
        (asked && silent.len() == 3).then_some(all)
    })
    .await;
    assert_eq!(all["failover"]["answer"], "unknown", "{all}");
    let scrape = here.get("/metrics").await.text().await.expect("a scrape");
    let memory = scrape.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).expect("memory");
    let memory: f64 = memory.parse().expect("a number");
    assert!(memory < 150e6, "{memory}");
    server.abort();
}

/// From one exporter to two shards: each gets a copy of the storage, and a clock that runs goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_storage_takes_everything_along() {
    let service = Service::start().await;
    let mut whole = Exporter::start(&config(&service)).await;
    service.well(false);
    let triggers = async |exporter: &Exporter| {
        wait_until("its clocks run", SOON, async || {
            let status = json(exporter, "/api/v1/status").await;
            let contracts = status["contracts"].as_array().expect("contracts");
            let outages = contracts.iter().map(|of| (of["name"].clone(), of["outage"]["trigger"].clone()));
            let outages: Vec<(Value, Value)> = outages.filter(|(_, trigger)| !trigger.is_null()).collect();
            (outages.len() == contracts.len() && !outages.is_empty()).then_some(outages)
        })
        .await
    };
    let before = triggers(&whole).await;
    assert_eq!(before.len(), 2);
    whole.kill();
    let mut after = Vec::new();
    for index in 0..2 {
        let config = Config::new(&config(&service)).flag(&format!("--shard={index}")).flag("--total-shards=2");
        std::fs::create_dir(config.path("data")).expect("a directory");
        for file in std::fs::read_dir(whole.config().path("data")).expect("files").flatten() {
            std::fs::copy(file.path(), config.path("data").join(file.file_name())).expect("copied");
        }
        let shard = Exporter::start_in(config).await;
        after.extend(triggers(&shard).await);
    }
    after.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(after, before, "each clock goes on from its trigger, in one of the shards");
}
