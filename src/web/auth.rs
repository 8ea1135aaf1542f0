//! Who a client is: passwords, and certificates that were verified.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use data_encoding::BASE64;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::clients::blocking;

/// How many passwords are remembered, so that a scrape does not cost a hash.
const REMEMBERED: usize = 256;
/// How many requests may wait for a hash. It takes a core for a tenth of a second, so one is
/// computed at a time.
const WAITING: usize = 16;
/// How many of them may come from one address. So one that guesses keeps nobody else out, while no
/// password is remembered yet.
const OF_ONE: usize = WAITING / 2;

/// Who sent a request. It is an extension of the request if the client proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: Arc<str>,
    /// How it was proven.
    pub by: Proof,
}

/// How a name was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A password.
    Password,
    /// A client certificate that was verified.
    Certificate,
}

/// The users and the hashes of their passwords.
pub(super) struct Users {
    hashes: BTreeMap<Arc<str>, String>,
    /// A hash that no password has, for users who do not exist. It costs as much as the others.
    nobody: String,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.hashes.keys()).finish()
    }
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<Arc<str>, String>) -> Self {
        let cost = |hash: &String| hash.split('$').nth(2).and_then(|cost| cost.parse::<u32>().ok());
        let cost = hashes.values().filter_map(cost).max().unwrap_or(bcrypt::DEFAULT_COST);
        let nobody = format!("$2y${cost:02}$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi");
        Self { hashes, nobody }
    }

    pub(super) fn count(&self) -> usize {
        self.hashes.len()
    }
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// The password is wrong or missing.
    Unauthorized,
    /// Too many others are waiting for their passwords to be checked.
    Busy,
}

/// Checks passwords.
pub(super) struct Passwords {
    /// A key of this process. What is remembered tells nobody a password.
    key: hmac::Key,
    /// The passwords that were right, as tags. A tag holds the hash too, so that a changed hash is
    /// checked anew.
    right: Mutex<VecDeque<[u8; 32]>>,
    hashing: Arc<Semaphore>,
    waiting: Waiting,
}

impl Passwords {
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new() -> Result<Self, ring::error::Unspecified> {
        Ok(Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?,
            right: Mutex::default(),
            hashing: Arc::new(Semaphore::new(1)),
            waiting: Waiting::default(),
        })
    }

    /// Who sent these headers, from this address.
    ///
    /// # Errors
    /// The client is not let in.
    pub(super) async fn check(&self, users: &Users, headers: &HeaderMap, peer: IpAddr) -> Result<User, Denied> {
        let (name, password) = given(headers).ok_or(Denied::Unauthorized)?;
        let (user, hash) = match users.hashes.get_key_value(name.as_str()) {
            Some((user, hash)) => (Some(user), hash),
            None => (None, &users.nobody),
        };
        let tag = self.tag(&name, hash, &password);
        if !self.remembers(&tag) {
            if !self.is_right(password, hash.clone(), peer).await? || user.is_none() {
                return Err(Denied::Unauthorized);
            }
            self.remember(tag);
        }
        let name = Arc::clone(user.ok_or(Denied::Unauthorized)?);
        Ok(User { name, by: Proof::Password })
    }

    async fn is_right(&self, password: Vec<u8>, hash: String, peer: IpAddr) -> Result<bool, Denied> {
        let _seat = self.waiting.seat(peer).ok_or(Denied::Busy)?;
        let permit = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| Denied::Busy)?;
        // The work holds the permit. So clients that give up do not start more than one at a time.
        let work = move || {
            let is_right = bcrypt::verify(password, &hash).unwrap_or(false);
            drop(permit);
            is_right
        };
        Ok(blocking(work).await)
    }

    fn tag(&self, name: &str, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name.as_bytes(), hash.as_bytes(), password] {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        for (to, from) in tag.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        tag
    }

    fn remembers(&self, tag: &[u8; 32]) -> bool {
        // Nobody can choose a tag without the key, so the comparison tells nothing.
        self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(tag)
    }

    fn remember(&self, tag: [u8; 32]) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= REMEMBERED {
            right.pop_front();
        }
        right.push_back(tag);
    }
}

/// Those who wait for a hash: how many, by their network.
#[derive(Default)]
struct Waiting(Mutex<BTreeMap<IpAddr, usize>>);

/// One of those who wait.
struct Seat<'a> {
    waiting: &'a Waiting,
    network: IpAddr,
}

impl Waiting {
    /// None if too many wait, in all or from there.
    fn seat(&self, peer: IpAddr) -> Option<Seat<'_>> {
        let network = network(peer);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = taken.get(&network).copied().unwrap_or_default();
        if taken.values().sum::<usize>() >= WAITING || of_one >= OF_ONE {
            return None;
        }
        taken.insert(network, of_one.saturating_add(1));
        Some(Seat { waiting: self, network })
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut taken = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.network) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.network)),
        }
    }
}

/// An address of IPv6 stands for its network of 64 bits, in which a client chooses freely.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The name and the password of basic authentication.
fn given(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = BASE64.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, password) = decoded.split_at_checked(colon)?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some((name, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn headers(name: &str, password: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = format!("Basic {}", BASE64.encode(format!("{name}:{password}").as_bytes()));
        headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
        headers
    }

    #[tokio::test]
    async fn only_a_right_password_is_remembered_and_nobody_costs_as_much() {
        let hash = bcrypt::hash("secret", 5).expect("a hash");
        let users = Users::new(BTreeMap::from([(Arc::from("alice"), hash.clone())]));
        assert!(users.nobody.starts_with("$2y$05$") && users.nobody.len() == hash.len(), "{}", users.nobody);
        assert_eq!(bcrypt::verify("fakepassword", &users.nobody).ok(), Some(false), "it can be computed");
        let passwords = Passwords::new().expect("random numbers");
        let remembered = || passwords.right.lock().expect("no panic").len();
        for wrong in [headers("alice", "wrong"), headers("bob", "secret"), headers("", ""), HeaderMap::new()] {
            assert_eq!(passwords.check(&users, &wrong, HERE).await, Err(Denied::Unauthorized));
            assert_eq!(remembered(), 0);
        }
        for _ in 0..3 {
            let user = passwords.check(&users, &headers("alice", "secret"), HERE).await.expect("alice");
            assert_eq!((user.name.as_ref(), user.by), ("alice", Proof::Password));
            assert_eq!(remembered(), 1);
        }
        let changed = Users::new(BTreeMap::from([(Arc::from("alice"), bcrypt::hash("new", 5).expect("a hash"))]));
        assert_eq!(passwords.check(&changed, &headers("alice", "secret"), HERE).await, Err(Denied::Unauthorized));
    }

    #[test]
    fn one_address_leaves_seats_to_others() {
        let waiting = Waiting::default();
        let seats = |peer: &str| {
            let peer = peer.parse().expect("an address");
            std::iter::repeat_with(|| waiting.seat(peer)).map_while(|seat| seat).collect::<Vec<_>>()
        };
        let guesses = seats("2001:db8::1");
        assert_eq!(guesses.len(), OF_ONE);
        assert_eq!(seats("2001:db8::2").len(), 0, "the same network");
        assert_eq!(seats("10.0.0.1").len(), OF_ONE);
        let others = seats("::ffff:10.0.0.2");
        assert_eq!((others.len(), seats("10.0.0.2").len(), seats("10.0.0.3").len()), (OF_ONE, 0, 0), "all are taken");
        drop((guesses, others));
        assert_eq!(seats("10.0.0.3").len(), OF_ONE);
        assert!(waiting.0.lock().expect("no panic").is_empty(), "nothing is kept");
    }
}
