//! Why there is no answer, and what of it people are told.

use std::error::Error;
use std::fmt;

use http::StatusCode;
use kube::client::AuthError;
use serde::Deserialize;

use super::access::of_auth;
use super::{
    AUTH_FAILED, BAD_ANSWER, CONNECT_FAILED, CRD_MISSING, CREDENTIALS_UNREADABLE, FORBIDDEN, LOCAL, SERVER_ERROR,
    THROTTLED, TIMEOUT, TLS_FAILED,
};
use crate::clients::failure::{self, Failure, Fault, causes};
use crate::config::values::{Namespace, ObjectName};
use crate::domain::observation::{Finding, Reason};

/// What was asked for, in the words of RBAC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) verb: &'static str,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) namespace: &'a Namespace,
    pub(super) name: Option<&'a ObjectName>,
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, group, resource, namespace, name } = self;
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "{verb} {resource}{dot}{group}")?;
        if let Some(name) = name {
            write!(f, " {}", name.as_str())?;
        }
        write!(f, " in namespace {}", namespace.as_str())
    }
}

impl Asked<'_> {
    /// The rule that would allow it.
    fn rule(&self) -> String {
        let Self { verb, group, resource, namespace, name } = self;
        let names = name.map(|name| format!(", resourceNames: [{}]", name.as_str())).unwrap_or_default();
        format!(
            "a Role in namespace {} needs the rule {{apiGroups: [\"{group}\"], resources: [{resource}]{names}, verbs: [{verb}]}}",
            namespace.as_str(),
        )
    }
}

/// What an API server says of a request that it does not serve. Only what is one is taken for one.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    kind: StatusKind,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Deserialize)]
enum StatusKind {
    Status,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is no client to ask with.
    NoClient(Finding),
    /// The request did not get through, or the answer did not get back.
    Transport(&'static Reason, String),
    /// The server said no, and why, if it is an API server.
    Status(StatusCode, Option<Status>),
    /// The answer makes no sense.
    Malformed(String),
    /// No version of the kind is served.
    NotServed,
}

impl Problem {
    pub(super) fn request(error: impl fmt::Display) -> Self {
        Self::Malformed(format!("the request cannot be made: {error}"))
    }

    pub(super) fn of_client(error: &kube::Error) -> Self {
        Self::of_transport(error)
    }

    pub(super) fn of_body(error: &(dyn Error + 'static)) -> Self {
        Self::of_transport(error)
    }

    fn of_transport(error: &(dyn Error + 'static)) -> Self {
        if let Some(error) = causes(error).find_map(<dyn Error>::downcast_ref::<AuthError>) {
            return Self::Transport(&CREDENTIALS_UNREADABLE, of_auth(error));
        }
        let Failure { fault, story } = failure::classify(error, &[]);
        let reason = match fault {
            Fault::Tls => &TLS_FAILED,
            Fault::Local => &LOCAL,
            Fault::Timeout => &TIMEOUT,
            Fault::Cut | Fault::Malformed | Fault::Unreachable => &CONNECT_FAILED,
        };
        Self::Transport(reason, story)
    }

    pub(super) fn of_status(status: StatusCode, body: &[u8]) -> Self {
        Self::Status(status, serde_json::from_slice(body).ok())
    }

    pub(super) fn malformed(error: &serde_json::Error) -> Self {
        Self::Malformed(format!("the answer cannot be read: {error}"))
    }

    /// Whether other credentials might do better.
    pub(super) fn is_of_credentials(&self) -> bool {
        match self {
            Self::Status(status, _) => *status == StatusCode::UNAUTHORIZED,
            Self::Transport(reason, _) => [&TLS_FAILED, &CREDENTIALS_UNREADABLE].contains(reason),
            _ => false,
        }
    }

    /// What people are told.
    pub(super) fn finding(self, asked: &Asked<'_>) -> Finding {
        match self {
            Self::NoClient(finding) => finding,
            Self::Transport(reason, story) => Finding::new(reason, format!("cannot {asked}: {story}")),
            Self::Malformed(story) => Finding::new(&BAD_ANSWER, format!("cannot {asked}: {story}")),
            Self::NotServed => {
                Finding::new(&CRD_MISSING, format!("cannot {asked}: no version of {} is served", asked.resource))
            }
            Self::Status(status, said) => {
                let said = said
                    .map_or_else(|| format!("HTTP {status}"), |Status { kind: StatusKind::Status, message }| message);
                let reason = match status {
                    StatusCode::UNAUTHORIZED => &AUTH_FAILED,
                    StatusCode::FORBIDDEN => {
                        return Finding::new(&FORBIDDEN, format!("cannot {asked}: {said}; {}", asked.rule()));
                    }
                    StatusCode::TOO_MANY_REQUESTS => &THROTTLED,
                    status if status.is_server_error() => &SERVER_ERROR,
                    _ => &BAD_ANSWER,
                };
                Finding::new(reason, format!("cannot {asked}: {said}"))
            }
        }
    }
}
