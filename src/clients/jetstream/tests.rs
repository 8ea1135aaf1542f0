use super::*;

#[test]
fn what_the_account_may_not_is_not_what_the_server_cannot() {
    for (case, code, err_code, of_server) in [
        ("JetStream not enabled for account", 503, 10039, false),
        ("account not found", 503, 10035, false),
        ("JetStream not enabled", 503, 10076, false),
        ("insufficient resources", 503, 10023, false),
        ("insufficient storage resources available", 500, 10047, false),
        ("resource limits exceeded for account", 400, 10002, false),
        ("no JetStream default or applicable tiered limit present", 400, 10120, false),
        ("expected an empty request payload", 400, 10038, false),
        ("JetStream system temporarily unavailable", 503, 10008, true),
        ("incomplete results", 503, 10004, true),
        ("JetStream cluster can not handle request", 500, 10006, true),
        ("stream is offline", 500, 10118, true),
        ("of a server before there were codes", 503, 0, true),
        ("of a server before there were codes", 404, 0, false),
        ("one that is not known", 500, 65535, false),
    ] {
        assert_eq!(code::is_of_the_server(code, err_code), of_server, "{case}");
    }
}

#[test]
fn how_long_a_message_lives() {
    let seconds = |text| time_to_live(text).map(|ttl| ttl.as_secs_f64());
    for (text, expected) in [
        ("8", Some(8.0)),
        ("8s", Some(8.0)),
        ("1h0m0s", Some(3600.0)),
        ("1m30s", Some(90.0)),
        ("1.5s", Some(1.5)),
        ("never", None),
        ("-1s", None),
        ("", None),
    ] {
        assert_eq!(seconds(text), expected, "{text:?}");
    }
    let body = |headers: &str| {
        let hdrs = BASE64.encode(headers.as_bytes());
        let time = "2026-01-01T00:00:00Z";
        let body = json!({"subject": "a", "seq": 1, "time": time, "hdrs": hdrs});
        serde_json::from_value::<MessageBody>(body).expect("a message").ttl()
    };
    assert_eq!(body("NATS/1.0\r\nA: b\r\nNats-TTL: 8s\r\n\r\n"), Some(Duration::from_secs(8)));
    assert_eq!(body(""), None);
}
