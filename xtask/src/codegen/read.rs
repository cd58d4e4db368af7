//! The bodies of decoders.
//!
//! A field that a version lacks keeps its default. What `Decoder` promises about limits holds because every array
//! is read with the fewest bytes that one of its elements takes at the version in hand.

use super::{
    layout::{Field, Message, Struct, Type},
    versions::{Condition, Versions},
};
use anyhow::Result;
use std::fmt::Write;

/// The body of `decode`.
pub(super) fn body(message: &Message, structure: &Struct) -> Result<String> {
    let flexible = message.flexible.condition(structure.versions);
    let mut fields = String::new();
    for field in structure.fields.iter().filter(|field| field.tag.is_none()) {
        let statement = format!("value.{} = {};\n", field.name, value(message, field)?);
        match field.versions.condition(structure.versions) {
            Condition::Always => fields += &statement,
            Condition::Never => {}
            Condition::When(question) => {
                let _ = write!(fields, "if {question} {{\n{statement}}}\n");
            }
        }
    }
    let tags = tags(message, structure)?;
    let mut text = String::new();
    if let Condition::When(question) = &flexible {
        let _ = writeln!(text, "let flexible = {question};");
    }
    text += if structure.fields.is_empty() {
        "let value = Self::default();\n"
    } else {
        "let mut value = Self::default();\n"
    };
    text += &fields;
    match &flexible {
        Condition::Always => text += &tags,
        Condition::Never => {}
        Condition::When(_) => {
            let _ = write!(text, "if flexible {{\n{tags}}}\n");
        }
    }
    Ok(text + "Ok(value)\n")
}

fn tags(message: &Message, structure: &Struct) -> Result<String> {
    let mut arms = String::new();
    for field in &structure.fields {
        let Some(tag) = field.tag else { continue };
        let flexible = message.flexible.and(structure.versions);
        let guard = match field.versions.condition(flexible) {
            Condition::When(question) => format!(" if {question}"),
            _ => String::new(),
        };
        let _ = writeln!(arms, "{tag}{guard} => value.{} = {},", field.name, value(message, field)?);
        if !guard.is_empty() {
            let _ = writeln!(arms, "{tag} => return Err(decoder.bad_tag(tag)),");
        }
    }
    Ok(match arms.as_str() {
        "" => "decoder.skip_tags()?;\n".to_owned(),
        arms => format!(
            "for _ in 0..decoder.unsigned_varint()? {{\n\
             let (tag, end) = decoder.tag()?;\n\
             match tag {{\n{arms}_ => decoder.skip_tag(end),\n}}\n\
             decoder.end_tag(tag, end)?;\n}}\n"
        ),
    })
}

fn value(message: &Message, field: &Field) -> Result<String> {
    let flexible = flexible(message, field);
    let nullable = field.nullable.condition(field.versions);
    let nullable = nullable.expression();
    let option = field.is_option();
    Ok(match &field.kind {
        Type::Plain(name, _) => format!("decoder.{name}()?"),
        Type::Uuid => "decoder.uuid()?".to_owned(),
        Type::Array(element) => {
            let size_min = size_min(message, element, field.versions)?;
            let read = element_reader(element, &flexible);
            if option {
                format!("decoder.array_option({flexible}, {nullable}, {size_min}, {read})?")
            } else {
                format!("decoder.array({flexible}, {size_min}, {read})?")
            }
        }
        Type::Struct(name) => {
            let read = format!("{name}::decode(decoder, version)?");
            let present = field.presence();
            match field.nullable.condition(field.versions) {
                Condition::Never => read,
                Condition::Always => {
                    format!("if decoder.{present}(true)? {{ Some({read}) }} else {{ None }}")
                }
                Condition::When(question) => {
                    let absent = Condition::opposite(&question);
                    format!("if {absent} || decoder.{present}(true)? {{ Some({read}) }} else {{ None }}")
                }
            }
        }
        kind => {
            let name = reader(kind);
            if option {
                format!("decoder.{name}_option({flexible}, {nullable})?")
            } else {
                format!("decoder.{name}({flexible})?")
            }
        }
    })
}

fn element_reader(element: &Type, flexible: &str) -> String {
    match element {
        Type::Plain(name, _) => format!("Decoder::{name}"),
        Type::Uuid => "Decoder::uuid".to_owned(),
        Type::Struct(name) => format!("|decoder| {name}::decode(decoder, version)"),
        other => format!("|decoder| decoder.{}({flexible})", reader(other)),
    }
}

fn reader(kind: &Type) -> &'static str {
    match kind {
        Type::Bytes => "bytes",
        Type::Records => "records",
        _ => "string",
    }
}

/// Whether a field is written compactly: a literal, or the variable of the body.
pub(super) fn flexible(message: &Message, field: &Field) -> String {
    if field.flexible != message.flexible {
        return field.flexible.condition(field.versions).expression().to_owned();
    }
    match message.flexible.condition(field.versions) {
        Condition::When(_) => "flexible".to_owned(),
        known => known.expression().to_owned(),
    }
}

/// The fewest bytes of an element, as a number or a `match` on the version.
fn size_min(message: &Message, element: &Type, versions: Versions) -> Result<String> {
    let mut steps: Vec<(i16, usize)> = Vec::new();
    for version in versions.low..=versions.high {
        let size = message.size_min(element, version)?.max(1);
        match steps.last_mut() {
            Some((last, known)) if *known == size => *last = version,
            _ => steps.push((version, size)),
        }
    }
    let Some((_, latest)) = steps.pop() else { return Ok("1".to_owned()) };
    if steps.is_empty() {
        return Ok(latest.to_string());
    }
    let (mut arms, mut from) = (String::new(), None);
    for (last, size) in steps {
        let _ = match from {
            None => write!(arms, "..={last} => {size}, "),
            Some(from) if from == last => write!(arms, "{last} => {size}, "),
            Some(from) => write!(arms, "{from}..={last} => {size}, "),
        };
        from = Some(last + 1);
    }
    Ok(format!("match version {{ {arms} _ => {latest} }}"))
}
