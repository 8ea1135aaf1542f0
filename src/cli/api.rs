//! Orders to a running daemon or to one of its replicas, and what it tells of them.
//!
//! Replicas share one storage, so each of them can take an order. Whichever answers is enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde_json::Value;
use tokio::time::Instant;

use super::daemon::{Failure, described};
use crate::clock;

/// How long a server may take to answer.
pub(super) const LIMIT: Duration = Duration::from_secs(40);
/// How long it may take to say that it is there. One that does not is not given an order: it might
/// carry it out long after everybody has given up waiting.
const THERE: Duration = Duration::from_secs(5);
/// How long it may take to tell its status.
const STATUS: Duration = Duration::from_secs(10);
/// How often an order is given to each server, if none says that it was stored.
const ROUNDS: u32 = 4;
/// How long to wait before it is given again.
const PAUSE: Duration = Duration::from_secs(2);
/// It is not given again after this time.
const ENOUGH: Duration = Duration::from_secs(120);

/// The connections to a daemon and its replicas.
#[derive(Debug)]
pub(super) struct Api {
    urls: Vec<Url>,
    /// The place of the one that answered last. It is asked first.
    first: AtomicUsize,
    authorization: Option<HeaderValue>,
    client: reqwest::Client,
    /// The key of this command, and how many orders it has given.
    key: String,
    given: AtomicU32,
}

/// Why one server did not do what it was asked.
enum Missed {
    /// It refuses it, and so would every other one.
    Refused(String),
    /// It has not received it, or says that it did nothing.
    Untouched(String),
    /// It may have done it.
    Doubtful(String),
}

/// What became of an order so far, by the place of the server.
#[derive(Default)]
struct Tried {
    whys: BTreeMap<usize, String>,
    /// Those that may have done it.
    doubtful: BTreeSet<usize>,
}

/// An order that is given until one server carries it out.
struct Order<'a> {
    path: &'a [&'a str],
    body: String,
    key: String,
    begin: Instant,
}

impl Api {
    pub(super) fn new(
        urls: Vec<Url>,
        authorization: Option<HeaderValue>,
        client: reqwest::Client,
        key: Option<String>,
    ) -> Self {
        let key = key.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
        Self { urls, first: AtomicUsize::new(0), authorization, client, key, given: AtomicU32::new(0) }
    }

    /// What the daemon tells.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        parsed(&self.text(path, query).await?)
    }

    /// The same as a text.
    pub(super) async fn text(&self, path: &[&str], query: &[(&str, &str)]) -> Result<String, Failure> {
        let mut whys = Vec::new();
        for (place, server) in self.servers() {
            let mut url = address(server, &["api", "v1"], path);
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            let asked = match self.is_there(server).await {
                Ok(()) => self.send(self.client.get(url)).await,
                Err(missed) => Err(missed),
            };
            match asked {
                Ok(text) => {
                    self.first.store(place, Relaxed);
                    return Ok(text);
                }
                Err(Missed::Refused(why)) => return Err(Failure::Refused(why)),
                Err(Missed::Untouched(why) | Missed::Doubtful(why)) => whys.push(format!("{server}: {why}")),
            }
        }
        Err(Failure::Unanswered(whys.join("\n")))
    }

    /// Gives an order. It is given again, and to the next server, if it is not known whether it was
    /// stored. Its key keeps it from being carried out twice, whichever servers receive it.
    pub(super) async fn order(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let key = format!("{}-{}", self.key, self.given.fetch_add(1, Relaxed));
        let order = Order { path, body: body.to_string(), key, begin: clock::instant() };
        let mut tried = Tried::default();
        for round in 0..ROUNDS {
            if round > 0 {
                if clock::since(order.begin) >= ENOUGH {
                    break;
                }
                eprintln!("trying again");
                tokio::time::sleep(PAUSE).await;
            }
            for (place, server) in self.servers() {
                match self.give(&order, place, server, &tried).await {
                    Ok(text) => {
                        self.first.store(place, Relaxed);
                        self.tell_of_others(&tried, place, "It has the same key, and is carried out once.");
                        return parsed(&text);
                    }
                    Err(Missed::Refused(why)) => {
                        self.tell_of_others(&tried, place, "Nobody knows whether it was carried out there.");
                        return Err(Failure::Refused(why));
                    }
                    Err(missed) => {
                        let is_doubtful = matches!(missed, Missed::Doubtful(_));
                        let (Missed::Refused(why) | Missed::Untouched(why) | Missed::Doubtful(why)) = missed;
                        eprintln!("{server}: {why}");
                        tried.whys.insert(place, why);
                        if is_doubtful {
                            tried.doubtful.insert(place);
                        }
                    }
                }
            }
        }
        Err(Failure::Unanswered(self.gave_up(&tried)))
    }

    /// Gives an order to one server.
    async fn give(&self, order: &Order<'_>, place: usize, server: &Url, tried: &Tried) -> Result<String, Missed> {
        self.is_there(server).await?;
        if tried.doubtful.iter().any(|other| *other != place) && !self.shares(server).await? {
            let why = "it does not share its storage with other replicas, so the order might be carried out twice";
            return Err(Missed::Untouched(why.to_owned()));
        }
        let request = self.client.post(address(server, &["api", "v1"], order.path));
        let request = request.header("content-type", "application/json").header("idempotency-key", &order.key);
        // The person gave it then, however long it takes until a server has it.
        let request = request.header("order-age", format!("{:.3}", clock::since(order.begin).as_secs_f64()));
        self.send(request.body(order.body.clone())).await
    }

    /// Whether a server answers at all, whatever it says.
    async fn is_there(&self, server: &Url) -> Result<(), Missed> {
        let request = self.client.get(address(server, &["-"], &["healthy"])).timeout(THERE);
        let answer = request.send().await;
        answer.map(drop).map_err(|error| Missed::Untouched(of(error)))
    }

    /// Whether a server is a replica that shares its storage.
    async fn shares(&self, server: &Url) -> Result<bool, Missed> {
        let request = self.client.get(address(server, &["api", "v1"], &["status"])).timeout(STATUS);
        match self.send(request).await {
            Ok(text) => Ok(parsed(&text).is_ok_and(|status| !status["storage"]["replica"].is_null())),
            Err(Missed::Doubtful(why)) => Err(Missed::Untouched(why)),
            Err(missed) => Err(missed),
        }
    }

    /// The servers, from the one that answered last.
    fn servers(&self) -> impl Iterator<Item = (usize, &Url)> {
        let count = self.urls.len();
        self.urls.iter().enumerate().cycle().skip(self.first.load(Relaxed)).take(count)
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<String, Missed> {
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let answer = request.send().await.map_err(|error| {
            if error.is_connect() { Missed::Untouched(of(error)) } else { Missed::Doubtful(of(error)) }
        })?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| Missed::Doubtful(of(error)))?;
        if status.is_success() {
            return Ok(text);
        }
        let story = serde_json::from_str::<Value>(&text).ok();
        let story = story.as_ref().and_then(|story| story["error"].as_str()).unwrap_or_default();
        let told = format!("{status}: {story}");
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS => Missed::Untouched(told),
            status if status.is_server_error() => Missed::Doubtful(told),
            _ => Missed::Refused(told),
        })
    }

    /// Says which servers may have received the order before another one answered, and what that means.
    fn tell_of_others(&self, tried: &Tried, done: usize, meaning: &str) {
        for (place, server) in self.urls.iter().enumerate() {
            if place != done && tried.doubtful.contains(&place) {
                eprintln!("{server} may have received the order, too. {meaning}");
            }
        }
    }

    /// What is said if no server carried out an order.
    fn gave_up(&self, tried: &Tried) -> String {
        let mut lines = vec!["no server says that it carried out the order:".to_owned()];
        for (place, server) in self.urls.iter().enumerate() {
            let why = tried.whys.get(&place).map_or("it was not asked", String::as_str);
            let doubt = if tried.doubtful.contains(&place) { ". It may have carried it out" } else { "" };
            lines.push(format!("  {server}: {why}{doubt}"));
        }
        lines.push(if tried.doubtful.is_empty() {
            "It was not carried out. Do not wait for it: go on by the runbook.".to_owned()
        } else {
            "Nobody knows whether it was carried out. Do not wait for it: go on by the runbook.".to_owned()
        });
        let key = &self.key;
        lines.push(format!(
            "To give it again, repeat the command with --idempotency-key={key}. Then it is carried out once."
        ));
        lines.join("\n")
    }
}

/// An address below that of a server.
fn address(server: &Url, base: &[&str], path: &[&str]) -> Url {
    let mut url = server.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(base).extend(path);
    }
    url
}

/// What is said of a request that failed. The address is said apart.
fn of(error: reqwest::Error) -> String {
    let is_late = error.is_timeout() && !error.is_connect();
    let told = described(&error.without_url());
    if is_late { format!("it did not answer in time: {told}") } else { told }
}

fn parsed(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Unanswered(format!("the answer is no JSON: {error}")))
}
