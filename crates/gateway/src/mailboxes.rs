//! What the gateway asks of whoever holds streams: the leader of a key's partition, here or on another node.

use crate::{
    bell::{Bell, Hook},
    caller::Author,
    request::Path,
    token::Token,
    topics::Topics,
};
use bytes::Bytes;
use env::BoxFuture;
use mailbox::{Life, Lifetime, Refusal, Sent};
use model::TopicName;

/// Which stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Its topic.
    pub topic: TopicName,
    /// Its key.
    pub key: Bytes,
}

impl Address {
    /// Its path, as one of its forks remembers it: what RFC 3986 leaves unreserved stands for itself.
    pub fn path(&self) -> String {
        let mut path = format!("/s/{}/", self.topic);
        for byte in &self.key {
            match byte {
                b'-' | b'.' | b'_' | b'~' => path.push(char::from(*byte)),
                byte if byte.is_ascii_alphanumeric() => path.push(char::from(*byte)),
                byte => path.push_str(&format!("%{byte:02x}")),
            }
        }
        path
    }

    /// The stream with this path, if it is the path of one.
    pub fn from_path(path: &str) -> Option<Self> {
        match Path::parse(path) {
            Ok(Path::Key(topic, key)) => Some(Self { topic, key: key.into() }),
            _ => None,
        }
    }
}

/// Where another node serves streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// How a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What is known of it.
    pub life: Life,
    /// Behind its last record.
    pub end: Token,
}

impl Standing {
    /// Whether it ends by itself: when it is not used, or at a certain time.
    pub fn is_mortal(&self) -> bool {
        self.life.lifetime != Lifetime::Endless
    }
}

/// PUT: what a stream is to be, and its first records.
#[derive(Debug, Clone, Default)]
pub struct NewStream {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Stream-TTL` or `Stream-Expires-At`.
    pub lifetime: Option<Lifetime>,
    /// `Stream-Closed: true`.
    pub is_closed: bool,
    /// The source of a fork, and where it begins there; `None`: at its end.
    pub fork: Option<(Address, Option<Token>, u64)>,
    /// The body, as it came.
    pub body: Bytes,
    /// Whose records these are.
    pub author: Author,
}

/// POST.
#[derive(Debug, Clone, Default)]
pub struct NewRecords {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Stream-Seq`.
    pub seq: Option<String>,
    /// `Stream-Closed: true`.
    pub closes: bool,
    /// `Producer-Id`, `-Epoch`, `-Seq`.
    pub sent: Option<Sent>,
    /// `Expected-Offset`.
    pub expected: Option<Token>,
    /// The body, as it came.
    pub body: Bytes,
    /// Whose records these are.
    pub author: Author,
}

/// What became of a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whether it was new.
    pub is_new: bool,
    /// The producer's highest sequence, if it named itself.
    pub seq: Option<u64>,
    /// How the stream stands.
    pub standing: Standing,
}

/// Records of a stream, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Their values, none where the key was deleted, and the token behind each.
    pub records: Vec<(Token, Option<Bytes>)>,
    /// Behind the last of them.
    pub next: Token,
    /// Whether there was nothing more.
    pub is_up_to_date: bool,
    /// How the stream stood.
    pub standing: Standing,
}

/// The last value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// Of its record.
    pub at: Token,
    /// The value.
    pub value: Bytes,
    /// What it is.
    pub content_type: String,
}

/// From where on it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The first record that is kept.
    Begin,
    /// The end.
    End,
    /// What comes at this token or behind it.
    At(Token),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// By what the stream is; and where it ends, if there is one.
    Refused(Refusal, Option<Token>),
    /// There is no such topic.
    UnknownTopic,
    /// The topic has only so many partitions.
    UnknownPartition(usize),
    /// The body is no JSON.
    NotJson(String),
    /// The fork cannot begin there.
    ForkOffset(String),
    /// The topic does not take such records.
    NotTaken(String),
    /// The body is larger than the topic allows, in bytes.
    TooLarge(usize),
    /// What was asked for is not kept any more; the earliest that is.
    Gone(Token),
    /// Nobody leads the partition for now, or the disk is full: later it may work.
    Unavailable(String),
}

/// See the head of the file. Everything is answered once it is as safe as the topic asks.
pub trait Mailboxes: Topics {
    /// How large a body may be that is written to a topic; `None`: there is no such topic.
    fn body_bytes_max(&self, topic: &TopicName) -> Option<usize>;

    /// Which other node serves a stream, if one does and can be reached.
    fn elsewhere(&self, at: &Address) -> Option<Reach>;

    /// Names or addresses of all nodes of the cluster, as they tell them.
    fn nodes(&self) -> Vec<String>;

    /// Creates a stream; whether it is new.
    fn create<'a>(
        &'a self,
        at: &'a Address,
        new: NewStream,
    ) -> BoxFuture<'a, Result<(bool, Standing), Denied>>;

    /// Appends to it, or closes it.
    fn append<'a>(&'a self, at: &'a Address, new: NewRecords) -> BoxFuture<'a, Result<Taken, Denied>>;

    /// Deletes it, for somebody.
    fn delete<'a>(&'a self, at: &'a Address, author: &'a Author) -> BoxFuture<'a, Result<(), Denied>>;

    /// How it stands; this is no use that keeps an idle stream alive.
    fn look<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, Result<Standing, Denied>>;

    /// Reads records of at least one and otherwise at most `bytes_max` bytes; nothing is waited for.
    fn read<'a>(
        &'a self,
        at: &'a Address,
        from: From,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Chunk, Denied>>;

    /// Ends when there is something to read behind `seen`, the stream is closed or gone, or that cannot be known any more.
    fn changed<'a>(&'a self, at: &'a Address, seen: Token) -> BoxFuture<'a, ()>;

    /// Rings each time when there may be something to read behind `seen`, the stream is closed or gone, or that cannot be known any
    /// more, which is the last time. `None`: it cannot be known now.
    fn listen<'a>(&'a self, at: &'a Address, seen: Token, bell: Bell) -> BoxFuture<'a, Option<Hook>>;

    /// The last value of a key that readers of committed records see; none if there was none, or it was deleted.
    fn latest<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, Result<Option<Latest>, Denied>>;

    /// Ends when the last value is another one than that at `seen`, or that cannot be known any more.
    fn latest_changed<'a>(&'a self, at: &'a Address, seen: Option<Token>) -> BoxFuture<'a, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_stream_whatever_its_key_is() {
        let topic = TopicName::new("rides").unwrap();
        for key in [&b"u42"[..], b"a/b c%", b"-/p/0", b"__ds", b"\xff\x00.", b"a..b", b"+"] {
            let at = Address { topic: topic.clone(), key: Bytes::copy_from_slice(key) };
            let path = at.path();
            let is_taken = matches!(key, b"-/p/0" | b"__ds");
            let read = Address::from_path(&path);
            assert!(read == Some(at) || is_taken, "{path}");
        }
        assert_eq!(Address::from_path("/s/rides"), None);
    }
}
