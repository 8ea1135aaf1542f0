//! Shared connections: lazy, made in the background, retried for ever.

pub mod nats;
pub mod tls;

/// Every connection that checks share, by the name it has in the configuration.
#[derive(Debug, Default)]
pub struct Clients {}
