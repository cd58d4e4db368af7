//! Bodies that fill a struct with random values, for tests.
//!
//! They set only what a version has, and null only where it allows it, so that what is decoded equals what was
//! encoded.

use super::{
    layout::{Field, Struct, Type},
    versions::Condition,
};
use std::fmt::Write;

/// The implementation of `Sample` for a struct.
pub(super) fn body(structure: &Struct) -> String {
    let mut fields = String::new();
    for field in &structure.fields {
        let statement = format!("value.{} = {};\n", field.name, value(field));
        match field.versions.condition(structure.versions) {
            Condition::Always => fields += &statement,
            Condition::Never => {}
            Condition::When(question) => {
                let _ = write!(fields, "if {question} {{\n{statement}}}\n");
            }
        }
    }
    let body = match fields.as_str() {
        "" => "Self::default()\n".to_owned(),
        fields => format!("let mut value = Self::default();\n{fields}value\n"),
    };
    format!(
        "#[cfg(any(test, feature = \"random\"))]\n\
         impl crate::random::Sample for {} {{\n\
         fn sample(random: &mut crate::random::Random, version: i16) -> Self {{\n\
         {body}}}\n}}\n\n",
        structure.name
    )
}

fn value(field: &Field) -> String {
    let inner = make(&field.kind);
    if field.is_option() {
        let nullable = field.nullable.condition(field.versions);
        format!("random.option({}, |random| {inner})", nullable.expression())
    } else {
        inner
    }
}

fn make(kind: &Type) -> String {
    match kind {
        Type::Plain(name, _) => format!("random.{name}()"),
        Type::Uuid => "random.uuid()".to_owned(),
        Type::String => "random.string()".to_owned(),
        Type::Bytes => "random.bytes()".to_owned(),
        Type::Records => "random.records()".to_owned(),
        Type::Struct(_) => "random.sample(version)".to_owned(),
        Type::Array(element) => format!("random.vec(|random| {})", make(element)),
    }
}
