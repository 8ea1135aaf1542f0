//! Commands that name several replicas, some of which do not answer.

use std::net::SocketAddr;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::service::Service;
use dr_testkit::wait_until;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::orders::count;
use super::{PASSWORD, PLANS, Replica, Rig, SOON, USER, seconds, trigger};

const DECLARE: [&str; 6] = ["incident", "declare", "region_outage", "--by=oncall", "--reason", "a fire"];

impl Replica {
    fn url(&self) -> String {
        format!("--url={}", self.exporter.url(""))
    }
}

/// An address that nobody listens at.
fn closed() -> String {
    format!("--url=http://{}", dr_testkit::free_ports::<1>(dr_testkit::own_ip())[0])
}

/// Runs a command as a person does.
async fn run(words: &[&str]) -> (Output, String) {
    let place = tempfile::tempdir().expect("a directory");
    std::fs::write(place.path().join("password"), PASSWORD).expect("written");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
    command.current_dir(place.path()).args(words).args(["--password-file=password"]);
    command.arg(format!("{}={USER}", if words[0] == "check" { "--username" } else { "--user" }));
    let output = tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("it ends");
    drop(place);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, told)
}

async fn succeeds(words: &[&str]) -> (String, String) {
    let (output, told) = run(words).await;
    assert!(output.status.success(), "{words:?}: {} {told}", output.status);
    (String::from_utf8(output.stdout).expect("a text"), told)
}

/// Waits until all replicas know of one incident, with one trigger, and returns it. The trigger may differ by
/// what a request takes on its way.
async fn one_incident(rig: &Rig) -> Value {
    wait_until("all three know the same incident, with the same trigger", SOON, async || {
        let mut known = Vec::new();
        for replica in &rig.replicas {
            let all = replica.get("incidents").await["incidents"].clone();
            let incident = all.as_array().filter(|all| all.len() == 1)?[0].clone();
            let trigger = seconds(&Value::String(trigger(replica).await?));
            let is_same = (trigger - seconds(&incident["began"])).abs() < 0.1;
            known.push(Some(incident).filter(|_| is_same)?);
        }
        known.iter().all(|one| *one == known[0]).then(|| known.remove(0))
    })
    .await
}

/// How many declarations and joins the record has.
async fn declared(rig: &Rig) -> [usize; 2] {
    let leader = rig.leader().await;
    let record = rig.replicas[leader].record().await;
    assert!(rig.verify(leader).starts_with("ok"));
    ["declared", "joined"].map(|what| count(&record, what))
}

/// A server in front of another one: it tells that it is there, hands on every order, and drops the answer.
struct Mute {
    address: SocketAddr,
    swallowed: Arc<AtomicUsize>,
}

impl Mute {
    async fn before(target: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind((dr_testkit::own_ip(), 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let swallowed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&swallowed);
        tokio::spawn(async move {
            while let Ok((mut person, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    let mut buffer = [0; 4096];
                    loop {
                        let Ok(read @ 1..) = person.read(&mut buffer).await else { return };
                        request.extend_from_slice(&buffer[..read]);
                        let text = String::from_utf8_lossy(&request).to_lowercase();
                        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                        if head.starts_with("get") {
                            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                            let _ = person.write_all(answer).await;
                            return;
                        }
                        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                        if length.and_then(|length| length.parse().ok()) == Some(body.len()) {
                            break;
                        }
                    }
                    if let Some(target) = target {
                        let mut there = TcpStream::connect(target).await.expect("it listens");
                        there.write_all(&request).await.expect("it takes it");
                        let _ = there.read(&mut buffer).await;
                    }
                    counted.fetch_add(1, SeqCst);
                });
            }
        });
        Self { address, swallowed }
    }

    fn url(&self) -> String {
        format!("--url=http://{}", self.address)
    }
}

/// The replica that is named first is gone. The next one is asked, by every command.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_gone_is_passed_over() {
    let mut rig = Rig::start("200ms").await;
    let follower = rig.others(rig.leader().await)[0];
    let (gone, alive) = (closed(), rig.replicas[follower].url());
    let list = format!("{gone},{}", rig.replicas[follower].exporter.url(""));
    let (shown, told) = succeeds(&[&DECLARE[..], &[&gone, &alive]].concat()).await;
    assert!(shown.contains("region_outage") && shown.contains("open"), "{shown}");
    assert!(told.contains(&gone["--url=".len()..]) && told.contains("refused"), "it says who did not answer: {told}");
    one_incident(&rig).await;
    let (shown, _) = succeeds(&["incident", "list", &list]).await;
    assert!(shown.contains("open  a fire"), "{shown}");
    succeeds(&["incident", "step", "region_outage", "notify", &list]).await;
    let (report, _) = succeeds(&["report", "--since=1d", &gone, &alive]).await;
    assert!(report.contains("a fire"), "{report}");
    let (output, told) = run(&["check", &gone, &alive]).await;
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("api") && told.contains("refused"), "{shown} {told}");
    let (id, _) = succeeds(&["drill", "start", "review", &gone, &alive]).await;
    assert!(id.contains("review-") && id.contains("goes on"), "{id}");
    // A refusal is final: nobody else is asked.
    let began = Instant::now();
    let (output, told) = run(&["incident", "declare", "nothing", "--by=oncall", "--reason=x", &gone, &alive]).await;
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("404") && began.elapsed() < Duration::from_secs(20), "{told}");
    rig.replicas[follower].exporter.kill();
    let left = rig.others(follower)[0];
    let (shown, _) = succeeds(&["drill", "list", &alive, &rig.replicas[left].url()]).await;
    assert_eq!(shown.matches("review-").count(), 1, "{shown}");
    assert_eq!(declared(&rig).await, [1, 0]);
}

/// The leader is frozen: it takes connections and says nothing. The order goes to the next replica, and counts
/// from when it was given. Nothing is doubled when the leader thaws.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_replica_is_passed_over() {
    let rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    let next = rig.others(leader)[0];
    rig.replicas[leader].exporter.freeze();
    let given = jiff::Timestamp::now();
    let (shown, told) =
        succeeds(&[&DECLARE[..], &[&rig.replicas[leader].url(), &rig.replicas[next].url()]].concat()).await;
    assert!(shown.contains("open") && told.contains("did not answer in time"), "{shown} {told}");
    rig.replicas[leader].exporter.thaw();
    let incident = one_incident(&rig).await;
    let late = seconds(&incident["began"]) - given.as_nanosecond() as f64 / 1e9;
    assert!((-0.1..3.0).contains(&late), "it began {late} s after it was given");
    let stamped = seconds(&incident["declared"]["at"]) - seconds(&incident["began"]);
    assert!(stamped > 4.0, "it was stamped when it was carried out, {stamped} s later");
    assert_eq!(declared(&rig).await, [1, 0]);
}

/// The answer is lost after a replica carried the order out. The next one gets the same order, and says the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_answer_was_lost_is_carried_out_once() {
    let rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    let next = rig.others(leader)[0];
    let mute = Mute::before(Some(rig.replicas[leader].exporter.address)).await;
    let (shown, told) = succeeds(&[&DECLARE[..], &[&mute.url(), &rig.replicas[next].url()]].concat()).await;
    assert!(shown.contains("open") && told.contains("may have received the order, too"), "{shown} {told}");
    one_incident(&rig).await;
    succeeds(&["incident", "note", "region_outage", "no power", &mute.url(), &rig.replicas[next].url()]).await;
    assert_eq!(mute.swallowed.load(SeqCst), 2);
    let incident = one_incident(&rig).await;
    assert_eq!(incident["review"]["notes"].as_array().map(Vec::len), Some(1), "{incident}");
    // Nobody else is there to say what became of it. The same command with its key does not double it.
    let note = ["incident", "note", "region_outage", "no water"];
    let (output, told) = run(&[&note[..], &[&mute.url()]].concat()).await;
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("It may have carried it out") && told.contains("Nobody knows whether"), "{told}");
    let key = told.split_whitespace().find(|word| word.starts_with("--idempotency-key=")).expect("the key");
    succeeds(&[&note[..], &[&rig.replicas[next].url(), key.trim_end_matches('.')]].concat()).await;
    let incident = one_incident(&rig).await;
    assert_eq!(incident["review"]["notes"].as_array().map(Vec::len), Some(2), "{incident}");
    assert_eq!(declared(&rig).await, [1, 0]);
}

/// A leader takes an order in, and is cut off from the storage before it can store it. Another replica carries
/// it out. Afterwards there is one incident, and one trigger.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_taken_in_and_not_stored_is_carried_out_once() {
    let mut rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    let next = rig.others(leader)[0];
    rig.replicas[leader].cut().await;
    let (shown, told) =
        succeeds(&[&DECLARE[..], &[&rig.replicas[leader].url(), &rig.replicas[next].url()]].concat()).await;
    assert!(shown.contains("open") && told.contains("503"), "{shown} {told}");
    rig.replicas[leader].heal().await;
    one_incident(&rig).await;
    assert_eq!(declared(&rig).await, [1, 0]);
}

/// Nobody answers. The command names all of them, and says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_answers_all_are_named() {
    let (a, b) = (closed(), closed());
    let (output, told) = run(&[&DECLARE[..], &[&a, &b]].concat()).await;
    assert_eq!(output.status.code(), Some(3), "{told}");
    let (_, last) = told.rsplit_once("no server says").expect("what became of it");
    for words in [&a["--url=".len()..], &b["--url=".len()..], "It was not carried out", "runbook", "--idempotency-key="]
    {
        assert!(last.contains(words), "{words}: {told}");
    }
    let at = last.split_whitespace().find_map(|word| word.strip_prefix("--at=")).expect("when it was given");
    let at: jiff::Timestamp = at.trim_end_matches(',').parse().expect("a time");
    assert!(jiff::Timestamp::now().duration_since(at).as_secs() < 60, "{at}");
    for read in [&["incident", "list"][..], &["report"], &["check"]] {
        let (output, told) = run(&[read, &[&a, &b]].concat()).await;
        assert_eq!(output.status.code(), Some(3), "{read:?}: {told}");
        assert!([&a, &b].iter().all(|url| told.contains(&url["--url=".len()..])), "{read:?}: {told}");
    }
}

/// An exporter with a storage of its own cannot know what another one carried out.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_not_doubled_where_nothing_is_shared() {
    let hash = bcrypt::hash(PASSWORD, 4).expect("a hash");
    let service = Service::start().await;
    let config = Config::new(&format!("{}{}{PLANS}", Service::defaults("200ms"), service.contract("api", "3s")))
        .with("web.yaml", &format!("basic_auth_users:\n  {USER}: {hash}\n"))
        .flag("--web.config.file=web.yaml")
        .flag("--web.enable-admin-api")
        .flag("--storage.path=data");
    let exporter = Replica { exporter: Exporter::start_in(config).await, ways: Vec::new() };
    let mute = Mute::before(None).await;
    let (output, told) = run(&[&DECLARE[..], &[&mute.url(), &exporter.url()]].concat()).await;
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("does not share its storage") && told.contains("Nobody knows"), "{told}");
    assert_eq!(exporter.get("incidents").await["incidents"], json!([]));
    // If the first one cannot have it, the order can only be carried out here.
    let (shown, _) = succeeds(&[&DECLARE[..], &[&closed(), &exporter.url()]].concat()).await;
    assert!(shown.contains("open"), "{shown}");
}
