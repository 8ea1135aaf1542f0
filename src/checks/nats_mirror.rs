//! `nats_mirror`: a JetStream stream and its mirror in the DR region.

use std::sync::Arc;

use crate::checks::{Check, Kind, KindInfo};
use crate::clients::Clients;
use crate::config::config;
use crate::config::values::{DomainName, NatsRef, StreamName};
use crate::domain::contract::Feeds;

config! {
    /// A JetStream stream and its mirror in the DR region. Feeds `rto` and `rpo`.
    pub struct NatsMirrorConfig {
        /// The stream that clients write to in the primary region.
        pub origin: StreamSide,
        /// The stream that mirrors it in the DR region.
        pub mirror: StreamSide,
    }
}

config! {
    /// A stream and the connection it is asked over.
    pub struct StreamSide {
        /// The name of a connection of the `nats` section.
        pub nats: NatsRef,
        /// The stream's name.
        pub stream: StreamName,
        /// The JetStream domain of this side, if it is another than the connection's.
        pub domain: Option<DomainName> = None,
    }
}

impl Kind for NatsMirrorConfig {
    const INFO: KindInfo =
        KindInfo { name: "nats_mirror", can_feed: Feeds { rto: true, rpo: true }, reasons: &[], readings: &[] };

    fn build(&self, _clients: &Clients) -> Arc<dyn Check> {
        unimplemented!()
    }
}
