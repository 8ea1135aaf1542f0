//! Datagrams and connections as they should not be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dr_exporter::domain::observation::{Health, Observation};
use hickory_server::proto::op::{Message, ResponseCode};

use super::odd::{By, Odd, Tcp, a, answer, asked, cname};
use super::{SHORT, assert_healthy, assert_no_answer, assert_unhealthy, check, run, run_within};
use dr_testkit::dns::Dns;

const NAME: &str = "api.example.com.";
const TARGET: &str = "lb.provider.net.";
use ResponseCode::{NXDomain, NoError, Refused, ServFail};

/// The words of a finding, whatever it makes of health.
fn story(observation: &Observation) -> String {
    match &observation.health {
        Health::Healthy => "healthy".to_owned(),
        Health::Unhealthy(finding) => format!("unhealthy: {finding}"),
        Health::NoAnswer(finding) | Health::Pending(finding) => format!("no answer: {finding}"),
    }
}

/// What a server without EDNS makes of it.
type Objects = fn(&Message) -> Vec<Vec<u8>>;

#[tokio::test]
async fn servers_that_know_no_edns_are_asked_without() {
    let cases: [(&str, Objects); 8] = [
        ("FORMERR", |question| objection(question, ResponseCode::FormErr, false)),
        ("FORMERR that repeats the option", |question| objection(question, ResponseCode::FormErr, true)),
        ("NOTIMP", |question| objection(question, ResponseCode::NotImp, false)),
        ("BADVERS", |question| objection(question, ResponseCode::BADVERS, true)),
        ("SERVFAIL", |question| objection(question, ServFail, false)),
        ("REFUSED", |question| objection(question, Refused, false)),
        ("FORMERR in a header of which the rest is missing", |question| {
            let mut bytes = question.to_vec().unwrap()[..12].to_vec();
            (bytes[2], bytes[3]) = (0x80, 0x01);
            vec![bytes]
        }),
        ("silence", |_| vec![]),
    ];
    for (case, objects) in cases {
        let answers = move |question: &Message| {
            if question.edns.is_some() {
                return objects(question);
            }
            vec![answer(question, By::Zone, NoError, &[a(NAME, 1)], &[]).to_vec().unwrap()]
        };
        let odd = Odd::new(answers, Tcp::Answers(Arc::new(answers))).await;
        let observation = run_within(&check(&[odd.udp()]), SHORT).await;
        assert_eq!(story(&observation), "healthy", "{case}");
        if case != "silence" {
            let observation = run_within(&check(&[format!("tcp://{}", odd.udp())]), SHORT).await;
            assert_eq!(story(&observation), "healthy", "{case}, over TCP");
        }
    }
}

#[tokio::test]
async fn what_is_said_of_edns_counts_where_nothing_else_is_said() {
    let cases: [(Objects, &str, &str); 4] = [
        (|question| objection(question, ServFail, false), "servfail", "it answers SERVFAIL"),
        (|question| objection(question, Refused, false), "query_refused", "it answers REFUSED"),
        (|question| objection(question, ResponseCode::FormErr, false), "query_refused", "it answers FORMERR"),
        (|question| vec![good(question)[..20].to_vec()], "bad_answer", "the answer is not a DNS message"),
    ];
    for (objects, reason, words) in cases {
        let answers = move |question: &Message| if question.edns.is_some() { objects(question) } else { vec![] };
        let odd = Odd::new(answers, Tcp::Answers(Arc::new(answers))).await;
        for resolver in [odd.udp(), format!("tcp://{}", odd.udp())] {
            assert_unhealthy(&run_within(&check(&[resolver]), SHORT).await, reason, &[words]);
        }
    }
}

/// A resolver that fails beside one whose answer only this exporter cannot read: other clients find the name.
#[tokio::test]
async fn servfail_beside_a_resolver_that_answers_others_is_no_outage() {
    let fails = |question: &Message| objection(question, ServFail, true);
    let failing = Odd::new(fails, Tcp::Answers(Arc::new(fails))).await;
    let large = Odd::new(cut, Tcp::Refused).await;
    let both = run_within(&check(&[failing.udp(), large.udp()]), SHORT).await;
    assert_no_answer(&both, "tcp_failed", &["it answers SERVFAIL", "Connection refused"]);
    assert_unhealthy(&run_within(&check(&[failing.udp()]), SHORT).await, "servfail", &["it answers SERVFAIL"]);
}

fn objection(question: &Message, code: ResponseCode, repeats: bool) -> Vec<Vec<u8>> {
    let mut message = answer(question, By::Nobody, code, &[], &[]);
    message.edns = question.edns.clone().filter(|_| repeats);
    if let Some(edns) = &mut message.edns {
        edns.set_rcode_high(u8::try_from(u16::from(code) >> 4).unwrap());
    }
    vec![message.to_vec().unwrap()]
}

#[tokio::test]
async fn an_answer_of_1232_bytes_fits_a_datagram() {
    // 70 addresses are 1100 to 1200 bytes.
    let many: String = (1..=70).map(|last| format!("api A 192.0.2.{last} 60\n")).collect();
    let dns = Dns::start(&many).await;
    assert_healthy(&run(&check(&[dns.udp()])).await);
    assert_eq!(dns.asked().len(), 1, "no TCP was needed");
}

/// A datagram that says that the answer does not fit.
fn cut(question: &Message) -> Vec<Vec<u8>> {
    let mut message = answer(question, By::Resolver, NoError, &[a(NAME, 1)], &[]);
    message.metadata.truncation = true;
    vec![message.to_vec().unwrap()]
}

#[tokio::test]
async fn tcp_that_fails_is_told_as_that() {
    let nonsense = b"\0\x08HTTP/1.1".to_vec();
    for (tcp, words) in [
        (Tcp::Refused, "over TCP it cannot be reached: Connection refused"),
        (Tcp::Dropped, "over TCP it accepts no connection: no answer within"),
        (Tcp::Silent, "over TCP it accepts the connection, but gives no answer: no answer within"),
        (Tcp::Sends(vec![]), "over TCP it closes the connection without an answer"),
        (Tcp::Sends(b"\0\x40\0\0".to_vec()), "over TCP it closes the connection after 2 of 64 bytes"),
        (Tcp::Sends(nonsense), "over TCP it answers another question"),
        (Tcp::Answers(Arc::new(cut)), "its answer is truncated over TCP, too"),
    ] {
        let whole = !matches!(tcp, Tcp::Answers(_));
        let odd = Odd::new(cut, tcp).await;
        let observation = run_within(&check(&[odd.udp()]), SHORT).await;
        if whole {
            let told = "over UDP it says that the answer does not fit; ";
            assert_no_answer(&observation, "tcp_failed", &[told, words]);
        } else {
            // What came is of a region, whatever is missing.
            assert_healthy(&observation);
        }
    }
    // What was cut off may have been the records.
    let empty = |question: &Message| {
        let mut message = answer(question, By::Resolver, NoError, &[], &[]);
        message.metadata.truncation = true;
        vec![message.to_vec().unwrap()]
    };
    let odd = Odd::new(empty, Tcp::Answers(Arc::new(empty))).await;
    assert_no_answer(&run(&check(&[odd.udp()])).await, "tcp_failed", &["truncated over TCP, too"]);
}

#[tokio::test]
async fn a_datagram_that_says_no_and_is_cut_says_no() {
    let odd = Odd::new(
        |question| {
            let mut message = answer(question, By::Resolver, NXDomain, &[], &[]);
            message.metadata.truncation = true;
            vec![message.to_vec().unwrap()]
        },
        Tcp::Refused,
    )
    .await;
    assert_unhealthy(&run(&check(&[odd.udp()])).await, "no_such_name", &["the name api.example.com does not exist"]);
}

/// A good answer.
fn good(question: &Message) -> Vec<u8> {
    answer(question, By::Resolver, NoError, &[a(NAME, 1)], &[]).to_vec().unwrap()
}

#[tokio::test]
async fn what_answers_another_question_is_not_believed() {
    // Before each of the good ones: another id, another name, a question, an update, another type.
    let forged = |question: &Message| {
        let lie = || answer(question, By::Zone, NXDomain, &[], &[]);
        let (mut id, mut name, mut update) = (lie(), lie(), lie());
        id.metadata.id ^= 1;
        name.queries[0].set_name(super::odd::name("other.example.com."));
        update.metadata.op_code = hickory_server::proto::op::OpCode::Notify;
        [id, name, update, question.clone()].map(|message| message.to_vec().unwrap()).to_vec()
    };
    let odd = Odd::new(move |question| [forged(question), vec![good(question)]].concat(), Tcp::Refused).await;
    assert_healthy(&run(&check(&[odd.udp()])).await);
    let alone = Odd::new(forged, Tcp::Refused).await;
    let observation = run_within(&check(&[alone.udp()]), SHORT).await;
    assert_unhealthy(
        &observation,
        "timeout",
        &["no answer within", "; ", "packets arrived, but they answer other questions"],
    );
}

#[tokio::test]
async fn what_is_badly_made_beside_the_answer_does_not_spoil_it() {
    let counts: [(usize, u8); 2] = [(11, 7), (9, 3)];
    for (place, number) in counts {
        let odd = Odd::new(
            move |question| {
                let mut bytes = good(question);
                bytes[place] = number;
                vec![bytes]
            },
            Tcp::Refused,
        )
        .await;
        assert_healthy(&run(&check(&[odd.udp()])).await);
    }
}

#[tokio::test]
async fn a_datagram_that_is_badly_made_is_asked_for_again_over_tcp() {
    // Cut off without saying so, more answers than there are, and a name that points at itself.
    let badly: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        |bytes| bytes[..bytes.len() - 3].to_vec(),
        |mut bytes| {
            bytes[7] = 9;
            bytes
        },
        |mut bytes| {
            let place = u8::try_from(bytes.len() - 16).unwrap();
            let at = usize::from(place);
            (bytes[at], bytes[at + 1]) = (0xc0, place);
            bytes
        },
    ];
    for made in badly {
        let bad = move |question: &Message| vec![made(good(question))];
        let odd = Odd::new(bad, Tcp::Answers(Arc::new(|question| vec![good(question)]))).await;
        assert_healthy(&run(&check(&[odd.udp()])).await);
        let odd = Odd::new(bad, Tcp::Refused).await;
        assert_unhealthy(&run(&check(&[odd.udp()])).await, "bad_answer", &["not a DNS message"]);
    }
}

#[tokio::test]
async fn a_server_that_is_silent_to_edns_is_not_tried_with_it_again_in_a_run() {
    let with_edns = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&with_edns);
    let odd = Odd::new(
        move |question| {
            if question.edns.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                return vec![];
            }
            let records = match asked(question).as_str() {
                NAME => vec![cname(NAME, TARGET)],
                _ => vec![a(TARGET, 1)],
            };
            vec![answer(question, By::Resolver, NoError, &records, &[]).to_vec().unwrap()]
        },
        Tcp::Refused,
    )
    .await;
    assert_healthy(&run(&check(&[odd.udp()])).await);
    assert_eq!(with_edns.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_comes_from_elsewhere_is_not_believed() {
    let elsewhere = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let resolver = socket.local_addr().expect("an address").to_string();
    let server = tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).expect("a question");
            let _ = elsewhere.send_to(&good(&question), from);
        }
    });
    assert_unhealthy(&run_within(&check(&[resolver]), SHORT).await, "timeout", &["no answer within"]);
    server.abort();
}
