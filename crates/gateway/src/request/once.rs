//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a request that is sent again is taken once.
//!
//! It becomes a producer of its own (docs/decisions/0024), named by a hash of the key and of whose request it is: two clients that count
//! from 1 must not take each other's requests for their own.

use super::text;
use crate::{base64, caller::Author, problem::Problem};
use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderMap;
use mailbox::Sent;

pub(crate) const NAME: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 255;

/// A key as a client has chosen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Once(String);

impl Once {
    /// The key of a request, if it has one: a String of RFC 9651, or its text without quotes, as most clients send it.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(said) = text(headers, NAME)? else { return Ok(None) };
        let key = match said.strip_prefix('"') {
            None => (!said.contains(['"', '\\', ',', ';'])).then(|| said.to_owned()),
            Some(rest) => unquote(rest),
        };
        match key {
            Some(key) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(Self(key))),
            _ => {
                let text = format!(
                    "Idempotency-Key is a text in quotes of at most {KEY_BYTES_MAX} characters, such as \"8e03978e-40d5-43dd-bc93-6894a57f9324\""
                );
                Err(Problem::malformed("idempotency-key", text))
            }
        }
    }

    /// As it is sent to another node.
    pub(crate) fn to_header(&self) -> String {
        format!("\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }

    /// A number that nobody else has for it, and for what is told besides.
    pub(crate) fn hash_for<'a>(
        &'a self,
        author: &'a Author,
        parts: impl IntoIterator<Item = Option<&'a [u8]>>,
    ) -> [u8; 32] {
        let whose = [&author.issuer, &author.subject].map(|one| one.as_ref().map(String::as_bytes));
        hash(whose.into_iter().chain([Some(self.0.as_bytes())]).chain(parts))
    }

    /// The producer that it is, for somebody who sends this.
    pub(crate) fn sent<'a>(
        &self,
        author: &Author,
        parts: impl IntoIterator<Item = Option<&'a [u8]>>,
    ) -> Sent {
        let name = self.hash_for(author, []);
        let [a, b, c, d, e, f, g, h, ..] = hash(parts);
        Sent::once(&base64::encode_url(&name), u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// Of parts, whose ends count.
fn hash<'a>(parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        context.update(&length.to_be_bytes());
        context.update(part.unwrap_or_default());
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

/// What stands before the closing quote, if nothing stands behind it.
fn unquote(text: &str) -> Option<String> {
    let (mut key, mut rest) = (String::new(), text.chars());
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(key),
            '\\' => key.push(rest.next().filter(|escaped| ['"', '\\'].contains(escaped))?),
            plain => key.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(NAME, HeaderValue::from_str(value).unwrap());
        Once::read(&headers).ok().flatten().map(|once| once.0)
    }

    #[test]
    fn a_key_is_a_text_with_quotes_or_without() {
        let odd = Once(r#"a " \ b"#.to_owned());
        assert_eq!(read(&odd.to_header()), Some(odd.0));
        for (value, key) in [
            ("\"8e03978e\"", Some("8e03978e")),
            ("8e03978e", Some("8e03978e")),
            (r#""a \" \\ b""#, Some(r#"a " \ b"#)),
            ("\"\"", None),
            ("", None),
            ("\"a", None),
            ("\"a\";x=1", None),
            (r#""a\n""#, None),
            ("a\"b", None),
            ("a, b", None),
        ] {
            assert_eq!(read(value).as_deref(), key, "{value}");
        }
        assert!(read(&"x".repeat(255)).is_some() && read(&"x".repeat(256)).is_none());
    }

    #[test]
    fn a_key_is_of_one_client_and_a_fingerprint_of_one_request() {
        let author = |subject: &str| Author { subject: Some(subject.to_owned()), issuer: None };
        let sent = |key: &str, author: &Author, parts: &[&str]| {
            Once(key.to_owned()).sent(author, parts.iter().map(|part| Some(part.as_bytes())))
        };
        let one = sent("1", &author("u42"), &["text/plain", "x"]);
        assert_eq!(one, sent("1", &author("u42"), &["text/plain", "x"]));
        // Golden: a log has it.
        assert_eq!(
            (&*one.id, one.epoch),
            ("\u{1}hh7-lxgMrn8kU4skpQMkrim1dFahVa1HllVSlxp3iwE", 1_560_137_473_828_456)
        );
        assert_ne!(one.id, sent("1", &author("u43"), &["text/plain", "x"]).id);
        assert_ne!(one.id, sent("2", &author("u42"), &["text/plain", "x"]).id);
        let other = sent("1", &author("u42"), &["text/plainx", ""]);
        assert!(one.id == other.id && one.epoch != other.epoch);
        assert!(one.is_once() && one.id.len() < mailbox::limits::PRODUCER_ID_BYTES_MAX);
        assert!(HeaderValue::from_str(&one.id).is_err(), "no header brings it");
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(value in "[ -~]{0,40}") {
            let _ = read(&value);
        }
    }
}
