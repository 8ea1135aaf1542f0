//! The headers of a request, some of them read from files.

use std::fmt::Display;

use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::{CREDENTIALS_UNREADABLE, HttpConfig};
use crate::config::values::{Secret, SecretFile};
use crate::domain::observation::Finding;

/// The headers of a run.
pub(super) struct Headers {
    /// What anybody may see.
    public: HeaderMap,
    /// What only the configured origin may see: everything that came from a file.
    private: HeaderMap,
    basic: Option<(String, Secret)>,
}

impl Headers {
    /// Reads what is in files.
    ///
    /// # Errors
    /// A file cannot be read, or holds what no header can carry. Never tells what it holds.
    pub(super) async fn read(config: &HttpConfig) -> Result<Self, Finding> {
        let mut public = HeaderMap::new();
        let mut private = HeaderMap::new();
        let user_agent = concat!("dr-exporter/", env!("CARGO_PKG_VERSION"));
        public.insert(USER_AGENT, HeaderValue::from_static(user_agent));
        for (name, header) in &config.headers {
            let parsed = HeaderName::from_bytes(name.as_str().as_bytes());
            let key = parsed.map_err(|_| unusable(&format!("{:?} is not a header's name", name.as_str())))?;
            if let Some(file) = &header.value_file {
                public.remove(&key);
                private.insert(key, secret(file, file.read().await.map_err(|error| unusable(&error))?.expose())?);
            } else if let Some(text) = &header.value {
                let value = HeaderValue::from_bytes(text.as_bytes());
                let value = value.map_err(|_| unusable(&format!("no header can carry the value of {key}")))?;
                // The host's name holds for the configured host alone.
                if key == HOST {
                    private.insert(key, value)
                } else {
                    public.insert(key, value)
                };
            }
        }
        if let Some(file) = &config.bearer_token_file {
            let token = file.read().await.map_err(|error| unusable(&error))?;
            private.insert(AUTHORIZATION, secret(file, &format!("Bearer {}", token.expose()))?);
        }
        let basic = match &config.basic_auth {
            None => None,
            Some(auth) => {
                let password = auth.password_file.read().await.map_err(|error| unusable(&error))?;
                Some((auth.username.clone(), password))
            }
        };
        Ok(Self { public, private, basic })
    }

    /// Adds the headers to a request, the private ones if it goes to the configured origin.
    pub(super) fn add_to(&self, request: reqwest::RequestBuilder, to_origin: bool) -> reqwest::RequestBuilder {
        let request = request.headers(self.public.clone());
        if !to_origin {
            return request;
        }
        let request = request.headers(self.private.clone());
        match &self.basic {
            Some((user, password)) => request.basic_auth(user, Some(password.expose())),
            None => request,
        }
    }
}

fn secret(file: &SecretFile, text: &str) -> Result<HeaderValue, Finding> {
    let value = HeaderValue::from_bytes(text.as_bytes());
    let mut value = value
        .map_err(|_| unusable(&format!("{}: holds characters that no header can carry", file.path().display())))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unusable(problem: &impl Display) -> Finding {
    Finding::new(&CREDENTIALS_UNREADABLE, problem.to_string())
}
