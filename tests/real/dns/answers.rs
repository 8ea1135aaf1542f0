//! What resolvers answer, and what is made of it.

use std::path::Path;

use dr_exporter::domain::observation::Health;
use hickory_server::proto::op::ResponseCode;
use tokio::net::UdpSocket;

use super::{
    LATE, REGIONS, SHORT, assert_healthy, assert_no_answer, assert_unhealthy, check, check_in, reading, regions, run,
    run_within,
};
use dr_testkit::dns::{Dns, Manner};

/// The check of one name at one server.
async fn ask(dns: &Dns, stanza: &str) -> dr_exporter::domain::observation::Observation {
    let stanza = format!("{stanza}, resolvers: [\"{}\"]", dns.udp());
    run(&check_in(Path::new("."), &stanza)).await
}

#[tokio::test]
async fn the_region_that_answers_is_told() {
    for (records, expected) in [
        ("api A 192.0.2.10 60", (Some(1.0), Some(0.0))),
        ("api A 198.51.100.7 60", (Some(0.0), Some(1.0))),
        ("api A 192.0.2.10 60; api A 198.51.100.7 60", (Some(1.0), Some(1.0))),
        ("api A 192.0.2.10 60; api A 203.0.113.1 60", (Some(1.0), Some(0.0))),
        ("*.example.com. A 192.0.2.10 60", (Some(1.0), Some(0.0))),
    ] {
        let dns = Dns::start(records).await;
        let observation = run(&check(&[dns.udp()])).await;
        assert_healthy(&observation);
        assert_eq!(regions(&observation), expected, "{records}");
        assert_eq!(reading(&observation, "ttl_seconds", None), Some(60.0));
        assert_eq!(reading(&observation, "resolvers", Some("region")), Some(1.0));
        assert!(observation.seen.is_some());
    }
}

#[tokio::test]
async fn aliases_are_followed_and_the_lowest_ttl_counts() {
    let dns = Dns::start(
        "api CNAME lb 300
         lb CNAME lb-1.example.net. 20
         lb-1.example.net. CNAME lb-2.example.net. 90
         lb-2.example.net. A 192.0.2.10 600
         lb-2.example.net. AAAA 2001:db8::10 600",
    )
    .await;
    let observation = ask(&dns, &format!("name: api.example.com, {REGIONS}")).await;
    assert_healthy(&observation);
    assert_eq!(reading(&observation, "ttl_seconds", None), Some(20.0), "{observation:?}");
    assert!(observation.notes[0].contains("primary (192.0.2.10), TTL 20 s"), "{:?}", observation.notes);
    let asked = dns.asked().len();
    assert!(asked > 1, "the server tells of each zone alone, so it must be asked on");

    let stanza = "name: api.example.com, type: AAAA, regions: { primary: [\"2001:db8::/64\"] }";
    let observation = ask(&dns, stanza).await;
    assert_healthy(&observation);
    assert_eq!(regions(&observation), (Some(1.0), None));
}

#[tokio::test]
async fn an_alias_can_be_the_region() {
    let dns = Dns::start("api CNAME LB.rg2.example.net. 30; lb.rg2.example.net. A 203.0.113.1 5").await;
    let stanza = "name: API.example.com., type: CNAME, \
                  regions: { primary: [lb.rg1.example.net], dr: [lb.rg2.example.net] }";
    let observation = ask(&dns, stanza).await;
    assert_healthy(&observation);
    assert_eq!(regions(&observation), (Some(0.0), Some(1.0)));
    assert_eq!(reading(&observation, "ttl_seconds", None), Some(30.0));
}

#[tokio::test]
async fn names_that_lead_nowhere() {
    for (records, reason, words) in [
        ("", "no_such_name", "the name api.example.com does not exist"),
        ("api AAAA 2001:db8::1 60", "no_records", "api.example.com has no A record"),
        ("x.api.example.com. A 192.0.2.1 60", "no_records", "api.example.com has no A record"),
        ("api CNAME gone 60", "no_such_name", "does not exist"),
        ("api CNAME lb.example.net. 60; lb.example.net. AAAA 2001:db8::1 60", "no_records", "has no A record"),
        ("api A 203.0.113.1 60", "unexpected_target", "no region (203.0.113.1), TTL 60 s"),
        ("api A 198.51.100.8 60", "unexpected_target", "no region (198.51.100.8)"),
        ("api CNAME b.example.net. 60; b.example.net. CNAME api.example.com. 60", "bad_answer", "aliases"),
    ] {
        let dns = Dns::start(records).await;
        let observation = run(&check(&[dns.udp()])).await;
        assert_unhealthy(&observation, reason, &[&dns.udp(), words]);
        assert_eq!(observation.seen, None);
        // That there is nothing is an answer, too.
        let told = reason != "bad_answer";
        let expected = if told { (Some(0.0), Some(0.0)) } else { (None, None) };
        assert_eq!(regions(&observation), expected, "{records}");
    }
}

#[tokio::test]
async fn resolvers_that_will_not_answer() {
    let dns = Dns::start("api A 192.0.2.10 60").await;
    for (code, reason) in [
        (ResponseCode::ServFail, "servfail"),
        (ResponseCode::Refused, "query_refused"),
        (ResponseCode::NotImp, "query_refused"),
        (ResponseCode::NXDomain, "no_such_name"),
    ] {
        dns.answers(Manner::Code(code));
        assert_unhealthy(&run(&check(&[dns.udp()])).await, reason, &[&dns.udp()]);
    }
    dns.answers(Manner::Silent);
    let observation = run_within(&check(&[dns.udp()]), SHORT).await;
    assert_unhealthy(&observation, "timeout", &["no answer within "]);
    assert_eq!(regions(&observation), (None, None), "nothing was answered");
    assert_eq!(observation.warnings, None);
    dns.answers(Manner::Serves);
    assert_healthy(&run(&check(&[dns.udp()])).await);
}

/// A name whose resolvers nobody could listen to is not down.
#[tokio::test]
async fn a_process_that_was_held_up_knows_nothing() {
    let dns = Dns::start("api A 192.0.2.10 60").await;
    for resolver in [dns.udp(), format!("tcp://{}", dns.address)] {
        let observation = super::single::run_too_late(&check(&[resolver])).await;
        assert_no_answer(&observation, "local", &["the exporter itself was held up"]);
    }
}

#[tokio::test]
async fn a_resolver_that_was_killed_is_known_at_once() {
    let mut dns = Dns::start("api A 192.0.2.10 60").await;
    dns.kill().await;
    let begin = std::time::Instant::now();
    assert_unhealthy(&run(&check(&[dns.udp()])).await, "connect_failed", &[&dns.udp(), "refused"]);
    assert!(begin.elapsed() < LATE * 5, "{:?}", begin.elapsed());
    dns.revive().await;
    assert_healthy(&run(&check(&[dns.udp()])).await);
}

/// A server that answers every datagram with these bytes behind the id of the question.
async fn babbles(bytes: &'static [u8]) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let id = buffer[..length.min(2)].to_vec();
            // What is not meant for the question comes first.
            let _ = socket.send_to(&[&[!id[0], id[1]], bytes].concat(), from).await;
            let _ = socket.send_to(&[id.as_slice(), bytes].concat(), from).await;
        }
    });
    address.to_string()
}

#[tokio::test]
async fn what_is_no_dns() {
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"", b"\x81\x80\0\x01"] {
        let resolver = babbles(bytes).await;
        let observation = run(&check(std::slice::from_ref(&resolver))).await;
        assert_unhealthy(&observation, "bad_answer", &[&resolver, "not a DNS message"]);
    }
}

#[tokio::test]
async fn one_resolver_of_several_is_enough() {
    let good = Dns::start("api A 198.51.100.7 60").await;
    let mut dead = Dns::start("").await;
    dead.kill().await;
    let broken = Dns::start("").await;
    broken.answers(Manner::Code(ResponseCode::ServFail));
    let elsewhere = Dns::start("api A 203.0.113.1 60").await;
    let observation = run(&check(&[dead.udp(), broken.udp(), elsewhere.udp(), good.udp()])).await;
    assert_healthy(&observation);
    assert_eq!(regions(&observation), (Some(0.0), Some(1.0)));
    let count = |result| reading(&observation, "resolvers", Some(result));
    assert_eq!((count("region"), count("elsewhere"), count("failed")), (Some(1.0), Some(1.0), Some(2.0)));
    assert_eq!(reading(&observation, "unexpected_targets", None), Some(1.0));
    for (dns, words) in
        [(&dead, "connect_failed: "), (&broken, "servfail: "), (&elsewhere, "no region"), (&good, "dr (")]
    {
        let expected = format!("{}: {words}", dns.udp());
        assert!(observation.notes.iter().any(|note| note.starts_with(&expected)), "{:?}", observation.notes);
    }
}

#[tokio::test]
async fn a_silent_resolver_holds_nobody_up_beyond_the_deadline() {
    let (good, silent) = (Dns::start("api A 192.0.2.10 60").await, Dns::start("").await);
    silent.answers(Manner::Silent);
    let observation = run_within(&check(&[silent.udp(), good.udp()]), SHORT).await;
    assert_healthy(&observation);
    assert_eq!(reading(&observation, "resolvers", Some("failed")), Some(1.0));
}

#[tokio::test]
async fn every_run_asks_anew() {
    let dns = Dns::start("api A 192.0.2.10 86400").await;
    let check = check(&[dns.udp()]);
    assert_eq!(regions(&run(&check).await), (Some(1.0), Some(0.0)));
    dns.holds("api A 198.51.100.7 86400").await;
    assert_eq!(regions(&run(&check).await), (Some(0.0), Some(1.0)), "a TTL of a day is no reason to wait a day");
    dns.holds("").await;
    assert_unhealthy(&run(&check).await, "no_such_name", &[]);
    assert_eq!(dns.asked().len(), 3);
}

#[tokio::test]
async fn what_this_machine_cannot_do_is_no_failure_of_the_name() {
    // A link-local address without its link leads nowhere.
    let nowhere = "[fe80::1]:53".to_owned();
    let observation = run(&check(std::slice::from_ref(&nowhere))).await;
    assert_no_answer(&observation, "local", &["fe80::1", "this machine"]);
    assert_eq!(regions(&observation), (None, None));

    let mut dns = Dns::start("api A 192.0.2.10 60").await;
    assert_eq!(run(&check(&[nowhere.clone(), dns.udp()])).await.health, Health::Healthy);
    dns.kill().await;
    assert_unhealthy(&run(&check(&[nowhere, dns.udp()])).await, "connect_failed", &["this machine", "refused"]);
}
