//! Three pods, of which two must be ready, and an API server that may not tell.

use std::time::Duration;

use serde_json::json;

use super::{Trouble, afflict};
use crate::judge::Promise;
use crate::plan::Dice;
use crate::stage::World;
use crate::story::{Copy, Health, Truth};
use dr_testkit::exporter::Config;
use dr_testkit::kube::{Cluster, Flavour, User};

/// How a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pod {
    Ready,
    NotReady,
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Is(usize, Pod),
    Afflicted(Trouble),
    Healed,
}

const CONTRACT: &str = "pods";
const SPACE: &str = "saas";
const WANTED: usize = 2;

pub struct Pods {
    cluster: Cluster,
    reader: User,
    pods: [Pod; 3],
    trouble: Option<Trouble>,
}

impl World for Pods {
    type Act = Act;

    const NAME: &'static str = "pods";
    const FIRST: &'static [(f64, Act)] = &[
        (2.5, Act::Is(0, Pod::NotReady)),
        (0.0, Act::Is(1, Pod::Deleted)),
        (4.2, Act::Is(0, Pod::Ready)),
        (0.0, Act::Is(1, Pod::Ready)),
    ];

    fn block(dice: &mut Dice) -> Vec<(f64, Act)> {
        let (pause, one) = (dice.between(1.5, 4.0), dice.number(3));
        let other = (one + 1) % 3;
        let bad = [Pod::NotReady, Pod::Deleted];
        let mut acts = match dice.number(4) {
            0 => vec![(pause, Act::Is(one, dice.one(&bad))), (dice.between(0.5, 5.0), Act::Is(one, Pod::Ready))],
            1 => vec![
                (pause, Act::Afflicted(dice.one(&Trouble::ALL))),
                (dice.between(0.3, 3.0), Act::Is(one, dice.one(&bad))),
                (0.0, Act::Is(other, dice.one(&bad))),
                (dice.between(0.5, 8.0), Act::Healed),
            ],
            2 => vec![
                (pause, Act::Is(one, dice.one(&bad))),
                (0.0, Act::Is(other, dice.one(&bad))),
                (dice.between(0.5, 5.0), Act::Afflicted(dice.one(&Trouble::ALL))),
                (dice.between(0.5, 4.0), Act::Is(one, Pod::Ready)),
                (dice.between(0.5, 5.0), Act::Healed),
            ],
            _ => vec![
                (pause, Act::Is(one, dice.one(&bad))),
                (dice.between(0.0, 1.0), Act::Is(other, dice.one(&bad))),
                (dice.between(1.0, 14.0), Act::Is(one, Pod::Ready)),
            ],
        };
        acts.extend([(dice.between(0.5, 4.0), Act::Is(one, Pod::Ready)), (0.0, Act::Is(other, Pod::Ready))]);
        acts
    }

    async fn start(_: u32) -> Self {
        let cluster = Cluster::start(Flavour::Fake).await;
        let reader = cluster.user();
        cluster.make_namespace(SPACE).await;
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]);
        cluster.grant(SPACE, &reader, rules).await;
        let mut world = Self { cluster, reader, pods: [Pod::Ready; 3], trouble: None };
        for pod in 0..3 {
            world.act(Act::Is(pod, Pod::Ready)).await;
        }
        world
    }

    fn config(&self) -> Config {
        let config = Config::new(&format!(
            "defaults: {{ interval: 500ms, timeout: 600ms, interval_when_down: 250ms, failures_to_trigger: 2 }}
kubernetes:
  dr: {{ kubeconfig_file: dr.kubeconfig }}
contracts:
  - name: {CONTRACT}
    component: Pods
    owner: ops-0
    priority: P0
    rto: 7s
    checks:
      - name: nats
        pods: {{ kubernetes: dr, namespace: {SPACE}, selector: app=nats, min_ready: {WANTED} }}
"
        ));
        config.file("dr.kubeconfig", &self.cluster.kubeconfig_of(&self.reader));
        config
    }

    fn promises(&self) -> Vec<Promise> {
        vec![Promise {
            contract: CONTRACT,
            rto: Some(Duration::from_secs(7)),
            rpo: None,
            interval: Duration::from_millis(500),
            when_down: Duration::from_millis(250),
            timeout: Duration::from_millis(600),
            failures: 2,
            grain: Duration::ZERO,
            dating: Duration::ZERO,
            tells_age: false,
        }]
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Is(at, pod) => {
                let name = format!("nats-{at}");
                if pod != Pod::Deleted {
                    let ready = if pod == Pod::Ready { "True" } else { "False" };
                    let metadata = json!({"namespace": SPACE, "name": name, "labels": {"app": "nats"}});
                    let spec = json!({"containers": [{"name": "main", "image": "nats"}]});
                    let status = json!({"conditions": [{"type": "Ready", "status": ready}]});
                    let kind = "Pod";
                    let object =
                        json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status});
                    self.cluster.apply(object).await;
                } else if self.pods[at] != Pod::Deleted {
                    self.cluster.delete("Pod", SPACE, &name).await;
                }
                self.pods[at] = pod;
            }
            Act::Afflicted(trouble) => self.afflict(Some(trouble)),
            Act::Healed => self.afflict(None),
        }
    }

    fn truths(&self) -> Vec<Truth> {
        let ready = self.pods.iter().filter(|pod| **pod == Pod::Ready).count();
        vec![Truth {
            contract: CONTRACT,
            health: if ready >= WANTED { Health::Up } else { Health::Down },
            copy: Copy::Whole,
            health_shows: !self.trouble.is_some_and(Trouble::blinds),
            copy_shows: true,
            dated: true,
        }]
    }
}

impl Pods {
    fn afflict(&mut self, trouble: Option<Trouble>) {
        afflict(&self.cluster, SPACE, &["pods"], trouble);
        self.trouble = trouble;
    }
}
