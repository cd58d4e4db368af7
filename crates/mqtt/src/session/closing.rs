//! The end of a connection and of a session (3.14, 3.1.2.5, 4.1): what is sent last, what becomes of the will, and for
//! how long the session stays.
//!
//! A will is published before the save that forgets it, with a sequence, so that it is lost in no crash and doubled in none.

use super::connection::Connection;
use super::{Effect, Link, Now, Publication, Sequence, Session, State, Token};
use crate::codec::{Disconnect, PublishProperties, Reason};
use crate::topics::Place;

impl Session {
    /// The server ends the connection: says why if the version has words for it, and closes.
    pub(super) fn close(&mut self, reason: Reason, why: Option<&str>) {
        match std::mem::replace(&mut self.link, Link::Closed) {
            Link::Closed => {}
            Link::Opening(..) => {
                self.refuse_opening(reason, why);
                self.effects.push(Effect::Close(reason));
                self.on_closed();
            }
            Link::Open => {
                self.send_disconnect(reason, why);
                self.effects.push(Effect::Close(reason)); // [MQTT-3.14.4-2]
                self.on_closed();
            }
        }
    }

    pub(super) fn on_lost(&mut self) {
        match std::mem::replace(&mut self.link, Link::Closed) {
            Link::Closed => {}
            Link::Opening(..) | Link::Open => self.on_closed(),
        }
    }

    pub(super) fn on_disconnect(&mut self, disconnect: &Disconnect) {
        if !may_client_send(disconnect.reason) {
            return self.close_for(Reason::ProtocolError, "only a server gives this reason");
        }
        if let Some(expiry) = disconnect.properties.session_expiry_interval {
            if self.state.expiry_interval == 0 && expiry > 0 {
                // 3.14.2.2.2
                return self
                    .close_for(Reason::ProtocolError, "a session that was to end cannot be kept any more");
            }
            self.state.expiry_interval = expiry.min(self.config.session_expiry_max_s);
        }
        if disconnect.reason == Reason::Success {
            self.state.will = None; // [MQTT-3.14.4-3]
        }
        self.link = Link::Closed;
        self.effects.push(Effect::Close(disconnect.reason));
        self.on_closed();
    }

    /// The connection is gone, the session stays or not.
    fn on_closed(&mut self) {
        self.connection = Connection { number: self.connection.number, ..Connection::default() };
        self.by_filter.retain(|_, number| self.state.subscriptions.contains_key(number));
        self.state.in_flight.iter_mut().for_each(|message| message.is_on_wire = false);
        self.state.closed_at_ms = Some(self.now.timestamp_ms);
        if !self.is_durable() {
            self.end_session();
            return self.effects.push(Effect::Discard);
        }
        self.publish_due_will();
        self.save();
    }

    /// There is no session any more; what of it is to be removed, the caller orders.
    pub(super) fn end_session(&mut self) {
        self.publish_will();
        self.effects.extend(self.state.subscriptions.keys().map(|number| Effect::Unsubscribe(*number)));
        self.exists = false;
        self.state = State::default();
        self.by_filter.clear();
    }

    /// \[MQTT-3.1.2-8\].
    pub(super) fn publish_due_will(&mut self) {
        if self.state.will_due_at_ms().is_some_and(|due| due <= self.now.timestamp_ms) {
            self.publish_will();
            self.save();
        }
    }

    fn publish_will(&mut self) {
        let Some(stored) = self.state.will.take() else { return }; // [MQTT-3.1.2-10]
        let Ok(place) = Place::of(&stored.will.topic) else { return }; // the handshake has checked it
        let properties = stored.will.properties;
        let publication = Publication {
            token: Token::Will,
            sequence: Some(Sequence { session: self.state.id, number: stored.sequence }),
            name: stored.will.topic,
            place,
            qos: stored.will.qos,
            retain: stored.will.retain,
            properties: PublishProperties {
                payload_format_indicator: properties.payload_format_indicator,
                message_expiry_interval: properties.message_expiry_interval,
                content_type: properties.content_type,
                response_topic: properties.response_topic,
                correlation_data: properties.correlation_data,
                user_properties: properties.user_properties,
                ..PublishProperties::default()
            },
            payload: stored.will.payload.bytes().clone(),
        };
        self.before_save.push(Effect::Store(Box::new(publication)));
    }

    pub(super) fn on_tick(&mut self) {
        if self.saves.is_dirty && self.save_in_ms() <= 0 {
            self.saves.is_wanted = true;
        }
        match self.link {
            Link::Closed if self.exists => {
                self.publish_due_will();
                if self.state.expires_at_ms().is_some_and(|at| at <= self.now.timestamp_ms) {
                    self.end_session(); // [MQTT-4.1.0-2]
                    self.effects.push(Effect::Discard);
                }
            }
            Link::Closed => {}
            // Nothing is read from the client while it is held up: that is not its silence.
            Link::Opening(..) | Link::Open if !self.accepts() => {
                self.connection.heard_at_ms = self.now.monotonic_ms
            }
            Link::Opening(..) | Link::Open => {
                if self.silence_in_ms().is_some_and(|left| left <= 0) {
                    self.close(Reason::KeepAliveTimeout, None); // [MQTT-3.1.2-22]
                }
            }
        }
    }

    /// In how many milliseconds a `Tick` has something to do. None: not while nothing happens.
    pub fn tick_in_ms(&self, now: Now) -> Option<i64> {
        let until = |at: Option<i64>| at.map(|at| at.saturating_sub(now.timestamp_ms));
        let silence = self.connection.heard_at_ms + self.connection.silence_ms_max;
        let timers = match self.link {
            Link::Closed if self.exists => {
                [until(self.state.will_due_at_ms()), until(self.state.expires_at_ms())]
            }
            Link::Closed => [None, None],
            _ => [(self.connection.silence_ms_max > 0).then_some(silence - now.monotonic_ms), None],
        };
        let save = self.saves.asked_at_ms + self.config.save_interval_ms - now.monotonic_ms;
        let save = self.saves.is_dirty.then_some(save);
        timers.into_iter().chain([save]).flatten().min().map(|left| left.max(0))
    }

    fn silence_in_ms(&self) -> Option<i64> {
        let max = Some(self.connection.silence_ms_max).filter(|max| *max > 0)?;
        Some(self.connection.heard_at_ms + max - self.now.monotonic_ms)
    }

    fn save_in_ms(&self) -> i64 {
        self.saves.asked_at_ms + self.config.save_interval_ms - self.now.monotonic_ms
    }
}

/// Table 3-10: who may send which reason.
fn may_client_send(reason: Reason) -> bool {
    matches!(reason.code(), 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
}
