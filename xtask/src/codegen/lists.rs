//! The modules that hold the messages, and a macro that names every message.
//!
//! The list of APIs is in `api_key`.

use super::layout::Message;
use std::fmt::Write;

/// `generated.rs`: the modules of requests, responses and headers.
pub(super) fn rpc(messages: &[Message]) -> String {
    let mut text = String::from("pub mod api_key;\nmod every;\npub mod record;\n");
    text += &modules(messages.iter().filter(|message| !message.is_record()));
    text
}

/// `generated/record.rs`: the modules of records.
pub(super) fn records(messages: &[Message]) -> String {
    let mut text = String::from(
        "use crate::Message;\n\n\
         /// A record of a log that Kafka keeps for itself, with the number that tells it from others of its log: of the\n\
         /// metadata log, and keys and values of the logs of coordinators.\n\
         pub trait Record: Message {\n\
         /// The number.\n\
         const KEY: i16;\n}\n\n",
    );
    text += &modules(messages.iter().filter(|message| message.is_record()));
    text
}

fn modules<'a>(messages: impl Iterator<Item = &'a Message>) -> String {
    let (mut modules, mut uses) = (String::new(), String::new());
    for message in messages.filter(|message| message.has_versions()) {
        let _ = writeln!(modules, "pub mod {};", message.module);
        let _ = writeln!(uses, "pub use {}::{};", message.module, message.name);
    }
    format!("{modules}\n{uses}")
}

/// `generated/every.rs`: a macro over all messages.
pub(super) fn every(messages: &[Message]) -> String {
    let mut text = String::from(
        "/// Calls a macro with the paths of all messages, separated by commas.\n\
         #[doc(hidden)]\n#[macro_export]\nmacro_rules! every_message {\n($callback:ident) => {\n$callback! {\n",
    );
    for message in messages.iter().filter(|message| message.has_versions()) {
        let module = if message.is_record() { "record::" } else { "" };
        let _ = writeln!(text, "$crate::{module}{},", message.name);
    }
    text + "}\n};\n}\n"
}
