//! Why there is no answer, and what people are told about it.

use std::error::Error;
use std::fmt;

use http::StatusCode;
use serde::Deserialize;

use super::ask::LARGEST;
use super::{
    AUTH_FAILED, BAD_ANSWER, CONNECT_FAILED, CRD_MISSING, FORBIDDEN, LOCAL, SERVER_ERROR, THROTTLED, TIMEOUT,
    TLS_FAILED, TLS_UNSUPPORTED, TOO_LARGE,
};
use crate::clients::failure::{self, Failure, Fault};
use crate::decode::values::{Namespace, ObjectName};
use crate::domain::observation::{Finding, Reason};

/// The request, in the words of RBAC.
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

/// The status of an API server for a request that it does not serve. It is parsed strictly, so that
/// a proxy's JSON is not mistaken for a Kubernetes Status.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    kind: StatusKind,
    #[serde(default)]
    message: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    details: Details,
}

/// The object of a [`Status`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    name: String,
    group: String,
    /// The name in paths, not the one in objects.
    kind: String,
}

#[derive(Debug, Deserialize)]
enum StatusKind {
    Status,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is no client for requests.
    NoClient(Finding),
    /// The request did not reach the server, or the answer did not come back.
    Transport(&'static Reason, String),
    /// The server refused, with its status if it is an API server.
    Status(StatusCode, Option<Status>),
    /// The answer makes no sense.
    Malformed(String),
    /// The answer is larger than accepted.
    TooLarge,
    /// A list has more pages or objects than plausible.
    Endless(String),
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

    /// An answer that broke off after this many bytes.
    pub(super) fn of_body(error: &kube::Error, after: usize) -> Self {
        match Self::of_transport(error) {
            Self::Transport(reason, story) => {
                Self::Transport(reason, format!("the answer broke off after {after} bytes: {story}"))
            }
            problem => problem,
        }
    }

    fn of_transport(error: &(dyn Error + 'static)) -> Self {
        let Failure { fault, story } = failure::classify(error, &[]);
        let reason = match fault {
            Fault::Tls => &TLS_FAILED,
            Fault::TlsUnsupported => &TLS_UNSUPPORTED,
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

    /// Whether an API server says that the object does not exist. Only a Status about this very
    /// object counts: any proxy can send a 404, and an API server sends it for versions that it
    /// does not serve.
    pub(super) fn is_absence_of(&self, asked: &Asked<'_>) -> bool {
        let Self::Status(StatusCode::NOT_FOUND, Some(Status { reason, details, .. })) = self else { return false };
        let is_it = |name: &ObjectName| name.as_str() == details.name;
        reason == "NotFound"
            && asked.name.is_some_and(is_it)
            && (asked.group, asked.resource) == (details.group.as_str(), details.kind.as_str())
    }

    /// Whether other credentials might help.
    pub(super) fn is_of_credentials(&self) -> bool {
        match self {
            Self::Status(status, _) => *status == StatusCode::UNAUTHORIZED,
            Self::Transport(reason, _) => [&TLS_FAILED, &TLS_UNSUPPORTED].contains(reason),
            _ => false,
        }
    }

    /// The finding for people.
    pub(super) fn finding(self, asked: &Asked<'_>) -> Finding {
        match self {
            Self::NoClient(finding) => finding,
            Self::Transport(reason, story) => Finding::new(reason, format!("cannot {asked}: {story}")),
            Self::Malformed(story) => Finding::new(&BAD_ANSWER, format!("cannot {asked}: {story}")),
            Self::TooLarge => {
                let story = format!("cannot {asked}: the answer is larger than {} MiB", LARGEST >> 20);
                Finding::new(&TOO_LARGE, story)
            }
            Self::Endless(story) => Finding::new(&TOO_LARGE, format!("cannot {asked}: {story}")),
            Self::NotServed => {
                Finding::new(&CRD_MISSING, format!("cannot {asked}: no version of {} is served", asked.resource))
            }
            Self::Status(status, said) => {
                let said = said.map_or_else(
                    || format!("HTTP {status}"),
                    |Status { kind: StatusKind::Status, message, .. }| message,
                );
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
