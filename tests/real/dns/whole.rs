//! Answers read whole: what was told of the name, and what was not.

use std::path::Path;

use dr_exporter::domain::observation::Observation;
use hickory_server::proto::op::{Edns, Message, ResponseCode};
use hickory_server::proto::rr::Record;
use hickory_server::proto::rr::rdata::opt::EdnsOption;

use super::odd::{By, Odd, Tcp, a, answer, asked, cname, ns, soa};
use super::{SHORT, assert_healthy, assert_no_answer, assert_unhealthy, check, check_in, reading, run, run_within};
use dr_testkit::dns::Dns;

const NAME: &str = "api.example.com.";
const TARGET: &str = "lb.provider.net.";
use ResponseCode::{NXDomain, NoError, Refused, ServFail};

/// What a check makes of a server that answers all questions so.
async fn of(by: By, code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) -> Observation {
    let odd = Odd::same(move |question| answer(question, by, code, &answers, &authorities)).await;
    run(&check(&[odd.udp()])).await
}

#[tokio::test]
async fn an_alias_out_of_the_zone_is_no_outage() {
    // What the zone's own server answers when it is asked for the alias's target.
    type Other = fn(&Message) -> Option<Message>;
    let cases: [(&str, Other, &str); 6] = [
        ("refuses", |question| Some(answer(question, By::Nobody, Refused, &[], &[])), "it answers REFUSED"),
        ("fails", |question| Some(answer(question, By::Nobody, ServFail, &[], &[])), "it answers SERVFAIL"),
        (
            "refers to the root",
            |question| Some(answer(question, By::Nobody, NoError, &[], &[ns(".", "a.root-servers.net.")])),
            "it refers to the servers of the root",
        ),
        (
            "is empty",
            |question| Some(answer(question, By::Nobody, NoError, &[], &[])),
            "it does not answer for lb.provider.net",
        ),
        (
            "denies what is not its own",
            |question| Some(answer(question, By::Nobody, NXDomain, &[], &[])),
            "lb.provider.net does not exist",
        ),
        ("is silent", |_| None, "no answer within"),
    ];
    for (case, other, words) in cases {
        let answers = move |question: &Message| match asked(question).as_str() {
            NAME => Some(answer(question, By::Zone, NoError, &[cname(NAME, TARGET)], &[])),
            _ => other(question),
        };
        let bytes = move |question: &Message| answers(question).iter().map(|m| m.to_vec().unwrap()).collect();
        let odd = Odd::new(bytes, Tcp::Refused).await;
        let observation = run_within(&check(&[odd.udp()]), SHORT).await;
        let alias = "api.example.com is an alias of lb.provider.net; ";
        assert_no_answer(&observation, "alias_elsewhere", &[alias, words]);
        assert_eq!(reading(&observation, "region", Some("primary")), None, "{case}: nothing is known");

        // A resolver beside it decides.
        let good = Dns::start("api A 192.0.2.10 60").await;
        assert_healthy(&run_within(&check(&[odd.udp(), good.udp()]), SHORT).await);
        let none = Dns::start("").await;
        assert_unhealthy(&run_within(&check(&[odd.udp(), none.udp()]), SHORT).await, "no_such_name", &[alias]);

        // The alias itself can be the region.
        let stanza = format!(
            "name: api.example.com, type: CNAME, resolvers: [\"{}\"], regions: {{ dr: [lb.provider.net] }}",
            odd.udp()
        );
        assert_healthy(&run(&check_in(Path::new("."), &stanza)).await);
    }
}

#[tokio::test]
async fn a_resolver_that_tells_of_an_alias_alone_is_asked_on_and_believed() {
    for (code, authorities, reason, words) in [
        (ServFail, vec![], "servfail", "it answers SERVFAIL"),
        (NXDomain, vec![soa("net.")], "no_such_name", "the name lb.provider.net does not exist"),
        (NoError, vec![soa("provider.net.")], "no_records", "lb.provider.net has no A record"),
    ] {
        let odd = Odd::same(move |question| match asked(question).as_str() {
            NAME => answer(question, By::Resolver, NoError, &[cname(NAME, TARGET)], &[]),
            _ => answer(question, By::Resolver, code, &[], &authorities),
        })
        .await;
        let observation = run(&check(&[odd.udp()])).await;
        assert_unhealthy(&observation, reason, &["api.example.com is an alias of lb.provider.net; ", words]);
    }
}

#[tokio::test]
async fn no_such_name_behind_an_alias_is_told_of_that_name() {
    let chain = vec![cname(NAME, "mid.example.com."), cname("mid.example.com.", TARGET)];
    for by in [By::Zone, By::Resolver] {
        let observation = of(by, NXDomain, chain.clone(), vec![soa("net.")]).await;
        let words = "api.example.com is an alias of lb.provider.net; the name lb.provider.net does not exist";
        assert_unhealthy(&observation, "no_such_name", &[words]);
    }
    let observation = of(By::Resolver, ServFail, chain, vec![]).await;
    assert_unhealthy(&observation, "servfail", &["is an alias of lb.provider.net; it answers SERVFAIL"]);
}

#[tokio::test]
async fn a_zones_own_server_that_fails_behind_an_alias_has_told_of_it() {
    // The alias and the code in one message.
    for (code, words) in [(ServFail, "it answers SERVFAIL"), (Refused, "it answers REFUSED")] {
        let observation = of(By::Zone, code, vec![cname(NAME, TARGET)], vec![]).await;
        assert_no_answer(&observation, "alias_elsewhere", &["is an alias of lb.provider.net; ", words]);
    }
    // The alias, and then nothing that can be read.
    for rest in [&b""[..], b"\x80\0\0\x01\0\x01"] {
        let answers = move |question: &Message| match asked(question).as_str() {
            NAME => vec![answer(question, By::Zone, NoError, &[cname(NAME, TARGET)], &[]).to_vec().unwrap()],
            _ => vec![[&question.metadata.id.to_be_bytes(), rest].concat()],
        };
        let odd = Odd::new(answers, Tcp::Answers(std::sync::Arc::new(answers))).await;
        for resolver in [odd.udp(), format!("tcp://{}", odd.udp())] {
            let observation = run_within(&check(&[resolver]), SHORT).await;
            assert_no_answer(&observation, "alias_elsewhere", &["is an alias of lb.provider.net; "]);
        }
    }
}

#[tokio::test]
async fn a_referral_says_nothing_of_the_name() {
    for (by, servers, words) in [
        (By::Nobody, vec![ns("example.com.", "ns1.example.com.")], "refers to the servers of example.com"),
        (By::Nobody, vec![ns("com.", "a.gtld-servers.net.")], "refers to the servers of com"),
        (By::Nobody, vec![ns(".", "a.root-servers.net.")], "refers to the servers of the root"),
        (By::Resolver, vec![ns("example.com.", "ns1.example.com.")], "refers to the servers of example.com"),
        (By::Nobody, vec![], "neither resolves names nor has the zone"),
    ] {
        let observation = of(by, NoError, vec![], servers).await;
        assert_no_answer(&observation, "referral", &[words, "api.example.com"]);
        assert_eq!(reading(&observation, "resolvers", Some("failed")), Some(1.0));
    }
}

#[tokio::test]
async fn no_records_is_told_by_those_who_know() {
    for (by, authorities) in [
        (By::Zone, vec![soa("example.com.")]),
        (By::Zone, vec![]),
        (By::Resolver, vec![soa("example.com.")]),
        (By::Resolver, vec![soa("example.com."), ns("example.com.", "ns1.example.com.")]),
        (By::Resolver, vec![]),
    ] {
        let observation = of(by, NoError, vec![], authorities).await;
        assert_unhealthy(&observation, "no_records", &["api.example.com has no A record"]);
    }
}

#[tokio::test]
async fn what_stands_beside_the_answer_does_not_matter() {
    let dname = Record::from_rdata(
        super::odd::name("example.com."),
        60,
        hickory_server::proto::rr::RData::Unknown {
            code: hickory_server::proto::rr::RecordType::DNAME,
            rdata: hickory_server::proto::rr::rdata::NULL::with(b"\x08provider\x03net\0".to_vec()),
        },
    );
    for answers in [
        vec![a(NAME, 1), a("other.example.com.", 9)],
        vec![a("API.eXample.COM.", 1)],
        vec![dname, cname(NAME, "api.provider.net."), a("api.provider.net.", 1)],
        // Two aliases of one name should not be; one of them leads on.
        vec![cname(NAME, "gone.example.com."), cname(NAME, TARGET), a(TARGET, 1)],
    ] {
        assert_healthy(&of(By::Resolver, NoError, answers, vec![ns("example.com.", "ns1.example.com.")]).await);
    }
    // Some repeat the question in letters of their own.
    let shouts = Odd::same(|question| {
        let mut message = answer(question, By::Resolver, NoError, &[a(NAME, 1)], &[]);
        message.queries[0].set_name(super::odd::name("API.EXAMPLE.COM."));
        message
    })
    .await;
    assert_healthy(&run(&check(&[shouts.udp()])).await);
    let circle = vec![cname(NAME, "b.example.com."), cname("b.example.com.", NAME)];
    assert_unhealthy(&of(By::Resolver, NoError, circle, vec![]).await, "bad_answer", &["form a circle"]);
    let other = Odd::same(|question| match asked(question).as_str() {
        NAME => answer(question, By::Zone, NoError, &[cname(NAME, TARGET)], &[]),
        _ => answer(question, By::Zone, NoError, &[cname(TARGET, NAME)], &[]),
    })
    .await;
    assert_unhealthy(&run(&check(&[other.udp()])).await, "bad_answer", &["form a circle"]);
}

#[tokio::test]
async fn codes_are_told_by_their_names_and_with_what_the_server_says_of_them() {
    for (code, reason, words) in [
        (Refused, "query_refused", "it answers REFUSED (Prohibited: ask from inside)"),
        (ServFail, "servfail", "it answers SERVFAIL (Prohibited: ask from inside)"),
        (NXDomain, "no_such_name", "the name api.example.com does not exist (Prohibited: ask from inside)"),
    ] {
        let odd = Odd::same(move |question| {
            let mut message = answer(question, By::Resolver, code, &[], &[]);
            if question.edns.is_some() {
                let mut edns = Edns::new();
                edns.options_mut().insert(EdnsOption::Unknown(15, b"\0\x12ask from\x1b inside".to_vec()));
                message.set_edns(edns);
            }
            message
        })
        .await;
        assert_unhealthy(&run(&check(&[odd.udp()])).await, reason, &[words]);
    }
    let observation = of(By::Zone, ResponseCode::NotAuth, vec![], vec![]).await;
    assert_unhealthy(&observation, "query_refused", &["it answers NOTAUTH"]);
}
