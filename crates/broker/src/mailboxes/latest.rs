//! The last value of a key: that of its newest record that readers of committed records see, or of what the stream was forked from.
//!
//! The desk knows the newest record as a rule. Where that does not count, or not yet, `find` looks for the one before it.

use super::{Mailboxes, denied, read::Part, write::token};
use crate::partition::Refused;
use gateway::{Address, Denied, Latest, Token};
use mailbox::{Refusal, limits::GENERATION_MAX};

impl Mailboxes {
    pub(super) async fn do_latest(&self, at: &Address) -> Result<Option<Latest>, Denied> {
        let desk = self.desk(at)?;
        let standing = match self.found(&desk, at).await {
            Ok(standing) => standing,
            Err(Denied::Refused(Refusal::NotFound | Refusal::Deleted, _)) => return Ok(None),
            Err(other) => return Err(other),
        };
        self.touch(at, &standing).await;
        let content_type = standing.life.content_type.clone();
        let ends = desk.ends().map_err(denied)?;
        let mut part = Part { desk, key: at.key.clone(), standing, ends, until: None };
        // A fork without records of its own has those of its source.
        for _ in 0..=GENERATION_MAX {
            let bounds = part.bounds(Token::BEGIN)?.zip(part.standing.last);
            if let Some((bounds, last)) = bounds {
                let newest = part.desk.finder.newest_record(&part.key, bounds, last).await;
                if let Some((offset, value)) = newest.map_err(denied)? {
                    let at = token(part.standing.life.generation(), offset);
                    return Ok(value.map(|value| Latest { at, value, content_type }));
                }
            }
            match self.before(&part, Token::BEGIN).await? {
                Some(source) => part = source,
                None => return Ok(None),
            }
        }
        Err(denied(Refused::Offline("it is forked from itself".into())))
    }
}
