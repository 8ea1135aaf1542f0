//! Passwords, and how the web configuration is read again.

use std::net::IpAddr;

use dr_testkit::exporter::{Exporter, client};
use dr_testkit::wait_until;

use super::{SOON, hash, with_web};

async fn status(exporter: &Exporter, path: &str, user: Option<(&str, &str)>) -> u16 {
    let request = client().get(exporter.url(path));
    let request = match user {
        Some((name, password)) => request.basic_auth(name, Some(password)),
        None => request,
    };
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_come_in_and_probes() {
    let web = format!("basic_auth_users:\n  alice: {}\n  'Bob B.': {}\n", hash("secret"), hash("other:one"));
    let exporter = Exporter::start_in(with_web(&web)).await;
    for path in ["/", "/metrics", "/api/v1/status", "/nothing"] {
        assert_eq!(status(&exporter, path, None).await, 401, "{path}");
    }
    for wrong in
        [("alice", "Secret"), ("alice", ""), ("Alice", "secret"), ("nobody", "secret"), ("", ""), ("nobody", "")]
    {
        assert_eq!(status(&exporter, "/metrics", Some(wrong)).await, 401, "{wrong:?}");
    }
    // Twice: the second is not hashed, and must be let in all the same.
    for _ in 0..2 {
        assert_eq!(status(&exporter, "/metrics", Some(("alice", "secret"))).await, 200);
        assert_eq!(status(&exporter, "/metrics", Some(("Bob B.", "other:one"))).await, 200);
        assert_eq!(status(&exporter, "/metrics", Some(("alice", "wrong"))).await, 401);
    }
    assert_eq!(status(&exporter, "/-/healthy", None).await, 200);
    assert_ne!(status(&exporter, "/-/ready", None).await, 401);
    for near in ["/-/healthy/", "/-/healthy/../../metrics", "/-/%68ealthy", "//-/healthy"] {
        assert!([401, 200].contains(&status(&exporter, near, None).await), "{near}");
    }
    let reload = client().post(exporter.url("/-/reload"));
    assert_eq!(reload.send().await.expect("an answer").status(), 401);
    let asked = client().get(exporter.url("/metrics")).send().await.expect("an answer");
    assert!(asked.headers()["www-authenticate"].to_str().expect("text").starts_with("Basic realm="));
    assert!(!exporter.log().contains("secret") && !exporter.log().contains("$2b$"), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_used_and_a_broken_one_is_not() {
    let users = |name: &str, password: &str| format!("basic_auth_users: {{{name}: \"{}\"}}\n", hash(password));
    let exporter = Exporter::start_in(with_web(&users("alice", "secret"))).await;
    let alice = Some(("alice", "secret"));
    assert_eq!(status(&exporter, "/metrics", alice).await, 200);
    exporter.config().file("web.yml", "basic_auth_users: {alice: secret}\n");
    let line = exporter.logs(&["web.yml", "basic_auth_users.alice", "bcrypt"], SOON).await;
    assert!(line.contains("level=error") && !line.contains(": secret"), "{line}");
    let metrics = client().get(exporter.url("/metrics")).basic_auth("alice", Some("secret"));
    let metrics = metrics.send().await.expect("an answer").text().await.expect("text");
    assert!(metrics.contains("dr_exporter_web_config_last_reload_successful 0"), "{metrics}");
    exporter.config().file("web.yml", &users("carol", "secret"));
    wait_until("carol comes in", SOON, async || {
        (status(&exporter, "/metrics", Some(("carol", "secret"))).await == 200).then_some(())
    })
    .await;
    assert_eq!(status(&exporter, "/metrics", alice).await, 401, "what is remembered of alice lets nobody in");
    exporter.config().file("web.yml", &users("carol", "changed"));
    wait_until("the old password is refused", SOON, async || {
        (status(&exporter, "/metrics", Some(("carol", "secret"))).await == 401).then_some(())
    })
    .await;
    assert_eq!(status(&exporter, "/metrics", Some(("carol", "changed"))).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_passwords_keeps_no_scrape_out() {
    // A hash that takes a while, also on a fast machine.
    let web = format!("basic_auth_users: {{alice: \"{}\"}}\n", bcrypt::hash("secret", 7).expect("a hash"));
    let exporter = Exporter::start_in(with_web(&web)).await;
    wait_until("alice comes in", SOON, async || {
        (status(&exporter, "/metrics", Some(("alice", "secret"))).await == 200).then_some(())
    })
    .await;
    let (url, other) = (exporter.url("/metrics"), client());
    let wrong = (0..100).map(|number| {
        let (url, other) = (url.clone(), other.clone());
        tokio::spawn(async move {
            let wrong = other.get(url).basic_auth("alice", Some(format!("wrong-{number}"))).send();
            // One that waits for its hash for too long is given up by the client.
            wrong.await.map_or(401, |answer| answer.status().as_u16())
        })
    });
    let wrong: Vec<_> = wrong.collect();
    for _ in 0..10 {
        assert_eq!(status(&exporter, "/metrics", Some(("alice", "secret"))).await, 200);
    }
    let mut refused = Vec::new();
    for one in wrong {
        refused.push(one.await.expect("a task"));
    }
    assert!(refused.iter().all(|status| [401, 503].contains(status)), "{refused:?}");
    assert!(refused.contains(&503), "only few may wait for a hash: {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_scrape_comes_in_while_another_address_guesses() {
    let web = format!("basic_auth_users: {{alice: \"{}\"}}\n", bcrypt::hash("secret", 7).expect("a hash"));
    let exporter = Exporter::start_in(with_web(&web)).await;
    let elsewhere = reqwest::Client::builder().no_proxy().local_address(IpAddr::from([127, 0, 0, 2]));
    let elsewhere = elsewhere.build().expect("a client");
    let mut guesses = tokio::task::JoinSet::new();
    let (told, mut busy) = tokio::sync::mpsc::unbounded_channel();
    for guess in 0..40 {
        let (url, elsewhere, told) = (exporter.url("/metrics"), elsewhere.clone(), told.clone());
        guesses.spawn(async move {
            loop {
                let guessed = elsewhere.get(&url).basic_auth("alice", Some(guess)).send().await;
                let _ = told.send(guessed.is_ok_and(|answer| answer.status() == 503));
            }
        });
    }
    let refused = async { while busy.recv().await != Some(true) {} };
    tokio::time::timeout(SOON, refused).await.expect("more guess than may wait");
    assert_eq!(status(&exporter, "/metrics", Some(("alice", "secret"))).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_emptied_does_not_let_everybody_in() {
    let users = format!("basic_auth_users: {{alice: \"{}\"}}\n", hash("secret"));
    let exporter = Exporter::start_in(with_web(&users)).await;
    for (times, without_users) in [(1, ""), (2, "basic_auth_users: {}\nhttp_server_config: {http2: false}\n")] {
        exporter.config().file("web.yml", without_users);
        wait_until("the file was read and refused", SOON, async || {
            (exporter.log().matches("passwords cannot be switched off").count() == times).then_some(())
        })
        .await;
        assert_eq!(status(&exporter, "/metrics", None).await, 401, "{without_users:?}");
        assert_eq!(status(&exporter, "/metrics", Some(("alice", "secret"))).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_refused_because_it_is_empty_at_the_second_look() {
    let config = with_web("");
    let pipe = config.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    // Without `timeout`, one that waits for the pipe would stay.
    let mut command = std::process::Command::new("timeout");
    command.arg("20").arg(env!("CARGO_BIN_EXE_dr-exporter")).arg("serve").current_dir(config.directory());
    command.args(["--config.file=config.yaml", "--web.config.file=pipe", "--web.listen-address=127.0.0.1:0"]);
    let ended = tokio::task::spawn_blocking(move || command.output()).await.expect("a task").expect("it runs");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(78), "{told}");
    assert!(told.contains("this is a pipe"), "{told}");
}
