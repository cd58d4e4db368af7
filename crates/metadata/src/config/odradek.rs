//! The keys that Kafka does not have.
//!
//! A table like its neighbours; the topic key and the broker key have the same name. The catalogue puts them beside
//! Kafka's.

use super::key::{
    Default::Text,
    Importance::{High, Low, Medium},
    Key,
    Kind::{Boolean, Int, List, Long, String},
    Valid::{Any, AtLeast, Between, NonEmpty, OneOf},
    key,
};

/// The key of [`AckDurability`].
pub(super) const ACK_DURABILITY: &str = "odradek.ack.durability";

/// Whether replicas that are not in sync are sent only what leaves producers in peace.
pub(super) const CATCH_UP_PACED: &str = "odradek.catch.up.paced";

pub(super) const HTTP_LISTENER: &str = "odradek.http.listener";

/// Where streams are served over HTTP.
pub(super) const GATEWAY_LISTENERS: &str = "odradek.gateway.listeners";

/// Where MQTT is served.
pub(super) const MQTT_LISTENERS: &str = "odradek.gateway.mqtt.listeners";

/// How many clients of MQTT at most.
pub(super) const MQTT_CONNECTIONS: &str = "odradek.gateway.mqtt.connections.max";

/// Whose pages may use them.
pub(super) const GATEWAY_ORIGINS: &str = "odradek.gateway.cors.origins";

/// By which names they are called.
pub(super) const GATEWAY_HOSTS: &str = "odradek.gateway.hosts";

/// How many connections one address may have.
pub(super) const GATEWAY_ADDRESS_CONNECTIONS: &str = "odradek.gateway.address.connections.max";

/// How often one address may ask.
pub(super) const GATEWAY_ADDRESS_REQUESTS: &str = "odradek.gateway.address.requests.per.second";

/// Who asks for others.
pub(super) const GATEWAY_PROXIES: &str = "odradek.gateway.proxies";

/// What signs tokens.
pub(super) const GATEWAY_KEYS: &str = "odradek.gateway.tokens.keys.file";

/// Whether one is wanted.
pub(super) const GATEWAY_TOKENS_REQUIRED: &str = "odradek.gateway.tokens.required";

/// Who issues them.
pub(super) const GATEWAY_ISSUERS: &str = "odradek.gateway.tokens.issuers";

/// Whom they are meant for.
pub(super) const GATEWAY_AUDIENCES: &str = "odradek.gateway.tokens.audiences";

/// How far clocks are apart.
pub(super) const GATEWAY_LEEWAY: &str = "odradek.gateway.tokens.leeway.seconds";

/// In which cookie they are.
pub(super) const GATEWAY_COOKIE: &str = "odradek.gateway.tokens.cookie";

/// Who it is under TLS.
pub(super) const GATEWAY_CERTIFICATE: &str = "odradek.gateway.tls.certificate.file";

/// What proves that.
pub(super) const GATEWAY_CERTIFICATE_KEY: &str = "odradek.gateway.tls.key.file";

/// How many connections at most.
pub(super) const GATEWAY_CONNECTIONS: &str = "odradek.gateway.connections.max";

/// How long they wait for news.
pub(super) const GATEWAY_POLL: &str = "odradek.gateway.long.poll.ms";

/// What clients call it.
pub(super) const GATEWAY_URL: &str = "odradek.gateway.public.url";

/// The content type of streams that nobody has created.
pub(super) const STREAM_CONTENT_TYPE: &str = "odradek.stream.content.type";

/// Whether a topic's records are found by their keys.
pub(super) const KEY_INDEX: &str = "odradek.key.index";

/// How fast replicas are verified.
pub(super) const SCRUB_RATE: &str = "odradek.scrub.bytes.per.second";

/// How often replicas are verified.
pub(super) const SCRUB_INTERVAL: &str = "odradek.scrub.interval.ms";

#[rustfmt::skip]
pub(super) const BROKER_KEYS: &[Key] = &[
    key(ACK_DURABILITY, String, Text("fsync"), OneOf(&["fsync", "page-cache"]), High,
        "When a write is acknowledged: once it is on stable storage ('fsync'), or once the operating system has it \
         ('page-cache', as Apache Kafka does), which a power cut can take back.").dynamic(),
    key(CATCH_UP_PACED, Boolean, Text("true"), Any, Medium,
        "Whether leaders send to replicas that are not in sync, such as those of a new node, only as much as leaves the \
         acknowledgements of producers about as quick as they were, and never less than twice what is produced.").dynamic(),
    key(GATEWAY_ADDRESS_CONNECTIONS, Int, Text("1000"), AtLeast(0), Medium,
        "How many connections to the gateway listeners one client address (of IPv6: one /64) may have; 0 for any number."),
    key(GATEWAY_ADDRESS_REQUESTS, Int, Text("500"), Between(0, 100_000_000), Medium,
        "How many requests in a second one client address (of IPv6: one /64) may make in the long run, and ten times as many at \
         once; 0 for any number."),
    key(GATEWAY_CONNECTIONS, Int, Text("10000"), AtLeast(1), Medium,
        "How many connections all gateway listeners together serve; one more is told to come again."),
    key(GATEWAY_ORIGINS, List, Text(""), Any, Medium,
        "Pages of which origins may use streams, such as https://app.example.com; loopback for pages that this machine serves \
         itself, * for any. Those of odradek.gateway.public.url always may. What is no browser is not asked."),
    key(GATEWAY_HOSTS, List, Text(""), Any, Medium,
        "By which names clients may call the gateway listeners besides that of odradek.gateway.public.url and localhost; * for any. \
         Empty: any, but for listeners that only this machine reaches, which keeps foreign pages from them."),
    key(GATEWAY_LISTENERS, List, Text(""), Any, Medium,
        "Where keys of topics are served as streams over HTTP, such as HTTP://127.0.0.1:8080 or HTTPS://:8443; empty for nowhere. Without \
         odradek.gateway.tokens.keys.file whoever reaches it may read and write all topics but the internal ones."),
    key(GATEWAY_POLL, Long, Text("20000"), Between(1, 300_000), Low,
        "How long a reader of a stream that asks for news waits, if none come. Less than what proxies before the node allow."),
    key(MQTT_CONNECTIONS, Int, Text("10000"), AtLeast(1), Medium,
        "How many connections all listeners for MQTT together serve; one more is closed."),
    key(MQTT_LISTENERS, List, Text(""), Any, Medium,
        "Where MQTT 3.1.1 and 5.0 are served, such as MQTT://127.0.0.1:1883; empty for nowhere. Without \
         odradek.gateway.tokens.keys.file whoever reaches it may read and write all topics but the internal ones."),
    key(GATEWAY_PROXIES, List, Text("127.0.0.0/8,::1"), Any, Medium,
        "Addresses and networks of proxies before the gateway listeners. What they say in X-Forwarded-For is believed: that client is \
         counted, and not the proxy."),
    key(GATEWAY_URL, String, Text(""), Any, Low,
        "What clients put before the paths of streams, such as https://streams.example.com, if that is not http:// and the Host \
         that they send."),
    key(GATEWAY_CERTIFICATE, String, Text(""), Any, Medium,
        "A PEM file: the certificate of the gateway's HTTPS listeners, and those that lead to one that clients trust. It is read again \
         when it changes."),
    key(GATEWAY_CERTIFICATE_KEY, String, Text(""), Any, Medium,
        "A PEM file: the private key of that certificate, without a password. It is read again when it changes."),
    key(GATEWAY_AUDIENCES, List, Text(""), Any, Medium,
        "Which aud a token for the gateway listeners may have; empty: it has none."),
    key(GATEWAY_COOKIE, String, Text(""), Any, Low,
        "The name of the cookie in which pages of listed origins may have their token; empty for none."),
    key(GATEWAY_ISSUERS, List, Text(""), Any, Medium,
        "Which iss a token for the gateway listeners may have; empty for any."),
    key(GATEWAY_KEYS, String, Text(""), Any, High,
        "A file with a JSON Web Key Set: keys that sign tokens for the gateway listeners. It is read again when it changes. Empty: no token \
         is wanted, and none is looked at."),
    key(GATEWAY_LEEWAY, Int, Text("10"), Between(0, 300), Low,
        "How many seconds the clocks of those who sign tokens may be apart from this one."),
    key(GATEWAY_TOKENS_REQUIRED, Boolean, Text("true"), Any, Medium,
        "Whether requests without a token are refused, where there are keys; else they may do anything."),
    key(HTTP_LISTENER, String, Text("127.0.0.1:9644"), Any, Medium,
        "Where the private HTTP port listens (metrics, health); empty for none. It must not be reachable from \
         outside."),
    key(SCRUB_RATE, Long, Text("8388608"), AtLeast(0), Medium,
        "The most bytes per second that are read to find out whether the disk still has what was written; 0 for never. \
         Less is read while the disk is busy.").dynamic(),
    key(SCRUB_INTERVAL, Long, Text("604800000"), AtLeast(1), Medium,
        "Everything is read once in so long; at most, for a large disk takes longer than that at a low rate.").dynamic(),
];

#[rustfmt::skip]
pub(super) const TOPIC_KEYS: &[Key] = &[
    key(ACK_DURABILITY, String, Text("fsync"), OneOf(&["fsync", "page-cache"]), High,
        "When a write to this topic is acknowledged: once it is on stable storage ('fsync'), or once the operating \
         system has it ('page-cache').").from(&[ACK_DURABILITY]),
    key(KEY_INDEX, Boolean, Text("false"), Any, Medium,
        "Whether the offsets of the records of each key are kept beside the segments, so that one key is read without \
         reading the others. It takes up to 12 bytes of disk a record, and is built behind what is appended."),
    key(STREAM_CONTENT_TYPE, String, Text("application/octet-stream"), NonEmpty, Medium,
        "The content type of a key's stream that Kafka's producers have written and nobody has created over HTTP."),
];

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckDurability {
    /// The records are on stable storage.
    #[default]
    Fsync,
    /// The operating system has the records.
    PageCache,
}
