//! Kubeconfigs as people have them: each is read by the exporter and, where `KUBEBUILDER_ASSETS` has it, by kubectl beside it.

use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::peer::{Case, SECRET, kubeconfig, wrapped};
use super::{Pair, SOON, Status, contract, fails, minutes};
use dr_testkit::certs::Authority;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::kube::{Flavour, base64};

dr_testkit::both! {
    what_kubectl_reads_is_read,
    what_is_of_no_use_is_named_with_the_way_out,
}

/// The parameters that `openssl ecparam -genkey` writes before a key.
const PARAMETERS: &str = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";

/// The same key as openssl wrote it of old; as it is where there is no openssl.
fn sec1(key: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), key).expect("it is written");
    match Command::new("openssl").args(["ec", "-in"]).arg(file.path()).output() {
        Ok(output) => {
            let key = String::from_utf8(output.stdout).expect("PEM");
            assert!(key.starts_with("-----BEGIN EC PRIVATE KEY-----"), "{key}");
            key
        }
        Err(_) => key.to_owned(),
    }
}

async fn what_kubectl_reads_is_read(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    pair.external_secret(pair.dr, "nats", Status::ready(minutes(20))).await;
    let (address, token) = (pair.dr.address(), pair.at_dr.token.as_str());
    let (certificate, key) = pair.dr.certificate(&pair.at_dr);
    let (ca, ca64) = (pair.dr.ca(), base64(pair.dr.ca().as_bytes()));
    let cluster = format!("server: https://{address}\ncertificate-authority-data: {ca64}");
    let by_token = format!("token: {token}");
    let plain = kubeconfig(&cluster, &by_token);
    let pair64 = |certificate: &str, key: &str| {
        let (certificate, key) = (base64(certificate.as_bytes()), base64(key.as_bytes()));
        format!("client-certificate-data: {certificate}\nclient-key-data: {key}")
    };
    let empty = "token: \"\"\nusername: \"\"\npassword: \"\"\nclient-certificate: \"\"\nclient-certificate-data: \"\"\n\
                 client-key: \"\"\nclient-key-data: \"\"\nas: \"\"\nas-groups: []\ntokenFile: token";
    let json = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("https://{address}"), "certificate-authority-data": ca64}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {"token": token}}],
    });
    let json = serde_json::to_string_pretty(&json).expect("JSON").replace("  ", "\t");
    let others =
        "- name: other\n  user: {auth-provider: {name: gcp}}\n- name: another\n  user: {exec: {command: nothere}}\n";
    let cases = [
        Case::new("token", plain.clone()),
        Case::new("tokenFile before token", kubeconfig(&cluster, &format!("token: {SECRET}\ntokenFile: token")))
            .with("token", token),
        Case::new("token while tokenFile is gone", kubeconfig(&cluster, &format!("token: {token}\ntokenFile: gone"))),
        Case::new("token with white space", kubeconfig(&cluster, &format!("token: \" {token} \\n\""))).otherwise(),
        Case::new("tokenFile with white space", kubeconfig(&cluster, "tokenFile: token"))
            .with("token", format!("\r\n {token}\r\n\n")),
        Case::new("CA in lines", {
            let cluster = format!("server: https://{address}\ncertificate-authority-data: |{}", wrapped(&ca));
            kubeconfig(&cluster, &by_token)
        }),
        Case::new("CA in lines that are folded to blanks", {
            let cluster = format!("server: https://{address}\ncertificate-authority-data: >-{}", wrapped(&ca));
            kubeconfig(&cluster, &by_token)
        })
        .otherwise(),
        Case::new("client certificate in lines", {
            let (certificate, key) = (wrapped(&certificate), wrapped(&key));
            kubeconfig(&cluster, &format!("client-certificate-data: |{certificate}\nclient-key-data: |{key}"))
        }),
        Case::new("client certificate with its authority", {
            kubeconfig(&cluster, &pair64(&format!("{certificate}{ca}"), &key))
        }),
        Case::new("client key as SEC1", kubeconfig(&cluster, &pair64(&certificate, &sec1(&key)))),
        Case::new("client key behind its parameters", {
            kubeconfig(&cluster, &pair64(&certificate, &format!("{PARAMETERS}{key}")))
        }),
        Case::new("a client key alone", kubeconfig(&cluster, &format!("{by_token}\nclient-key: gone"))),
        Case::new("files beside it", {
            let cluster = format!("server: https://{address}\ncertificate-authority: ca.pem");
            kubeconfig(&cluster, "client-certificate: ./me.pem\nclient-key: me.key")
        })
        .with("ca.pem", ca.clone())
        .with("me.pem", certificate.clone())
        .with("me.key", key.clone()),
        Case::new("data before a file that is gone", {
            kubeconfig(&format!("{cluster}\ncertificate-authority: gone.pem"), &by_token)
        })
        .otherwise(),
        Case::new("empty strings", {
            let empty_cluster = "certificate-authority: \"\"\nproxy-url: \"\"\ntls-server-name: \"\"";
            kubeconfig(&format!("{cluster}\n{empty_cluster}"), empty)
        })
        .with("token", token),
        Case::new("byte order mark and CRLF", format!("\u{feff}{}", plain.replace('\n', "\r\n"))),
        Case::new("JSON indented by tabs", json),
        Case::new("neither kind nor version", plain.replace("apiVersion: v1\nkind: Config\n", "")),
        Case::new("fields that nobody knows", {
            let extensions = "extensions: [{name: x, extension: {last-update: today}}]";
            let text = kubeconfig(&format!("{cluster}\n{extensions}\nnovelty: 1"), &format!("{by_token}\nnovelty: 1"));
            format!("{text}preferences: {{colors: true}}\nnovelty: {{a: [1]}}\n{extensions}\n")
        }),
        Case::new("users that are not asked for", format!("{plain}{others}")),
        Case::new("a provider without a configuration", {
            format!("{plain}- name: other\n  user: {{auth-provider: {{name: gcp, config: null}}}}\n")
        }),
        Case::new("a key that stands twice", kubeconfig(&cluster, &format!("token: {SECRET}\n{by_token}"))),
        Case::new("a context without a cluster", {
            plain.replace("contexts:\n", "contexts:\n- name: other\n  context: {namespace: kgents}\n")
        }),
        Case::new("a slash at the end", plain.replace(&format!("https://{address}"), &format!("https://{address}/"))),
        Case::new("the scheme in capitals", plain.replace("https://", "HTTPS://")),
        Case::new("entries without a name", {
            let contexts = plain.replace("contexts:\n", "contexts:\n- context: {cluster: other}\n");
            format!("{contexts}- user: {{token: {SECRET}}}\n")
        }),
        Case::new("an authority that nobody can read beside the good one", {
            kubeconfig(&format!("server: https://{address}\ncertificate-authority: ca.pem"), &by_token)
        })
        .with("ca.pem", {
            let other = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
            format!("{}{ca}{}", other("aHVudGVyMg=="), other("!!!"))
        }),
        Case::new("no scheme", plain.replace("https://", "")).otherwise(),
        Case::new("no verification", {
            kubeconfig(&format!("server: https://{address}\ninsecure-skip-tls-verify: true"), &by_token)
        }),
        Case::new(
            "a name in the certificate",
            kubeconfig(&format!("{cluster}\ntls-server-name: 127.0.0.1"), &by_token),
        ),
        Case::new("as somebody else", {
            let admin = pair.dr.admin().token;
            kubeconfig(&cluster, &format!("token: {admin}\nas: {}", pair.at_dr.name))
        }),
    ];
    let mut wrong = Vec::new();
    for case in cases {
        let text = case.told(&pair);
        if !text.contains("PASS      nats  rpo") || text.contains("KUBECTL") {
            wrong.push(format!("{}:\n{text}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn what_is_of_no_use_is_named_with_the_way_out(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let (address, ca64) = (pair.dr.address(), base64(pair.dr.ca().as_bytes()));
    let (certificate, key) = pair.dr.certificate(&pair.at_dr);
    let (certificate64, key64) = (base64(certificate.as_bytes()), base64(key.as_bytes()));
    let cluster = format!("server: https://{address}\ncertificate-authority-data: {ca64}");
    let user = |user: &str| kubeconfig(&cluster, user);
    let at = |fields: &str| kubeconfig(fields, &format!("token: {SECRET}"));
    let plain = at(&cluster);
    let plugin = |more: &str| format!("exec:\n  apiVersion: client.authentication.k8s.io/v1\n  {more}");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVudGVyMg==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\naHVudGVyMg==\n\
               -----END RSA PRIVATE KEY-----\n";
    let with_key = |key: &str| user(&format!("client-certificate-data: {certificate64}\nclient-key-data: {key}"));
    let other_key = base64(Authority::new().sign("x").1.as_bytes());
    let provider = |name: &str| {
        user(&format!("token: {SECRET}\nauth-provider: {{name: {name}, config: {{access-token: {SECRET}}}}}"))
    };
    let cases: Vec<(Case, &[&str])> = vec![
        (Case::new("gcp", provider("gcp")), &["auth-provider gcp is not supported", "gke-gcloud-auth-plugin"]),
        (Case::new("azure", provider("azure")), &["auth-provider azure is not supported", "kubelogin"]),
        (Case::new("another", provider("mine")), &["auth-provider mine is not supported", "exec plugin"]),
        (Case::new("oidc", user("auth-provider: {name: oidc, config: {}}")), &["no id-token", "exec plugin"]),
        (
            Case::new("a plug-in that is not there", {
                user(&plugin(
                    "command: aws-nothere\n  interactiveMode: Never\n  installHint: |\n    brew install\n    aws",
                ))
            }),
            &["exec plugin aws-nothere is not installed", "install it", "the kubeconfig says: brew install aws"],
        ),
        (
            Case::new("a plug-in that is not there, by its path", {
                user(&plugin("command: ./bin/nothere\n  interactiveMode: Never"))
            }),
            &["/bin/nothere is not installed", "install it"],
        ),
        (
            Case::new("a plug-in that may not be run", user(&plugin("command: ./plugin\n  interactiveMode: Never")))
                .with("plugin", "#!/bin/sh\n"),
            &["/plugin: ", "must be able to run it"],
        ),
        (
            Case::new("a plug-in that asks", user(&plugin("command: cat\n  interactiveMode: Always"))),
            &["exec plugin cat needs a person", "interactiveMode: Always"],
        ),
        (
            Case::new("two users of a name", format!("{plain}- name: test\n  user: {{token: {SECRET}}}\n")),
            &["test is under users more than once"],
        ),
        (
            Case::new("two ways to log in", user(&format!("token: {SECRET}\nusername: me\npassword: {SECRET}"))),
            &["both a token and a username"],
        ),
        (Case::new("groups alone", user("as-groups: [a]")), &["without `as`"]),
        (
            Case::new("no context", plain.replace("current-context: test\n", "")),
            &["no context is chosen", "it has: test"],
        ),
        (
            Case::new("no such context", plain.replace("current-context: test", "current-context: prod")),
            &["there is no context prod", "which has: test"],
        ),
        (
            Case::new("no such cluster", plain.replace("{cluster: test,", "{cluster: prod,")),
            &["the context test names the cluster prod, which is not under clusters"],
        ),
        (
            Case::new("no such user", plain.replace("user: test}", "user: nobody}")),
            &["the context names the user nobody, which is not under users"],
        ),
        (Case::new("a line break in a name", user("as: \"a\\nb\"")), &["control character in `as`"]),
        (Case::new("another kind", plain.replace("kind: Config", "kind: Secret")), &["has kind Secret"]),
        (Case::new("no server", at("insecure-skip-tls-verify: true")), &["server of the cluster test is missing"]),
        (Case::new("a placeholder", at("server: https://${API_HOST}")), &["cluster test has a placeholder"]),
        (Case::new("another scheme", at("server: tcp://127.0.0.1:1")), &["is not the URL of an API server"]),
        (Case::new("no URL", at("server: https://")), &["is not the URL of an API server"]),
        (
            Case::new("a proxy of a kind that is not known", {
                at(&format!("{cluster}\nproxy-url: socks4://me:{SECRET}@127.0.0.1:1"))
            }),
            &["proxy-url of the cluster is not the URL of a proxy", "socks5://"],
        ),
        (
            Case::new(
                "no Base64",
                at(&format!("server: https://{address}\ncertificate-authority-data: \"{SECRET}!\"")),
            ),
            &["certificate-authority of the cluster test is not Base64"],
        ),
        (
            Case::new("PEM as it is", {
                let pem = pair.dr.ca().replace('\n', "\n  ");
                at(&format!("server: https://{address}\ncertificate-authority-data: |\n  {pem}"))
            }),
            &["certificate-authority of the cluster test is plain PEM; encode it"],
        ),
        (
            Case::new("no certificate", {
                at(&format!("server: https://{address}\ncertificate-authority-data: {}", base64(b"nothing")))
            }),
            &["certificate-authority of the cluster test holds no certificate"],
        ),
        (
            Case::new("no file of the authority", {
                at(&format!("server: https://{address}\ncertificate-authority: gone.pem"))
            }),
            &["certificate-authority of the cluster test /", "gone.pem: No such file"],
        ),
        (
            Case::new("an authority that nobody can read", {
                let pem = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
                let data = base64(pem.as_bytes());
                at(&format!("server: https://{address}\ncertificate-authority-data: {data}"))
            }),
            &["certificate-authority of the cluster test holds no certificate that can be read"],
        ),
        (Case::new("no token file", user("tokenFile: gone")), &["the token file /", "gone: No such file"]),
        (Case::new("an empty token file", user("tokenFile: token")).with("token", "\n"), &["/token is empty"]),
        (
            Case::new("no key", user(&format!("client-certificate-data: {certificate64}"))),
            &["the user test has a client-certificate, but no client-key; add the key"],
        ),
        (
            Case::new(
                "no certificate for the key",
                user(&format!("client-certificate-data: {key64}\nclient-key-data: {key64}")),
            ),
            &["client-certificate of the user test holds no certificate"],
        ),
        (
            Case::new("a key that is none", with_key(&certificate64)),
            &["client-key of the user test holds no private key"],
        ),
        (Case::new("another's key", with_key(&other_key)), &["does not belong to its client-certificate"]),
        (Case::new("an encrypted key", with_key(&base64(encrypted.as_bytes()))), &["is encrypted", "openssl pkey"]),
        (Case::new("a key encrypted as of old", with_key(&base64(old.as_bytes()))), &["is encrypted", "openssl pkey"]),
        (
            Case::new("a boolean in quotes", at(&format!("{cluster}\ninsecure-skip-tls-verify: \"perhaps\""))),
            &["this is not a kubeconfig from line "],
        ),
        (
            Case::new("a list for a token", user(&format!("token: [{SECRET}]"))),
            &["this is not a kubeconfig from line "],
        ),
    ];
    let mut wrong = Vec::new();
    for (case, words) in cases {
        // kubectl, which would act for nobody, takes none of them either.
        let case = case.otherwise();
        let text = case.told(&pair);
        let always = ["credentials_unreadable: cluster dr: ", "dr.kubeconfig: "];
        let missing = always.iter().chain(words).any(|words| !text.contains(words));
        if missing || ["DOWN", "KUBECTL"].iter().any(|words| text.contains(words)) {
            wrong.push(format!("{}: {words:?}\n{text}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_encrypted_carries_no_credentials() {
    let pair = Pair::new(Flavour::Fake).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            stream.read_buf(&mut request).await.expect("a request");
        }
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await.expect("it is sent");
        String::from_utf8(request).expect("a text").to_ascii_lowercase()
    });
    let case = Case::new("plain", kubeconfig(&format!("server: http://{address}"), &format!("token: {SECRET}")));
    let text = tokio::task::spawn_blocking(move || case.told(&pair)).await.expect("it runs");
    assert!(text.contains("auth_failed"), "{text}");
    let request = heard.await.expect("it was asked");
    assert!(request.starts_with("get /apis/external-secrets.io/") && !request.contains("authorization"), "{request}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_beside_it_are_read_anew() {
    let pair = Pair::new(Flavour::Fake).await;
    pair.external_secret(pair.dr, "nats", Status::ready(minutes(20))).await;
    let (address, stranger) = (pair.dr.address(), pair.dr.user());
    let cluster = format!("server: https://{address}\ncertificate-authority: ca.pem");
    let good = pair.dr.certificate(&pair.at_dr);
    let check = format!("external_secret: {{ dr: dr, namespace: {}, name: nats }}", pair.namespace);
    let config = |user: &str| {
        Config::new(&super::config(&contract("nats", "rto: 30m\n    rpo: 1h", &check)))
            .with("primary.kubeconfig", &pair.primary.kubeconfig_of(&pair.at_primary))
            .with("dr.kubeconfig", &kubeconfig(&cluster, user))
            .with("ca.pem", &pair.dr.ca())
    };
    let by_certificate =
        config("client-certificate: me.pem\nclient-key: me.key").with("me.pem", &good.0).with("me.key", &good.1);
    let by_token = config(&format!("token: {SECRET}\ntokenFile: token")).with("token", &pair.at_dr.token);
    let (by_certificate, by_token) = (Exporter::start_in(by_certificate).await, Exporter::start_in(by_token).await);
    by_certificate.becomes("nats", "rpo", "met", SOON).await;
    by_token.becomes("nats", "rpo", "met", SOON).await;
    let other = pair.dr.certificate(&stranger);
    by_certificate.config().file("me.key", &other.1);
    by_certificate.config().file("me.pem", &other.0);
    by_token.config().file("token", &stranger.token);
    fails(&by_certificate, "nats", "forbidden").await;
    fails(&by_token, "nats", "forbidden").await;
    // One that cannot be used is told, and the next good one is taken.
    by_certificate.config().file("ca.pem", "nothing");
    fails(&by_certificate, "nats", "credentials_unreadable").await;
    by_certificate.config().file("ca.pem", &pair.dr.ca());
    let forbidden = |scrape: &super::Scrape| super::failed(scrape, "nats", "forbidden");
    let before = forbidden(&by_certificate.scrape().await);
    by_certificate.until("it asks again", SOON, |scrape| forbidden(scrape) > before).await;
}
