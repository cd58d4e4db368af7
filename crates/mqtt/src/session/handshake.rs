//! What comes before a connection has a session (3.1.4, 4.12): the CONNECT, whether what it asks for can be had, and the
//! enhanced authentication where it names a method.
//!
//! It knows no session, so a client that is refused takes nothing from one that is connected. User names and passwords
//! the host checks, before it gives the CONNECT to the session.

use super::{Authentication, Config};
use crate::codec::{
    Auth, AuthProperties, Binary, Connack, ConnackProperties, Connect, Error, Packet, PacketType, Reason,
    Text, Version, encoded_len, trim,
};
use crate::topics::Place;

/// A connection that is new.
#[derive(Debug)]
pub struct Handshake {
    config: Config,
    /// The CONNECT whose client is being authenticated, with the method.
    authenticating: Option<(Box<Connect>, Text)>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// Carry out a step of the enhanced authentication and tell it to `on_authenticated`.
    Authenticate {
        /// The method.
        method: Text,
        /// What the client said.
        data: Option<Binary>,
    },
    /// Send this packet; another one of the client is awaited.
    Send(Packet),
    /// Give this to the session ([`super::Input::Connect`]); there is no handshake any more.
    Accepted {
        /// The CONNECT.
        connect: Box<Connect>,
        /// What the authentication has to say in the CONNACK.
        authentication_data: Option<Binary>,
    },
    /// Send this packet, if there is one, and close the connection.
    Refused {
        /// A CONNACK, in the client's version.
        connack: Option<Packet>,
        /// Why.
        reason: Reason,
    },
}

/// The CONNACK that refuses a connection; none: the connection is only closed, because the version has no words for the reason.
pub fn refusal(reason: Reason, why: Option<&str>, version: Version) -> Option<Packet> {
    let sayable = match version {
        Version::V5 => Reason::of(reason.code(), PacketType::Connack).is_some(),
        Version::V311 => reason.to_return_code().is_some(),
    };
    let reason_string = why.and_then(Text::new);
    let properties = ConnackProperties { reason_string, ..ConnackProperties::default() };
    sayable.then(|| Packet::Connack(Box::new(Connack { session_present: false, reason, properties })))
}

impl Handshake {
    /// Of a connection from which nothing came.
    pub fn new(config: Config) -> Self {
        Self { config, authenticating: None }
    }

    /// The client sent a packet.
    pub fn on_packet(&mut self, packet: Packet) -> Greeting {
        match (packet, self.authenticating.take()) {
            (Packet::Connect(connect), None) => self.on_connect(connect),
            (_, None) => Greeting::Refused { connack: None, reason: Reason::ProtocolError }, // [MQTT-3.1.0-1]
            (Packet::Auth(auth), Some((connect, method))) => self.on_auth(*auth, connect, method),
            (Packet::Disconnect(_), Some(_)) => Greeting::Refused { connack: None, reason: Reason::Success },
            (_, Some((connect, _))) => {
                let why = "only AUTH and DISCONNECT may come before the CONNACK"; // [MQTT-3.1.2-30]
                refused(&connect, Reason::ProtocolError, Some(why))
            }
        }
    }

    /// The client sent what is no packet.
    pub fn on_violation(&mut self, error: &Error) -> Greeting {
        let reason = error.violation.reason();
        Greeting::Refused { connack: refusal(reason, Some(&error.to_string()), error.version), reason }
    }

    /// What came of an `Authenticate`.
    pub fn on_authenticated(&mut self, step: Authentication) -> Greeting {
        let Some((connect, method)) = self.authenticating.take() else {
            return Greeting::Refused { connack: None, reason: Reason::ProtocolError };
        };
        match step {
            Authentication::Continue(data) => {
                let packet = auth(Reason::ContinueAuthentication, method.clone(), data); // [MQTT-4.12.0-2]
                self.authenticating = Some((connect, method));
                Greeting::Send(packet)
            }
            Authentication::Done(authentication_data) => Greeting::Accepted { connect, authentication_data },
            Authentication::Refused(reason) => refused(&connect, reason, None), // [MQTT-4.12.0-4]
        }
    }

    fn on_connect(&mut self, connect: Box<Connect>) -> Greeting {
        if let Err((reason, why)) = self.check(&connect) {
            return refused(&connect, reason, Some(&why));
        }
        match connect.properties.authentication_method.clone() {
            None => Greeting::Accepted { connect, authentication_data: None },
            Some(method) => {
                let data = connect.properties.authentication_data.clone();
                self.authenticating = Some((connect, method.clone()));
                Greeting::Authenticate { method, data }
            }
        }
    }

    /// What a CONNECT may not ask for here.
    fn check(&self, connect: &Connect) -> Result<(), (Reason, String)> {
        let refused = |reason, why: &str| Err((reason, why.to_owned()));
        if let Some(method) = &connect.properties.authentication_method
            && !self.config.authentication_methods.contains(method)
        {
            return refused(Reason::BadAuthenticationMethod, "this authentication method is not offered"); // [MQTT-4.12.0-1]
        }
        if connect.client_id.bytes().len() > self.config.client_id_bytes_max {
            return refused(Reason::ClientIdentifierNotValid, "the client identifier is too long"); // [MQTT-3.1.3-8]
        }
        let Some(will) = &connect.will else { return Ok(()) };
        if will.qos > self.config.maximum_qos {
            return refused(Reason::QosNotSupported, "the QoS of the will is above the Maximum QoS"); // [MQTT-3.2.2-12]
        }
        if will.retain && !self.config.has_retained {
            return refused(Reason::RetainNotSupported, "there are no retained messages here"); // [MQTT-3.2.2-13]
        }
        Place::of(&will.topic).map(drop).map_err(|why| (Reason::TopicNameInvalid, format!("the will: {why}")))
    }

    fn on_auth(&mut self, auth: Auth, connect: Box<Connect>, method: Text) -> Greeting {
        let is_next = auth.reason == Reason::ContinueAuthentication; // [MQTT-4.12.0-3]
        if !is_next || auth.properties.authentication_method.as_ref() != Some(&method) {
            let why = "the authentication must go on by the method of the CONNECT";
            return refused(&connect, Reason::ProtocolError, Some(why));
        }
        self.authenticating = Some((connect, method.clone()));
        Greeting::Authenticate { method, data: auth.properties.authentication_data }
    }
}

fn refused(connect: &Connect, reason: Reason, why: Option<&str>) -> Greeting {
    let max = connect.properties.maximum_packet_size.map_or(usize::MAX, |max| max.get() as usize);
    let connack = refusal(reason, why, connect.version);
    let fits = |packet: &Packet| encoded_len(packet, connect.version) <= max;
    let connack = connack
        .and_then(|packet| if fits(&packet) { Some(packet) } else { trim(&packet, connect.version, max) });
    Greeting::Refused { connack, reason } // [MQTT-3.2.2-7]
}

/// An AUTH of the server, with the method of the CONNECT (\[MQTT-4.12.0-5\]).
pub(super) fn auth(reason: Reason, method: Text, authentication_data: Option<Binary>) -> Packet {
    let authentication_method = Some(method);
    let properties =
        AuthProperties { authentication_method, authentication_data, ..AuthProperties::default() };
    Packet::Auth(Box::new(Auth { reason, properties }))
}
