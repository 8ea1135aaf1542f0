//! A comparison needs two: the sides of a check must not be one and the same thing.
//!
//! The configuration refuses what it can see. That two connections lead to one cluster by ways that
//! look different shows only when they are asked.

use super::connections::{ConnectionRef, Connections};
use super::decode::Decoder;
use super::values::HttpUrl;
use super::yaml::Node;

/// What a kind compares.
#[derive(Debug)]
pub enum Sides<'a> {
    /// Nothing: it looks at one thing.
    One,
    /// Two things.
    Two {
        /// What people call one of them.
        noun: &'static str,
        /// The one.
        first: Compared<'a>,
        /// The other.
        second: Compared<'a>,
    },
}

/// One of two things that are compared.
#[derive(Debug)]
pub struct Compared<'a> {
    /// The key of the stanza that names it.
    pub key: &'static str,
    /// Where it is.
    pub place: Where<'a>,
    /// What it is called there; nothing where the two are called the same in any case.
    pub object: Vec<&'a str>,
}

/// Where something that is compared is.
#[derive(Debug, Clone)]
pub enum Where<'a> {
    /// What a connection leads to, or the part of it that the stanza names in the place of the
    /// connection's own.
    Connection(ConnectionRef<'a>, Option<String>),
    /// What a URL leads to.
    Url(&'a HttpUrl),
}

impl Sides<'_> {
    /// Records that the two sides of the stanza at this node are one.
    pub(crate) fn validate(&self, node: &Node, cx: &mut Decoder<'_>) {
        let Self::Two { noun, first, second } = self else { return };
        if first.object != second.object {
            return;
        }
        let Some(why) = same(&first.place, &second.place, &cx.connections) else { return };
        let (one, other) = (first.key, second.key);
        let message = format!(
            "`{other}` leads to the same {noun} as `{one}`: {why}. What is compared with itself is always \
             equal; let `{other}` lead to the other region"
        );
        let at = node.get(other).map_or(node.at, |entry| entry.at);
        cx.under(other, |cx| cx.error(at, message));
    }
}

/// Whether two places are one, and what says so.
fn same(a: &Where<'_>, b: &Where<'_>, connections: &Connections) -> Option<String> {
    match (a, b) {
        (Where::Connection(a, of_a), Where::Connection(b, of_b)) => {
            let (one, of_a, of_b) = (a == b, of_a.as_deref(), of_b.as_deref());
            let (name, other) = (a.name().as_str(), b.name().as_str());
            match (connections.destination(*a, of_a), connections.destination(*b, of_b)) {
                (Some(to), Some(also_to)) if to.place != also_to.place => None,
                (Some(_), Some(_)) if one => Some(format!("both are the connection `{name}`")),
                (Some(to), Some(_)) => Some(format!("the connections `{name}` and `{other}` have {}", to.told_by)),
                _ if one && of_a == of_b => Some(format!("both are the connection `{name}`")),
                _ => None,
            }
        }
        (Where::Url(a), Where::Url(b)) => (a.place() == b.place()).then(|| "both have one URL".to_owned()),
        (Where::Connection(..), Where::Url(_)) | (Where::Url(_), Where::Connection(..)) => None,
    }
}
