//! A proxy between clients and a broker that keeps what both say, in the order in which it went through.
//!
//! It changes nothing: the broker is told to advertise the proxy's port, so that clients stay on it. Called by `compare`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// No frame of a recording may be longer: sessions are small.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What went through, in order. Connections are numbered as they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What follows belongs to the session of this name.
    Session(String),
    /// A client sent a frame; its length is left out.
    Sent(usize, Vec<u8>),
    /// The broker answered with a frame; its length is left out.
    Answered(usize, Vec<u8>),
    /// The broker closed a connection.
    Refused(usize),
    /// A client closed a connection.
    Left(usize),
}

/// The proxy; it works until the program ends.
#[derive(Debug)]
pub struct Proxy {
    events: Arc<Mutex<Vec<Event>>>,
}

impl Proxy {
    /// Listens on `port` of this machine and connects each client to `broker`.
    pub fn start(port: u16, broker: &str) -> Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", port)).context("the proxy's port")?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let (kept, broker) = (Arc::clone(&events), broker.to_owned());
        thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                // A broker that takes no connection is seen by its client.
                if let Ok(upstream) = TcpStream::connect(&broker) {
                    let _ = carry(number, client, upstream, &kept);
                }
            }
        });
        Ok(Proxy { events })
    }

    /// What follows belongs to a session of this name.
    pub fn begin(&self, session: &str) {
        keep(&self.events, Event::Session(session.to_owned()));
    }

    /// Everything so far, which it forgets.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn keep(events: &Mutex<Vec<Event>>, event: Event) {
    events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
}

/// Carries frames in both directions; each is kept before it goes on, so that what caused another comes before it.
fn carry(number: usize, client: TcpStream, broker: TcpStream, events: &Arc<Mutex<Vec<Event>>>) -> Result<()> {
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let directions = [
        (
            client.try_clone()?,
            broker.try_clone()?,
            Event::Sent as fn(usize, Vec<u8>) -> Event,
            Event::Left(number),
        ),
        (broker, client, Event::Answered, Event::Refused(number)),
    ];
    for (mut from, mut to, event, end) in directions {
        let (events, is_over) = (Arc::clone(events), Arc::clone(&is_over));
        thread::spawn(move || {
            while let Ok(frame) = read_frame(&mut from) {
                keep(&events, event(number, frame.clone()));
                if write_frame(&mut to, &frame).is_err() {
                    break;
                }
            }
            if !is_over.swap(true, Ordering::SeqCst) {
                keep(&events, end);
            }
            // The other side may be gone already.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

/// The next frame without its length.
pub fn read_frame(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length))?;
    anyhow::ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
    let mut frame = vec![0; length];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(to: &mut impl Write, frame: &[u8]) -> Result<()> {
    let length = i32::try_from(frame.len())?.to_be_bytes();
    to.write_all(&[&length, frame].concat())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_is_kept_in_order_and_unchanged() {
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let proxy = Proxy::start(port, &broker.local_addr().unwrap().to_string()).unwrap();
        proxy.begin("one");
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut served, _) = broker.accept().unwrap();
        write_frame(&mut client, b"asked").unwrap();
        assert_eq!(read_frame(&mut served).unwrap(), b"asked");
        write_frame(&mut served, b"told").unwrap();
        assert_eq!(read_frame(&mut client).unwrap(), b"told");
        drop(served);
        assert!(read_frame(&mut client).is_err());
        let wanted = [
            Event::Session("one".into()),
            Event::Sent(0, b"asked".into()),
            Event::Answered(0, b"told".into()),
            Event::Refused(0),
        ];
        assert_eq!(proxy.take(), wanted);
    }
}
