//! Events of `text/event-stream` (WHATWG HTML, section 9.2; PROTOCOL.md, section 5.8).

use crate::cursor::Cursor;
use serde_json::json;
use std::fmt::Display;

/// An event with a text of any number of lines; `None` is the kind that an `EventSource` calls `message`. Who reads resumes behind
/// `id`.
///
/// Lines end with CR, LF, or both, whatever the text has: a text that could end its own event could forge one.
pub(crate) fn event(id: impl Display, kind: Option<&str>, text: &str) -> String {
    let mut out = format!("id: {id}\n");
    if let Some(kind) = kind {
        out.push_str(&format!("event: {kind}\n"));
    }
    let mut rest = text;
    loop {
        let end = rest.find(['\r', '\n']);
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        out.push_str("data:");
        // One space after the colon is taken away by who reads.
        if line.starts_with(' ') {
            out.push(' ');
        }
        out.push_str(line);
        out.push('\n');
        match after.strip_prefix("\r\n").or_else(|| after.strip_prefix(['\r', '\n'])) {
            Some(after) => rest = after,
            None => break,
        }
    }
    out.push('\n');
    out
}

/// Tells an `EventSource` after how long it comes again when this connection has ended.
pub(crate) fn retry(ms: u64) -> String {
    format!("retry: {ms}\n\n")
}

/// A `control` event: where the reader is. `cursor` is `None` once the stream is closed and all of it was sent.
pub(crate) fn control(next: impl ToString, cursor: Option<Cursor>, is_up_to_date: bool) -> String {
    let mut says = json!({"streamNextOffset": next.to_string()});
    if let Some(fields) = says.as_object_mut() {
        match cursor {
            Some(Cursor(number)) => fields.insert("streamCursor".to_owned(), number.to_string().into()),
            None => fields.insert("streamClosed".to_owned(), true.into()),
        };
        if is_up_to_date {
            fields.insert("upToDate".to_owned(), true.into());
        }
    }
    format!("event: control\ndata:{says}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;
    use proptest::prelude::*;

    /// What an `EventSource` makes of a stream: id, event and data of each event.
    fn events(stream: &str) -> Vec<(String, String, String)> {
        let (mut all, mut id, mut event, mut data) =
            (Vec::new(), String::new(), String::new(), None::<String>);
        for line in stream.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
            if line.is_empty() {
                if let Some(data) = data.take() {
                    all.push((id.clone(), std::mem::take(&mut event), data));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => id = value.to_owned(),
                "event" => event = value.to_owned(),
                "data" => match &mut data {
                    None => data = Some(value.to_owned()),
                    Some(data) => *data = format!("{data}\n{value}"),
                },
                _ => panic!("{line:?}"),
            }
        }
        all
    }

    #[test]
    fn where_the_reader_is() {
        let next = Token::new(0, 7);
        let says = |cursor, is_up_to_date| {
            let (_, event, data) = events(&control(next, cursor, is_up_to_date)).remove(0);
            assert_eq!(event, "control");
            serde_json::from_str::<serde_json::Value>(&data).unwrap()
        };
        let offset = "0000000000000000_0000000000000007";
        let open = json!({"streamNextOffset": offset, "streamCursor": "5"});
        assert_eq!(says(Some(Cursor(5)), false), open);
        let closed = json!({"streamNextOffset": offset, "streamClosed": true, "upToDate": true});
        assert_eq!(says(None, true), closed);
    }

    #[test]
    fn a_text_cannot_forge_an_event() {
        let forged = "a\n\nevent: control\ndata: {}\r\rid: 9\n";
        let read = events(&event(Token::BEGIN, Some("data"), forged));
        assert_eq!(read.len(), 1);
        assert_eq!(
            read[0],
            (Token::BEGIN.to_string(), "data".into(), "a\n\nevent: control\ndata: {}\n\nid: 9\n".into())
        );
    }

    proptest! {
        #[test]
        fn texts_arrive_but_for_their_line_ends(text in "[ -~\r\n\u{e4}]{0,80}") {
            let read = events(&event(Token::BEGIN, None, &text));
            prop_assert_eq!(read.len(), 1);
            let expected = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(&read[0].2, &expected);
        }
    }
}
