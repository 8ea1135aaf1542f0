//! The kinds of scenarios: what is watched, and what happens to it.

pub mod argocd_app;
pub mod dns;
pub mod external_secret;
pub mod http;
pub mod pods;
pub mod promql;

use std::time::Duration;

use dr_testkit::kube::Cluster;
use dr_testkit::kube::fake::Fault;
use serde_json::Value;

/// How an API server fails its readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Unauthorized,
    Forbidden,
    Broken,
    Slow,
    Hangs,
    Nonsense,
}

impl Trouble {
    pub const ALL: [Self; 6] =
        [Self::Unauthorized, Self::Forbidden, Self::Broken, Self::Slow, Self::Hangs, Self::Nonsense];

    /// Whether a reader learns nothing.
    pub fn blinds(self) -> bool {
        self != Self::Slow
    }

    fn fault(self) -> Fault {
        match self {
            Self::Unauthorized => Fault::Status(401),
            Self::Forbidden => Fault::Status(403),
            Self::Broken => Fault::Status(503),
            Self::Slow => Fault::Delay(Duration::from_millis(100)),
            Self::Hangs => Fault::Delay(Duration::from_secs(3)),
            Self::Nonsense => Fault::Body("<html>nothing here</html>".to_owned()),
        }
    }
}

/// Makes reads of these resources fail, or not.
pub fn afflict(cluster: &Cluster, space: &str, resources: &[&str], trouble: Option<Trouble>) {
    for resource in resources {
        match trouble {
            Some(trouble) => cluster.fake().fault(space, resource, trouble.fault()),
            None => cluster.fake().heal(space, resource),
        }
    }
}

/// Now, to the second and never later, as Kubernetes writes times.
pub fn stamp() -> Value {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}
