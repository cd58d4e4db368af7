//! A reader that follows one stream on a connection that it shares with others (HTTP/2), and so cannot leave the HTTP stack with it.
//!
//! What it is sent `gateway` says, and how it ends `several`.

use super::reader::COMMENT;
use gateway::{EventShape, Follow, From, Sent, Service, Token};

/// See the head of the file.
pub(super) struct Followed {
    at: gateway::Address,
    next: Token,
    shape: EventShape,
    has_begun: bool,
}

impl Followed {
    pub(super) fn new(follow: Follow) -> Self {
        let Follow { at, next, shape, .. } = follow;
        Self { at, next, shape, has_begun: false }
    }

    /// What it is sent next, which it waits for. `None`: it comes again, and is told why there is nothing.
    pub(super) async fn send(&mut self, service: &Service) -> Option<Sent> {
        loop {
            let read = service.mailboxes.read(&self.at, From::At(self.next), service.bytes_max);
            let chunk = read.await.ok()?;
            let is_news = !chunk.records.is_empty() || chunk.standing.life.is_closed;
            self.next = chunk.next;
            if is_news || !self.has_begun {
                let mut sent = self.shape.send(&chunk, service.clock.wall(), service.random.next_u64());
                if !self.has_begun {
                    sent.text.insert_str(0, &self.shape.retry(false, service.random.next_u64()));
                }
                if sent.text.is_empty() {
                    sent.text.push_str(COMMENT);
                }
                self.has_begun = true;
                return Some(sent);
            }
            if chunk.is_up_to_date {
                service.mailboxes.changed(&self.at, self.next).await;
            }
        }
    }

    /// What it is sent last, where its time is over or the node stops.
    pub(super) fn last(&self, is_closing: bool, service: &Service) -> String {
        match is_closing {
            true => self.shape.retry(true, service.random.next_u64()),
            false => String::new(),
        }
    }
}
