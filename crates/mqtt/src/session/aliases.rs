//! Topic aliases (3.3.2.3.4): numbers for topic names, in each direction for itself, for one connection
//! (\[MQTT-3.3.2-7\]).
//!
//! The client's aliases are as it sets them, up to the maximum that it was told. The server gives one to each of the first
//! names that it sends, as many as the client and the configuration allow, and keeps to them: a client that follows few
//! names saves most, and none is paid for twice.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use super::Session;
use crate::codec::{Packet, Publish, Reason, Text, encoded_len};

/// The client's aliases.
#[derive(Debug, Default)]
pub(super) struct AliasesIn {
    names: BTreeMap<NonZeroU16, Text>,
}

/// The server's aliases.
#[derive(Debug, Default)]
pub(super) struct AliasesOut {
    names: BTreeMap<Text, NonZeroU16>,
    pub(super) max: u16,
}

impl AliasesIn {
    /// The topic name that a PUBLISH means; it may set its alias.
    pub(super) fn resolve(&mut self, publish: &Publish, max: u16) -> Result<Text, (Reason, &'static str)> {
        let Some(alias) = publish.properties.topic_alias else { return Ok(publish.topic.clone()) };
        if alias.get() > max {
            return Err((Reason::TopicAliasInvalid, "the topic alias is above the Topic Alias Maximum")); // [MQTT-3.3.2-9]
        }
        if !publish.topic.is_empty() {
            self.names.insert(alias, publish.topic.detached());
        }
        self.names
            .get(&alias)
            .cloned()
            .ok_or((Reason::ProtocolError, "the topic alias has no topic name yet"))
    }
}

impl Session {
    /// With an alias instead of the name, or with both the first time, unless that makes it too large for the client.
    pub(super) fn with_alias(&mut self, mut publish: Publish) -> Publish {
        let aliases = &mut self.connection.aliases_out;
        if let Some(alias) = aliases.names.get(&publish.topic) {
            publish.properties.topic_alias = Some(*alias);
            publish.topic = Text::default();
            return publish;
        }
        let next = u16::try_from(aliases.names.len() + 1).ok().filter(|next| *next <= aliases.max);
        let Some(alias) = next.and_then(NonZeroU16::new) else { return publish };
        let name = publish.topic.detached();
        let mut with_both = publish.clone();
        with_both.properties.topic_alias = Some(alias);
        let with_both = Packet::Publish(Box::new(with_both));
        let fits = encoded_len(&with_both, self.connection.version) <= self.connection.packet_bytes_max;
        match with_both {
            Packet::Publish(with_both) if fits => {
                aliases.names.insert(name, alias);
                *with_both
            }
            _ => publish,
        }
    }
}
