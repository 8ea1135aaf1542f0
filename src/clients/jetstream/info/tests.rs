use super::*;

fn cluster(leader: &str, replicas: &[(bool, u64)]) -> ClusterInfo {
    let replicas = replicas.iter().map(|&(current, ms)| Replica { current, active: ms * 1_000_000 }).collect();
    ClusterInfo { name: "C".to_owned(), leader: leader.to_owned(), replicas }
}

#[test]
fn a_majority_stands_behind_the_leader() {
    let ms = Duration::from_millis;
    for (replicas, expected) in [
        (&[][..], Ok(ms(0))),
        (&[(true, 40), (true, 900)], Ok(ms(40))),
        // One of three may be gone.
        (&[(false, 60_000), (true, 900)], Ok(ms(900))),
        (&[(false, 0), (true, 900)], Ok(ms(900))),
        (&[(true, 4_999), (false, 60_000)], Ok(ms(4_999))),
        (&[(true, 5_000), (false, 60_000)], Err(NoQuorum::Silent { of: 3, heard: Some(ms(5_000)) })),
        // A leader that was just elected and heard from nobody yet.
        (&[(false, 0), (false, 0)], Err(NoQuorum::Silent { of: 3, heard: None })),
        // Two of five must be heard beside the leader.
        (&[(true, 10), (false, 60_000), (true, 30), (false, 60_000)], Ok(ms(30))),
        (
            &[(true, 10), (false, 60_000), (false, 60_000), (false, 60_000)],
            Err(NoQuorum::Silent { of: 5, heard: Some(ms(60_000)) }),
        ),
        // Two of two are a majority, one is not.
        (&[(true, 10)], Ok(ms(10))),
        (&[(false, 60_000)], Err(NoQuorum::Silent { of: 2, heard: Some(ms(60_000)) })),
    ] {
        assert_eq!(cluster("a", replicas).quorum(), expected, "{replicas:?}");
    }
}

#[test]
fn without_a_leader_nobody_speaks_for_the_stream() {
    // As a server answers that is left alone: it lists itself among the replicas.
    assert_eq!(cluster("", &[(false, 0), (true, 2), (false, 0)]).quorum(), Err(NoQuorum::NoLeader));
    assert_eq!(cluster("", &[]).quorum(), Err(NoQuorum::NoLeader));
}

#[test]
fn a_list_that_is_not_whole_is_none() {
    let state = |more: serde_json::Value| {
        let mut state = serde_json::json!({"messages": 5, "first_seq": 1, "first_ts": "2026-01-01T00:00:00Z",
            "last_seq": 9, "last_ts": "2026-01-01T00:00:00Z"});
        for (key, value) in more.as_object().into_iter().flatten() {
            state[key] = value.clone();
        }
        serde_json::from_value::<StreamState>(state).expect("a state")
    };
    let json = |text: &str| serde_json::from_str(text).expect("JSON");
    for (more, expected) in [
        ("{}", Some(vec![])),
        (r#"{"num_deleted": 2, "deleted": [3, 4]}"#, Some(vec![3, 4])),
        (r#"{"num_deleted": 2}"#, None),
        (r#"{"num_deleted": 2, "deleted": null}"#, None),
        (r#"{"num_deleted": 2, "deleted": [3]}"#, None),
    ] {
        assert_eq!(state(json(more)).all_deleted().map(<[u64]>::to_vec), expected, "{more}");
    }
}

#[test]
fn no_answer_about_a_stream_breaks_it() {
    let corpus = serde_json::json!({
        "type": "io.nats.jetstream.api.v1.stream_info_response", "created": "2026-11-26T12:00:00.123456789Z",
        "ts": "2026-11-26T12:00:01Z",
        "config": {"name": "A", "subjects": ["a.>"], "retention": "limits", "max_msgs": -1, "max_bytes": 1024,
            "max_age": 3_600_000_000_000_u64, "max_msgs_per_subject": 1, "discard": "new", "num_replicas": 3,
            "mirror": {"name": "B", "filter_subject": "a.b", "external": {"api": "$JS.x.API", "deliver": ""}},
            "sources": [{"name": "C", "subject_transforms": [{"src": "a", "dest": "b"}]}]},
        "state": {"messages": 5, "bytes": 99, "first_seq": 1, "first_ts": "2026-01-01T00:00:00Z", "last_seq": 9,
            "last_ts": "2026-01-02T00:00:00Z", "num_deleted": 2, "deleted": [3, 4], "num_subjects": 1},
        "cluster": {"name": "C", "leader": "n1", "replicas": [{"name": "n2", "current": true, "active": 12_000_000},
            {"name": "n3", "current": false, "active": 99, "lag": 4}]},
        "mirror": {"name": "B", "lag": 3, "active": 1_000_000, "error": {"code": 500, "err_code": 1, "description": "x"}}
    });
    crate::fuzzing::json(&[corpus], |answer| {
        let Ok(info) = serde_json::from_value::<StreamInfo>(answer.clone()) else { return };
        let _ = (info.created(), info.filters(), info.is_writable(), info.quorum(), info.is_replicated());
        let _ = (info.state.all_deleted().map(<[u64]>::len), info.config.max_age(), info.config.max_msgs());
        let _ = (info.config.max_bytes(), info.config.max_msgs_per_subject(), info.config.refuses_new());
    });
}
