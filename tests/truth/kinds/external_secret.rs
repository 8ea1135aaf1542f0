//! A secret in two clusters, and those who keep the two equal, or do not.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{Trouble, afflict, stamp};
use crate::judge::Promise;
use crate::plan::Dice;
use crate::stage::World;
use crate::story::{Copy, Health, Truth};
use dr_testkit::exporter::Config;
use dr_testkit::kube::{Cluster, Flavour, User, base64};

/// Which cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Primary,
    Dr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The primary has a new value.
    Rotates,
    /// DR has the primary's.
    Follows,
    /// DR has a new value first. The primary gets it with the next rotation.
    Leads,
    /// DR has the value before the last that it had.
    GoesBack,
    /// Somebody writes another value into DR by hand; the hash stays as it was.
    EditedByHand,
    /// DR's operator says that it fails, or no longer does.
    NotReady,
    Ready,
    SecretDeleted,
    ObjectDeleted,
    /// Both exist again, with what DR last had.
    Recreated,
    Afflicted(Side, Trouble),
    Healed(Side),
}

const CONTRACT: &str = "secrets";
const SPACE: &str = "saas";
const OPERATOR: &str = "externalsecrets.external-secrets.io/api";

pub struct ExternalSecret {
    clusters: [Cluster; 2],
    readers: [User; 2],
    primary: u32,
    /// What DR's secret holds, and what DR held before.
    dr: u32,
    before: u32,
    /// When the primary got each value: between these two.
    rotated: Vec<(SystemTime, SystemTime)>,
    edited: bool,
    ready: bool,
    secret_there: bool,
    object_there: bool,
    trouble: [Option<Trouble>; 2],
}

impl World for ExternalSecret {
    type Act = Act;

    const NAME: &'static str = "external_secret";
    const FIRST: &'static [(f64, Act)] = &[(2.0, Act::Rotates), (3.0, Act::Follows)];

    fn block(dice: &mut Dice) -> Vec<(f64, Act)> {
        let pause = dice.between(1.5, 4.0);
        let side = dice.one(&[Side::Primary, Side::Dr]);
        let trouble = dice.one(&Trouble::ALL);
        let during = dice.one(&[Act::Rotates, Act::Follows, Act::NotReady, Act::SecretDeleted, Act::GoesBack]);
        match dice.number(9) {
            8 => vec![(pause, Act::Leads), (dice.between(0.5, 14.0), Act::Rotates), (0.5, Act::Follows)],
            0 => vec![
                (pause, Act::Rotates),
                (dice.between(0.3, 2.0), Act::Rotates),
                (dice.between(0.5, 12.0), Act::Follows),
            ],
            1 | 2 => vec![(pause, Act::Rotates), (dice.between(0.5, 15.0), Act::Follows)],
            3 => vec![(pause, Act::NotReady), (dice.between(0.5, 9.0), Act::Ready)],
            4 => {
                let gone = dice.one(&[Act::SecretDeleted, Act::ObjectDeleted]);
                vec![(pause, gone), (dice.between(0.5, 9.0), Act::Recreated), (dice.between(0.5, 3.0), Act::Follows)]
            }
            5 => vec![(pause, Act::EditedByHand), (dice.between(1.0, 9.0), Act::Follows)],
            6 => vec![(pause, Act::GoesBack), (dice.between(0.5, 10.0), Act::Follows)],
            _ => vec![
                (pause, Act::Afflicted(side, trouble)),
                (dice.between(0.3, 3.0), during),
                (dice.between(0.5, 10.0), Act::Healed(side)),
                (dice.between(0.5, 4.0), Act::Ready),
                (0.0, Act::Recreated),
                (0.0, Act::Follows),
            ],
        }
    }

    async fn start(_: u32) -> Self {
        let clusters = [Cluster::start(Flavour::Fake).await, Cluster::start(Flavour::Fake).await];
        let readers = clusters.each_ref().map(Cluster::user);
        let rules = json!([
            {"apiGroups": ["external-secrets.io"], "resources": ["externalsecrets"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        ]);
        for (cluster, reader) in clusters.iter().zip(&readers) {
            cluster.make_namespace(SPACE).await;
            cluster.grant(SPACE, reader, rules.clone()).await;
        }
        let now = SystemTime::now();
        let world = Self {
            clusters,
            readers,
            primary: 0,
            dr: 0,
            before: 0,
            rotated: vec![(now, now)],
            edited: false,
            ready: true,
            secret_there: true,
            object_there: true,
            trouble: [None; 2],
        };
        world.write(Side::Primary, 0).await;
        world.write(Side::Dr, 0).await;
        world
    }

    fn config(&self) -> Config {
        let config = Config::new(&format!(
            "defaults: {{ interval: 500ms, timeout: 600ms, interval_when_down: 250ms, failures_to_trigger: 1 }}
kubernetes:
  primary: {{ kubeconfig_file: primary.kubeconfig }}
  dr: {{ kubeconfig_file: dr.kubeconfig }}
contracts:
  - name: {CONTRACT}
    component: Secrets
    owner: ops-0
    priority: P0
    rto: 8s
    rpo: 7s
    checks:
      - name: api
        external_secret: {{ primary: primary, dr: dr, namespace: {SPACE}, name: api }}
"
        ));
        for (at, name) in ["primary.kubeconfig", "dr.kubeconfig"].into_iter().enumerate() {
            config.file(name, &self.clusters[at].kubeconfig_of(&self.readers[at]));
        }
        config
    }

    fn promises(&self) -> Vec<Promise> {
        vec![Promise {
            contract: CONTRACT,
            rto: Some(Duration::from_secs(8)),
            rpo: Some(Duration::from_secs(7)),
            interval: Duration::from_millis(500),
            when_down: Duration::from_millis(250),
            timeout: Duration::from_millis(600),
            failures: 1,
            // An answer of an API server is dated by its clock, which tells whole seconds.
            grain: Duration::from_secs(1),
            dating: Duration::ZERO,
            tells_age: false,
        }]
    }

    async fn act(&mut self, act: Act) {
        let before = SystemTime::now();
        match act {
            Act::Rotates => {
                self.primary += 1;
                self.write(Side::Primary, self.primary).await;
                self.rotated.push((before, SystemTime::now()));
            }
            Act::Follows if self.secret_there && self.object_there => self.holds(self.primary).await,
            Act::Leads if self.secret_there && self.object_there && self.dr == self.primary => {
                self.holds(self.primary + 1).await;
            }
            Act::GoesBack if self.secret_there && self.object_there => self.holds(self.before).await,
            Act::EditedByHand if self.secret_there && self.object_there => {
                self.clusters[1].apply_as("kubectl-edit", secret(self.dr, "by hand")).await;
                self.edited = true;
            }
            Act::NotReady | Act::Ready if self.object_there => {
                self.ready = act == Act::Ready;
                self.status(Side::Dr, self.ready).await;
            }
            Act::SecretDeleted if self.secret_there => {
                self.clusters[1].delete("Secret", SPACE, "api").await;
                self.secret_there = false;
            }
            Act::ObjectDeleted if self.object_there => {
                self.clusters[1].delete("ExternalSecret", SPACE, "api").await;
                self.object_there = false;
            }
            Act::Recreated if !(self.secret_there && self.object_there) => {
                (self.secret_there, self.object_there, self.ready, self.edited) = (true, true, true, false);
                self.write(Side::Dr, self.dr).await;
            }
            Act::Afflicted(side, trouble) => self.afflict(side, Some(trouble)),
            Act::Healed(side) => self.afflict(side, None),
            _ => {}
        }
    }

    fn truths(&self) -> Vec<Truth> {
        let there = self.secret_there && self.object_there;
        let equal = there && !self.edited && self.dr == self.primary;
        let shows = !self.trouble.iter().flatten().any(|trouble| trouble.blinds());
        let copy = match self.rotated.get(self.dr as usize + 1) {
            _ if !there => Copy::Gone,
            // What was written by hand is another value; nobody knows since when it is missing.
            _ if self.edited => Copy::Gone,
            None => Copy::Whole,
            Some((before, after)) => Copy::UpTo(*before, *after),
        };
        vec![Truth {
            contract: CONTRACT,
            health: if equal && self.ready { Health::Up } else { Health::Down },
            copy,
            health_shows: shows && !self.edited,
            copy_shows: shows && !self.edited && (self.ready || !equal),
            // Nobody can tell that from a very old value.
            dated: self.dr <= self.primary,
        }]
    }
}

fn secret(value: u32, data: &str) -> serde_json::Value {
    let hash = json!({"reconcile.external-secrets.io/data-hash": format!("{value:04}-of-the-data")});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": SPACE, "name": "api", "annotations": hash},
        "data": {"password": base64(data.as_bytes())}})
}

impl ExternalSecret {
    fn cluster(&self, side: Side) -> &Cluster {
        &self.clusters[usize::from(side == Side::Dr)]
    }

    /// DR holds this value from now on.
    async fn holds(&mut self, value: u32) {
        (self.before, self.dr) = (self.dr, value);
        self.ready = true;
        self.write(Side::Dr, value).await;
        self.edited = false;
    }

    /// The operator of a side writes a value, and says so.
    async fn write(&self, side: Side, value: u32) {
        self.cluster(side).apply_as(OPERATOR, secret(value, &format!("value {value}"))).await;
        self.status(side, true).await;
    }

    async fn status(&self, side: Side, ready: bool) {
        let mut object = json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
            "metadata": {"namespace": SPACE, "name": "api"}, "spec": {"refreshInterval": "1h"},
        });
        let (says, reason) = if ready { ("True", "SecretSynced") } else { ("False", "SecretSyncedError") };
        let cluster = self.cluster(side);
        let generation = cluster.apply(object.clone()).await["metadata"]["generation"].as_i64().expect("a number");
        object["status"] = json!({
            "conditions": [{"type": "Ready", "status": says, "reason": reason, "message": "any"}],
            "refreshTime": stamp(), "syncedResourceVersion": format!("{generation}-any"),
        });
        cluster.apply(object).await;
    }

    fn afflict(&mut self, side: Side, trouble: Option<Trouble>) {
        let at = usize::from(side == Side::Dr);
        afflict(&self.clusters[at], SPACE, &["externalsecrets", "secrets"], trouble);
        self.trouble[at] = trouble;
    }
}
