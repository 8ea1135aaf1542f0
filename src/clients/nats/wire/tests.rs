use proptest::prelude::*;

use super::*;

fn all(bytes: &[u8]) -> (Vec<Op>, Option<Unreadable>) {
    let mut decoder = Decoder::new();
    decoder.buffer.extend_from_slice(bytes);
    let mut ops = Vec::new();
    loop {
        match decoder.next() {
            Ok(Some(op)) => ops.push(op),
            Ok(None) => return (ops, None),
            Err(error) => return (ops, Some(error)),
        }
    }
}

fn message(subject: &str, status: Option<u16>, headers: &[(&str, &str)], payload: &'static [u8]) -> Op {
    let headers = Headers(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    Op::Message { subject: subject.to_owned(), message: Message { status, headers, payload: payload.into() } }
}

#[test]
fn what_a_server_says() {
    let (ops, error) = all(
        b"INFO {\"server_name\":\"n\",\"max_payload\":9,\"jetstream\":true,\"new\":[1]}\r\n+OK\r\nping\r\nPONG\r\n\
          -ERR 'Authorization Violation'\r\nMSG a.b 1 5\r\nhello\r\nMSG a 1 reply 0\r\n\r\n\
          HMSG a 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\nHMSG a 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n\
          HMSG a 1 reply 23 24\r\nNATS/1.0\r\nA: x\r\nB:y\r\n\r\nz\r\nPIN",
    );
    let info = ServerInfo { server_name: "n".into(), max_payload: Some(9), jetstream: true, ..ServerInfo::default() };
    let expected = vec![
        Op::Info(Box::new(info)),
        Op::Ok,
        Op::Ping,
        Op::Pong,
        Op::Error("Authorization Violation".into()),
        message("a.b", None, &[], b"hello"),
        message("a", None, &[], b""),
        message("a", None, &[], b"hello"),
        message("a", Some(503), &[], b""),
        message("a", None, &[("A", "x"), ("B", "y")], b"z"),
    ];
    assert_eq!((ops, error), (expected, None));
}

#[test]
fn what_is_not_read() {
    let limit = ENVELOPE + 2 * 9;
    let large = |size| Some(Unreadable::LargeMessage { size, limit });
    let long = format!("INFO {{\"a\":\"{}", "x".repeat(LONGEST_LINE));
    let cases: [(&[u8], Option<Unreadable>); 6] = [
        (b"HMSG a 1 2147483647 2147483647\r\nNATS", large(2_147_483_647)),
        (b"MSG a 1 18446744073709551615\r\n", large(usize::MAX)),
        (b"HMSG a 1 18446744073709551615 18446744073709551615\r\n", large(usize::MAX)),
        (b"MSG a 1 82000\r\n", large(82_000)),
        (b"MSG a 1 60000\r\n", None),
        (long.as_bytes(), Some(Unreadable::LongLine)),
    ];
    for (bytes, expected) in cases {
        let error = all(&[b"INFO {\"max_payload\":9}\r\n", bytes].concat()).1;
        assert!(error.as_ref().is_none_or(Unreadable::is_our_limit), "{error:?}");
        assert_eq!(error, expected);
    }
    for foreign in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"MSG a 1 18446744073709551616\r\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 b c 1\r\n",
        b"HMSG a 1 5 4\r\n",
        b"HMSG a 1 4\r\n",
        b"HMSG a 1 4 4\r\nabcd\r\n",
        b"MSG a 1 1\r\nabc\r\n",
        b"INFO []\r\n",
        b"INFO {\"max_payload\":-1}\r\n",
        b"PING\xff\r\n",
        b"\r\n",
    ] {
        let error = all(foreign).1;
        assert!(error.is_some_and(|error| !error.is_our_limit()), "{}", String::from_utf8_lossy(foreign));
    }
}

#[test]
fn the_most_that_is_read_follows_what_the_server_allows() {
    let allows = |max_payload| ServerInfo { max_payload, ..ServerInfo::default() }.largest_message();
    assert_eq!(allows(Some(1024 * 1024)), 2 * 1024 * 1024 + ENVELOPE);
    assert_eq!(allows(None), allows(Some(1024 * 1024)));
    assert_eq!(allows(Some(u64::MAX)), LARGEST_MESSAGE);
}

#[tokio::test]
async fn it_comes_in_pieces_and_the_buffer_does_not_stay_large() {
    let payload = "x".repeat(1_500_000);
    let whole = format!("INFO {{}}\r\nMSG a 1 {}\r\n{payload}\r\nPING\r\n", payload.len());
    let (mut near, mut far) = tokio::io::duplex(1000);
    let sending = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut far, whole.as_bytes()).await.expect("it is read");
    });
    let mut decoder = Decoder::new();
    assert!(matches!(decoder.read(&mut near).await, Ok(Op::Info(_))));
    match decoder.read(&mut near).await {
        Ok(Op::Message { message, .. }) => assert_eq!(message.payload.len(), payload.len()),
        other => panic!("{other:?}"),
    }
    assert!(decoder.buffer.capacity() <= 2 * KEPT, "{}", decoder.buffer.capacity());
    assert!(matches!(decoder.read(&mut near).await, Ok(Op::Ping)));
    sending.await.expect("all was sent");
    let end = decoder.read(&mut near).await;
    assert!(matches!(end, Err(ReadError::Io(ref error)) if error.kind() == io::ErrorKind::UnexpectedEof), "{end:?}");
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_depends_on_the_pieces(
        words in proptest::collection::vec(
            prop_oneof![
                Just(b"MSG a 1 3\r\nabc\r\n".to_vec()),
                Just(b"HMSG a 1 12 13\r\nNATS/1.0\r\n\r\nx\r\n".to_vec()),
                Just(b"PING\r\n".to_vec()),
                Just(b"-ERR '".to_vec()),
                Just(b"HMSG ".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..20),
                "[0-9]{1,25}( [0-9]{1,25}){0,3}\r\n".prop_map(String::into_bytes),
            ],
            0..12,
        ),
        piece in 1_usize..20,
    ) {
        let bytes = words.concat();
        let mut decoder = Decoder::new();
        let mut ops = Vec::new();
        let mut error = None;
        'read: for piece in bytes.chunks(piece) {
            decoder.buffer.extend_from_slice(piece);
            loop {
                match decoder.next() {
                    Ok(Some(op)) => ops.push(op),
                    Ok(None) => break,
                    Err(found) => { error = Some(found); break 'read; }
                }
            }
        }
        prop_assert_eq!((ops, error.is_some()), { let (ops, error) = all(&bytes); (ops, error.is_some()) });
    }
}

#[test]
fn no_bytes_of_a_server_break_it() {
    let corpus: [&[u8]; 4] = [
        b"INFO {\"server_name\":\"n\",\"max_payload\":9,\"jetstream\":true,\"connect_urls\":[\"a:1\"]}\r\n+OK\r\nPING\r\n",
        b"MSG a.b 1 5\r\nhello\r\nMSG a 1 reply 0\r\n\r\n-ERR 'Authorization Violation'\r\nPONG\r\n",
        b"HMSG a 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\nHMSG a 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
        b"HMSG a 1 reply 23 24\r\nNATS/1.0\r\nA: x\r\nB:y\r\n\r\nz\r\nPING\r\n",
    ];
    crate::fuzzing::bytes(&corpus, |bytes| drop(all(bytes)));
}
