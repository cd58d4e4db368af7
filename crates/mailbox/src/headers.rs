//! The headers of records in which what is known of a mailbox lies in the log (docs/decisions/0020).
//!
//! They are part of what is on the disks: a name is never changed, nor used for something else.

/// What the mailbox is by now: a [`crate::Life`]; nothing, if it ends here.
pub const LIFE: &str = "od.life";
/// Where the mailbox begins, if not with the batch whose record says what it is: an offset of the partition, 8 bytes.
pub const BEGIN: &str = "od.begin";
/// How far a producer of it has come: a [`crate::Producer`].
pub const PRODUCER: &str = "od.producer";
/// Who has posted the record, as a verified token says: its `sub`. It is for readers, and nothing is decided by it.
pub const SUBJECT: &str = "od-sub";
/// Who says so: its `iss`.
pub const ISSUER: &str = "od-iss";
/// The key of the mailbox that a control record is about, whose own key says what kind of control record it is.
pub const KEY: &str = "od.key";

/// The key of a control record about a mailbox: version 0, and a type that no version of Kafka has. Readers of control records want
/// four bytes.
pub const CONTROL_KEY: [u8; 4] = [0, 0, b'o', b'd'];
