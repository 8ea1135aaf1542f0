//! The servers, the publisher, the exporter, and what happens to them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::observer::{Observer, Seen};
use super::plan::{Act, Plan};
use crate::pulse::{Lateness, Pulse};
use crate::said::{Said, Scraper};
use crate::stage::clocked;
use dr_testkit::cluster::Region;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::nats::{Api, MIRROR, ORIGIN, Server, app, current, old};
use dr_testkit::proxy::Mode;

pub const CONTRACT: &str = "streams";
pub const RPO: Duration = Duration::from_secs(6);
pub const INTERVAL: Duration = Duration::from_millis(500);

/// Everything that was done, said and seen.
pub struct Record {
    pub done: Vec<(SystemTime, Act)>,
    pub said: Vec<Said>,
    pub origin: Vec<Seen>,
    pub mirror: Vec<Seen>,
    /// Sequence and time of each acknowledgement of the origin.
    pub acked: Vec<(u64, SystemTime)>,
    /// When a message was taken, by whichever side.
    pub taken: Vec<SystemTime>,
    pub lateness: Lateness,
    pub log: String,
}

/// Publishes to one side until it is dropped.
struct Writer {
    acked: Arc<Mutex<Vec<(u64, SystemTime)>>>,
    paused: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(api: Api, plan: &Plan) -> Self {
        let (acked, paused) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, stopped, keys, pause) =
            (Arc::clone(&acked), Arc::clone(&paused), plan.keys, Duration::from_secs(1) / plan.per_second);
        let task = tokio::spawn(async move {
            for number in 0_u64.. {
                tokio::time::sleep(pause).await;
                if stopped.load(Ordering::SeqCst) {
                    continue;
                }
                let subject = format!("agentese.{}", number % keys);
                let published = tokio::time::timeout(Duration::from_secs(1), api.publish(&subject, "some value"));
                if let Ok(Ok(sequence)) = published.await {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push((sequence, SystemTime::now()));
                }
            }
        });
        Self { acked, paused, task }
    }

    fn acked(&self) -> Vec<(u64, SystemTime)> {
        self.acked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub struct World {
    region: Region,
    exporter: Exporter,
    away: bool,
    observers: [Observer; 2],
    writer: Writer,
    on_mirror: Option<Writer>,
    scraper: Scraper,
    pulse: Pulse,
    random: StdRng,
}

impl World {
    pub async fn start(plan: &Plan) -> Self {
        let binary = if plan.old { old().unwrap_or_else(|_| current()) } else { current() };
        let region = Region::start(&binary, plan.replicated, &plan.limits.origin, &plan.limits.mirror).await;
        let servers = |servers: &[Server]| {
            let servers: Vec<_> = servers.iter().map(|server| format!("\"nats://{}\"", server.address)).collect();
            format!("servers: [{}], user: app, password_file: app", servers.join(", "))
        };
        let yaml = format!(
            "defaults: {{ interval: 500ms, timeout: 500ms }}
nats:
  primary: {{ {} }}
  dr: {{ {} }}
contracts:
  - name: {CONTRACT}
    component: NATS Streams
    owner: ops
    priority: P0
    rto: 1m
    rpo: 6s
    checks:
      - name: agentese
        interval_when_down: 250ms
        nats_mirror:
          origin: {{ nats: primary, stream: {ORIGIN} }}
          mirror: {{ nats: dr, stream: {MIRROR} }}
",
            servers(&region.origin_servers),
            servers(std::slice::from_ref(&region.dr)),
        );
        let exporter = Exporter::start_in(clocked(Config::new(&yaml).with("app", "app\n"), plan.sets_clock())).await;
        let observers =
            [Observer::start(region.origin.clone(), ORIGIN), Observer::start(region.mirror.clone(), MIRROR)];
        let writer = Writer::start(region.origin.clone(), plan);
        let random = StdRng::seed_from_u64(plan.seed);
        let scraper = Scraper::start(&exporter, vec![CONTRACT]);
        let pulse = Pulse::start();
        Self { region, exporter, away: false, observers, writer, on_mirror: None, scraper, pulse, random }
    }

    /// Plays it to the end.
    pub async fn play(mut self, plan: &Plan) -> Record {
        let mut done = Vec::new();
        tokio::time::sleep(Duration::from_secs(3)).await;
        for (after, act) in &plan.acts {
            tokio::time::sleep(*after).await;
            let begun = SystemTime::now();
            self.act(*act, plan).await;
            // What it does comes about between the two.
            done.push((begun, *act));
            done.push((SystemTime::now(), *act));
        }
        tokio::time::sleep(plan.rest).await;
        let [origin, mirror] = &self.observers;
        let acked = self.writer.acked();
        let on_mirror = self.on_mirror.iter().flat_map(Writer::acked);
        let taken = acked.iter().copied().chain(on_mirror).map(|(_, at)| at).collect();
        let (said, lateness, log) = (self.scraper.said(), self.pulse.lateness(), self.exporter.log());
        Record { done, said, origin: origin.seen(), mirror: mirror.seen(), acked, taken, lateness, log }
    }

    async fn act(&mut self, act: Act, plan: &Plan) {
        let region = &mut self.region;
        let [origin, mirror] = &self.observers;
        match act {
            Act::Cut => region.link.cut().await,
            Act::BlackHole => region.link.set(Mode::BlackHole).await,
            Act::Throttle(rate) => region.link.set(Mode::Throttle(rate)).await,
            Act::Heal => region.link.heal().await,
            Act::FreezeOrigin | Act::ThawOrigin if region.some_of_origin().iter().any(|server| !server.runs()) => {}
            Act::RunOrigin if region.some_of_origin().iter().all(|server| server.runs()) => {}
            Act::FreezeMirror | Act::ThawMirror if !region.dr.runs() => {}
            Act::RunMirror if region.dr.runs() => {}
            Act::FreezeOrigin => region.some_of_origin().iter().for_each(|server| server.freeze()),
            Act::ThawOrigin => region.some_of_origin().iter().for_each(|server| server.thaw()),
            Act::KillOrigin => region.some_of_origin().iter_mut().for_each(Server::kill),
            Act::RunOrigin => region.some_of_origin().iter_mut().for_each(Server::run),
            Act::SaveOrigin => {
                region.origin_servers[0].kill_and_save();
                region.origin_servers[0].run();
                let _ = region.origin_servers[0].api(app()).await;
            }
            // A smaller plan may leave out what belongs before it.
            Act::LoseTail if !region.origin_servers[0].path("saved").exists() => {}
            Act::LoseTail => {
                region.origin_servers[0].kill_and_restore();
                origin.another_life();
                region.origin_servers[0].run();
                let _ = region.origin_servers[0].api(app()).await;
            }
            Act::PurgeOrigin => drop(try_call(&region.origin, format!("STREAM.PURGE.{ORIGIN}"), Value::Null).await),
            Act::RecreateOrigin => {
                let _ = try_call(&region.origin, format!("STREAM.DELETE.{ORIGIN}"), Value::Null).await;
                let config = region.origin_config.clone();
                let _ = try_call(&region.origin, format!("STREAM.CREATE.{ORIGIN}"), config).await;
                origin.another_life();
            }
            Act::FreezeMirror => region.dr.freeze(),
            Act::ThawMirror => region.dr.thaw(),
            Act::KillMirror => region.dr.kill(),
            Act::RunMirror => region.dr.run(),
            Act::SaveMirror => {
                region.dr.kill_and_save();
                region.dr.run();
                let _ = region.dr.api(app()).await;
            }
            Act::RestoreMirror if !region.dr.path("saved").exists() => {}
            Act::RestoreMirror => {
                region.dr.kill_and_restore();
                mirror.another_life();
                region.dr.run();
                let _ = region.dr.api(app()).await;
            }
            Act::PurgeMirror => drop(try_call(&region.mirror, format!("STREAM.PURGE.{MIRROR}"), Value::Null).await),
            Act::DeleteOnOrigin => self.delete_one(ORIGIN).await,
            Act::DeleteOnMirror => self.delete_one(MIRROR).await,
            Act::RecreateMirror => {
                let _ = try_call(&region.mirror, format!("STREAM.DELETE.{MIRROR}"), Value::Null).await;
                let config = region.mirror_config.clone();
                let _ = try_call(&region.mirror, format!("STREAM.CREATE.{MIRROR}"), config).await;
                mirror.another_life();
            }
            Act::Promote => {
                let promoted = region.mirror.promote(MIRROR, &["agentese.>"]);
                if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(2), promoted).await {
                    self.on_mirror.get_or_insert_with(|| Writer::start(region.mirror.clone(), plan));
                }
            }
            // It may be away already.
            Act::KillExporter if self.away => {}
            Act::KillExporter => {
                self.exporter.kill_and_restart().await;
                self.scraper.turn_to(&self.exporter);
            }
            Act::ExporterAway if self.away => {}
            Act::ExporterAway => {
                self.exporter.kill();
                self.away = true;
            }
            Act::ExporterBack if !self.away => {}
            Act::ExporterBack => {
                self.exporter.restart().await;
                self.away = false;
                self.scraper.turn_to(&self.exporter);
            }
            Act::SetClock(millis) if self.exporter.config().has_own_clock() => {
                self.exporter.config().set_clock(millis as f64 / 1000.0);
            }
            Act::SetClock(_) => {}
            Act::Pause => self.writer.paused.store(true, Ordering::SeqCst),
            Act::Resume => self.writer.paused.store(false, Ordering::SeqCst),
        }
    }

    /// Deletes one message that is there.
    async fn delete_one(&mut self, stream: &str) {
        let (api, seen) = if stream == ORIGIN {
            (&self.region.origin, &self.observers[0])
        } else {
            (&self.region.mirror, &self.observers[1])
        };
        let Some(seen) = seen.seen().pop().filter(|seen| !seen.messages.is_empty()) else { return };
        let at = self.random.random_range(0..seen.messages.len());
        let sequence = seen.messages.keys().nth(at).copied().unwrap_or_default();
        let _ = try_call(api, format!("STREAM.MSG.DELETE.{stream}"), json!({"seq": sequence})).await;
    }
}

/// A call that fails where the server is gone, which is no fault of the scenario.
async fn try_call(api: &Api, subject: String, body: Value) -> Option<Value> {
    tokio::time::timeout(Duration::from_secs(2), api.call(&subject, body)).await.ok()?.ok()
}
