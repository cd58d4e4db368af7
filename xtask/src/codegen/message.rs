//! One message as a Rust module: its structs, their defaults, and their decoders and encoders.
//!
//! The bodies of the decoders and encoders come from `read` and `write`.

use super::{
    layout::{Default, Field, Message, Struct, Type},
    random, read,
    schema::Kind,
    write,
};
use anyhow::Result;
use std::fmt::Write;

/// The source of the module.
pub(super) fn source(message: &Message) -> Result<String> {
    let mut body = String::new();
    for (index, structure) in message.structs.iter().enumerate() {
        body += &definition(structure);
        body += &default(structure);
        let (decode, encode) = (read::body(message, structure)?, write::body(message, structure));
        if index == 0 {
            body += &top(message, structure, &decode, &encode);
        } else {
            body += &inner(structure, &decode, &encode);
        }
        body += &random::body(structure);
    }
    Ok(imports(&body, message) + &body)
}

fn imports(body: &str, message: &Message) -> String {
    let mut imports = String::from("use crate::{DecodeError, Decoder, EncodeError, Encoder, Message};\n");
    match message.kind {
        Kind::Request => imports += "use crate::{ApiKey, Request};\n",
        Kind::Response => imports += "use crate::{ApiKey, Response};\n",
        _ if message.key.is_some() => imports += "use crate::record::Record;\n",
        _ => {}
    }
    if has_word(body, "Bytes") {
        imports += "use bytes::Bytes;\n";
    }
    imports += "use std::ops::RangeInclusive;\n";
    for name in ["Parts", "Uuid"].into_iter().filter(|name| has_word(body, name)) {
        let _ = writeln!(imports, "use stdx::{name};");
    }
    imports + "\n"
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|found| found == word)
}

fn definition(structure: &Struct) -> String {
    let derived = if is_plain_default(structure) { ", Default" } else { "" };
    let mut text = format!("#[derive(Debug, Clone, PartialEq{derived})]\npub struct {} {{\n", structure.name);
    for field in &structure.fields {
        let _ = writeln!(text, "pub {}: {},", field.name, rust_type(field));
    }
    text + "}\n\n"
}

fn rust_type(field: &Field) -> String {
    let inner = field.kind.rust();
    if field.is_option() { format!("Option<{inner}>") } else { inner }
}

/// Whether every field's default is what Rust would take.
fn is_plain_default(structure: &Struct) -> bool {
    structure.fields.iter().all(|field| match field.default {
        Default::Null => true,
        Default::Empty => !field.is_option(),
        Default::Literal(_) => false,
    })
}

fn default(structure: &Struct) -> String {
    if is_plain_default(structure) {
        return String::new();
    }
    let mut text = format!("impl Default for {} {{\nfn default() -> Self {{\nSelf {{\n", structure.name);
    for field in &structure.fields {
        let _ = writeln!(text, "{}: {},", field.name, default_value(field));
    }
    text + "}\n}\n}\n\n"
}

fn default_value(field: &Field) -> String {
    let value = match (&field.default, &field.kind) {
        (Default::Null, _) => return "None".to_owned(),
        (Default::Literal(literal), _) => literal.clone(),
        (Default::Empty, Type::Plain("bool", _)) => "false".to_owned(),
        (Default::Empty, Type::Plain("f64", _)) => "0.0".to_owned(),
        (Default::Empty, Type::Plain(..)) => "0".to_owned(),
        (Default::Empty, Type::Uuid) => "Uuid::ZERO".to_owned(),
        (Default::Empty, Type::Array(_)) => "Vec::new()".to_owned(),
        (Default::Empty, Type::Struct(name)) => format!("{name}::default()"),
        (Default::Empty, kind) => format!("{}::new()", kind.rust()),
    };
    if field.is_option() { format!("Some({value})") } else { value }
}

fn top(message: &Message, structure: &Struct, decode: &str, encode: &str) -> String {
    let name = &structure.name;
    let flexible = message.flexible.and(message.versions);
    let flexible = if flexible.is_empty() { "i16::MAX".to_owned() } else { message.flexible.low.to_string() };
    let throttle = match structure.fields.iter().any(|field| field.name == "throttle_time_ms") {
        true => "\nfn set_throttle_time_ms(&mut self, ms: i32) {\nself.throttle_time_ms = ms;\n}\n",
        false => "",
    };
    let mut text = format!(
        "impl Message for {name} {{\n\
         const NAME: &'static str = \"{}\";\n\
         const VERSIONS: RangeInclusive<i16> = {}..={};\n\
         const FLEXIBLE: i16 = {flexible};\n\n\
         fn decode(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError> {{\n\
         decoder.check_version(version, Self::VERSIONS)?;\n{decode}}}\n\n\
         fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), EncodeError> {{\n\
         encoder.check_version(version, Self::VERSIONS)?;\n{encode}}}\n{throttle}\
         }}\n\n",
        message.schema_name, message.versions.low, message.versions.high,
    );
    let Some(key) = message.key else { return text };
    let _ = match message.kind {
        Kind::Request | Kind::Response => {
            let trait_name = if message.kind == Kind::Request { "Request" } else { "Response" };
            let api = name.trim_end_matches(trait_name);
            let response = match message.kind {
                Kind::Request => format!("type Response = crate::{api}Response;\n"),
                _ => String::new(),
            };
            writeln!(
                text,
                "impl {trait_name} for {name} {{\nconst KEY: ApiKey = ApiKey::{api};\n{response}}}\n"
            )
        }
        _ => writeln!(text, "impl Record for {name} {{\nconst KEY: i16 = {key};\n}}\n"),
    };
    text
}

fn inner(structure: &Struct, decode: &str, encode: &str) -> String {
    format!(
        "impl {} {{\n\
         fn decode(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError> {{\n{decode}}}\n\n\
         fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), EncodeError> {{\n{encode}}}\n\
         }}\n\n",
        structure.name
    )
}
