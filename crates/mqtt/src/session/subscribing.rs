//! SUBSCRIBE and UNSUBSCRIBE (3.8, 3.10): one after the other, each answered once the host has said yes or no to each of its
//! filters and the session has them durably.
//!
//! Whether the client may read a topic, and whether there is one, the host knows.

use std::collections::BTreeMap;

use model::{Offset, PartitionIndex};

use super::{Effect, Session, Subscribing, Subscription, granted};
use crate::codec::{
    AckProperties, Codes, Options, Packet, PacketId, Reason, RetainHandling, Suback, Subscribe,
    SubscriptionId, Text, Unsubscribe,
};
use crate::topics::{Filter, Reach};

/// A SUBSCRIBE or an UNSUBSCRIBE.
#[derive(Debug)]
pub(super) enum Request {
    /// It waits for others.
    Waiting(Packet),
    /// It is at work.
    Subscribing { packet_id: PacketId, answers: Vec<Answer>, why: Option<String> },
}

/// What is answered for one filter.
#[derive(Debug)]
pub(super) enum Answer {
    Is(Reason),
    /// The host is asked.
    Asked(Box<Asked>),
}

/// A subscription that the host is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    number: u64,
    subscription: Subscription,
    is_known: bool,
}

impl Session {
    pub(super) fn on_request(&mut self, packet: Packet) {
        self.connection.control.push_back(Request::Waiting(packet));
        if self.connection.control.len() == 1 {
            self.next_requests();
        }
    }

    /// Answers requests up to the first that has to wait for the host.
    fn next_requests(&mut self) {
        loop {
            match self.connection.control.pop_front() {
                Some(Request::Waiting(Packet::Subscribe(subscribe))) => self.begin(&subscribe),
                Some(Request::Waiting(Packet::Unsubscribe(unsubscribe))) => self.unsubscribe(&unsubscribe),
                Some(Request::Waiting(_)) => {}
                Some(Request::Subscribing { packet_id, answers, why }) => {
                    let asked = answers.iter().any(|answer| matches!(answer, Answer::Asked(_)));
                    if asked {
                        self.connection.control.push_front(Request::Subscribing { packet_id, answers, why });
                        return;
                    }
                    self.suback(packet_id, &answers, why);
                }
                None => return,
            }
        }
    }

    fn begin(&mut self, subscribe: &Subscribe) {
        let id = subscribe.properties.subscription_id;
        let mut why = None;
        let mut answers = Vec::new();
        for (place, (filter, options)) in subscribe.filters.iter().enumerate() {
            let answer = match self.judge(&filter, id, place) {
                Ok(reach) => self.ask(filter, reach, options, id),
                Err((reason, text)) => {
                    why = why.or(Some(text));
                    Answer::Is(reason)
                }
            };
            answers.push(answer);
        }
        self.connection.control.push_front(Request::Subscribing {
            packet_id: subscribe.packet_id,
            answers,
            why,
        });
    }

    /// Where the records of a filter lie, if it can be served.
    fn judge(
        &self,
        filter: &Filter,
        id: Option<SubscriptionId>,
        place: usize,
    ) -> Result<Reach, (Reason, String)> {
        let refused = |reason, why: &str| Err((reason, why.to_owned()));
        let config = &self.config;
        let has_wildcard = filter.pattern().iter().any(|byte| matches!(byte, b'+' | b'#'));
        let is_new = !self.by_filter.contains_key(filter.text());
        if filter.group().is_some() && !config.has_shared {
            return refused(
                Reason::SharedSubscriptionsNotSupported,
                "there are no shared subscriptions here",
            );
        }
        if has_wildcard && !config.has_wildcards {
            return refused(Reason::WildcardSubscriptionsNotSupported, "there are no wildcards here");
        }
        if id.is_some() && !config.has_subscription_ids {
            return refused(
                Reason::SubscriptionIdentifiersNotSupported,
                "there are no subscription identifiers here",
            );
        }
        if place >= config.filters_max || (is_new && self.by_filter.len() >= config.subscriptions_max) {
            return refused(Reason::QuotaExceeded, "these are too many subscriptions");
        }
        Reach::of(filter).map_err(|why| (Reason::TopicFilterInvalid, format!("{}: {why}", filter.text())))
    }

    fn ask(&mut self, filter: Filter, reach: Reach, options: Options, id: Option<SubscriptionId>) -> Answer {
        let text = filter.text().detached();
        let filter = Filter::new(text.clone()).unwrap_or(filter);
        let number = *self.by_filter.entry(text).or_insert_with(|| {
            self.state.next_subscription += 1;
            self.state.next_subscription
        });
        let known = self.state.subscriptions.get(&number);
        let is_known = known.is_some();
        let is_shared = filter.group().is_some();
        let with_retained = self.config.has_retained && !is_shared // 4.8.2
            && match options.retain_handling {
                RetainHandling::Always => true,
                RetainHandling::IfNew => !is_known,
                RetainHandling::Never => false,
            };
        let positions = known.map(|known| known.positions.clone()).unwrap_or_default(); // [MQTT-3.8.4-4]
        let subscription = Subscription {
            filter: filter.clone(),
            topic: reach.topic().clone(),
            options: Options { qos: options.qos.min(self.config.maximum_qos), ..options },
            id,
            is_retained_due: with_retained,
            positions: BTreeMap::new(),
        };
        let subscribing = Subscribing {
            number,
            filter,
            reach,
            positions,
            with_retained,
            is_new: !is_known,
            is_resumed: false,
        };
        self.effects.push(Effect::Subscribe(Box::new(subscribing)));
        Answer::Asked(Box::new(Asked { number, subscription, is_known }))
    }

    pub(super) fn on_subscribed(
        &mut self,
        number: u64,
        result: Result<Vec<(PartitionIndex, Offset)>, Reason>,
    ) {
        let Some(Request::Subscribing { answers, .. }) = self.connection.control.front_mut() else { return };
        let asked_for =
            |answer: &&mut Answer| matches!(answer, Answer::Asked(asked) if asked.number == number);
        let Some(answer) = answers.iter_mut().find(asked_for) else { return };
        let qos = match &*answer {
            Answer::Asked(asked) => asked.subscription.options.qos,
            Answer::Is(_) => return,
        };
        let reason = result.as_ref().err().copied().unwrap_or(granted(qos));
        let Answer::Asked(asked) = std::mem::replace(answer, Answer::Is(reason)) else { return };
        match result {
            Ok(positions) => self.keep(*asked, positions),
            Err(_) if self.state.subscriptions.contains_key(&number) => {} // the one before stays
            Err(_) => self.by_filter.retain(|_, known| *known != number),
        }
        self.next_requests();
    }

    /// \[MQTT-3.8.4-3\]: the subscription that was there is replaced, and what it had to send is still sent.
    fn keep(&mut self, asked: Asked, positions: Vec<(PartitionIndex, Offset)>) {
        let Asked { number, mut subscription, is_known } = asked;
        let before = self.state.subscriptions.remove(&number);
        if subscription.filter.group().is_none() {
            subscription.positions = match before {
                Some(before) if is_known => before.positions,
                _ => positions.into_iter().collect(),
            };
        }
        self.state.subscriptions.insert(number, subscription);
        self.save();
    }

    fn suback(&mut self, packet_id: PacketId, answers: &[Answer], why: Option<String>) {
        let reasons: Vec<Reason> = answers
            .iter()
            .map(|answer| match answer {
                Answer::Is(reason) => *reason,
                Answer::Asked(_) => Reason::UnspecifiedError, // all were answered
            })
            .collect();
        let properties =
            AckProperties { reason_string: why.as_deref().and_then(Text::new), ..AckProperties::default() };
        // [MQTT-3.8.4-2], [MQTT-3.8.4-6]
        self.send_saved(Packet::Suback(Suback { packet_id, properties, codes: Codes::new(&reasons) }));
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let mut reasons = Vec::new();
        for (filter, _) in unsubscribe.filters.iter() {
            // [MQTT-3.10.4-1]; what is in flight is completed [MQTT-3.10.4-3]
            reasons.push(match self.by_filter.remove(filter.text()) {
                None => Reason::NoSubscriptionExisted,
                Some(number) => {
                    self.state.subscriptions.remove(&number);
                    self.effects.push(Effect::Unsubscribe(number));
                    Reason::Success
                }
            });
        }
        let codes = Codes::new(&reasons);
        let properties = AckProperties::default();
        // [MQTT-3.10.4-4], [MQTT-3.10.4-5]
        self.send_saved(Packet::Unsuback(Suback { packet_id: unsubscribe.packet_id, properties, codes }));
    }
}
