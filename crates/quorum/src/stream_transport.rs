//! Messages between controllers over byte streams, framed as Kafka's requests, so that they share a listener with them.
//!
//! It opens no connection: a [`Dial`] does, with what the listener asks of authentication and encryption. A connection
//! carries one message at a time; more at once take more connections, and one whose answer did not come is dropped.

use crate::{
    compact::Malformed,
    member::{Member, Replica},
    peers::Transport,
};
use bytes::{Buf, Bytes, BytesMut};
use env::{BoxFuture, Connection};
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, sync::Arc};
use stdx::Cursor;

/// The number of the API that carries the quorum's messages: "OD". Kafka has no API of that number, and it is not told
/// in ApiVersions.
pub const PEER_API: i16 = 0x4f44;
/// The version of the frame; the message has one of its own.
pub const PEER_API_VERSION: i16 = 0;
/// No answer is longer: answers carry no entries.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Connections to one controller that are kept while nothing is under way.
const IDLE_MAX: usize = 4;

/// Opens connections to controllers.
pub trait Dial: Send + Sync {
    /// A connection on which requests can be sent: past TLS and SASL, where the listener asks for them.
    fn dial(&self, to: Replica, member: &Member) -> BoxFuture<'static, io::Result<Box<dyn Connection>>>;
}

/// A [`Transport`] over connections.
pub struct StreamTransport {
    dial: Arc<dyn Dial>,
    idle: Arc<Mutex<BTreeMap<Replica, Vec<Link>>>>,
}

/// A connection on which nothing is under way.
struct Link {
    connection: Box<dyn Connection>,
    member: Member,
    correlation: i32,
}

impl StreamTransport {
    /// Over connections that `dial` opens.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial, idle: Arc::default() }
    }
}

impl Transport for StreamTransport {
    fn call(&self, to: Replica, member: &Member, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>> {
        // Who has moved is not asked at the old place.
        let kept = self.idle.lock().get_mut(&to).and_then(|links| {
            links.retain(|link| link.member == *member);
            links.pop()
        });
        let (dial, idle, member) = (self.dial.clone(), self.idle.clone(), member.clone());
        Box::pin(async move {
            if let Some(mut link) = kept {
                match link.exchange(&request).await {
                    Ok(answer) => {
                        keep(&idle, to, link);
                        return Ok(answer);
                    }
                    // The other side has closed it meanwhile: what was sent was not carried out, or may be again.
                    Err(error) => tracing::debug!(%error, %to, "a kept connection was gone"),
                }
            }
            let connection = dial.dial(to, &member).await?;
            let mut link = Link { connection, member, correlation: 0 };
            let answer = link.exchange(&request).await?;
            keep(&idle, to, link);
            Ok(answer)
        })
    }
}

fn keep(idle: &Mutex<BTreeMap<Replica, Vec<Link>>>, to: Replica, link: Link) {
    let mut idle = idle.lock();
    let links = idle.entry(to).or_default();
    if links.len() < IDLE_MAX {
        links.push(link);
    }
}

impl Link {
    async fn exchange(&mut self, request: &Bytes) -> io::Result<Bytes> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut head = Vec::with_capacity(14);
        let len = i32::try_from(request.len() + 10).map_err(io::Error::other)?;
        head.extend_from_slice(&len.to_be_bytes());
        head.extend_from_slice(&PEER_API.to_be_bytes());
        head.extend_from_slice(&PEER_API_VERSION.to_be_bytes());
        head.extend_from_slice(&self.correlation.to_be_bytes());
        // No client id.
        head.extend_from_slice(&(-1i16).to_be_bytes());
        let mut parts = stdx::Parts::from(Bytes::from(head));
        parts.append(request.clone().into());
        self.connection.write(parts).await?;
        let mut answer = self.read_frame().await?;
        let correlation = Cursor::new(&answer).i32().map_err(Malformed::from)?;
        if correlation != self.correlation {
            return Err(Malformed(format!("answer {correlation} to question {}", self.correlation)).into());
        }
        answer.advance(4);
        Ok(answer)
    }

    async fn read_frame(&mut self) -> io::Result<Bytes> {
        let mut buffer = BytesMut::new();
        loop {
            if let Some(len) = buffer.first_chunk().map(|len| i32::from_be_bytes(*len)) {
                let len = usize::try_from(len).ok().filter(|len| *len <= ANSWER_BYTES_MAX);
                let len = len.ok_or_else(|| Malformed("an answer of such a length does not exist".into()))?;
                if buffer.len() > 4 + len {
                    return Err(Malformed("there is more than one answer".into()).into());
                }
                if buffer.len() == 4 + len {
                    buffer.advance(4);
                    return Ok(buffer.freeze());
                }
            }
            buffer.reserve(1024);
            if self.connection.read(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{member, replica};
    use std::{collections::VecDeque, net::SocketAddr};

    /// Answers with what was planned, a few bytes at a time, and notes what was sent.
    struct Planned {
        answers: VecDeque<Vec<u8>>,
        sent: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    struct Dialer {
        plans: Mutex<VecDeque<Vec<Vec<u8>>>>,
        sent: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl Connection for Planned {
        fn peer(&self) -> SocketAddr {
            SocketAddr::from(([127, 0, 0, 1], 9093))
        }

        fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
            let Some(answer) = self.answers.front_mut() else { return Box::pin(async { Ok(0) }) };
            let len = answer.len().min(3);
            buffer.extend(answer.drain(..len));
            if answer.is_empty() {
                self.answers.pop_front();
            }
            Box::pin(async move { Ok(len) })
        }

        fn write(&mut self, parts: stdx::Parts) -> BoxFuture<'_, io::Result<()>> {
            self.sent.lock().push(parts.to_bytes().unwrap().to_vec());
            Box::pin(async { Ok(()) })
        }
    }

    impl Dial for Dialer {
        fn dial(&self, _: Replica, _: &Member) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
            let plan = self.plans.lock().pop_front();
            let sent = self.sent.clone();
            Box::pin(async move {
                let answers = plan.ok_or(io::ErrorKind::ConnectionRefused)?.into();
                Ok(Box::new(Planned { answers, sent }) as Box<dyn Connection>)
            })
        }
    }

    fn frame(correlation: i32, body: &[u8]) -> Vec<u8> {
        [&(body.len() as i32 + 4).to_be_bytes()[..], &correlation.to_be_bytes(), body].concat()
    }

    /// What calls give on connections that answer so, and what was sent.
    fn check(plans: Vec<Vec<Vec<u8>>>, calls: usize) -> (Vec<Result<Bytes, io::ErrorKind>>, Vec<Vec<u8>>) {
        let sent = Arc::<Mutex<Vec<_>>>::default();
        let dialer = Dialer { plans: Mutex::new(plans.into()), sent: sent.clone() };
        let transport = StreamTransport::new(Arc::new(dialer));
        let outcomes = crate::tests::run(async {
            let mut outcomes = Vec::new();
            for _ in 0..calls {
                let answer = transport.call(replica(1), &member(1), Bytes::from_static(b"ask")).await;
                outcomes.push(answer.map_err(|error| error.kind()));
            }
            outcomes
        });
        let sent = sent.lock().clone();
        (outcomes, sent)
    }

    #[test]
    fn a_message_is_framed_as_a_request_and_its_connection_kept() {
        let (outcomes, sent) = check(vec![vec![frame(1, b"one"), frame(2, b"two")]], 2);
        assert_eq!(outcomes, [Ok(Bytes::from_static(b"one")), Ok(Bytes::from_static(b"two"))]);
        assert_eq!(sent[0], b"\0\0\0\x0d\x4f\x44\0\0\0\0\0\x01\xff\xffask");
        assert_eq!(sent[1], b"\0\0\0\x0d\x4f\x44\0\0\0\0\0\x02\xff\xffask");
    }

    #[test]
    fn a_kept_connection_that_is_gone_is_replaced() {
        let (outcomes, _) = check(vec![vec![frame(1, b"one")], vec![frame(1, b"two")]], 3);
        let refused = Err(io::ErrorKind::ConnectionRefused);
        assert_eq!(outcomes, [Ok(Bytes::from_static(b"one")), Ok(Bytes::from_static(b"two")), refused]);
    }

    #[test]
    fn nonsense_is_an_error_and_reserves_no_memory() {
        for nonsense in [
            frame(2, b"wrong number"),
            vec![0x7f, 0xff, 0xff, 0xff, 0],
            vec![0xff; 4],
            vec![0, 0, 0, 1, 0],
            [frame(1, b""), frame(2, b"")].concat(),
        ] {
            let (outcomes, _) = check(vec![vec![nonsense]], 1);
            assert_eq!(outcomes, [Err(io::ErrorKind::InvalidData)]);
        }
        assert_eq!(check(vec![vec![vec![0, 0]]], 1).0, [Err(io::ErrorKind::UnexpectedEof)]);
    }
}
