//! What the server can do, and every bound of a session.
//!
//! The host makes it of its configuration; [`Config::STANDARD`] is what is documented. A bound that is reached is answered
//! with the reason code named at it.

use std::num::NonZeroU16;

use crate::codec::{QoS, Text};

/// What the server offers and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The longest time in seconds that a session outlives its connection; what asks for more is told so in CONNACK.
    /// `u32::MAX`: without end. Standard: 604,800, a week.
    pub session_expiry_max_s: u32,
    /// How long, in seconds, a session of MQTT 3.1.1 with CleanSession 0 outlives its connection. Standard: a week.
    pub session_expiry_v311_s: u32,
    /// How many PUBLISH of QoS 1 and 2 are taken at once (0x93). Standard: 64.
    pub receive_maximum: NonZeroU16,
    /// How many PUBLISH of QoS 2 may be received and not released, those of earlier connections included (0x93), of MQTT
    /// 3.1.1 too, which knows no Receive Maximum. Standard: 1,024.
    pub received_max: usize,
    /// How many PUBLISH of QoS 1 and 2 are in flight to the client, whatever it allows. Standard: 256.
    pub in_flight_max: usize,
    /// The largest packet that is taken, in bytes; the host decodes with it (0x95). Standard: 1 MiB.
    pub packet_bytes_max: u32,
    /// The highest topic alias that a client may use (0x94); each may hold a topic name of 65,535 bytes. Standard: 16.
    pub topic_alias_maximum: u16,
    /// How many topic aliases are used towards a client, whatever it allows. Standard: 16.
    pub topic_aliases_out_max: u16,
    /// The highest QoS of a PUBLISH that is taken (0x9B), and that a subscription is granted. Standard: 2.
    pub maximum_qos: QoS,
    /// Whether there are retained messages (0x9A). Standard: yes.
    pub has_retained: bool,
    /// Whether filters may have wildcards (0xA2). Standard: yes.
    pub has_wildcards: bool,
    /// Whether there are subscription identifiers (0xA1). Standard: yes.
    pub has_subscription_ids: bool,
    /// Whether there are shared subscriptions (0x9E). Standard: yes.
    pub has_shared: bool,
    /// The longest keep alive in seconds; 0: any. A client that asks for none or for more is told this one in CONNACK; one of
    /// MQTT 3.1.1 cannot be told, and keeps its own. Standard: 1,200.
    pub keep_alive_max_s: u16,
    /// The longest client identifier in bytes (0x85). Standard: 1,024.
    pub client_id_bytes_max: usize,
    /// How many subscriptions a session has (0x97). Standard: 1,024.
    pub subscriptions_max: usize,
    /// How many filters of one SUBSCRIBE are served; the others are refused (0x97). Standard: 256.
    pub filters_max: usize,
    /// How many SUBSCRIBE and UNSUBSCRIBE wait for each other; while there are more no packet is read. Standard: 16.
    pub requests_max: usize,
    /// How many records are asked for at once to be sent again. Standard: 16.
    pub rereads_max: usize,
    /// How long, in milliseconds, positions of records may be sent or acknowledged and not yet saved. A node that is lost
    /// within it sends them again, of QoS 0 and 1. Standard: 1,000.
    pub save_interval_ms: i64,
    /// Methods of enhanced authentication (4.12) that the host carries out (0x8C). Standard: none.
    pub authentication_methods: Vec<Text>,
}

const WEEK_S: u32 = 7 * 24 * 60 * 60;

impl Config {
    /// What is documented.
    pub const STANDARD: Config = Config {
        session_expiry_max_s: WEEK_S,
        session_expiry_v311_s: WEEK_S,
        receive_maximum: NonZeroU16::MIN.saturating_add(63),
        received_max: 1024,
        in_flight_max: 256,
        packet_bytes_max: 1024 * 1024,
        topic_alias_maximum: 16,
        topic_aliases_out_max: 16,
        maximum_qos: QoS::ExactlyOnce,
        has_retained: true,
        has_wildcards: true,
        has_subscription_ids: true,
        has_shared: true,
        keep_alive_max_s: 1200,
        client_id_bytes_max: 1024,
        subscriptions_max: 1024,
        filters_max: 256,
        requests_max: 16,
        rereads_max: 16,
        save_interval_ms: 1000,
        authentication_methods: Vec::new(),
    };
}
