//! The description of the API: every order and answer of people is as it says.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Rig, is_of_people};
use crate::serve::api::{must_be_as_described, must_fit};

/// A rig that compares every request and answer with the description, and notes what it did.
struct Compared {
    rig: Rig,
    description: Value,
    done: BTreeSet<(String, String)>,
}

impl Compared {
    /// Sends a request. `path` is as in the description; `{id}` and `{part}` stand for these.
    async fn ask(&mut self, path: &str, (id, part): (&str, &str), body: Option<Value>, status: u16) -> Value {
        let method = if body.is_some() { "post" } else { "get" };
        let described = format!("/api/v1/{path}");
        let url = path.replace("{id}", id).replace("{part}", part);
        if let Some(body) = body.as_ref().filter(|_| status < 300) {
            let content = &self.description["paths"][&described]["post"]["requestBody"]["content"];
            must_fit(body, &content["application/json"]["schema"], &described);
        }
        let verb = if body.is_some() { Method::POST } else { Method::GET };
        let (is, answer) = self.rig.ask(verb, &url, body, &[]).await;
        assert_eq!(is, status, "{method} {url}: {answer}");
        let bare = described.split('?').next().expect("a path");
        must_be_as_described(&self.description, bare, method, status, &answer);
        if status < 300 {
            self.done.insert((method.to_owned(), bare.to_owned()));
        }
        answer
    }

    async fn get(&mut self, path: &str, id: &str) -> Value {
        self.ask(path, (id, ""), None, 200).await
    }

    async fn post(&mut self, path: &str, place: (&str, &str), body: Value, status: u16) -> Value {
        self.ask(path, place, Some(body), status).await
    }

    /// Notes, gaps and the change of an incident or a drill.
    async fn review(&mut self, what: &str, id: &str) {
        let on = |path: &str| format!("{what}/{{id}}/{path}");
        self.post(&on("notes"), (id, ""), json!({"by": "bob", "text": "DNS is slow"}), 201).await;
        let gap = json!({"by": "bob", "text": "shorter TTL", "owner": "ops", "due": "2027-01-31"});
        self.post(&on("gaps"), (id, ""), gap.clone(), 201).await;
        self.post(&on("gaps"), (id, ""), gap, 201).await;
        self.post(&on("gaps/{part}/close"), (id, "1"), json!({"by": "bob"}), 200).await;
        self.post(&on("gaps/{part}/close"), (id, "7"), json!({"by": "bob"}), 404).await;
        let link = json!({"by": "bob", "link": "https://example.org/pull/7"});
        self.post(&on("change"), (id, ""), link, 201).await;
        self.post(&on("change"), (id, ""), json!({"by": "bob", "link": "javascript:1"}), 400).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_and_answer_of_people_is_as_the_description_says() {
    let rig = Rig::start().await;
    let description = rig.get("openapi.json").await;
    let mut api = Compared { rig, description, done: BTreeSet::new() };
    let by = |name: &str| json!({"by": name});

    // A drill with a recovery.
    let start = json!({"drill": "failover", "by": "ops", "environment": "staging", "participants": ["bob"],
        "plan": "stop it", "expected_loss": "none"});
    let run = api.post("drills", ("", ""), start.clone(), 201).await;
    let drill = run["id"].as_str().expect("an id").to_owned();
    api.post("drills", ("", ""), start, 200).await;
    let status = api.rig.get("status").await;
    assert!(status["drills"].as_array().is_some_and(|open| open.len() == 1), "{status}");
    must_be_as_described(&api.description, "/api/v1/status", "get", 200, &status);
    api.rig.service.well(false);
    api.rig.until("it is down", async |rig| !rig.get("status").await["contracts"][0]["outage"].is_null()).await;
    api.post("drills/{id}/recovered", (&drill, ""), by("bob"), 201).await;
    api.post("drills/{id}/finish", (&drill, ""), by("bob"), 409).await;
    api.rig.service.well(true);
    let named = drill.clone();
    api.rig
        .until("it recovers", async |rig| {
            rig.get(&format!("drills/{named}")).await["recoveries"].as_array().is_some_and(|all| !all.is_empty())
        })
        .await;
    api.post("drills/{id}/finish", (&drill, ""), json!({"by": "bob", "text": "well done"}), 200).await;
    api.review("drills", &drill).await;
    let ended = [("close", "closed"), ("abort", "aborted")];
    for (end, text) in ended {
        let run = api.post("drills", ("", ""), json!({"drill": "review", "by": "ops"}), 201).await;
        let id = run["id"].as_str().expect("an id").to_owned();
        api.post(&format!("drills/{{id}}/{end}"), (&id, ""), json!({"by": "ops", "text": text}), 200).await;
    }

    // An incident, and an alarm that somebody answers.
    let declaration = json!({"incident": "region_outage", "by": "oncall", "reason": "it does not answer"});
    let refused = json!({"incident": "region_outage", "by": "nobody", "reason": "it does not answer"});
    api.post("acknowledgements", ("", ""), json!({"contract": "api", "by": "bob"}), 409).await;
    api.post("incidents", ("", ""), refused, 403).await;
    let incident = api.post("incidents", ("", ""), declaration.clone(), 201).await;
    let id = incident["id"].as_str().expect("an id").to_owned();
    api.post("incidents", ("", ""), declaration, 200).await;
    let status = api.rig.get("status").await;
    assert!(status["incidents"].as_array().is_some_and(|open| open.len() == 1), "{status}");
    must_be_as_described(&api.description, "/api/v1/status", "get", 200, &status);
    api.post("incidents/{id}/steps/{part}", (&id, "notify"), json!({"by": "bob"}), 201).await;
    api.post("incidents/{id}/steps/{part}", (&id, "dance"), json!({"by": "bob", "undo": true}), 404).await;
    api.review("incidents", &id).await;
    api.rig.service.well(false);
    api.rig
        .until("there is an alarm", async |rig| {
            let body = json!({"contract": "api", "by": "bob", "text": "on it"});
            rig.ask(Method::POST, "acknowledgements", Some(body), &[]).await.0 < 300
        })
        .await;
    api.post("acknowledgements", ("", ""), json!({"contract": "api", "by": "bob", "text": "on it"}), 200).await;
    api.post("acknowledgements", ("", ""), json!({"contract": "nobody", "by": "bob"}), 404).await;
    api.post("incidents/{id}/close", (&id, ""), by("oncall"), 200).await;

    for (path, id) in [("incidents", ""), ("incidents/{id}", &id), ("incidents/{id}/report", &id)] {
        assert!(api.get(path, id).await.to_string().contains("shorter TTL"), "{path} holds records");
    }
    for (path, id) in [("drills", ""), ("drills/{id}", &drill), ("drills/{id}/report", &drill)] {
        assert!(api.get(path, id).await.to_string().contains("well done"), "{path} holds records");
    }
    assert!(api.get("record?limit=3", "").await["entries"].as_array().is_some_and(|all| all.len() == 3));
    let report = api.get("report", "").await;
    for part in ["contracts", "incidents", "drills", "runs", "gaps"] {
        assert!(report[part].as_array().is_some_and(|all| !all.is_empty()), "{part}: {report}");
    }
    for (path, id, status) in [
        ("incidents/{id}", "nobody", 404),
        ("drills/{id}", "nobody", 404),
        ("drills/{id}/report", "nobody", 404),
        ("record?limit=-1", "", 400),
        ("report?since=yesterday", "", 400),
    ] {
        api.ask(path, (id, ""), None, status).await;
    }
    everything_was_done(&api);
}

fn everything_was_done(api: &Compared) {
    let mut described = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (path, methods) in api.description["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            assert!(names.insert(operation["operationId"].to_string()), "two are called {}", operation["operationId"]);
            if is_of_people(path) {
                described.insert((method.clone(), path.clone()));
            }
        }
    }
    assert_eq!(described, api.done, "what is described, and what was done");
}
