//! The headers of records in which what is known of a mailbox lies in the log (docs/decisions/0020).
//!
//! They are part of what is on the disks: a name is never changed, nor used for something else.

/// What the mailbox is by now: a [`crate::Life`].
pub const LIFE: &str = "od.life";
/// How far a producer of it has come: a [`crate::Producer`].
pub const PRODUCER: &str = "od.producer";
/// The key of the mailbox that a control record is about, whose own key says what kind of control record it is.
pub const KEY: &str = "od.key";
