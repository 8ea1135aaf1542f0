//! The API of an Argo CD server. It serves the same object to those without access to the cluster.
//!
//! Requests never use `refresh=`, because that makes Argo CD write.

use std::time::Duration;

use http::StatusCode;

use super::{ArgocdApi, Found, Place, Seen};
use crate::checks::Run;
use crate::clients::http::{HeaderSources, HttpApi, Reasons};
use crate::clients::kubernetes::objects::Application;
use crate::clients::kubernetes::{
    AUTH_FAILED, BAD_ANSWER, CONNECT_FAILED, CREDENTIALS_UNREADABLE, FORBIDDEN, LOCAL, Read, SERVER_ERROR, THROTTLED,
    TIMEOUT, TLS_FAILED, TOO_LARGE,
};
use crate::clients::tls::TlsFiles;
use crate::domain::observation::Finding;

/// The largest accepted answer, in bytes.
const LARGEST: usize = 4 << 20;

static REASONS: Reasons = Reasons {
    credentials: &CREDENTIALS_UNREADABLE,
    local: &LOCAL,
    tls: &TLS_FAILED,
    timeout: &TIMEOUT,
    connect: &CONNECT_FAILED,
    auth: &AUTH_FAILED,
    // Argo CD also answers this for an application that does not exist, so as not to reveal which
    // exist.
    forbidden: &FORBIDDEN,
    throttled: &THROTTLED,
    server: &SERVER_ERROR,
    bad_answer: &BAD_ANSWER,
    too_large: &TOO_LARGE,
};

/// An Argo CD server.
#[derive(Debug)]
pub(super) struct Api(HttpApi);

impl Api {
    pub(super) fn new(config: &ArgocdApi) -> Self {
        let files = TlsFiles { ca_file: config.ca_file.as_ref(), ..TlsFiles::default() };
        let headers = HeaderSources { bearer_token_file: Some(config.token_file.clone()), ..HeaderSources::default() };
        Self(HttpApi::new(&config.url, headers, &files, LARGEST, &REASONS))
    }

    pub(super) async fn read(&self, place: &Place, stale_after: Duration, run: Run) -> Found {
        let path = ["api", "v1", "applications", place.name.as_str()];
        let answer = self.0.get(&path, &[("appNamespace", place.namespace.as_str())], run.deadline).await?;
        match answer.status {
            StatusCode::OK => {
                let application: Application = serde_json::from_slice(&answer.body).map_err(|error| {
                    Finding::new(&BAD_ANSWER, format!("{}: the answer is not an Application: {error}", self.0.base()))
                })?;
                let read = Read::of((), answer.sent, answer.date);
                let instant = |stamp| read.instant(stamp, run.clock);
                let asked = [answer.sent, answer.received].map(|at| run.clock.at(at));
                Ok(Some(Seen::new(application, stale_after, instant, asked)))
            }
            // The server says this in JSON. A proxy in front of it does not.
            StatusCode::NOT_FOUND
                if serde_json::from_slice::<GrpcStatus>(&answer.body).is_ok_and(|said| said.code == 5) =>
            {
                Ok(None)
            }
            _ => {
                let said = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
                Err(self.0.refused(&answer, said.as_ref().and_then(|said| said.get("message")?.as_str())))
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct GrpcStatus {
    code: i32,
}
