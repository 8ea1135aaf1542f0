//! The origin's cluster has lost its meta leader: it still tells how streams stand and answers direct reads, and refuses
//! to look for messages in the ordinary way.

use std::time::SystemTime;

use futures_util::StreamExt as _;

use super::{CHECK, CONTRACT, SOON, as_app, contract, never_lost, runs_on, start};
use dr_testkit::nats::{Cold, MIRROR, ORIGIN, current};
use dr_testkit::watch::Watch;

/// A second account that sees the real API under a domain's name, without `STREAM.MSG.GET`.
const ACCOUNTS: &str = r#"], exports: [
    { service: "$JS.API.STREAM.INFO.AGENTESE" }
    { service: "$JS.API.DIRECT.GET.AGENTESE" } ] }
  ASK {
    imports: [
      { service: { account: APP, subject: "$JS.API.STREAM.INFO.AGENTESE" }, to: "$JS.ask.API.STREAM.INFO.AGENTESE" }
      { service: { account: APP, subject: "$JS.API.DIRECT.GET.AGENTESE" }, to: "$JS.ask.API.DIRECT.GET.AGENTESE" } ]
    users: [{ user: ask, password: app }"#;

#[tokio::test(flavor = "multi_thread")]
async fn direct_reads_tell_what_is_missing_and_never_that_nothing_is() {
    let mut pair = Cold::new(&current(), ACCOUNTS).await.start().await;
    let origin =
        serde_json::json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 1, "allow_direct": true});
    pair.origin.create(origin).await;
    pair.create_mirror(ORIGIN, MIRROR, serde_json::json!({})).await;
    let ask = async_nats::ConnectOptions::with_user_and_password("ask".into(), "app".into());
    let ask = pair.primary.connect(ask).await.client;
    let mut asked = ask.subscribe("$JS.ask.API.STREAM.MSG.GET.AGENTESE").await.expect("subscribed");
    let refusing = ask.clone();
    tokio::spawn(async move {
        let refusal = r#"{"error": {"code": 503, "err_code": 10008, "description": "JetStream system unavailable"}}"#;
        while let Some(question) = asked.next().await {
            let to = question.reply.expect("a question wants an answer");
            refusing.publish(to, refusal.into()).await.expect("the answer is sent");
        }
    });
    pair.origin.publish_many("agentese.a", 5).await;
    pair.mirror.reaches(MIRROR, 5, SOON).await;
    let way = format!("servers: [\"nats://{}\"], user: ask, password_file: app, domain: ask", pair.primary.address);
    let exporter = start(&contract(&way, &as_app(&pair.dr), ORIGIN, MIRROR)).await;
    // Nothing has to be looked for.
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);

    pair.link.cut().await;
    pair.origin.publish_many("agentese.a", 5).await;
    let scrape = exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    assert_eq!(scrape.get("dr_nats_mirror_lag_messages", &CHECK), Some(5.0), "{scrape}");
    let page = exporter.get("/").await.text().await.expect("a page");
    assert!(page.contains("behind, ") && page.contains("5 missing messages"), "why it is breached: {page}");
    never_lost(&watch, SystemTime::UNIX_EPOCH);
    // Past the target, and not looked at since: the next look tells.
    watch.only_until_it_learns(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "unproven");

    // A mirror may answer a direct read, and lack what the origin holds.
    for sequence in 6..=10 {
        pair.origin.delete_message(ORIGIN, sequence).await;
    }
    exporter.becomes(CONTRACT, "rpo", "unproven", SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    runs_on(&exporter).await;
    watch.always(since, CONTRACT, "rpo", "unproven");
    exporter.logs(&["jetstream_unavailable", "proves no absence"], SOON).await;
}
