//! What every use of the client has in common.
//!
//! It holds nothing of producers or consumers; they have configurations of their own.

/// How to reach a cluster and how long to try.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to begin with, `host:port`; the first that answers is enough.
    pub bootstrap: Vec<String>,
    /// The name under which brokers see the client.
    pub client_id: String,
    /// How long opening a connection may take.
    pub connect_timeout_ms: i64,
    /// How long one request may wait for its answer; the connection is given up then.
    pub request_timeout_ms: i64,
    /// How long a call is repeated while its errors pass by themselves.
    pub retry_timeout_ms: i64,
}

impl Config {
    /// Kafka's own defaults where it has them, for these addresses.
    pub fn new(bootstrap: Vec<String>) -> Self {
        Self {
            bootstrap,
            client_id: "odradek".into(),
            connect_timeout_ms: 5_000,
            request_timeout_ms: 30_000,
            retry_timeout_ms: 30_000,
        }
    }
}
