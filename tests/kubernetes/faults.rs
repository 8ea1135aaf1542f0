//! Faults that a real API server does not have on demand.

use std::time::Duration;

use serde_json::json;

use super::{Pair, SOON, Status, contract, failed, fails, labels, minutes, rules_to};
use dr_testkit::exporter::Exporter;
use dr_testkit::kube::Flavour;
use dr_testkit::kube::fake::Fault;

/// The exporter with one external secret, and with rights to read it in one way alone.
async fn one_secret(verb: &str) -> (Pair, Exporter) {
    let pair = Pair::new(Flavour::Fake).await;
    pair.dr.grant(&pair.namespace, &pair.at_dr, rules_to(&[verb])).await;
    pair.external_secret(pair.dr, "nats", Status::ready(minutes(20))).await;
    let check = format!("external_secret: {{ dr: dr, namespace: {}, name: nats }}", pair.namespace);
    let exporter = pair.exporter(&contract("nats", "rto: 30m\n    rpo: 1h", &check)).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    (pair, exporter)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_api_server_says_nothing_is_lost_and_no_clock_runs() {
    let body = |body: &str| Fault::Body(body.to_owned());
    for verb in ["get", "list"] {
        let (pair, exporter) = one_secret(verb).await;
        for (fault, reason) in [
            (Fault::Status(429), "throttled"),
            (Fault::Status(500), "server_error"),
            (Fault::Status(503), "server_error"),
            (Fault::Status(400), "bad_answer"),
            // A 404 that is not about this object tells nothing of it.
            (Fault::Status(404), "crd_missing"),
            (Fault::Page(404), "crd_missing"),
            // The log has a line per change of reason, so no other time-out comes right before or after this one.
            (Fault::Endless { begin: "{", slowly: true }, "timeout"),
            (Fault::Endless { begin: "{", slowly: false }, "too_large"),
            (Fault::Delay(Duration::from_secs(8)), "timeout"),
            (Fault::Close, "connect_failed"),
            (body("<html>a proxy's page</html>"), "bad_answer"),
            (body("{}"), "bad_answer"),
            (body("{\"kind\": \"PodList\", \"items\": []}"), "bad_answer"),
            (body("{\"kind\": \"ExternalSecretList\", \"items\": 7}"), "bad_answer"),
            (body("{\"kind\": \"ExternalSecret\", \"metadata\": {\"name\": \"other\"}}"), "bad_answer"),
        ] {
            let told = format!("{verb}, {fault:?}");
            let before = failed(&exporter.scrape().await, "nats", reason);
            pair.dr.fake().fault(&pair.namespace, "externalsecrets", fault);
            let scrape = exporter
                .until(&format!("{told}: {reason}"), SOON, |scrape| failed(scrape, "nats", reason) > before)
                .await;
            assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(0.0), "{told}\n{scrape}");
            assert_ne!(scrape.get("dr_copy_lost", &labels("nats")), Some(1.0), "{told}\n{scrape}");
            assert_eq!(scrape.status("nats", "rpo"), "met", "{told}: what was proven is young\n{scrape}");
        }
        // Who waits for an answer that is still coming is not told that the API server is down.
        exporter.logs(&["timeout", "the answer was not complete"], SOON).await;
        pair.dr.fake().heal(&pair.namespace, "externalsecrets");
        let since = exporter.scrape().await.get("dr_evidence_timestamp_seconds", &labels("nats"));
        exporter
            .until("it recovers by itself", SOON, |scrape| {
                scrape.get("dr_evidence_timestamp_seconds", &labels("nats")) > since
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_no_object_hides_no_other() {
    let (pair, exporter) = one_secret("list").await;
    for item in
        [json!({"metadata": {"name": 7}, "spec": "no"}), json!(7), json!({"metadata": {"name": "s"}, "spec": 7})]
    {
        let since = exporter.scrape().await.get("dr_evidence_timestamp_seconds", &labels("nats"));
        pair.dr.fake().fault(&pair.namespace, "externalsecrets", Fault::Item(item.clone()));
        let seen = |scrape: &super::Scrape| scrape.get("dr_evidence_timestamp_seconds", &labels("nats")) > since;
        let scrape = exporter.until(&format!("{item} hides nothing"), SOON, seen).await;
        assert!(scrape.reasons("nats").values().all(|count| *count == 0.0), "{scrape}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_only_a_proxy_cannot_find_is_not_lost() {
    let pair = Pair::new(Flavour::Fake).await;
    for cluster in [pair.primary, pair.dr] {
        pair.secret(cluster, "nats", "0a1b2c3d", Status::ready(minutes(20))).await;
    }
    let check = format!("external_secret: {{ primary: primary, dr: dr, namespace: {}, name: nats }}", pair.namespace);
    let exporter = pair.exporter(&contract("nats", "rto: 30m\n    rpo: 1h", &check)).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    pair.dr.fake().fault(&pair.namespace, "secrets", Fault::Page(404));
    let scrape = fails(&exporter, "nats", "bad_answer").await;
    assert_ne!(scrape.get("dr_copy_lost", &labels("nats")), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(0.0), "{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_expires_between_two_pages_is_read_anew() {
    let pair = Pair::new(Flavour::Fake).await;
    pair.dr.grant(&pair.namespace, &pair.at_dr, rules_to(&["list"])).await;
    for index in 0..501 {
        pair.external_secret(pair.dr, &format!("s-{index:03}"), Status::ready(minutes(20))).await;
    }
    pair.dr.fake().fault(&pair.namespace, "externalsecrets", Fault::ExpireOnce);
    let check = format!("external_secret: {{ dr: dr, namespace: {}, name: s-500 }}", pair.namespace);
    let exporter = pair.exporter(&contract("nats", "rto: 30m\n    rpo: 1h", &check)).await;
    let scrape = exporter.becomes("nats", "rpo", "met", SOON).await;
    assert!(scrape.reasons("nats").values().all(|count| *count == 0.0), "{scrape}");
    let calls = pair.dr.calls(&pair.at_dr);
    let expired = calls.iter().filter(|call| call.status == 410).count();
    assert_eq!(expired, 1, "the second page was gone once");
}
