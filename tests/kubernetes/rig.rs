//! Proves the clusters of the rig: what the suite on Kubernetes believes of an API server holds on the fake and, where
//! `KUBEBUILDER_ASSETS` names it, on the real one alike.

use std::collections::BTreeSet;
use std::time::Duration;

use dr_testkit::kube::fake::Fault;
use dr_testkit::kube::{Cluster, Flavour, User};
use dr_testkit::process::{Process, runs};
use dr_testkit::wait_until;
use http::HeaderMap;
use serde_json::{Value, json};

const SOON: Duration = dr_testkit::PATIENCE;
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

dr_testkit::both! {
    a_wrong_token_is_unauthorized_and_none_is_anonymous,
    who_has_no_right_is_told_so_in_the_words_of_kubernetes,
    a_role_holds_when_it_is_granted_and_no_longer_when_it_is_taken,
    resource_names_limit_a_role,
    a_client_certificate_is_a_user,
    what_does_not_exist_is_not_found,
    a_list_comes_in_pages,
    metadata_only_has_no_data,
    every_object_has_an_identity_of_its_own,
    who_changed_the_data_of_a_secret_owns_it,
    a_generation_moves_with_the_spec,
    an_object_with_a_finalizer_is_marked_before_it_goes,
    an_object_is_served_in_the_version_that_is_asked_for,
    a_custom_resource_comes_and_goes,
    calls_are_counted,
    a_cluster_ends_when_it_is_dropped,
}

/// Who asks.
enum As<'a> {
    Nobody,
    Token(&'a str),
    Certificate(&'a (String, String)),
}

pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// The message of a `Status`, which must be one.
    #[track_caller]
    fn told(&self, code: u16, reason: &str) -> &str {
        let body = &self.body;
        assert_eq!(self.status, code, "{body}");
        assert_eq!((&body["kind"], &body["apiVersion"]), (&json!("Status"), &json!("v1")), "{body}");
        assert_eq!((&body["code"], &body["reason"]), (&json!(code), &json!(reason)), "{body}");
        body["message"].as_str().expect("a message")
    }

    #[track_caller]
    fn items(&self) -> &[Value] {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body["items"].as_array().expect("items")
    }

    #[track_caller]
    fn names(&self) -> Vec<&str> {
        self.items().iter().map(|item| item["metadata"]["name"].as_str().expect("a name")).collect()
    }
}

async fn ask(cluster: &Cluster, who: As<'_>, path: &str, accept: &str) -> Answer {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(cluster.ca().as_bytes()).expect("a certificate")])
        .timeout(SOON);
    let client = match &who {
        As::Certificate((certificate, key)) => client.identity(
            reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes()).expect("a certificate and its key"),
        ),
        _ => client,
    };
    let request = client.build().expect("a client").get(format!("https://{}{path}", cluster.address()));
    let request = if let As::Token(token) = who { request.bearer_auth(token) } else { request };
    let answer = request.header("accept", accept).send().await.expect("the API server answers");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.expect("a whole answer");
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

pub(super) async fn get(cluster: &Cluster, user: &User, path: &str) -> Answer {
    ask(cluster, As::Token(&user.token), path, "application/json").await
}

fn secrets(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets")
}

fn externals(namespace: &str) -> String {
    format!("/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets")
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
}

fn secret(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name,
        "annotations": {"rig": "here"}}, "data": {"password": "aHVudGVyMg=="}})
}

fn external(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"namespace": namespace, "name": name}, "spec": {"refreshInterval": "1h"}})
}

/// A cluster that others use too, a namespace of one's own in it and a user without any right.
async fn place(flavour: Flavour) -> (&'static Cluster, String, User) {
    let cluster = Cluster::shared(flavour, 0).await;
    (cluster, cluster.namespace().await, cluster.user())
}

async fn a_wrong_token_is_unauthorized_and_none_is_anonymous(flavour: Flavour) {
    let (cluster, namespace, _) = place(flavour).await;
    let path = secrets(&namespace);
    let refused = ask(cluster, As::Token("nobody-has-this"), &path, "application/json").await;
    assert_eq!(refused.told(401, "Unauthorized"), "Unauthorized");
    let stranger = ask(cluster, As::Nobody, &path, "application/json").await;
    let message = stranger.told(403, "Forbidden");
    assert!(message.contains("User \"system:anonymous\" cannot list resource \"secrets\""), "{message}");
}

async fn who_has_no_right_is_told_so_in_the_words_of_kubernetes(flavour: Flavour) {
    let (cluster, namespace, user) = place(flavour).await;
    let name = &user.name;
    let in_namespace = format!("in the namespace \"{namespace}\"");
    for (path, message) in [
        (
            externals(&namespace),
            format!(
                "externalsecrets.external-secrets.io is forbidden: User \"{name}\" cannot list resource \
                 \"externalsecrets\" in API group \"external-secrets.io\" {in_namespace}"
            ),
        ),
        (
            format!("{}/nats", secrets(&namespace)),
            format!(
                "secrets \"nats\" is forbidden: User \"{name}\" cannot get resource \"secrets\" in API group \"\" \
                 {in_namespace}"
            ),
        ),
        (
            "/api/v1/pods".to_owned(),
            format!(
                "pods is forbidden: User \"{name}\" cannot list resource \"pods\" in API group \"\" at the cluster \
                 scope"
            ),
        ),
    ] {
        assert_eq!(get(cluster, &user, &path).await.told(403, "Forbidden"), message);
    }
}

async fn a_role_holds_when_it_is_granted_and_no_longer_when_it_is_taken(flavour: Flavour) {
    let (cluster, namespace, user) = place(flavour).await;
    let (pods, secrets) = (format!("/api/v1/namespaces/{namespace}/pods"), secrets(&namespace));
    for _ in 0..5 {
        cluster.grant(&namespace, &user, json!([rule("", "secrets", &["list"])])).await;
        assert_eq!(get(cluster, &user, &secrets).await.status, 200, "what is granted holds at once");
        assert_eq!(get(cluster, &user, &pods).await.status, 403, "and nothing else");
        let one = get(cluster, &user, &format!("{secrets}/nats")).await;
        assert_eq!(one.status, 403, "who may list may not get");
        cluster.grant(&namespace, &user, json!([rule("", "pods", &["list"])])).await;
        assert_eq!(get(cluster, &user, &secrets).await.status, 403, "a new role takes the place of the old one");
        assert_eq!(get(cluster, &user, &pods).await.status, 200);
        cluster.revoke(&namespace, &user).await;
        assert_eq!(get(cluster, &user, &pods).await.status, 403, "what is taken is gone at once");
    }
}

async fn resource_names_limit_a_role(flavour: Flavour) {
    let (cluster, namespace, user) = place(flavour).await;
    for name in ["mine", "other"] {
        cluster.apply(secret(&namespace, name)).await;
    }
    let mut rule = rule("", "secrets", &["get", "list"]);
    rule["resourceNames"] = json!(["mine"]);
    cluster.grant(&namespace, &user, json!([rule])).await;
    let path = secrets(&namespace);
    assert_eq!(get(cluster, &user, &format!("{path}/mine")).await.status, 200);
    get(cluster, &user, &format!("{path}/other")).await.told(403, "Forbidden");
    get(cluster, &user, &path).await.told(403, "Forbidden");
}

async fn a_client_certificate_is_a_user(flavour: Flavour) {
    let (cluster, namespace, user) = place(flavour).await;
    cluster.grant(&namespace, &user, json!([rule("", "secrets", &["list"])])).await;
    let (mine, other) = (cluster.certificate(&user), cluster.certificate(&cluster.user()));
    let path = secrets(&namespace);
    let answer = ask(cluster, As::Certificate(&mine), &path, "application/json").await;
    assert_eq!(answer.names(), [""; 0]);
    ask(cluster, As::Certificate(&other), &path, "application/json").await.told(403, "Forbidden");
}

async fn what_does_not_exist_is_not_found(flavour: Flavour) {
    let (cluster, namespace, _) = place(flavour).await;
    let admin = cluster.admin();
    for (path, message) in [
        (format!("{}/none", externals(&namespace)), "externalsecrets.external-secrets.io \"none\" not found"),
        (format!("{}/none", secrets(&namespace)), "secrets \"none\" not found"),
    ] {
        let answer = get(cluster, &admin, &path).await;
        assert_eq!(answer.told(404, "NotFound"), message);
        assert_eq!(answer.body["details"]["name"], "none", "{}", answer.body);
    }
    // A group, a version and a resource that nobody serves: no Status, and no JSON.
    for path in ["nobody.test/v1", "argoproj.io/v9", "external-secrets.io/v1"] {
        let answer = get(cluster, &admin, &format!("/apis/{path}/namespaces/{namespace}/rigs")).await;
        assert_eq!((answer.status, &answer.body), (404, &json!("404 page not found\n")), "{path}");
    }
}

async fn a_list_comes_in_pages(flavour: Flavour) {
    let (cluster, namespace, _) = place(flavour).await;
    let (admin, path) = (cluster.admin(), externals(&namespace));
    for name in ["a", "b", "c", "d", "e"] {
        cluster.apply(external(&namespace, name)).await;
    }
    let (mut query, mut pages) = ("?limit=2".to_owned(), Vec::new());
    loop {
        let page = get(cluster, &admin, &format!("{path}{query}")).await;
        pages.push(page.names().join(" "));
        let metadata = &page.body["metadata"];
        assert!(metadata["resourceVersion"].as_str().is_some_and(|version| version != "0"), "{metadata}");
        assert_eq!(page.body["kind"], "ExternalSecretList");
        let Some(more) = metadata["continue"].as_str().filter(|more| !more.is_empty()) else { break };
        assert_eq!(metadata["remainingItemCount"], 5 - 2 * pages.len(), "{metadata}");
        query = format!("?limit=2&continue={more}");
    }
    assert_eq!(pages, ["a b", "c d", "e"]);
}

async fn metadata_only_has_no_data(flavour: Flavour) {
    let (cluster, namespace, user) = place(flavour).await;
    cluster.apply(secret(&namespace, "nats")).await;
    cluster.grant(&namespace, &user, json!([rule("", "secrets", &["get", "list"])])).await;
    let path = secrets(&namespace);
    let who = || As::Token(&user.token);
    let one = ask(cluster, who(), &format!("{path}/nats"), METADATA).await.body;
    let list = ask(cluster, who(), &path, METADATA_LIST).await;
    assert_eq!(list.body["kind"], "PartialObjectMetadataList");
    for object in [&one, &list.items()[0]] {
        assert_eq!(object["kind"], "PartialObjectMetadata", "{object}");
        assert_eq!(object["apiVersion"], "meta.k8s.io/v1", "{object}");
        assert_eq!(object["metadata"]["annotations"]["rig"], "here", "{object}");
        let fields: Vec<_> = object.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["apiVersion", "kind", "metadata"], "no data");
    }
    let whole = get(cluster, &user, &format!("{path}/nats")).await.body;
    assert_eq!(whole["data"]["password"], "aHVudGVyMg==", "the data is there for who asks: {whole}");
    // Items of a list of the API server's own kinds do not say what they are.
    assert!(get(cluster, &user, &path).await.items()[0].get("kind").is_none());
}

async fn every_object_has_an_identity_of_its_own(flavour: Flavour) {
    let (cluster, namespace, _) = place(flavour).await;
    let of = |object: &Value| {
        let text = |field: &str| object["metadata"][field].as_str().expect(field).to_owned();
        (text("uid"), text("creationTimestamp"), text("resourceVersion"))
    };
    let mut object = secret(&namespace, "nats");
    let (uid, created, version) = of(&cluster.apply(object.clone()).await);
    let at: jiff::Timestamp = created.parse().expect("a time");
    let answer = get(cluster, &cluster.admin(), &format!("{}/nats", secrets(&namespace))).await;
    let date = answer.headers["date"].to_str().expect("a date");
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).expect("a date");
    assert!((0..=30).contains(&date.duration_since(at).as_secs()), "created {at}, and it is {date}");
    object["metadata"]["annotations"]["rig"] = json!("changed");
    let changed = of(&cluster.apply(object.clone()).await);
    assert_eq!((&changed.0, &changed.1), (&uid, &created), "a change makes no new object");
    assert_ne!(changed.2, version, "but a new version");
    cluster.delete("Secret", &namespace, "nats").await;
    assert_ne!(of(&cluster.apply(object).await).0, uid, "what is made anew is another object");
}

async fn who_changed_the_data_of_a_secret_owns_it(flavour: Flavour) {
    let (cluster, namespace, _) = place(flavour).await;
    let path = format!("{}/nats", secrets(&namespace));
    let owners = async || {
        let secret = ask(cluster, As::Token(&cluster.admin().token), &path, METADATA).await.body;
        let entries = secret["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let owner = |entry: &Value| {
            let keys = entry["fieldsV1"]["f:data"].as_object()?.keys().filter(|key| *key != ".");
            let keys: Vec<String> = keys.cloned().collect();
            let at: jiff::Timestamp = entry["time"].as_str().expect("a time").parse().expect("a time");
            assert!(jiff::Timestamp::now().duration_since(at).as_secs().abs() < 60, "written at {at}");
            Some(format!("{} {} {}", entry["manager"].as_str()?, entry["operation"].as_str()?, keys.join(",")))
        };
        entries.iter().filter_map(owner).filter(|owner| !owner.ends_with(' ')).collect::<BTreeSet<String>>()
    };
    let set = |owners: &[&str]| owners.iter().map(|owner| (*owner).to_owned()).collect::<BTreeSet<String>>();
    let own = "externalsecrets.external-secrets.io/nats";
    let mut object = secret(&namespace, "nats");
    object["data"] = json!({"a": "YQ==", "b": "Yg=="});
    cluster.apply_as(own, object.clone()).await;
    assert_eq!(owners().await, set(&[&format!("{own} Update f:a,f:b")]));
    object["metadata"]["labels"] = json!({"a": "b"});
    cluster.apply_as("kubectl-label", object.clone()).await;
    assert_eq!(owners().await, set(&[&format!("{own} Update f:a,f:b")]), "a label is no data");
    object["data"]["a"] = json!("eA==");
    cluster.apply_as("kubectl-edit", object.clone()).await;
    assert_eq!(owners().await, set(&[&format!("{own} Update f:b"), "kubectl-edit Update f:a"]));
    object["data"]["a"] = json!("YQ==");
    cluster.apply_as(own, object.clone()).await;
    assert_eq!(owners().await, set(&[&format!("{own} Update f:a,f:b")]), "what is put right is its own again");
}

async fn a_generation_moves_with_the_spec(flavour: Flavour) {
    let (cluster, namespace, _) = place(flavour).await;
    let generation = |object: &Value| object["metadata"]["generation"].as_i64();
    let mut object = external(&namespace, "nats");
    assert_eq!(generation(&cluster.apply(object.clone()).await), Some(1));
    object["status"] = json!({"refreshTime": "2026-09-20T11:40:00Z"});
    let applied = cluster.apply(object.clone()).await;
    assert_eq!((generation(&applied), &applied["status"]), (Some(1), &object["status"]), "not with the status");
    object["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(generation(&cluster.apply(object.clone()).await), Some(1), "not with a label");
    object["spec"] = json!({"refreshInterval": "2h"});
    assert_eq!(generation(&cluster.apply(object).await), Some(2));

    let mut app = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"namespace": namespace, "name": "app"}, "spec": {"project": "a"}});
    assert_eq!(generation(&cluster.apply(app.clone()).await), Some(1));
    app["status"] = json!({"reconciledAt": "2026-09-20T11:58:10Z"});
    let applied = cluster.apply(app.clone()).await;
    assert_eq!((generation(&applied), &applied["status"]), (Some(2), &app["status"]), "Argo CD's does");

    assert_eq!(generation(&cluster.apply(secret(&namespace, "nats")).await), None, "secrets have none");
}

async fn an_object_with_a_finalizer_is_marked_before_it_goes(flavour: Flavour) {
    let (cluster, namespace, _) = place(flavour).await;
    let (admin, path) = (cluster.admin(), format!("{}/nats", externals(&namespace)));
    let mut object = external(&namespace, "nats");
    object["metadata"]["finalizers"] = json!(["rig.test/hold"]);
    cluster.apply(object.clone()).await;
    cluster.delete("ExternalSecret", &namespace, "nats").await;
    let marked = get(cluster, &admin, &path).await;
    assert_eq!(marked.status, 200);
    let at: jiff::Timestamp =
        marked.body["metadata"]["deletionTimestamp"].as_str().expect("a mark").parse().expect("a time");
    assert!(jiff::Timestamp::now().duration_since(at).as_secs().abs() < 60, "marked at {at}");
    object["metadata"]["finalizers"] = json!([]);
    cluster.apply(object).await;
    assert_eq!(get(cluster, &admin, &path).await.status, 404, "gone with its last finalizer");
}

async fn an_object_is_served_in_the_version_that_is_asked_for(flavour: Flavour) {
    let (cluster, namespace, _) = place(flavour).await;
    cluster.apply(external(&namespace, "nats")).await;
    for version in ["v1", "v1beta1"] {
        let path = format!("/apis/external-secrets.io/{version}/namespaces/{namespace}/externalsecrets");
        let list = get(cluster, &cluster.admin(), &path).await;
        let wanted = json!(format!("external-secrets.io/{version}"));
        assert_eq!((&list.body["apiVersion"], &list.items()[0]["apiVersion"]), (&wanted, &wanted));
        assert_eq!(list.items()[0]["kind"], "ExternalSecret");
    }
}

async fn a_custom_resource_comes_and_goes(flavour: Flavour) {
    let cluster = Cluster::start(flavour).await;
    let (namespace, admin) = (cluster.namespace().await, cluster.admin());
    cluster.apply(external(&namespace, "nats")).await;
    let path = externals(&namespace);
    cluster.remove_crd("externalsecrets").await;
    let gone = get(&cluster, &admin, &path).await;
    assert_eq!((gone.status, &gone.body), (404, &json!("404 page not found\n")));
    cluster.install_crd("externalsecrets", &["v1beta1"]).await;
    assert_eq!(get(&cluster, &admin, &path).await.status, 404, "only v1beta1 is served");
    let other = get(&cluster, &admin, &path.replace("/v1/", "/v1beta1/")).await;
    assert_eq!(other.names(), [""; 0], "the objects went with their definition");
}

async fn calls_are_counted(flavour: Flavour) {
    let (cluster, namespace, user) = place(flavour).await;
    let other = cluster.user();
    cluster.grant(&namespace, &user, json!([rule("", "secrets", &["list"])])).await;
    get(cluster, &user, &format!("{}?limit=7", secrets(&namespace))).await;
    get(cluster, &user, &format!("{}/nats", externals(&namespace))).await;
    get(cluster, &other, &secrets(&namespace)).await;
    ask(cluster, As::Token(&user.token), &secrets(&namespace), METADATA_LIST).await;
    let told = |user: &User| -> Vec<String> {
        let calls = cluster.calls(user).into_iter();
        calls
            .map(|call| {
                assert_eq!((&call.user, &call.namespace), (&user.name, &namespace));
                assert_eq!(call.metadata_only.is_some(), flavour == Flavour::Fake, "a real log does not tell");
                format!("{} {}/{} {} {:?} {}", call.verb, call.resource, call.name, call.query, call.group, call.status)
            })
            .collect()
    };
    assert_eq!(
        told(&user),
        [
            "list secrets/ limit=7 \"\" 200",
            "get externalsecrets/nats  \"external-secrets.io\" 403",
            "list secrets/  \"\" 200",
        ]
    );
    assert_eq!(told(&other), ["list secrets/  \"\" 403"]);
    if flavour == Flavour::Fake {
        let only: Vec<_> = cluster.calls(&user).iter().map(|call| call.metadata_only).collect();
        assert_eq!(only, [Some(false), Some(false), Some(true)]);
    }
}

/// What the fake cannot do must not look as if it had been done.
#[tokio::test(flavor = "multi_thread")]
async fn the_fake_refuses_what_it_does_not_know() {
    let (cluster, namespace, _) = place(Flavour::Fake).await;
    for query in ["fieldSelector=metadata.name%3Da", "watch=true", "resourceVersion=1"] {
        let answer = get(cluster, &cluster.admin(), &format!("{}?{query}", secrets(&namespace))).await;
        assert_eq!(answer.status, 501, "{query}: {}", answer.body);
    }
}

/// Faults hit readers, in one namespace, and never who prepares the test.
#[tokio::test(flavor = "multi_thread")]
async fn the_fake_fails_on_demand() {
    let (cluster, namespace, user) = place(Flavour::Fake).await;
    let path = externals(&namespace);
    for name in ["a", "b", "c"] {
        cluster.apply(external(&namespace, name)).await;
    }
    cluster.grant(&namespace, &user, json!([rule("external-secrets.io", "externalsecrets", &["list"])])).await;
    let faulty = |fault| cluster.fake().fault(&namespace, "externalsecrets", fault);

    faulty(Fault::Status(503));
    get(cluster, &user, &path).await.told(503, "ServiceUnavailable");
    assert_eq!(get(cluster, &cluster.admin(), &path).await.names(), ["a", "b", "c"]);
    faulty(Fault::Page(404));
    let page = get(cluster, &user, &path).await;
    assert_eq!((page.status, page.body.as_str()), (404, Some("a proxy's page")));
    faulty(Fault::Body("{}".to_owned()));
    assert_eq!(get(cluster, &user, &path).await.body, json!({}));
    faulty(Fault::Item(json!(7)));
    assert_eq!(get(cluster, &user, &path).await.items()[3], json!(7));
    faulty(Fault::Delay(Duration::from_millis(300)));
    let begin = std::time::Instant::now();
    assert_eq!(get(cluster, &user, &path).await.names(), ["a", "b", "c"]);
    assert!(begin.elapsed() >= Duration::from_millis(300), "it came after {:?}", begin.elapsed());
    faulty(Fault::Close);
    let authority = reqwest::Certificate::from_pem(cluster.ca().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).timeout(SOON).build();
    let request = client.expect("a client").get(format!("https://{}{path}", cluster.address()));
    assert!(request.bearer_auth(&user.token).send().await.is_err_and(|error| error.is_request()), "no answer");
    assert_eq!(cluster.calls(&user).last().map(|call| call.status), Some(0), "it was asked all the same");

    faulty(Fault::ExpireOnce);
    let first = get(cluster, &user, &format!("{path}?limit=2")).await;
    let more = first.body["metadata"]["continue"].as_str().expect("a second page");
    let second = format!("{path}?limit=2&continue={more}");
    get(cluster, &user, &second).await.told(410, "Expired");
    assert_eq!(get(cluster, &user, &second).await.names(), ["c"], "once");
    faulty(Fault::Status(500));
    cluster.fake().heal(&namespace, "externalsecrets");
    assert_eq!(get(cluster, &user, &path).await.status, 200);
}

async fn a_cluster_ends_when_it_is_dropped(flavour: Flavour) {
    let cluster = Cluster::start(flavour).await;
    let (address, left) = (cluster.address(), cluster.leaves());
    assert!(tokio::net::TcpStream::connect(address).await.is_ok());
    assert_eq!(left.processes.len(), if flavour == Flavour::Real { 2 } else { 0 });
    drop(cluster);
    // A process that another test starts holds a copy of the listener until it runs its own program.
    wait_until("nobody listens", SOON, async || tokio::net::TcpStream::connect(address).await.err()).await;
    assert!(!left.processes.iter().any(|id| runs(*id)), "no process is left");
    assert!(!left.directory.is_some_and(|directory| directory.exists()), "and no file");
}

/// What a killed test leaves: nothing. The child is this program, which runs [`hold_a_shared_cluster`] only.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_cluster_ends_with_a_test_that_is_killed() {
    if dr_testkit::kube::assets().is_none() {
        return dr_testkit::skip(dr_testkit::kube::NO_ASSETS);
    }
    for signal in ["KILL", "EXIT"] {
        let note = tempfile::NamedTempFile::new().expect("a file");
        let mut child = Process::start(std::env::current_exe().expect("a program"), |command| {
            command.args(["--exact", "rig::hold_a_shared_cluster", "--ignored", "--quiet"]);
            command.env("RIG_NOTE", note.path()).env("RIG_EXIT", if signal == "EXIT" { "1" } else { "" });
            command.stdout(std::process::Stdio::null());
        });
        let left: Value = wait_until("the child has a cluster", SOON * 2, async || {
            serde_json::from_str(&std::fs::read_to_string(note.path()).ok()?).ok()
        })
        .await;
        let processes: BTreeSet<u32> = serde_json::from_value(left["processes"].clone()).expect("ids");
        let directory = std::path::PathBuf::from(left["directory"].as_str().expect("a directory"));
        assert_eq!(processes.len(), 2, "{left}");
        if signal == "KILL" {
            assert!(directory.exists() && processes.iter().all(|id| runs(*id)), "{left}");
            child.signal("KILL");
        }
        assert!(child.wait(SOON).is_some(), "the child ends");
        wait_until(&format!("nothing is left after {signal}: {left}"), SOON, async || {
            (!directory.exists() && !processes.iter().any(|id| runs(*id))).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a process of its own"]
async fn hold_a_shared_cluster() {
    let Some(note) = std::env::var_os("RIG_NOTE") else { return };
    let left = Cluster::shared(Flavour::Real, 0).await.leaves();
    let left = json!({"processes": left.processes, "directory": left.directory});
    std::fs::write(note, left.to_string()).expect("a note");
    if std::env::var("RIG_EXIT").is_ok_and(|exit| exit.is_empty()) {
        std::future::pending::<()>().await;
    }
}
