//! The other shards, asked over HTTP for the page of this one.
//!
//! They are asked in the background, so neither a scrape nor a page waits for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clients::http::{BasicAuth, HeaderSources, HttpApi, Reasons};
use crate::clients::tls::TlsFiles;
use crate::clock::{self, Clock};
use crate::decode::values::{FilePath, HttpUrl};
use crate::domain::observation::Reason;
use crate::export::report::StatusReport;
use crate::export::shards::{FRESH, Peer};

/// The highest number of peers.
pub const MOST: usize = 64;
/// The time between two questions to a peer.
const PAUSE: Duration = Duration::from_secs(4);
/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The largest answer that is accepted, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;

static NO_ANSWER: Reason = Reason::new("no_answer", "Look after the peer.");
/// The page shows only the details.
static REASONS: Reasons = Reasons {
    credentials: &NO_ANSWER,
    local: &NO_ANSWER,
    tls: &NO_ANSWER,
    timeout: &NO_ANSWER,
    connect: &NO_ANSWER,
    auth: &NO_ANSWER,
    forbidden: &NO_ANSWER,
    throttled: &NO_ANSWER,
    server: &NO_ANSWER,
    bad_answer: &NO_ANSWER,
    too_large: &NO_ANSWER,
};

/// The peers, and how they are asked.
#[derive(Debug, Clone, Default)]
pub struct PeerOptions {
    /// Their URLs, which include the route prefix.
    pub urls: Vec<HttpUrl>,
    /// The certificates that are trusted instead of the system's.
    pub ca_file: Option<FilePath>,
    /// The user and password that they want.
    pub basic_auth: Option<BasicAuth>,
}

/// What is known of the peers. Dropping the last clone stops the questions.
#[derive(Clone, Default)]
pub struct Peers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: Vec<Arc<Mutex<Peer>>>,
    // Dropped with the last clone, which ends the questions.
    questions: JoinSet<()>,
}

impl Peers {
    /// Begins to ask the peers, each by itself.
    #[must_use]
    pub fn start(options: &PeerOptions, clock: Clock) -> Self {
        let mut inner = Inner::default();
        for url in options.urls.iter().take(MOST) {
            let headers = HeaderSources { basic_auth: options.basic_auth.clone(), ..HeaderSources::default() };
            let tls = TlsFiles { ca_file: options.ca_file.as_ref(), ..TlsFiles::default() };
            let api = HttpApi::new(url, headers, &tls, LARGEST, &REASONS);
            let peer = Peer { url: url.place().to_owned(), last: None, error: Some("it was not asked yet".to_owned()) };
            let peer = Arc::new(Mutex::new(peer));
            inner.questions.spawn(follow(api, Arc::clone(&peer), clock));
            inner.known.push(peer);
        }
        Self(Arc::new(inner))
    }

    /// What is known of each now.
    pub(super) fn known(&self) -> Vec<Peer> {
        self.0.known.iter().map(|peer| peer.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }
}

/// Asks a peer for ever.
async fn follow(api: HttpApi, peer: Arc<Mutex<Peer>>, clock: Clock) {
    loop {
        // The figures are at least as old as the question.
        let asked = clock.now();
        let told = ask(&api).await;
        {
            let mut peer = peer.lock().unwrap_or_else(PoisonError::into_inner);
            match told {
                Ok(report) => (peer.last, peer.error) = (Some((asked, Arc::new(report))), None),
                Err(error) => peer.error = Some(error),
            }
            // An old answer is of no use, and may be large.
            peer.last = peer.last.take().filter(|(at, _)| clock.now().since(*at) <= FRESH);
        }
        sleep(PAUSE).await;
    }
}

/// The report of a peer, without what is not shown.
async fn ask(api: &HttpApi) -> Result<StatusReport, String> {
    let answer = api.get(&["api", "v1", "status"], &[], clock::instant() + PATIENCE).await;
    let answer = answer.map_err(|finding| finding.detail)?;
    if !answer.status.is_success() {
        return Err(api.refused(&answer, None).detail);
    }
    let mut report: StatusReport = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("{}: the answer is not a status: {error}", api.base()))?;
    report.triggers = Vec::new();
    report.contracts.iter_mut().for_each(|contract| contract.checks = Vec::new());
    Ok(report)
}
