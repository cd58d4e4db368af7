//! Which clients a client metrics subscription means: its `match` configuration, understood (KIP-714).
//!
//! It knows no clients: whoever asks tells their properties. Every alteration is checked by it, and the broker finds the
//! subscriptions of a client with it. The expressions are RE2's, which no input can make slow, where Kafka takes Java's.

use regex::{Regex, RegexBuilder};

/// Bytes of a compiled expression.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// What a client can be known by, under the names in `match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientProperty {
    /// `client_instance_id`, as base64.
    InstanceId,
    /// `client_id`
    ClientId,
    /// `client_software_name`
    SoftwareName,
    /// `client_software_version`
    SoftwareVersion,
    /// `client_source_address`
    SourceAddress,
    /// `client_source_port`
    SourcePort,
}

/// The names of all of them.
const PROPERTIES: &[(&str, ClientProperty)] = &[
    ("client_instance_id", ClientProperty::InstanceId),
    ("client_id", ClientProperty::ClientId),
    ("client_software_name", ClientProperty::SoftwareName),
    ("client_software_version", ClientProperty::SoftwareVersion),
    ("client_source_address", ClientProperty::SourceAddress),
    ("client_source_port", ClientProperty::SourcePort),
];

/// Expressions that must all match a client.
#[derive(Debug, Clone, Default)]
pub struct ClientMatch(Vec<(ClientProperty, Regex)>);

impl ClientMatch {
    /// Understands a list of `property=expression`; of a property that is named twice the last counts. `Err` is a
    /// sentence for people.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut all: Vec<(ClientProperty, Regex)> = Vec::new();
        for pattern in patterns {
            // Equal signs at the end count for nothing, as in Kafka.
            let known = pattern.trim_end_matches('=').split_once('=').and_then(|(name, expression)| {
                let (_, property) = PROPERTIES.iter().find(|(known, _)| *known == name.trim())?;
                (!expression.contains('=')).then_some((*property, expression.trim()))
            });
            let Some((property, expression)) = known else {
                let names: Vec<_> = PROPERTIES.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "'{pattern}' is no client match: write <property>=<regular expression> with a property of {}.",
                    names.join(", ")
                ));
            };
            let regex =
                compile(expression).map_err(|error| format!("'{pattern}' is no client match: {error}."))?;
            all.retain(|(other, _)| *other != property);
            all.push((property, regex));
        }
        Ok(Self(all))
    }

    /// Whether a client is meant. A property that is not known of it matches nothing; without expressions everyone is
    /// meant.
    pub fn is_match<'a>(&self, property: impl Fn(ClientProperty) -> Option<&'a str>) -> bool {
        self.0.iter().all(|(name, regex)| property(*name).is_some_and(|value| regex.is_match(value)))
    }
}

/// The expression must match as a whole.
fn compile(expression: &str) -> Result<Regex, regex::Error> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    // By itself first, or `a)|(b` would be taken for one.
    build(expression).and_then(|_| build(&format!("^(?:{expression})$")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], client: &[(ClientProperty, &str)]) -> Option<bool> {
        let known = |property| client.iter().find(|(name, _)| *name == property).map(|(_, value)| *value);
        Some(ClientMatch::parse(patterns.iter().copied()).ok()?.is_match(known))
    }

    #[test]
    fn every_expression_must_match_as_a_whole() {
        use ClientProperty::{ClientId, SoftwareVersion};
        let client = [(ClientId, "app-1"), (SoftwareVersion, "3.7.0")];
        for (patterns, expected) in [
            (&[][..], true),
            (&["client_id=app-1"], true),
            (&["client_id=app"], false),
            (&["client_id=a|app-.*"], true),
            (&[" client_id = app-.* ", "client_software_version=3[.]7.*"], true),
            (&["client_id=app-.*", "client_software_version=4.*"], false),
            (&["client_id=no", "client_id=app-1"], true),
            (&["client_id=app-1=="], true),
            (&["client_source_port=.*"], false),
        ] {
            assert_eq!(check(patterns, &client), Some(expected), "{patterns:?}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_with_the_reason() {
        for pattern in
            ["", "client_id", "client_id=", "=a", "id=a", "client_id=a=b", "client_id=(", "client_id=a)|(b"]
        {
            let error = ClientMatch::parse([pattern]).unwrap_err();
            assert!(error.contains(pattern) && error.contains("is no client match"), "{error}");
        }
        let huge = "client_id=(a{1000}){1000}";
        assert!(ClientMatch::parse([huge]).is_err(), "a compiled expression is bounded");
    }
}
