//! Incidents, drills and the record, on the real exporter: by its API and by its commands.

mod api;
mod commands;
mod described;
mod doubts;
mod procedures;
mod torture;

use std::path::PathBuf;
use std::time::Duration;

use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::service::Service;
use serde_json::{Value, json};

const SOON: Duration = dr_testkit::PATIENCE;
const USER: &str = "alice";
const PASSWORD: &str = "correct horse";

/// Whether a path of the API is that of incidents, drills, reports or the record.
pub(crate) fn is_of_people(path: &str) -> bool {
    let heads = ["incidents", "drills", "acknowledgements", "record", "report"];
    path.strip_prefix("/api/v1/").is_some_and(|path| heads.contains(&path.split('/').next().unwrap_or(path)))
}

/// Passwords that the exporter accepts. The cost is low, so that tests are quick.
fn web_config() -> String {
    let hash = bcrypt::hash(PASSWORD, 4).expect("a hash");
    format!("basic_auth_users:\n  {USER}: {hash}\n")
}

/// Incidents and drills on the contract `api`.
const PLANS: &str = "
incidents:
  - name: region_outage
    declared_by: [oncall, cto]
    action: execute_dr_runbook
    starts_clocks: [api]
    checklist: [confirm, notify, fail_over]
drills:
  - { name: failover, every: monthly, contracts: [api], description: Break the API }
  - { name: health, kind: check, every: weekly, contracts: [api] }
  - { name: review, every: quarterly }
";

/// An exporter with the admin API, and the API that it watches.
struct Rig {
    exporter: Exporter,
    service: Service,
}

impl Rig {
    async fn start() -> Self {
        Self::start_with("60s").await
    }

    async fn start_with(rto: &str) -> Self {
        Self::start_as(rto, |api| api, PLANS).await
    }

    /// With other contracts, made from the one of the API, and other plans.
    async fn start_as(rto: &str, contracts: impl FnOnce(String) -> String, plans: &str) -> Self {
        let service = Service::start().await;
        let contract = service.contract("api", rto).replace("failures_to_trigger: 3", "failures_to_trigger: 1");
        let yaml = format!("{}{}{plans}", Service::defaults("200ms"), contracts(contract));
        let rig = Self { service, ..Self::start_on(Config::new(&yaml)).await };
        rig.until("the API is seen healthy", async |rig| {
            let status = rig.get("status").await;
            status["contracts"][0]["checks"][0]["last_run"]["outcome"] == json!("healthy")
        })
        .await;
        rig
    }

    /// On a configuration of its own, without an API.
    async fn start_on(config: Config) -> Self {
        let config = config.with("web.yaml", &web_config()).with("password", &format!("{PASSWORD}\n"));
        let exporter = Exporter::start_as(config, |command| {
            command.args(["--web.config.file=web.yaml", "--web.enable-admin-api"]);
        });
        Self { exporter: exporter.await, service: Service::start().await }
    }

    /// Kills it without a warning, and starts it again.
    async fn kill_and_restart(&mut self) {
        self.exporter.kill();
        self.exporter
            .restart_as(|command| {
                command.args(["--web.config.file=web.yaml", "--web.enable-admin-api"]);
            })
            .await;
    }

    async fn until(&self, what: &str, fits: impl AsyncFn(&Self) -> bool) {
        let met = dr_testkit::wait_until(what, SOON, async || fits(self).await.then_some(()));
        met.await;
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask(reqwest::Method::GET, path, None, &[]).await;
        let status = answer.0;
        assert!(status == 200, "GET {path}: {status} {}", answer.1);
        answer.1
    }

    async fn text(&self, path: &str) -> String {
        let url = self.exporter.url(path);
        let answer = client().get(url).basic_auth(USER, Some(PASSWORD)).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().await.expect("a text")
    }

    /// An order that is accepted.
    async fn order(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(reqwest::Method::POST, path, Some(body), &[]).await;
        assert!(status == 200 || status == 201, "POST {path}: {status} {answer}");
        answer
    }

    /// The answer of the API. An order that was not carried out because the disk of this machine is
    /// busy is given again.
    async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        dr_testkit::wait_until("the disk answers", SOON, async || {
            let answer = self.ask_once(method.clone(), path, body.clone(), headers).await;
            let busy =
                answer.1["error"].as_str().is_some_and(|error| error.contains("nothing was done: the disk has not"));
            (!busy).then_some(answer)
        })
        .await
    }

    async fn ask_once(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let mut request = client().request(method, self.exporter.url(&format!("/api/v1/{path}")));
        request = request.basic_auth(USER, Some(PASSWORD));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        let series = format!("{name}{labels} ");
        let text = self.text("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }

    fn storage(&self) -> PathBuf {
        self.exporter.config().path("data")
    }

    /// What `report verify` says.
    fn verified(&self) -> dr_exporter::store::record::Head {
        use dr_exporter::store::Backend as _;
        let backend = dr_exporter::store::sqlite::Sqlite::of(self.storage());
        let verified = backend.verify(None).expect("it can be read").expect("the chain is whole");
        assert_eq!(verified.uncovered, [], "every state is named");
        verified.head
    }
}
