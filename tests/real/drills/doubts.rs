//! What an auditor or an attacker would try: a drill that hides a failure, and reports that tell
//! something else than what was measured.

use reqwest::Method;
use serde_json::{Value, json};

use super::{PLANS, Rig};

fn declaration() -> Value {
    json!({"incident": "region_outage", "by": "oncall", "reason": "the region does not answer"})
}

async fn outage(rig: &Rig) -> Value {
    rig.get("status").await["contracts"][0]["outage"].clone()
}

impl Rig {
    /// Changes the configuration, and waits until it is in use.
    async fn reload(&self, change: impl FnOnce(&str) -> String) {
        let path = self.exporter.config().path("config.yaml");
        let before = std::fs::read_to_string(&path).expect("the file");
        std::fs::write(&path, change(&before)).expect("written");
        let request = dr_testkit::exporter::client().post(self.exporter.url("/-/reload"));
        let answer = request.basic_auth(super::USER, Some(super::PASSWORD)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    }
}

/// A drill that was given up must not keep the alerts on an outage quiet.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_outlives_its_drill_is_real() {
    let rig = Rig::start().await;
    rig.order("drills", json!({"drill": "failover", "by": "ops"})).await;
    rig.service.well(false);
    rig.until("the clock runs", async |rig| !outage(rig).await.is_null()).await;
    assert_eq!(outage(&rig).await["mode"], "drill");
    rig.order("drills/failover/abort", json!({"by": "ops", "text": "wrong cluster"})).await;
    assert_eq!(outage(&rig).await["mode"], "real");
    assert_eq!(rig.metric("dr_drill_in_progress", "{contract=\"api\"}").await, Some(0.0));
    let waiting = "{contract=\"api\",severity=\"P1\"}";
    rig.until("the alarm waits", async |rig| rig.metric("dr_alert_response_waiting_seconds", waiting).await.is_some())
        .await;
    let record = rig.get("record?limit=1000").await.to_string();
    assert!(record.contains(r#"\"mode\":\"real\""#), "the change is recorded: {record}");
}

/// What nobody measured may be down already. A drill would mark that as planned.
#[tokio::test(flavor = "multi_thread")]
async fn a_drill_does_not_begin_while_nobody_knows_whether_all_is_well() {
    let other = "      - name: metrics
        promql: { prometheus: nobody, query: up, healthy_when: { above: 0 } }
";
    let plans = format!("{PLANS}prometheus: {{ nobody: {{ url: \"http://127.0.0.1:9\" }} }}\n");
    let rig = Rig::start_as("60s", |contract| format!("{contract}{other}"), &plans).await;
    let (status, told) = rig.ask(Method::POST, "drills", Some(json!({"drill": "failover", "by": "ops"})), &[]).await;
    assert_eq!(status, 409, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_is_told_from_an_incident_with_its_name() {
    let plans = format!("{PLANS}  - {{ name: region_outage, kind: review, every: monthly }}\n");
    let rig = Rig::start_as("60s", |api| api, &plans).await;
    rig.order("incidents", declaration()).await;
    rig.order("incidents/region_outage/close", json!({"by": "oncall"})).await;
    rig.order("drills", json!({"drill": "region_outage", "by": "ops"})).await;
    let gap = json!({"by": "ops", "text": "no runbook", "owner": "ops", "due": "2030-01-31"});
    rig.order("drills/region_outage/gaps", gap.clone()).await;
    rig.order("drills/region_outage/notes", json!({"by": "ops", "text": "seen"})).await;
    let incident = rig.get("incidents/region_outage").await;
    assert_eq!((&incident["review"]["gaps"], &incident["review"]["notes"]), (&json!([]), &json!([])), "{incident}");
    let report = rig.get("drills/region_outage/report").await;
    assert_eq!(report["drill"]["review"]["gaps"][0]["text"], "no runbook", "{report}");
    assert!(!rig.get("incidents/region_outage/report").await["incident"].is_null());
    rig.order("drills/region_outage/gaps/1/close", json!({"by": "ops"})).await;
    let (status, _) = rig.ask(Method::POST, "incidents/failover/gaps", Some(gap), &[]).await;
    assert_eq!(status, 404, "a drill is no incident");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_on_a_contract_has_its_own_drills_and_all_of_them() {
    let plans = "
drills:
  - { name: api, kind: review, every: monthly, contracts: [api] }
  - { name: api-of-others, kind: review, every: monthly }
  - { name: looked, kind: check, every: weekly, checks: [api/health] }
";
    let rig = Rig::start_as("60s", |api| api, plans).await;
    rig.order("drills", json!({"drill": "api-of-others", "by": "ops"})).await;
    rig.order("drills/api-of-others/finish", json!({"by": "ops"})).await;
    rig.until("the exporter verifies by itself", async |rig| {
        rig.metric("dr_drill_overdue", "{drill=\"looked\",kind=\"check\"}").await == Some(0.0)
    })
    .await;
    let report = rig.get("report?since=1d&contract=api").await;
    let names = |list: &Value, key: &str| -> Vec<String> {
        list.as_array().expect("a list").iter().map(|one| one[key].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&report["runs"], "id"), ["looked"], "{report}");
    assert_eq!(names(&report["drills"], "name"), ["api", "looked"], "{report}");
}

/// The change of a contract after an incident must not change what it promised in the incident.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_compares_with_the_promise_that_held() {
    let rig = Rig::start().await;
    rig.order("incidents", declaration()).await;
    rig.service.well(false);
    rig.until("it is seen", async |rig| rig.get("status").await["contracts"][0]["failing"] == json!(true)).await;
    rig.service.well(true);
    rig.until("it recovers", async |rig| outage(rig).await.is_null()).await;
    rig.order("incidents/region_outage/close", json!({"by": "oncall"})).await;
    rig.reload(|yaml| yaml.replace("rto: 60s", "rto: 7m")).await;
    let markdown = rig.text("/api/v1/incidents/region_outage/report?output=markdown").await;
    assert!(markdown.contains("| api | &lt; 1m |"), "{markdown}");
}

/// What was promised in the period is told, though the promise was changed or taken back on its last day.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_tells_of_what_was_promised_in_its_period() {
    let rig = Rig::start().await;
    rig.service.well(false);
    rig.until("it is seen", async |rig| rig.get("status").await["contracts"][0]["failing"] == json!(true)).await;
    rig.reload(|yaml| yaml.replace("rto: 60s", "rto: 7m")).await;
    rig.reload(|yaml| {
        let (contracts, _) = yaml.split_once("\nincidents:").expect("incidents");
        contracts.replace("name: api\n", "name: other\n")
    })
    .await;
    for path in ["report?since=1d", "report?since=1d&contract=api"] {
        let report = rig.get(path).await;
        let contracts = report["contracts"].as_array().expect("a list");
        let api = contracts.iter().find(|of| of["promise"]["contract"] == "api").expect("it was promised");
        assert!(api["removed"].is_string(), "{api}");
        let rto = &api["objectives"][0];
        assert!(rto["target_changed"].is_string(), "{api}");
        assert_eq!((&rto["objective"], &rto["target_seconds"]), (&json!("rto"), &json!(420.0)), "{api}");
        assert!(rto["seconds"]["unproven"].as_f64() > Some(0.0), "{api}");
    }
    let markdown = rig.text("/api/v1/report?output=markdown").await;
    assert!(markdown.contains("| api (removed 20") && markdown.contains("&lt; 7m (since 20"), "{markdown}");
    let other = rig.get("report?since=1d&contract=other").await;
    assert_eq!(other["contracts"][0]["removed"], Value::Null, "{other}");
}

/// A contract that leaves the configuration during an incident comes back without its clock, if
/// the incident was closed in the meantime.
#[tokio::test(flavor = "multi_thread")]
async fn a_declared_clock_ends_with_its_incident_also_if_the_contract_was_away() {
    let rig = Rig::start().await;
    rig.order("incidents", declaration()).await;
    assert!(!outage(&rig).await.is_null());
    let mut whole = String::new();
    rig.reload(|yaml| {
        whole = yaml.to_owned();
        let (contracts, _) = yaml.split_once("\nincidents:").expect("incidents");
        contracts.replace("name: api\n", "name: other\n")
    })
    .await;
    rig.order("incidents/region_outage/close", json!({"by": "oncall"})).await;
    rig.reload(|_| whole).await;
    assert_eq!(outage(&rig).await, Value::Null);
}

/// A check that fails when the incident is closed keeps the clock, and it must not run for ever after.
#[tokio::test(flavor = "multi_thread")]
async fn a_declared_clock_that_no_check_confirmed_ends_when_the_failure_does() {
    let patient = |api: String| api.replace("failures_to_trigger: 1", "failures_to_trigger: 1000");
    let rig = Rig::start_as("60s", patient, PLANS).await;
    let fails = async |rig: &Rig| rig.get("status").await["contracts"][0]["checks"][0]["healthy"] == json!(false);
    rig.order("incidents", declaration()).await;
    rig.service.well(false);
    rig.until("the check fails", fails).await;
    rig.order("incidents/region_outage/close", json!({"by": "oncall"})).await;
    assert!(!outage(&rig).await.is_null(), "it may be an outage");
    rig.service.well(true);
    rig.until("the clock has ended", async |rig| outage(rig).await.is_null()).await;
    let status = rig.get("status").await;
    assert_eq!(status["contracts"][0]["last_recovery"], Value::Null, "a few failures prove no recovery: {status}");
}

/// The record has the worst exposure of some hours ago. What is shown now is no better.
#[tokio::test(flavor = "multi_thread")]
async fn the_worst_exposure_is_never_better_than_the_current_one() {
    let copy = "  - name: copy
    component: Copy
    owner: ops
    priority: P1
    rpo: 1h
    checks:
      - name: age
        promql: { prometheus: nobody, query: up, age_seconds: true }
";
    let plans = format!("{PLANS}prometheus: {{ nobody: {{ url: \"http://127.0.0.1:9\" }} }}\n");
    let rig = Rig::start_as("60s", |contract| format!("{contract}{copy}"), &plans).await;
    rig.until("the check has run", async |rig| {
        !rig.get("status").await["contracts"][1]["checks"][0]["last_run"].is_null()
    })
    .await;
    let report = rig.get("report?since=1d&contract=copy").await;
    assert_eq!(report["contracts"][0]["worst_exposure"], json!([0.0, null]), "nobody knows it: {report}");
}
