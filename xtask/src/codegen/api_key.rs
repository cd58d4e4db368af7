//! The `ApiKey` enum with what the schemas say about every API.

use super::{layout::Message, schema::Kind};
use anyhow::{Context, Result};
use std::fmt::Write;

/// The source of `generated/api_key.rs`.
pub(super) fn source(messages: &[Message]) -> Result<String> {
    let mut requests: Vec<(i16, &Message)> = messages
        .iter()
        .filter(|message| message.kind == Kind::Request)
        .filter_map(|message| Some((message.key?, message)))
        .collect();
    requests.sort_by_key(|(key, _)| *key);
    let (mut variants, mut from, mut facts, mut all) =
        (String::new(), String::new(), String::new(), String::new());
    for (key, request) in &requests {
        let name = request.name.trim_end_matches("Request");
        let _ = writeln!(variants, "{name} = {key},");
        let _ = writeln!(from, "{key} => Self::{name},");
        let _ = writeln!(all, "Self::{name},");
        let response = messages
            .iter()
            .find(|message| message.kind == Kind::Response && message.key == Some(*key))
            .with_context(|| format!("{name} has no response"))?;
        let _ = writeln!(facts, "Self::{name} => {},", fact(name, request, response));
    }
    Ok(format!(
        "use crate::api::Facts;\n\n\
         /// The APIs of Kafka's protocol, by their numbers.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         #[repr(i16)]\n\
         pub enum ApiKey {{\n{variants}}}\n\n\
         impl ApiKey {{\n\
         /// All of them, in the order of their numbers.\n\
         pub const ALL: [Self; {}] = [\n{all}];\n\n\
         /// The API of a number.\n\
         pub const fn from_i16(number: i16) -> Option<Self> {{\n\
         Some(match number {{\n{from}_ => return None,\n}})\n}}\n\n\
         pub(crate) const fn facts(self) -> Facts {{\n\
         match self {{\n{facts}}}\n}}\n}}\n",
        requests.len()
    ))
}

fn fact(name: &str, request: &Message, response: &Message) -> String {
    let flexible = |message: &Message| match message.flexible.and(message.versions).is_empty() {
        true => "i16::MAX".to_owned(),
        false => message.flexible.low.to_string(),
    };
    let (low, high) = (request.versions.low, request.versions.high);
    let stable = if request.latest_version_unstable { high - 1 } else { high };
    let on = |listener: &str| request.listeners.iter().any(|known| known == listener);
    format!(
        "Facts {{ name: \"{name}\", lowest: {low}, highest: {high}, highest_stable: {stable}, \
         request_flexible: {}, response_flexible: {}, broker: {}, controller: {} }}",
        flexible(request),
        flexible(response),
        on("broker"),
        on("controller"),
    )
}
