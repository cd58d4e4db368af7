//! CONNECT (3.1): who the client is, what it asks of the session, and what to publish when it is gone.
//!
//! It does not say whether the client may connect, and assigns no client identifier.

use bytes::BytesMut;

use super::reader::Reader;
use super::sink::Sink;
use super::{Binary, ConnectProperties, Error, QoS, Text, Version, Violation, WillProperties};
use crate::topics;

/// The first packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the connection speaks.
    pub version: Version,
    /// Clean Start (3.1.2.4); of MQTT 3.1.1 CleanSession.
    pub clean_start: bool,
    /// Seconds within which the client sends something; 0: it need not.
    pub keep_alive: u16,
    /// Properties; of MQTT 3.1.1 none.
    pub properties: ConnectProperties,
    /// Who the client is; empty: the server assigns an identifier.
    pub client_id: Text,
    /// What is to be published when the connection is lost.
    pub will: Option<Will>,
    /// The user's name.
    pub user_name: Option<Text>,
    /// The user's password, or a token.
    pub password: Option<Binary>,
}

/// A Will Message (3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// With which QoS it is published.
    pub qos: QoS,
    /// Whether it becomes the topic's retained message.
    pub retain: bool,
    /// Properties; of MQTT 3.1.1 none.
    pub properties: WillProperties,
    /// Where it is published.
    pub topic: Text,
    /// What is published.
    pub payload: Binary,
}

const RESERVED: u8 = 0x01;
const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

impl Connect {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let name =
            reader.text("protocol name").map_err(|violation| Error { violation, version: Version::V311 })?;
        let level =
            reader.u8("protocol version").map_err(|violation| Error { violation, version: Version::V311 })?;
        // Versions below 5 read the CONNACK of MQTT 3.1.1; what comes later can only know that of 5.0.
        let version = if level < 5 { Version::V311 } else { Version::V5 };
        let checked = match (name.as_str(), level) {
            ("MQTT", 4 | 5) => Ok(()),
            ("MQTT", _) | ("MQIsdp", 3) => Err(Violation::ProtocolVersion(level)),
            _ => Err(Violation::ProtocolName),
        };
        checked
            .and_then(|()| Self::read_rest(reader, version))
            .map_err(|violation| Error { violation, version })
    }

    fn read_rest(reader: &mut Reader<'_>, version: Version) -> Result<Self, Violation> {
        let flags = reader.u8("connect flags")?;
        check_flags(flags, version)?;
        let keep_alive = reader.u16("keep alive")?;
        let properties = match version {
            Version::V5 => ConnectProperties::read(reader)?,
            Version::V311 => ConnectProperties::default(),
        };
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(Violation::AuthenticationDataAlone);
        }
        let client_id = reader.text("client identifier")?;
        let clean_start = flags & CLEAN_START != 0;
        if version == Version::V311 && client_id.is_empty() && !clean_start {
            return Err(Violation::ClientIdEmpty);
        }
        let will = (flags & WILL != 0).then(|| Will::read(reader, flags, version)).transpose()?;
        let user_name = (flags & USER_NAME != 0).then(|| reader.text("user name")).transpose()?;
        let password = (flags & PASSWORD != 0).then(|| reader.binary("password")).transpose()?;
        reader.end()?;
        Ok(Self { version, clean_start, keep_alive, properties, client_id, will, user_name, password })
    }

    pub(super) fn write(&self, sink: &mut impl Sink) {
        sink.u16(4);
        sink.put(b"MQTT");
        sink.u8(if self.version == Version::V5 { 5 } else { 4 });
        sink.u8(self.flags());
        sink.u16(self.keep_alive);
        if self.version == Version::V5 {
            self.properties.write(sink);
        }
        sink.text(&self.client_id);
        if let Some(will) = &self.will {
            will.write_fields(sink, self.version);
        }
        if let Some(user_name) = &self.user_name {
            sink.text(user_name);
        }
        if let Some(password) = &self.password {
            sink.binary(password);
        }
    }

    fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, Will::flags);
        let set = |condition, flag| if condition { flag } else { 0 };
        set(self.clean_start, CLEAN_START)
            | will
            | set(self.user_name.is_some(), USER_NAME)
            | set(self.password.is_some(), PASSWORD)
    }
}

fn check_flags(flags: u8, version: Version) -> Result<(), Violation> {
    let will_qos = flags >> WILL_QOS_SHIFT & 3;
    let will_says_nothing = will_qos == 0 && flags & WILL_RETAIN == 0;
    match flags {
        _ if flags & RESERVED != 0 => Err(Violation::ConnectFlagReserved),
        _ if flags & WILL == 0 && !will_says_nothing => Err(Violation::WillFlags(flags)),
        _ if will_qos == 3 => Err(Violation::WillFlags(flags)),
        _ if version == Version::V311 && flags & (USER_NAME | PASSWORD) == PASSWORD => {
            Err(Violation::PasswordWithoutUserName)
        }
        _ => Ok(()),
    }
}

impl Will {
    /// The same in memory of its own.
    pub(crate) fn detached(&self) -> Self {
        let mut bytes = BytesMut::new();
        self.write(&mut bytes);
        Self::restored(&mut Reader::new(&bytes.freeze())).unwrap_or_else(|_| self.clone())
    }

    /// As it is kept: the flags that it has in a CONNECT, then its fields as in one of MQTT 5.0.
    pub(crate) fn write(&self, sink: &mut impl Sink) {
        sink.u8(self.flags());
        self.write_fields(sink, Version::V5);
    }

    /// From what `write` gave.
    pub(crate) fn restored(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        let flags = reader.u8("will flags")?;
        Self::read(reader, flags, Version::V5)
    }

    fn flags(&self) -> u8 {
        WILL | (self.qos as u8) << WILL_QOS_SHIFT | if self.retain { WILL_RETAIN } else { 0 }
    }

    fn write_fields(&self, sink: &mut impl Sink, version: Version) {
        if version == Version::V5 {
            self.properties.write(sink);
        }
        sink.text(&self.topic);
        sink.binary(&self.payload);
    }

    fn read(reader: &mut Reader<'_>, flags: u8, version: Version) -> Result<Self, Violation> {
        let properties = match version {
            Version::V5 => WillProperties::read(reader)?,
            Version::V311 => WillProperties::default(),
        };
        check_response_topic(&properties.response_topic)?;
        let topic = reader.text("will topic")?;
        topics::check_name(topic.bytes()).map_err(Violation::Topic)?;
        let payload = reader.binary("will payload")?;
        Ok(Self {
            qos: QoS::of(flags >> WILL_QOS_SHIFT & 3).ok_or(Violation::WillFlags(flags))?,
            retain: flags & WILL_RETAIN != 0,
            properties,
            topic,
            payload,
        })
    }
}

/// \[MQTT-3.3.2-14\].
pub(super) fn check_response_topic(topic: &Option<Text>) -> Result<(), Violation> {
    let checked = topic.as_ref().map_or(Ok(()), |topic| topics::check_name(topic.bytes()));
    checked.map_err(Violation::ResponseTopic)
}
