//! The figures of the exporter itself: its configuration, its shard and its web server.

use super::{
    Builder, CONFIG_CONTRACTS, RELOAD_SUCCESS, RELOAD_SUCCESSFUL, SHARD_INFO, TOTAL_SHARDS, WEB_CLOSED, WEB_CONFIG,
    WEB_CONNECTIONS, WEB_REFUSED, as_f64, one_or_zero,
};
use crate::engine::snapshot::Configuration;
use crate::export::server;

impl Builder<'_> {
    /// The configuration, and the part of it that this shard measures.
    pub(super) fn configuration(&mut self, configuration: &Configuration) {
        self.gauge(RELOAD_SUCCESSFUL, &[], one_or_zero(configuration.refused.is_none()));
        let read = self.seconds_since_epoch(configuration.read);
        self.gauge(RELOAD_SUCCESS, &[], read);
        let share = &configuration.share;
        self.gauge(SHARD_INFO, &[("shard", &share.shard.index().to_string())], 1.0);
        self.gauge(TOTAL_SHARDS, &[], f64::from(share.shard.total()));
        self.gauge(CONFIG_CONTRACTS, &[], as_f64(share.contracts as u64));
    }

    /// The web server.
    pub(super) fn server(&mut self) {
        self.gauge(WEB_CONNECTIONS, &[], as_f64(server::open() as u64));
        for (reason, count) in server::closings() {
            self.counter(WEB_CLOSED, &[("reason", reason)], as_f64(count));
        }
        for (reason, count) in server::refusals() {
            self.counter(WEB_REFUSED, &[("reason", reason)], as_f64(count));
        }
        self.known(WEB_CONFIG, &[], server::configuration_is_good().map(one_or_zero));
    }
}
