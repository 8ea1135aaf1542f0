//! The single list of connections that stanzas can use. Everything else follows from it.
//!
//! The list below gives the names by which stanzas refer to connections, the sections in which
//! these names are looked up, and how two connections are compared. A connection that is added
//! there but not handled everywhere does not compile.

use std::collections::BTreeMap;
use std::path::Path;

use super::stanza::{Destination, Stanza as _};
use crate::clients::kubernetes::KubernetesConnection;
use crate::clients::nats::NatsConnection;
use crate::clients::prometheus::PrometheusConnection;
use crate::decode::identity::Referents;
use crate::decode::values::{Name, reference};
use crate::decode::{Canonical, Decode, Decoder, Form, Node, Referent};

/// The list: the section, the type of its stanzas, and the type of their names.
macro_rules! connections {
    ($($(#[doc = $doc:literal])+ $section:ident: $stanza:ty => $variant:ident by $reference:ident,)+) => {
        $(
            reference! {
                $(#[doc = $doc])+
                $reference: "connection" of $section
            }

            impl Canonical for $reference {
                fn write(&self, form: &mut Form<'_>) {
                    form.reference(Self::REFERENT, self.name());
                }
            }
        )+

        /// The name of a connection of any kind.
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
            /// What a connection leads to. None if there is no such connection, or if its stanza
            /// has errors.
            #[must_use]
            pub fn destination(&self, reference: ConnectionRef<'_>, within: Option<&str>) -> Option<Destination> {
                match reference {
                    $(ConnectionRef::$variant(reference) => {
                        self.$section.get(reference.name()).map(|stanza| stanza.destination(within))
                    })+
                }
            }

            /// The connections of a tree without errors in their own stanzas, whatever is wrong
            /// elsewhere.
            pub(crate) fn of_tree(node: &Node, base: &Path) -> Self {
                Self { $($section: good(node, stringify!($section), base),)+ }
            }
        }

        impl Referents for Connections {
            fn get(&self, referent: Referent, name: &Name) -> Option<&dyn Canonical> {
                match referent {
                    $(referent if referent == $reference::REFERENT => {
                        self.$section.get(name).map(|stanza| -> &dyn Canonical { stanza })
                    })+
                    _ => None,
                }
            }
        }
    };
}

connections! {
    /// The name of an existing connection in the `nats` section.
    nats: NatsConnection => Nats by NatsRef,
    /// The name of an existing connection in the `kubernetes` section.
    kubernetes: KubernetesConnection => Kubernetes by KubernetesRef,
    /// The name of an existing connection in the `prometheus` section.
    prometheus: PrometheusConnection => Prometheus by PrometheusRef,
}

/// The stanzas of a section that have no errors.
fn good<T: Decode>(node: &Node, section: &str, base: &Path) -> BTreeMap<Name, T> {
    let entries = node.get(section).map(|entry| entry.node.entries()).unwrap_or_default();
    let read = entries.iter().filter_map(|entry| {
        let name = Name::of_key(&entry.key)?;
        // Errors are reported later, when the section itself is decoded.
        Some((name, T::decode(&entry.node, &mut Decoder::new(base))?))
    });
    read.collect()
}
