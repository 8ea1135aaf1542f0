//! The body of the requests.

use bytes::Bytes;

use super::HttpConfig;

/// The body of a request.
#[derive(Debug, Default)]
pub(super) struct RequestBody {
    bytes: Bytes,
    private: bool,
}

impl RequestBody {
    /// Reads the body from its file, if it has one.
    ///
    /// # Errors
    /// The file cannot be read. The message never contains its content.
    pub(super) async fn read(config: &HttpConfig) -> Result<Self, String> {
        if let Some(file) = &config.body_file {
            let secret = file.read().await.map_err(|error| error.to_string())?;
            return Ok(Self { bytes: Bytes::copy_from_slice(secret.expose().as_bytes()), private: true });
        }
        let text = config.body.as_ref().map(|body| body.as_str().to_owned()).unwrap_or_default();
        Ok(Self { bytes: text.into(), private: false })
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Whether it comes from a file, so that only the configured origin may get it.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }
}
