//! What stanzas can connect to: the one list of it, which the rest follows from.
//!
//! The names by which stanzas refer to connections, the sections that these names are looked up in,
//! and what tells two connections apart come of the list below. A connection that is added there and
//! not handled everywhere does not compile.

use std::collections::BTreeMap;
use std::path::Path;

use super::decode::{Decode, Decoder, Referent};
use super::identity::{Canonical, Form};
use super::model::Config;
use super::values::{Name, reference};
use super::yaml::Node;
use crate::clients::kubernetes::KubernetesConnection;
use crate::clients::nats::NatsConnection;
use crate::clients::prometheus::PrometheusConnection;

/// The stanza of a connection.
pub trait Stanza: Canonical {
    /// What it leads to, as far as the configuration tells. `within` is the part of it that a check
    /// names in the place of the connection's own: what a JetStream API is called.
    fn destination(&self, within: Option<&str>) -> Destination;
}

/// What a connection leads to: equal for two that lead to the same, however they get there and however
/// long they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// What it leads to.
    pub place: String,
    /// What of the stanza says so, in words for people.
    pub told_by: &'static str,
}

/// The one list: the section, the type of its stanzas, and the type of their names.
macro_rules! connections {
    ($($(#[doc = $doc:literal])+ $section:ident: $stanza:ty => $variant:ident by $reference:ident,)+) => {
        $(
            reference! {
                $(#[doc = $doc])+
                $reference: "connection" of $section
            }

            impl Canonical for $reference {
                fn write(&self, form: &mut Form<'_>) {
                    form.connection(ConnectionRef::$variant(self));
                }
            }
        )+

        /// The name of a connection, whatever it leads to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ConnectionRef<'a> {
            $($(#[doc = $doc])+ $variant(&'a $reference),)+
        }

        impl<'a> ConnectionRef<'a> {
            /// The sections that names are looked up in.
            pub const REFERENTS: &'static [Referent] = &[$($reference::REFERENT,)+];

            /// The name.
            #[must_use]
            pub fn name(self) -> &'a Name {
                match self {
                    $(Self::$variant(reference) => reference.name(),)+
                }
            }
        }

        /// The connections of a configuration, by name.
        #[derive(Debug, Clone, Default)]
        pub struct Connections {
            $($(#[doc = $doc])+ pub $section: BTreeMap<Name, $stanza>,)+
        }

        impl Connections {
            /// What a connection is made of; none if there is no such connection.
            pub(crate) fn stanza(&self, reference: ConnectionRef<'_>) -> Option<&dyn Canonical> {
                match reference {
                    $(ConnectionRef::$variant(reference) => {
                        self.$section.get(reference.name()).map(|stanza| -> &dyn Canonical { stanza })
                    })+
                }
            }

            /// What a connection leads to; none if there is no such connection, or it is not as it
            /// should be.
            #[must_use]
            pub fn destination(&self, reference: ConnectionRef<'_>, within: Option<&str>) -> Option<Destination> {
                match reference {
                    $(ConnectionRef::$variant(reference) => {
                        self.$section.get(reference.name()).map(|stanza| stanza.destination(within))
                    })+
                }
            }

            /// The connections of a tree that are as they should be, whatever is wrong elsewhere.
            pub(super) fn of_tree(node: &Node, base: &Path) -> Self {
                Self { $($section: good(node, stringify!($section), base),)+ }
            }
        }

        impl From<&Config> for Connections {
            fn from(config: &Config) -> Self {
                Self { $($section: config.$section.clone(),)+ }
            }
        }
    };
}

connections! {
    /// The name of a connection of the `nats` section, which exists.
    nats: NatsConnection => Nats by NatsRef,
    /// The name of a connection of the `kubernetes` section, which exists.
    kubernetes: KubernetesConnection => Kubernetes by KubernetesRef,
    /// The name of a connection of the `prometheus` section, which exists.
    prometheus: PrometheusConnection => Prometheus by PrometheusRef,
}

/// The stanzas of a section that can be read.
fn good<T: Decode>(node: &Node, section: &str, base: &Path) -> BTreeMap<Name, T> {
    let entries = node.get(section).map(|entry| entry.node.entries()).unwrap_or_default();
    let read = entries.iter().filter_map(|entry| {
        let name = Name::of_key(&entry.key)?;
        // What is wrong with it is told when the section is read for good.
        Some((name, T::decode(&entry.node, &mut Decoder::new(base))?))
    });
    read.collect()
}
