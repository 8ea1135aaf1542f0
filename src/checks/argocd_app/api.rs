//! The API of an Argo CD server: the same object, for those without access to it in the cluster.
//!
//! Never with `refresh=`: that makes Argo CD write.

use http::StatusCode;
use http::header::DATE;
use jiff::fmt::rfc2822;
use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::time::{Instant, timeout_at};

use super::{ArgocdApi, Found, Place, Seen};
use crate::checks::Run;
use crate::clients::kubernetes::objects::Application;
use crate::clients::kubernetes::{
    AUTH_FAILED, BAD_ANSWER, CONNECT_FAILED, CREDENTIALS_UNREADABLE, FORBIDDEN, LOCAL, Read, SERVER_ERROR, THROTTLED,
    TIMEOUT, TLS_FAILED,
};
use crate::clients::tls::{self, ReloadingTls, TlsFiles};
use crate::clients::{causes, is_of_this_machine};
use crate::domain::observation::Finding;

/// The largest answer that is read, in bytes.
const LARGEST: usize = 16 << 20;

/// An Argo CD server.
#[derive(Debug)]
pub(super) struct Api {
    config: ArgocdApi,
    tls: ReloadingTls,
}

impl Api {
    pub(super) fn new(config: &ArgocdApi) -> Self {
        let files = TlsFiles { ca_file: config.ca_file.as_ref(), ..TlsFiles::default() };
        Self { config: config.clone(), tls: ReloadingTls::new(&files, &[b"h2", b"http/1.1"]) }
    }

    pub(super) async fn read(&self, place: &Place, run: Run) -> Found {
        let host = self.config.url.get().host_str().unwrap_or_default();
        let late = || Err(Finding::new(&TIMEOUT, format!("{host} did not answer in time")));
        match timeout_at(run.deadline, self.ask(place, run)).await {
            Ok(found) => found,
            Err(_) => late(),
        }
    }

    async fn ask(&self, place: &Place, run: Run) -> Found {
        let unusable = |message: String| Finding::new(&CREDENTIALS_UNREADABLE, message);
        let token = self.config.token_file.read().await.map_err(|error| unusable(error.to_string()))?;
        let client = self.client().await?;
        let request = client.get(self.url(place)).bearer_auth(token.expose());
        let sent = Instant::now();
        let answer = request.send().await.map_err(|error| self.failed(&error))?;
        let (status, date) = (answer.status(), answer.headers().get(DATE).cloned());
        let body = self.body(answer).await?;
        let said = || {
            let said = serde_json::from_slice::<serde_json::Value>(&body).ok();
            let said = said.as_ref().and_then(|said| said.get("message")?.as_str());
            format!(
                "{}: {}",
                self.config.url.get(),
                said.map_or_else(|| format!("HTTP {status}"), super::sync::readable)
            )
        };
        let reason = match status {
            StatusCode::OK => {
                let application: Application = serde_json::from_slice(&body).map_err(|error| {
                    Finding::new(&BAD_ANSWER, format!("{}: no Application: {error}", self.config.url.get()))
                })?;
                let date =
                    date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date.to_str().ok()?).ok());
                let read = Read::of((), sent, date);
                let instant = |stamp| read.instant(stamp, run.clock);
                return Ok(Some(Seen::new(application, instant, run.clock.at(sent))));
            }
            // The server says so in JSON; a proxy before it does not.
            StatusCode::NOT_FOUND if serde_json::from_slice::<GrpcStatus>(&body).is_ok_and(|said| said.code == 5) => {
                return Ok(None);
            }
            StatusCode::UNAUTHORIZED => &AUTH_FAILED,
            // Also what Argo CD says of an application that does not exist, so that nobody learns which do.
            StatusCode::FORBIDDEN => &FORBIDDEN,
            StatusCode::TOO_MANY_REQUESTS => &THROTTLED,
            status if status.is_server_error() => &SERVER_ERROR,
            _ => &BAD_ANSWER,
        };
        Err(Finding::new(reason, said()))
    }

    async fn client(&self) -> Result<Client, Finding> {
        let with_tls = self.config.url.get().scheme() == "https";
        let config = if with_tls {
            let config = self.tls.current().await;
            (*config.map_err(|error| Finding::new(&CREDENTIALS_UNREADABLE, error.to_string()))?).clone()
        } else {
            tls::trusting_nobody().map_err(|error| Finding::new(&CREDENTIALS_UNREADABLE, error.to_string()))?
        };
        let client = Client::builder().tls_backend_preconfigured(config).redirect(Policy::none()).build();
        client.map_err(|error| Finding::new(&LOCAL, format!("no HTTP client: {error}")))
    }

    fn url(&self, place: &Place) -> url::Url {
        let mut url = self.config.url.get().clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/api/v1/applications/{}", place.name.as_str()));
        url.query_pairs_mut().clear().append_pair("appNamespace", place.namespace.as_str());
        url
    }

    async fn body(&self, mut answer: reqwest::Response) -> Result<Vec<u8>, Finding> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                return Err(Finding::new(&BAD_ANSWER, format!("the answer is larger than {LARGEST} bytes")));
            }
        }
        Ok(body)
    }

    fn failed(&self, error: &reqwest::Error) -> Finding {
        let last = causes(error).last().map(ToString::to_string).unwrap_or_default();
        let of_this_machine =
            causes(error).filter_map(<dyn std::error::Error>::downcast_ref::<std::io::Error>).any(is_of_this_machine);
        let reason = if tls::is_cause_of(error) {
            &TLS_FAILED
        } else if of_this_machine {
            &LOCAL
        } else {
            &CONNECT_FAILED
        };
        Finding::new(reason, format!("{}: {last}", self.config.url.get()))
    }
}

#[derive(serde::Deserialize)]
struct GrpcStatus {
    code: i32,
}
