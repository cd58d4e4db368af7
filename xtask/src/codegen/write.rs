//! The bodies of encoders.
//!
//! A field that has a value at a version that lacks it is dropped if the schema calls it ignorable; otherwise it is
//! an error, as in Java.

use super::{
    layout::{Default, Field, Message, Struct, Type},
    read::flexible,
    versions::Condition,
};
use std::fmt::Write;

/// The body of `encode`.
pub(super) fn body(message: &Message, structure: &Struct) -> String {
    let flexible = message.flexible.condition(structure.versions);
    let mut fields = String::new();
    for field in &structure.fields {
        let condition = field.versions.condition(structure.versions);
        let statement = if field.tag.is_none() { value(message, field) } else { String::new() };
        match condition {
            Condition::Always => fields += &statement,
            Condition::Never => {}
            Condition::When(question) => fields += &conditional(field, &question, &statement),
        }
    }
    let tags = tags(message, structure);
    let mut text = String::new();
    if let Condition::When(question) = &flexible {
        let _ = writeln!(text, "let flexible = {question};");
    }
    text += &fields;
    match &flexible {
        Condition::Always => text += &tags,
        Condition::Never => {}
        Condition::When(_) => {
            let _ = write!(text, "if flexible {{\n{tags}}}\n");
        }
    }
    text + "Ok(())\n"
}

fn conditional(field: &Field, question: &str, statement: &str) -> String {
    let absent = format!("return Err(EncodeError::Absent {{ field: \"{}\", version }});", field.path);
    match (statement, field.ignorable) {
        ("", true) => String::new(),
        ("", false) => {
            format!("if {} && {} {{\n{absent}\n}}\n", Condition::opposite(question), is_set(field))
        }
        (_, true) => format!("if {question} {{\n{statement}}}\n"),
        (_, false) => {
            format!("if {question} {{\n{statement}}} else if {} {{\n{absent}\n}}\n", is_set(field))
        }
    }
}

fn tags(message: &Message, structure: &Struct) -> String {
    let mut tagged: Vec<(u32, &Field)> =
        structure.fields.iter().filter_map(|field| Some((field.tag?, field))).collect();
    if tagged.is_empty() {
        return "encoder.unsigned_varint(0);\n".to_owned();
    }
    tagged.sort_by_key(|(tag, _)| *tag);
    let mut text = String::from("let tags = encoder.tags();\n");
    for (tag, field) in tagged {
        let question = match field.versions.condition(message.flexible.and(structure.versions)) {
            Condition::When(question) => format!("{question} && {}", is_set(field)),
            _ => is_set(field),
        };
        let _ = write!(
            text,
            "if {question} {{\nlet tag = encoder.tag(&tags, {tag});\n{}encoder.end_tag(tag);\n}}\n",
            value(message, field)
        );
    }
    text
}

/// Whether a field is not at its default.
fn is_set(field: &Field) -> String {
    let name = format!("self.{}", field.name);
    match (&field.default, &field.kind, field.is_option()) {
        (Default::Null, ..) => format!("{name}.is_some()"),
        (Default::Literal(literal), Type::Plain("bool", _), _) if literal == "true" => format!("!{name}"),
        (Default::Literal(literal), ..) => format!("{name} != {literal}"),
        (Default::Empty, Type::Plain("bool", _), _) => name,
        (Default::Empty, Type::Plain("f64", _), _) => format!("{name} != 0.0"),
        (Default::Empty, Type::Plain(..), _) => format!("{name} != 0"),
        (Default::Empty, Type::Uuid, _) => format!("{name} != Uuid::ZERO"),
        (Default::Empty, Type::Struct(kind), false) => format!("{name} != {kind}::default()"),
        (Default::Empty, Type::Struct(kind), true) => {
            format!("{name}.as_ref() != Some(&{kind}::default())")
        }
        (Default::Empty, _, false) => format!("!{name}.is_empty()"),
        (Default::Empty, _, true) => format!("!{name}.as_ref().is_some_and(|value| value.is_empty())"),
    }
}

fn value(message: &Message, field: &Field) -> String {
    let (name, path) = (&field.name, &field.path);
    let flexible = flexible(message, field);
    let nullable = field.nullable.condition(field.versions);
    let option = field.is_option();
    match &field.kind {
        Type::Plain(kind, _) => format!("encoder.{kind}(self.{name});\n"),
        Type::Uuid => format!("encoder.uuid(self.{name});\n"),
        Type::Array(element) => {
            let (len, items) = if option {
                let nullable = nullable.expression();
                let len = format!("self.{name}.as_ref().map(Vec::len), {flexible}, {nullable}");
                (format!("array_option_len({len}, \"{path}\")"), format!("self.{name}.iter().flatten()"))
            } else {
                (format!("array_len(self.{name}.len(), {flexible}, \"{path}\")"), format!("&self.{name}"))
            };
            let item = element_writer(element, &flexible, path);
            format!("encoder.{len}?;\nfor item in {items} {{\n{item}}}\n")
        }
        Type::Struct(_) => structure(field, &nullable),
        kind => {
            let (writer, borrow) = match kind {
                Type::Bytes => ("bytes", "as_deref"),
                Type::Records => ("records", "as_ref"),
                _ => ("string", "as_deref"),
            };
            if option {
                let nullable = nullable.expression();
                format!(
                    "encoder.{writer}_option(self.{name}.{borrow}(), {flexible}, {nullable}, \"{path}\")?;\n"
                )
            } else {
                format!("encoder.{writer}(&self.{name}, {flexible}, \"{path}\")?;\n")
            }
        }
    }
}

fn structure(field: &Field, nullable: &Condition) -> String {
    let (name, path) = (&field.name, &field.path);
    let present = field.presence();
    let some = format!("if let Some(value) = &self.{name} {{\nvalue.encode(encoder, version)?;\n}}");
    match nullable {
        Condition::Never => format!("self.{name}.encode(encoder, version)?;\n"),
        Condition::Always => {
            format!("encoder.{present}(self.{name}.is_some(), true, \"{path}\")?;\n{some}\n")
        }
        Condition::When(question) => format!(
            "if {question} {{\nencoder.{present}(self.{name}.is_some(), true, \"{path}\")?;\n}}\n\
             {some} else if {} {{\nreturn Err(EncodeError::Null {{ field: \"{path}\" }});\n}}\n",
            Condition::opposite(question)
        ),
    }
}

fn element_writer(element: &Type, flexible: &str, path: &str) -> String {
    match element {
        Type::Plain(name, _) => format!("encoder.{name}(*item);\n"),
        Type::Uuid => "encoder.uuid(*item);\n".to_owned(),
        Type::Struct(_) => "item.encode(encoder, version)?;\n".to_owned(),
        Type::Bytes => format!("encoder.bytes(item, {flexible}, \"{path}\")?;\n"),
        Type::Records => format!("encoder.records(item, {flexible}, \"{path}\")?;\n"),
        _ => format!("encoder.string(item, {flexible}, \"{path}\")?;\n"),
    }
}
