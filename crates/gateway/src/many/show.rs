//! What a reader of several streams is sent: events of `text/event-stream`, in the form that it asked for.

use super::{Event, Item, Many, envelope};
use crate::{cursor::Cursor, form::Form, serve::Sent, sse};

/// See the head of the file.
#[derive(Debug, Clone)]
pub(crate) struct Show {
    /// What of each record is told.
    pub(crate) of: Shown,
    /// Whether its places are those of one partition.
    pub(crate) is_one: bool,
    /// For readers that know nothing of this protocol: an event for each record, of which each is a place to resume.
    pub(crate) is_plain: bool,
    /// What the reader sent as its cursor.
    pub(crate) cursor: Option<String>,
}

/// What of a record is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Its value.
    Values(Form),
    /// All of it.
    Records,
    /// All of it, with the number of its stream.
    Numbered,
}

impl Many {
    /// What is sent of what has happened; `random` is anything. Of records no more than about `bytes_max` bytes: each bears a place in
    /// all streams.
    pub(crate) fn tell(&mut self, event: Event, bytes_max: usize, (now_ms, random): (i64, u64)) -> Sent {
        let text = match event {
            Event::Records(items) if self.show.is_plain => {
                let (mut text, mut items) = (String::new(), items.into_iter());
                while text.len() < bytes_max
                    && let Some(item) = items.next()
                {
                    self.pass(&item);
                    let (kind, data) = self.one(&item);
                    text.push_str(&sse::event(self.positions(), kind, &data));
                }
                let rest: Vec<Item> = items.collect();
                if !rest.is_empty() {
                    self.put_back(Event::Records(rest));
                }
                text
            }
            Event::Records(items) => {
                items.iter().for_each(|item| self.pass(item));
                let data = self.all(&items);
                let place = self.positions();
                let event = data.map(|data| sse::event(&place, Some("data"), &data));
                event.unwrap_or_default() + &self.control(place, false, now_ms, random)
            }
            Event::Over(stream) => self.about("end", stream),
            Event::Gone(stream, earliest) => {
                self.put(stream, earliest);
                self.about("gone", stream)
            }
            // By that alone a reader resumes here.
            Event::Here if self.show.is_plain => format!("id: {}\nevent: here\n\n", self.positions()),
            Event::Here => self.control(self.positions(), true, now_ms, random),
        };
        Sent { text, is_over: self.is_over() }
    }

    /// What shows that the connection is alive.
    pub(super) fn sign(&self, now_ms: i64, random: u64) -> String {
        match self.show.is_plain {
            true => ":\n\n".to_owned(),
            false => self.control(self.positions(), true, now_ms, random),
        }
    }

    /// Several records as one text.
    pub(crate) fn all(&self, items: &[Item]) -> Option<String> {
        match self.show.of {
            Shown::Values(form) => {
                let values: Vec<&[u8]> =
                    items.iter().filter_map(|item| item.record.value.as_deref()).collect();
                (!values.is_empty()).then(|| form.all(&values))
            }
            Shown::Records | Shown::Numbered => {
                let all: Vec<String> = items.iter().map(|item| self.one(item).1).collect();
                Some(format!("[{}]", all.join(",")))
            }
        }
    }

    fn one(&self, item: &Item) -> (Option<&'static str>, String) {
        match (self.show.of, &item.record.value) {
            (Shown::Values(form), Some(value)) => (None, form.one(value)),
            (Shown::Values(_), None) => (Some("delete"), String::new()),
            (of, _) => {
                let number = (of == Shown::Numbered).then_some(item.stream);
                let source = self.source(item.stream);
                (None, source.map(|source| envelope::write(item, source, number)).unwrap_or_default())
            }
        }
    }

    fn about(&self, kind: &str, stream: usize) -> String {
        let Some(one) = self.streams.get(stream) else { return String::new() };
        let more: &[(&str, &str)] = match kind {
            "gone" => {
                &[("detail", "what was there is not kept any more; it goes on with the earliest that is")]
            }
            _ => &[],
        };
        sse::event(self.positions(), Some(kind), &envelope::about(&one.source, stream, one.place, more))
    }

    fn control(&self, place: String, is_up_to_date: bool, now_ms: i64, random: u64) -> String {
        let cursor = Cursor::next(self.show.cursor.as_deref().and_then(Cursor::parse), now_ms, random);
        sse::control(place, Some(cursor), is_up_to_date)
    }
}
