//! An operator, an account and a user of NATS's decentralised authentication, made in memory.

use nkeys::KeyPair;
use serde_json::{Value, json};

/// What a server and its user need.
#[derive(Debug)]
pub struct Operator {
    /// The server's side.
    pub config: String,
    /// The user's side: the content of a credentials file.
    pub credentials: String,
}

impl Default for Operator {
    fn default() -> Self {
        Self::new()
    }
}

impl Operator {
    /// One operator with a system account, and an account with JetStream and one user who may do everything.
    pub fn new() -> Self {
        let (operator, system, account, user) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_user());
        let limits = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
        let operator_jwt = sign(&operator, &operator, &json!({"type": "operator", "version": 2}));
        let system_limits = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1});
        let system_jwt = sign(&system, &operator, &json!({"type": "account", "version": 2, "limits": system_limits}));
        let account_jwt = sign(&account, &operator, &json!({"type": "account", "version": 2, "limits": limits}));
        let user_jwt = sign(
            &user,
            &account,
            &json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}),
        );
        let (system, account) = (system.public_key(), account.public_key());
        Self {
            config: format!(
                "operator: {operator_jwt}\nsystem_account: {system}\nresolver: MEMORY\n
                 resolver_preload {{ {system}: {system_jwt}\n{account}: {account_jwt} }}\n"
            ),
            credentials: format!(
                "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n
-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
                user.seed().expect("a new key has a seed")
            ),
        }
    }
}

fn sign(subject: &KeyPair, issuer: &KeyPair, nats: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let key = subject.public_key();
    let claims = json!({"jti": key, "iat": 1_700_000_000, "iss": issuer.public_key(), "name": key, "sub": key,
        "nats": nats});
    let signed = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    let signature = issuer.sign(signed.as_bytes()).expect("a new key signs");
    format!("{signed}.{}", base64url(&signature))
}

fn base64url(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}
