//! A store that several replicas share: a JetStream stream is the log of everything that was written.
//!
//! Each batch is one message, which is only accepted at the end of the log that its writer knows.
//! So a batch is written completely or not at all, everybody sees the same order, and a leader that
//! was replaced can write nothing: the end of the log is its fencing token. Each replica applies the
//! log to a copy in memory, which answers every query.

use std::time::Duration;

use crate::clients::nats::NatsConnection;
use crate::clock::Reference;
use crate::decode::values::{StreamName, Word as _};
use crate::store::damage::Damage;
use crate::store::record::{Broken, EntryQuery, Link};
use crate::store::sqlite::inspection::Inspection;
use crate::store::states::Verified;
use crate::store::{Backend, Export, Store, StoreError, Stored};
use copy::Copy;
use log::Log;
use store::JetStreamStore;

mod again;
mod claim;
mod condense;
mod copy;
mod lead;
mod log;
mod message;
mod store;

/// How many messages with state are kept before a snapshot replaces them.
const STATES_KEPT: u32 = 1000;

/// How long a leader must be silent, unless it is told otherwise.
const TAKEOVER_AFTER: Duration = Duration::from_secs(15);

/// A stream with a store, and this replica among those that share it.
#[derive(Debug, Clone)]
pub struct JetStream {
    /// The name of the NATS connection, for the log.
    pub connection_name: String,
    /// How the servers are reached.
    pub connection: NatsConnection,
    /// The stream. It is made if it does not exist.
    pub stream: StreamName,
    /// On how many servers a new stream is kept.
    pub stream_replicas: usize,
    /// The name of this replica, for people.
    pub replica: String,
    /// How many messages with state are kept before a snapshot replaces them.
    pub states_kept: u32,
    /// How long a leader must be silent before another replica takes the lead.
    pub takeover_after: Duration,
    /// How long a replica that finds an empty stream lets others write again what it held.
    pub founding_after: Duration,
    /// The clock of the servers, by which all replicas tell their times.
    pub time: Reference,
}

impl JetStream {
    /// A store in the stream of this name. None if no stream can have it.
    #[must_use]
    pub fn named(name: &str, connection: NatsConnection, stream: &str, replica: &str) -> Option<Self> {
        Some(Self::new(name, connection, StreamName::parse(stream)?, replica))
    }

    /// A store in this stream.
    #[must_use]
    pub fn new(name: &str, connection: NatsConnection, stream: StreamName, replica: &str) -> Self {
        Self {
            connection_name: name.to_owned(),
            connection,
            stream,
            stream_replicas: 3,
            replica: replica.to_owned(),
            states_kept: STATES_KEPT,
            takeover_after: TAKEOVER_AFTER,
            founding_after: TAKEOVER_AFTER,
            time: Reference::default(),
        }
    }

    /// A copy of what is stored now.
    fn read(&self) -> Result<Copy, StoreError> {
        let log = Log::of(self)?;
        let extent = log.first_extent()?;
        let mut copy = Copy::empty(&log.subjects)?;
        copy.follow(&log, extent.last)?;
        Ok(copy)
    }

    fn inspect(&self) -> Result<Inspection, StoreError> {
        self.read()?.into_inspection()
    }
}

impl Backend for JetStream {
    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(JetStreamStore::open(self)?))
    }

    fn load(&self) -> Result<Stored, StoreError> {
        self.inspect()?.stored()
    }

    fn export(&self) -> Result<Export, StoreError> {
        self.inspect()?.export()
    }

    fn verify(&self, pin: Option<&str>) -> Result<Result<Verified, Broken>, StoreError> {
        let copy = self.read()?;
        if let Some(missing) = copy.missing {
            return Ok(Err(Broken::Removed(missing)));
        }
        copy.into_inspection()?.verify(pin)
    }

    fn entries(&self, query: &EntryQuery) -> Result<Vec<Link>, StoreError> {
        self.inspect()?.entries(query)
    }

    fn damage(&self) -> Result<Damage, StoreError> {
        self.inspect()?.damage()
    }

    fn place(&self) -> String {
        format!("stream {} of the connection {}", self.stream.as_str(), self.connection_name)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn time(&self) -> Option<Reference> {
        Some(self.time.clone())
    }
}
