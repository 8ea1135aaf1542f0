//! The commands, as a person uses them.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Rig, USER};

impl Rig {
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
        command.current_dir(self.exporter.config().directory());
        command.env("DR_EXPORTER_URL", self.exporter.url("/")).env("DR_EXPORTER_USER", USER);
        command.env("DR_EXPORTER_PASSWORD_FILE", "password");
        command
    }

    async fn run(&self, line: &[&str]) -> Output {
        let mut command = self.command();
        command.args(line);
        tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("it ends")
    }

    async fn prints(&self, line: &[&str]) -> String {
        let output = self.run(line).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line:?}: {} {told}", output.status);
        String::from_utf8(output.stdout).expect("a text")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_from_declaration_to_report() {
    let rig = Rig::start().await;
    let declared = rig.prints(&["incident", "declare", "region_outage", "--by", "oncall", "--reason", "a fire"]).await;
    assert!(declared.contains("open") && declared.contains("[ ] fail_over"), "{declared}");
    let refused = rig.run(&["incident", "declare", "region_outage", "--by", "intern", "--reason", "x"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("oncall, cto"));
    let stepped = rig.prints(&["incident", "step", "region_outage", "fail_over", "--by", "bob"]).await;
    assert!(stepped.contains("[x] fail_over") && stepped.contains("by bob"), "{stepped}");
    rig.prints(&["incident", "note", "region_outage", "DNS is slow"]).await;
    assert!(rig.prints(&["incident", "show", "region_outage"]).await.contains("alice: DNS is slow"));
    rig.prints(&["incident", "close", "region_outage", "--by", "oncall"]).await;
    assert!(rig.prints(&["incident", "list"]).await.contains("closed"));
    let report =
        ["incident", "report", "region_outage", "--gap", "shorter TTL", "--owner", "ops", "--due", "2027-01-31"];
    let report = rig.prints(&report).await;
    assert!(report.contains("shorter TTL") && report.contains("nothing was measured"), "{report}");
    let linked = [
        "incident",
        "report",
        "region_outage",
        "--close-gap=1",
        "--change=https://example.com/pull/1",
        "--output=json",
    ];
    let linked: Value = serde_json::from_str(&rig.prints(&linked).await).expect("JSON");
    assert_eq!(linked["incident"]["review"]["change"], "https://example.com/pull/1");
    assert!(linked["incident"]["review"]["gaps"][0]["closed"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_leads_through_a_drill() {
    let rig = Rig::start().await;
    let line =
        ["drill", "start", "failover", "--auto", "--environment=staging", "--participant=bob", "--plan=stop the API"];
    let mut command = rig.command();
    let child = command.args(line).stdout(Stdio::piped()).spawn().expect("it starts");
    rig.until("the drill goes on", async |rig| {
        rig.metric("dr_drill_in_progress", "{contract=\"api\"}").await == Some(1.0)
    })
    .await;
    rig.service.well(false);
    rig.until("the clock runs", async |rig| !rig.get("status").await["contracts"][0]["outage"].is_null()).await;
    assert_eq!(
        rig.metric("dr_alert_response_waiting_seconds", "{contract=\"api\",severity=\"P1\"}").await,
        None,
        "a drill wakes nobody"
    );
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    rig.service.well(true);
    let output =
        tokio::task::spawn_blocking(move || child.wait_with_output().expect("it ends")).await.expect("it ends");
    let told = String::from_utf8(output.stdout).expect("a text");
    assert_eq!(output.status.code(), Some(0), "{told}");
    let place = |part: &str| told.find(part).unwrap_or_else(|| panic!("{part}:\n{told}"));
    assert!(place("START: failover-") < place("NEXT: stop the API"));
    assert!(place("NEXT:") < place("RECOVERED: api") && place("RECOVERED: api") < place("PASS: api: Recovery in"));
    assert!(place("PASS:") < place("END: failover-") && told.contains("passed"), "{told}");
    let report = rig.prints(&["drill", "report", "failover"]).await;
    for part in ["staging", "bob", "stop the API", "passed", "recovered in"] {
        assert!(report.contains(part), "{part}:\n{report}");
    }
    let listed = rig.prints(&["drill", "list"]).await;
    assert!(listed.contains("review  review  quarterly  never done  OVERDUE"), "{listed}");
    assert!(listed.lines().any(|line| line.starts_with("failover  recovery  monthly  last done")), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_breaks_nothing_is_unproven_and_stays_due() {
    let rig = Rig::start().await;
    rig.prints(&["drill", "start", "failover"]).await;
    assert!(rig.prints(&["drill", "finish", "failover"]).await.contains("unproven"));
    assert_eq!(rig.metric("dr_drill_overdue", "{drill=\"failover\",kind=\"recovery\"}").await, Some(1.0));
    rig.prints(&["drill", "start", "review"]).await;
    assert!(rig.prints(&["drill", "finish", "review", "--text", "all good"]).await.contains("passed"));
    assert_eq!(rig.metric("dr_drill_overdue", "{drill=\"review\",kind=\"review\"}").await, Some(0.0));
    rig.until("the exporter verifies by itself", async |rig| {
        rig.metric("dr_drill_overdue", "{drill=\"health\",kind=\"check\"}").await == Some(0.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_answered_and_the_period_adds_up() {
    let rig = Rig::start().await;
    let nothing = rig.run(&["ack", "api"]).await;
    assert_eq!(nothing.status.code(), Some(1), "there is no alarm");
    rig.service.well(false);
    let waiting = "{contract=\"api\",severity=\"P1\"}";
    rig.until("the alarm waits", async |rig| rig.metric("dr_alert_response_waiting_seconds", waiting).await.is_some())
        .await;
    let answered = rig.prints(&["ack", "api", "on it", "--by", "bob"]).await;
    assert!(answered.contains("P1 alarm of api is answered"), "{answered}");
    assert_eq!(rig.metric("dr_alert_response_waiting_seconds", waiting).await, None);
    assert!(rig.metric("dr_alert_response_last_seconds", waiting).await.is_some());
    rig.service.well(true);
    rig.until("it recovers", async |rig| rig.get("status").await["contracts"][0]["outage"].is_null()).await;
    let report: Value =
        serde_json::from_str(&rig.prints(&["report", "--since=1d", "--output=json"]).await).expect("JSON");
    let objective = &report["contracts"][0]["objectives"][0];
    for (unit, whole) in [("percent", 100.0), ("seconds", 86_400.0)] {
        let shares = objective[unit].as_object().expect("shares");
        let sum: f64 = shares.values().filter_map(Value::as_f64).sum();
        assert!((sum - whole).abs() < 1e-6, "{unit}: {shares:?}");
    }
    let not_observed = objective["percent"]["not_observed"].as_f64().expect("a share");
    assert!(not_observed > 90.0, "the exporter runs for a few seconds: {not_observed}");
    assert_eq!(report["contracts"][0]["recoveries"].as_array().map(Vec::len), Some(1));
    let markdown = rig.prints(&["report"]).await;
    for part in ["ISO 22301", "SOC 2", "DORA", "certifies nothing", "not observed", "OVERDUE"] {
        assert!(markdown.contains(part), "{part}:\n{markdown}");
    }
    assert!(rig.prints(&["report", "--output=html", "--contract=api"]).await.contains("@media print"));
    assert_eq!(rig.run(&["report", "--contract=none"]).await.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_record_is_told() {
    let rig = Rig::start().await;
    let whole = rig.prints(&["report", "verify"]).await;
    let (_, head) = whole.trim().rsplit_once(' ').expect("a hash");
    assert!(whole.starts_with("ok, entries: "), "{whole}");
    rig.prints(&["drill", "start", "review"]).await;
    rig.prints(&["report", "verify", "--head", head]).await;
    rig.prints(&["report", "verify", "--head", &head[..13]]).await;
    let unknown = rig.run(&["report", "verify", "--head", &"0123456789abc".repeat(2)]).await;
    assert_eq!(unknown.status.code(), Some(2));
    let connection = rusqlite::Connection::open(rig.storage().join("dr-exporter.db")).expect("the file opens");
    let sql = "DROP TRIGGER record_is_not_changed; UPDATE record SET body = replace(body, 'review', 'reView') WHERE body LIKE '%review%'";
    connection.execute_batch(sql).expect("changed");
    let changed = rig.run(&["report", "verify"]).await;
    assert_eq!(changed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&changed.stderr).contains("was changed"), "{changed:?}");
}
