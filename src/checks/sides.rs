//! A comparison needs two things: both sides of a check must not be the same.
//!
//! The configuration refuses what it can see. If two connections lead to the same cluster in
//! different ways, only their answers can show it.

use crate::clients::{ConnectionRef, Connections};
use crate::decode::values::HttpUrl;
use crate::decode::{Decoder, Node};

/// What a kind compares.
#[derive(Debug)]
pub enum Sides<'a> {
    /// Nothing: it looks at only one thing.
    One,
    /// Two things.
    Two {
        /// The word for one of them in messages.
        noun: &'static str,
        /// One side.
        first: Compared<'a>,
        /// The other side.
        second: Compared<'a>,
    },
}

/// One of the two compared things.
#[derive(Debug)]
pub struct Compared<'a> {
    /// The key of the stanza with its name.
    pub key: &'static str,
    /// Where it is.
    pub place: Where<'a>,
    /// Its name in that place. Empty if both sides always have the same name.
    pub object: Vec<&'a str>,
}

/// Where a compared thing is.
#[derive(Debug, Clone)]
pub enum Where<'a> {
    /// What a connection leads to. The text is a part that the stanza sets instead of the
    /// connection.
    Connection(ConnectionRef<'a>, Option<String>),
    /// What a URL leads to.
    Url(&'a HttpUrl),
}

impl Sides<'_> {
    /// Records an error if both sides of the stanza at this node are the same.
    pub(crate) fn validate(&self, node: &Node, connections: &Connections, cx: &mut Decoder<'_>) {
        let Self::Two { noun, first, second } = self else { return };
        if first.object != second.object {
            return;
        }
        let Some(why) = same(&first.place, &second.place, connections) else { return };
        let (one, other) = (first.key, second.key);
        let message = format!(
            "`{other}` leads to the same {noun} as `{one}`: {why}. A comparison with itself is always \
             equal; let `{other}` lead to the other region"
        );
        let at = node.get(other).map_or(node.at, |entry| entry.at);
        cx.under(other, |cx| cx.error(at, message));
    }
}

/// Whether two places are the same, and how this is known.
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
        (Where::Url(a), Where::Url(b)) => (a.place() == b.place()).then(|| "both have the same URL".to_owned()),
        (Where::Connection(..), Where::Url(_)) | (Where::Url(_), Where::Connection(..)) => None,
    }
}
