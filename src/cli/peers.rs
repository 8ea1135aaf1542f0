//! The flags of `serve` about the other shards.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::Args;

use crate::clients::http::BasicAuth;
use crate::decode::values::{FilePath, HttpUrl, SecretFile, Word};
use crate::domain::shard::Shard;
use crate::web::peers::{MOST, PeerOptions};

/// The other shards, and how they are asked.
#[derive(Debug, Args)]
pub(super) struct PeerFlags {
    /// The URL of another shard, so that the page shows all shards. Can be given several times. The
    /// URL of this shard itself, and of replicas, does no harm.
    #[arg(long = "web.peers", value_name = "URL", value_parser = url)]
    peers: Vec<HttpUrl>,
    /// The authorities that the certificates of the peers are verified against. By default those of
    /// the system.
    #[arg(id = "peers_ca_file", long = "web.peers-ca-file", value_name = "FILE", value_parser = path::<FilePath>)]
    ca_file: Option<FilePath>,
    /// The user name for the peers.
    #[arg(id = "peers_username", long = "web.peers-username", value_name = "NAME", requires = "peers_password")]
    username: Option<String>,
    /// The file with the password for the peers.
    #[arg(
        id = "peers_password",
        long = "web.peers-password-file",
        value_name = "FILE",
        value_parser = path::<SecretFile>,
        requires = "peers_username",
    )]
    password_file: Option<SecretFile>,
}

fn url(text: &str) -> Result<HttpUrl, String> {
    HttpUrl::parse(text).ok_or_else(|| format!("write {}", HttpUrl::EXPECTED))
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn path<T: From<PathBuf>>(text: &str) -> Result<T, Infallible> {
    Ok(PathBuf::from(text).into())
}

impl PeerFlags {
    /// Checks that they fit the shard.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn fit(&self, shard: Shard) -> Result<(), String> {
        if !self.peers.is_empty() && shard.is_alone() {
            return Err(
                "--web.peers is for one of several shards; add --shard and --total-shards, or remove it".to_owned()
            );
        }
        if self.peers.len() > MOST {
            return Err(format!("--web.peers can be given {MOST} times at most; with more shards, use the dashboards"));
        }
        Ok(())
    }

    /// The peers. None if there are none.
    pub(super) fn options(&self) -> Option<PeerOptions> {
        let basic_auth = self.username.clone().zip(self.password_file.clone());
        (!self.peers.is_empty()).then(|| PeerOptions {
            urls: self.peers.clone(),
            ca_file: self.ca_file.clone(),
            basic_auth: basic_auth.map(|(username, password_file)| BasicAuth { username, password_file }),
        })
    }
}
