//! An application that a stand-in for Argo CD keeps like its repository: it compares twice a second, as long as it lives and
//! can read git.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Trouble, afflict, stamp};
use crate::judge::Promise;
use crate::plan::Dice;
use crate::stage::World;
use crate::story::{Copy, Health, Truth};
use dr_testkit::exporter::Config;
use dr_testkit::kube::{Cluster, Flavour, User};

/// The health that Argo CD tells of what the application consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Healthy,
    Degraded,
    Missing,
    Progressing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Git has something new.
    Commit,
    /// What git has now is on its way to the cluster.
    SyncBegins,
    /// It is brought to the cluster, or that fails. It is what git had when that began.
    Sync,
    SyncFails,
    /// A person brings back the revision of before.
    RollsBack,
    GitDown,
    GitUp,
    ControllerDies,
    ControllerLives,
    Is(Told),
    Deleted,
    Recreated,
    Afflicted(Trouble),
    Healed,
}

const CONTRACT: &str = "manifests";
const SPACE: &str = "argocd";
const PERIOD: Duration = Duration::from_millis(500);

struct State {
    /// When git got each commit, between these two.
    commits: Vec<(SystemTime, SystemTime)>,
    /// Which of them the cluster got, and when; the last is what it has.
    deployed: Vec<Deployed>,
    /// What is on its way, since when.
    syncing: Option<(usize, Value)>,
    operation: &'static str,
    git: bool,
    alive: bool,
    there: bool,
    told: Told,
}

struct Deployed {
    number: usize,
    begun: Value,
    ended: Value,
    by: Value,
    /// Git had something newer when it ended.
    overtaken: bool,
}

impl State {
    fn has(&self) -> usize {
        self.deployed[self.deployed.len() - 1].number
    }

    fn deploy(&mut self, number: usize, begun: Value, by: Value) {
        let overtaken = number + 1 < self.commits.len();
        self.deployed.push(Deployed { number, begun, ended: stamp(), by, overtaken });
        self.operation = "Succeeded";
    }

    fn history(&self) -> Value {
        let entries = self.deployed.iter().enumerate();
        let entry = |(id, Deployed { number, begun, ended, by, .. }): (usize, &Deployed)| json!({"id": id, "revision": revision(*number), "deployStartedAt": begun, "deployedAt": ended, "initiatedBy": by});
        entries.map(entry).collect()
    }
}

pub struct ArgocdApp {
    cluster: Arc<Cluster>,
    reader: User,
    state: Arc<Mutex<State>>,
    /// Held while the application is written, or made and deleted.
    pen: Arc<tokio::sync::Mutex<()>>,
    trouble: Option<Trouble>,
    controller: JoinHandle<()>,
}

impl World for ArgocdApp {
    type Act = Act;

    const NAME: &'static str = "argocd_app";
    const FIRST: &'static [(f64, Act)] = &[(2.5, Act::Is(Told::Degraded)), (5.5, Act::Is(Told::Healthy))];

    fn block(dice: &mut Dice) -> Vec<(f64, Act)> {
        let pause = dice.between(1.5, 4.0);
        let during = dice.one(&[Act::Commit, Act::Is(Told::Degraded), Act::Commit, Act::Sync]);
        let lasts = dice.between(0.5, 9.0);
        match dice.number(12) {
            // Git goes on while a sync lasts.
            11 => vec![
                (pause, Act::Commit),
                (dice.between(0.5, 3.0), Act::SyncBegins),
                (dice.between(0.5, 6.0), Act::Commit),
                (dice.between(0.5, 9.0), Act::Sync),
                (dice.between(3.0, 12.0), Act::Sync),
            ],
            // It works again, and nobody tells.
            10 => vec![
                (pause, Act::Is(Told::Degraded)),
                (dice.between(1.0, 4.0), Act::ControllerDies),
                (dice.between(0.3, 2.0), Act::Is(Told::Healthy)),
                (lasts, Act::ControllerLives),
            ],
            9 => vec![(pause, Act::RollsBack), (dice.between(0.5, 12.0), Act::Sync)],
            0 | 1 => vec![(pause, Act::Commit), (dice.between(0.5, 12.0), Act::Sync)],
            2 => vec![
                (pause, Act::Commit),
                (dice.between(0.5, 3.0), Act::SyncFails),
                (dice.between(0.5, 2.0), Act::Commit),
                (dice.between(0.5, 8.0), Act::Sync),
            ],
            3 => vec![(pause, Act::GitDown), (dice.between(0.3, 3.0), during), (lasts, Act::GitUp), (1.0, Act::Sync)],
            4 => vec![
                (pause, Act::ControllerDies),
                (dice.between(0.3, 3.0), during),
                (lasts, Act::ControllerLives),
                (1.0, Act::Sync),
                (0.0, Act::Is(Told::Healthy)),
            ],
            5 => {
                let told = dice.one(&[Told::Degraded, Told::Missing]);
                vec![(pause, Act::Is(told)), (dice.between(0.5, 19.0), Act::Is(Told::Healthy))]
            }
            6 => vec![
                (pause, Act::Is(Told::Progressing)),
                (dice.between(0.5, 4.0), Act::Is(dice.one(&[Told::Degraded, Told::Healthy]))),
                (dice.between(0.5, 4.0), Act::Is(Told::Progressing)),
                (dice.between(0.5, 4.0), Act::Is(Told::Healthy)),
            ],
            7 => vec![(pause, Act::Deleted), (lasts, Act::Recreated)],
            _ => vec![
                (pause, Act::Afflicted(dice.one(&Trouble::ALL))),
                (dice.between(0.3, 3.0), during),
                (lasts, Act::Healed),
                (0.5, Act::Sync),
                (0.0, Act::Is(Told::Healthy)),
            ],
        }
    }

    async fn start(_: u32) -> Self {
        let cluster = Arc::new(Cluster::start(Flavour::Fake).await);
        let reader = cluster.user();
        cluster.make_namespace(SPACE).await;
        let rules = json!([{"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get", "list"]}]);
        cluster.grant(SPACE, &reader, rules).await;
        let now = SystemTime::now();
        let state = Arc::new(Mutex::new(State {
            commits: vec![(now, now)],
            deployed: vec![Deployed {
                number: 0,
                begun: stamp(),
                ended: stamp(),
                by: json!({"automated": true}),
                overtaken: false,
            }],
            syncing: None,
            operation: "Succeeded",
            git: true,
            alive: true,
            there: true,
            told: Told::Healthy,
        }));
        let pen = Arc::new(tokio::sync::Mutex::new(()));
        compare(&cluster, &state, &pen).await;
        let controller = {
            let (cluster, state, pen) = (Arc::clone(&cluster), Arc::clone(&state), Arc::clone(&pen));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(PERIOD).await;
                    compare(&cluster, &state, &pen).await;
                }
            })
        };
        Self { cluster, reader, state, pen, trouble: None, controller }
    }

    fn config(&self) -> Config {
        let config = Config::new(&format!(
            "defaults: {{ interval: 500ms, timeout: 600ms, interval_when_down: 250ms, failures_to_trigger: 2 }}
kubernetes:
  dr: {{ kubeconfig_file: dr.kubeconfig }}
contracts:
  - name: {CONTRACT}
    component: Manifests
    owner: ops-0
    priority: P0
    rto: 10s
    rpo: 8s
    checks:
      - name: app
        argocd_app: {{ kubernetes: dr, namespace: {SPACE}, name: saas, stale_after: 4s }}
"
        ));
        config.file("dr.kubeconfig", &self.cluster.kubeconfig_of(&self.reader));
        config
    }

    fn promises(&self) -> Vec<Promise> {
        vec![Promise {
            contract: CONTRACT,
            rto: Some(Duration::from_secs(10)),
            rpo: Some(Duration::from_secs(8)),
            interval: Duration::from_millis(500),
            when_down: Duration::from_millis(250),
            timeout: Duration::from_millis(600),
            failures: 2,
            // It compares twice a second, and writes times to the second.
            grain: Duration::from_millis(1600),
            dating: Duration::ZERO,
            tells_age: false,
        }]
    }

    async fn act(&mut self, act: Act) {
        let before = SystemTime::now();
        // Nothing is compared while something changes.
        let pen = Arc::clone(&self.pen);
        let _pen = pen.lock().await;
        let was_there = self.change(act, before);
        match act {
            Act::Deleted if was_there => self.cluster.delete("Application", SPACE, "saas").await,
            Act::Afflicted(_) | Act::Healed => afflict(&self.cluster, SPACE, &["applications"], self.trouble),
            _ => {}
        }
    }

    fn truths(&self) -> Vec<Truth> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = match state.commits.get(state.has() + 1) {
            _ if !state.there => Copy::Gone,
            None => Copy::Whole,
            Some((before, after)) => Copy::UpTo(*before, *after),
        };
        let health = match state.told {
            _ if !state.there => Health::Down,
            Told::Healthy => Health::Up,
            Told::Degraded | Told::Missing => Health::Down,
            Told::Progressing => Health::Unsure,
        };
        let shows = !self.trouble.is_some_and(Trouble::blinds) && (!state.there || (state.alive && state.git));
        // The history tells when a revision was deployed, and not until when it was the newest.
        let rolled_back = state.deployed.iter().any(|deployed| deployed.number > state.has());
        // Nor when a sync that was overtaken became old: only that it may have been as long ago as it began.
        let overtaken = state.deployed.last().is_some_and(|last| last.overtaken);
        vec![Truth {
            contract: CONTRACT,
            health,
            copy,
            health_shows: shows,
            copy_shows: shows,
            dated: !rolled_back && !overtaken,
        }]
    }
}

impl ArgocdApp {
    /// Takes down what is done, and tells whether the application was there before.
    fn change(&mut self, act: Act, begun: SystemTime) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_there = state.there;
        match act {
            Act::Commit => state.commits.push((begun, SystemTime::now())),
            // Argo CD can only bring what it can read.
            Act::SyncBegins if state.git && state.alive && state.there => {
                state.syncing = Some((state.commits.len() - 1, stamp()));
            }
            Act::Sync if state.git && state.alive && state.there => {
                let (brings, begun) = state.syncing.take().unwrap_or((state.commits.len() - 1, stamp()));
                if state.has() != brings {
                    state.deploy(brings, begun, json!({"automated": true}));
                }
                state.operation = "Succeeded";
            }
            Act::RollsBack if state.git && state.alive && state.there => {
                let before = state.has().saturating_sub(1);
                state.deploy(before, stamp(), json!({"username": "admin"}));
                state.syncing = None;
            }
            Act::SyncFails if state.git && state.alive && state.there => state.operation = "Failed",
            Act::GitDown => state.git = false,
            Act::GitUp => state.git = true,
            Act::ControllerDies => state.alive = false,
            Act::ControllerLives => state.alive = true,
            Act::Is(told) => state.told = told,
            Act::Afflicted(trouble) => self.trouble = Some(trouble),
            Act::Healed => self.trouble = None,
            Act::Deleted => state.there = false,
            Act::Recreated => state.there = true,
            Act::SyncBegins | Act::Sync | Act::SyncFails | Act::RollsBack => {}
        }
        was_there
    }
}

impl Drop for ArgocdApp {
    fn drop(&mut self) {
        self.controller.abort();
    }
}

fn revision(number: usize) -> String {
    format!("{number:040x}")
}

/// What Argo CD does twice a second: it compares, and writes down what it found.
async fn compare(cluster: &Cluster, state: &Mutex<State>, pen: &tokio::sync::Mutex<()>) {
    let _pen = pen.lock().await;
    // What is found holds as of when the comparison began.
    let at = stamp();
    let source = json!({"repoURL": "https://git.example.com/saas", "targetRevision": "main"});
    let destination = json!({"name": "dr"});
    let status = {
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.alive || !state.there {
            return;
        }
        let head = state.commits.len() - 1;
        let sync = match (state.git, state.has() == head) {
            (false, _) => "Unknown",
            (true, true) => "Synced",
            (true, false) => "OutOfSync",
        };
        let health = format!("{:?}", state.told);
        let mut status = json!({
            "sync": {"status": sync, "revision": revision(head), "comparedTo": {"source": source, "destination": destination}},
            "health": {"status": health}, "reconciledAt": at,
            "operationState": {"phase": state.operation, "finishedAt": state.deployed[state.deployed.len() - 1].ended},
            "history": state.history(),
            "resources": [{"kind": "Role", "status": sync}], "conditions": [],
        });
        if !state.git {
            status["conditions"] = json!([{"type": "ComparisonError", "message": "failed to list refs"}]);
        }
        status
    };
    let spec = json!({"source": source, "destination": destination, "syncPolicy": {}});
    let metadata = json!({"namespace": SPACE, "name": "saas"});
    let kind = "Application";
    cluster
        .apply(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}))
        .await;
}
