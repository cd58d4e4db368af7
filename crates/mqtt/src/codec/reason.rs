//! The reason codes of MQTT 5.0 (2.4, table 2-6), in which packets each may stand, and the return codes of MQTT 3.1.1.
//!
//! Who may send a code, client or server, is not checked here but by the session.

use super::PacketType;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal in [$($packet:ident)*],)*) => {
        /// What came of a request, or why a connection ends. From 0x80 on it is a failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// All of them, with the packets in which each may stand.
            pub const ALL: &[(Reason, &[PacketType])] =
                &[$((Reason::$name, &[$(PacketType::$packet),*]),)*];
        }
    };
}

reasons! {
    /// It was done; of DISCONNECT: normal disconnection; of SUBACK: granted QoS 0.
    Success = 0x00 in [Connack Puback Pubrec Pubrel Pubcomp Suback Unsuback Disconnect Auth],
    /// Granted QoS 1.
    GrantedQos1 = 0x01 in [Suback],
    /// Granted QoS 2.
    GrantedQos2 = 0x02 in [Suback],
    /// The client goes, and its will is to be published.
    DisconnectWithWill = 0x04 in [Disconnect],
    /// It was taken, and nobody is subscribed to it.
    NoMatchingSubscribers = 0x10 in [Puback Pubrec],
    /// There was no such subscription to end.
    NoSubscriptionExisted = 0x11 in [Unsuback],
    /// Another step of the authentication is needed.
    ContinueAuthentication = 0x18 in [Auth],
    /// The client wants to authenticate anew.
    ReAuthenticate = 0x19 in [Auth],
    /// The sender does not say why.
    UnspecifiedError = 0x80 in [Connack Puback Pubrec Suback Unsuback Disconnect],
    /// The packet could not be read.
    MalformedPacket = 0x81 in [Connack Disconnect],
    /// The packet could be read and is not allowed.
    ProtocolError = 0x82 in [Connack Disconnect],
    /// It is valid, and this server does not take it.
    ImplementationSpecificError = 0x83 in [Connack Puback Pubrec Suback Unsuback Disconnect],
    /// The server does not speak this version.
    UnsupportedProtocolVersion = 0x84 in [Connack],
    /// The client identifier is not allowed.
    ClientIdentifierNotValid = 0x85 in [Connack],
    /// User name or password are wrong.
    BadUserNameOrPassword = 0x86 in [Connack],
    /// The client may not do this.
    NotAuthorized = 0x87 in [Connack Puback Pubrec Suback Unsuback Disconnect],
    /// There is no server.
    ServerUnavailable = 0x88 in [Connack],
    /// The server has too much to do.
    ServerBusy = 0x89 in [Connack Disconnect],
    /// The client is banned.
    Banned = 0x8A in [Connack],
    /// The server stops.
    ServerShuttingDown = 0x8B in [Disconnect],
    /// The authentication method is not offered, or not the one in use.
    BadAuthenticationMethod = 0x8C in [Connack Disconnect],
    /// Nothing came for one and a half times the keep alive.
    KeepAliveTimeout = 0x8D in [Disconnect],
    /// Another connection has the same client identifier.
    SessionTakenOver = 0x8E in [Disconnect],
    /// The topic filter is well-formed and not accepted.
    TopicFilterInvalid = 0x8F in [Suback Unsuback Disconnect],
    /// The topic name is well-formed and not accepted.
    TopicNameInvalid = 0x90 in [Connack Puback Pubrec Disconnect],
    /// The packet identifier is in use.
    PacketIdentifierInUse = 0x91 in [Puback Pubrec Suback Unsuback],
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92 in [Pubrel Pubcomp],
    /// More publications were in flight than the Receive Maximum allows.
    ReceiveMaximumExceeded = 0x93 in [Disconnect],
    /// The topic alias is 0 or above the Topic Alias Maximum.
    TopicAliasInvalid = 0x94 in [Disconnect],
    /// The packet is larger than the Maximum Packet Size.
    PacketTooLarge = 0x95 in [Connack Disconnect],
    /// The client sends too fast.
    MessageRateTooHigh = 0x96 in [Disconnect],
    /// A limit of the implementation or the operator is exceeded.
    QuotaExceeded = 0x97 in [Connack Puback Pubrec Suback Disconnect],
    /// An operator ended the connection.
    AdministrativeAction = 0x98 in [Disconnect],
    /// The payload is not what its Payload Format Indicator says.
    PayloadFormatInvalid = 0x99 in [Connack Puback Pubrec Disconnect],
    /// The server keeps no retained messages.
    RetainNotSupported = 0x9A in [Connack Disconnect],
    /// The QoS is above the Maximum QoS.
    QosNotSupported = 0x9B in [Connack Disconnect],
    /// For a while, another server is to be used.
    UseAnotherServer = 0x9C in [Connack Disconnect],
    /// From now on, another server is to be used.
    ServerMoved = 0x9D in [Connack Disconnect],
    /// There are no shared subscriptions here.
    SharedSubscriptionsNotSupported = 0x9E in [Suback Disconnect],
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F in [Connack Disconnect],
    /// The connection was open for as long as it may be.
    MaximumConnectTime = 0xA0 in [Disconnect],
    /// There are no subscription identifiers here.
    SubscriptionIdentifiersNotSupported = 0xA1 in [Suback Disconnect],
    /// There are no wildcards here.
    WildcardSubscriptionsNotSupported = 0xA2 in [Suback Disconnect],
}

impl Reason {
    /// The byte on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether it says that something failed (2.4).
    pub fn is_failure(self) -> bool {
        self.code() >= 0x80
    }

    /// The reason with this code, if it may stand in this packet (\[MQTT-3.2.2-8\], \[MQTT-3.4.2-1\] and the like).
    pub fn of(code: u8, packet: PacketType) -> Option<Reason> {
        Self::ALL
            .iter()
            .find(|(reason, packets)| reason.code() == code && packets.contains(&packet))
            .map(|(reason, _)| *reason)
    }

    /// The return code that a CONNACK of MQTT 3.1.1 has for it (3.2.2.3, table 3.1). None: that version has none, and
    /// the connection is only closed.
    pub fn to_return_code(self) -> Option<u8> {
        match self {
            Reason::Success => Some(0),
            Reason::UnsupportedProtocolVersion => Some(1),
            Reason::ClientIdentifierNotValid => Some(2),
            Reason::ServerUnavailable | Reason::ServerBusy | Reason::QuotaExceeded => Some(3),
            Reason::BadUserNameOrPassword => Some(4),
            Reason::NotAuthorized | Reason::Banned | Reason::BadAuthenticationMethod => Some(5),
            _ => None,
        }
    }

    /// The reason for a return code of MQTT 3.1.1.
    pub fn from_return_code(code: u8) -> Option<Reason> {
        const REASONS: [Reason; 6] = [
            Reason::Success,
            Reason::UnsupportedProtocolVersion,
            Reason::ClientIdentifierNotValid,
            Reason::ServerUnavailable,
            Reason::BadUserNameOrPassword,
            Reason::NotAuthorized,
        ];
        REASONS.get(usize::from(code)).copied()
    }
}
