//! The one TLS stack: rustls with ring, trusting the system's roots or a given CA file.
