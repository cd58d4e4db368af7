//! Waiting for news of a mailbox: one watch on each partition wakes those whose keys have got something, and rings for those that
//! listen.

use super::{Mailboxes, desk::Desk, end, read::visible_end};
use crate::partition::Isolation;
use bytes::Bytes;
use gateway::{Address, Bell, Hook, Token};
use std::{pin::pin, sync::Arc};

/// A bell that hangs at a desk.
struct Hung {
    desk: Arc<Desk>,
    key: Bytes,
    bell: Bell,
}

impl Mailboxes {
    pub(super) async fn do_wait(&self, at: &Address, seen: Token) {
        loop {
            let Ok(desk) = self.desk(at) else { return };
            let (waiter, is_first) = desk.waiting.enter(&at.key);
            self.begin_watch(&desk, is_first);
            let mut news = pin!(waiter.news.notified());
            // From here on nothing is missed.
            news.as_mut().enable();
            if self.has_news(&desk, at, seen).await {
                return;
            }
            news.await;
        }
    }

    pub(super) async fn do_listen(&self, at: &Address, seen: Token, bell: Bell) -> Option<Hook> {
        let desk = self.desk(at).ok()?;
        let is_first = desk.waiting.hang(&at.key, bell.clone());
        let hung = Hung { desk, key: at.key.clone(), bell };
        self.begin_watch(&hung.desk, is_first);
        if self.has_news(&hung.desk, at, seen).await {
            hung.bell.ring(false);
        }
        Some(Box::new(hung))
    }

    fn begin_watch(&self, desk: &Arc<Desk>, is_first: bool) {
        if is_first {
            self.0.world.tasks.spawn(Box::pin(watch(desk.clone())));
        }
    }

    /// Whether there is something behind `seen`, or nobody knows; if not, whoever waits by now is woken when there is.
    async fn has_news(&self, desk: &Desk, at: &Address, seen: Token) -> bool {
        let Ok(standing) = self.found(desk, at).await else { return true };
        let Ok(mut ends) = desk.ends() else { return true };
        if let Some(last) = standing.last.filter(|last| *last >= ends.stable) {
            // Nobody has waited when it was seen. It may have become visible until here.
            desk.waiting.expect(last, &at.key);
            let Ok(now) = desk.ends() else { return true };
            ends = now;
        }
        let visible = visible_end(&standing, &ends);
        visible > seen || standing.life.is_closed && visible == end(&standing)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.desk.waiting.take_away(&self.key, &self.bell);
    }
}

impl Mailboxes {
    /// Until the last value of a key is another one than that at `seen`.
    pub(super) async fn do_wait_for_another(&self, at: &Address, seen: Option<Token>) {
        loop {
            let Ok(desk) = self.desk(at) else { return };
            let (waiter, is_first) = desk.waiting.enter(&at.key);
            if is_first {
                self.0.world.tasks.spawn(Box::pin(watch(desk.clone())));
            }
            let mut news = pin!(waiter.news.notified());
            news.as_mut().enable();
            let Ok(state) = desk.state(&at.key, None).await else { return };
            let Ok(ends) = desk.ends() else { return };
            if let Some(last) = state.known.last.filter(|last| *last >= ends.stable) {
                desk.waiting.expect(last, &at.key);
            }
            match self.do_latest(at).await {
                Ok(latest) if latest.as_ref().map(|latest| latest.at) == seen => news.await,
                _ => return,
            }
        }
    }
}

/// Wakes whoever waits for what becomes visible in a partition, as long as anybody waits.
async fn watch(desk: Arc<Desk>) {
    loop {
        let ends = desk.ends();
        let looked = desk.look().await;
        let (Ok(ends), Ok(_)) = (ends, looked) else {
            desk.waiting.end_watch(true);
            return;
        };
        desk.waiting.on_visible(ends.stable);
        if desk.waiting.end_watch(false) {
            return;
        }
        desk.ground().partition.moved(Isolation::LastStable, ends.stable).await;
    }
}
