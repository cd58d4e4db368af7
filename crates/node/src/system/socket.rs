//! TCP: listening, and one accepted connection that writes memory by `writev` and file regions by `sendfile`.
//!
//! It knows no frames; `broker` cuts them.

use super::RealFile;
use bytes::{Buf, BytesMut};
use env::BoxFuture;
use std::{io, net::SocketAddr, sync::Arc};
use stdx::{Part, Parts, Region};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::{TcpListener, TcpStream},
};

/// Pieces handed to one `writev`.
const VECTORS_MAX: usize = 256;
/// Connections that the kernel may hold ready for us.
const BACKLOG: i32 = 4096;

/// An accepted TCP connection.
pub struct Socket {
    stream: TcpStream,
    peer: SocketAddr,
}

/// Listens on an address; port 0 picks a free one.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Waits for the next connection.
pub async fn accept(listener: &TcpListener) -> io::Result<Socket> {
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(Socket { stream, peer })
}

/// Connects to `host:port`; a name's addresses are tried one after the other.
pub async fn connect(addr: &str) -> io::Result<Socket> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    Ok(Socket { stream, peer })
}

/// TCP to other nodes.
#[derive(Debug, Clone, Copy)]
pub struct RealNetwork;

impl env::Network for RealNetwork {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn env::Connection>>> {
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Box::pin(async move { Ok(Box::new(connect(&address).await?) as Box<dyn env::Connection>) })
    }
}

impl env::Connection for Socket {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
        let spare = buffer.capacity() - buffer.len();
        Box::pin(async move {
            // `read_buf` would grow the buffer; a bounded view of it does not.
            let mut bounded = bytes::buf::BufMut::limit(buffer, spare);
            self.stream.read_buf(&mut bounded).await
        })
    }

    fn write(&mut self, parts: Parts) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let mut memory = Vec::new();
            for part in parts {
                match part {
                    Part::Memory(bytes) => memory.push(bytes),
                    Part::File(region) => {
                        self.write_memory(&mut memory).await?;
                        self.send_file(region).await?;
                    }
                }
            }
            self.write_memory(&mut memory).await
        })
    }
}

impl Socket {
    async fn write_memory(&self, pieces: &mut Vec<bytes::Bytes>) -> io::Result<()> {
        let mut first = 0;
        while let Some(rest) = pieces.get_mut(first..).filter(|rest| !rest.is_empty()) {
            let vectors: Vec<_> =
                rest.iter().take(VECTORS_MAX).map(|piece| io::IoSlice::new(piece)).collect();
            match self.stream.try_write_vectored(&vectors) {
                Ok(written) => first += advance(rest, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        pieces.clear();
        Ok(())
    }

    async fn send_file(&self, region: Region) -> io::Result<()> {
        let Ok(file) = Arc::downcast::<RealFile>(region.file) else {
            return Err(io::Error::other("a region of a file that is not of this file system"));
        };
        let (mut position, end) = (region.position, region.position + region.len as u64);
        while position < end {
            let count = (end - position) as usize;
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                Ok(rustix::fs::sendfile(&self.stream, file.descriptor(), Some(&mut position), count)?)
            });
            match sent {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Takes `written` bytes off the front of `pieces`; says how many pieces are wholly gone.
fn advance(pieces: &mut [bytes::Bytes], mut written: usize) -> usize {
    let mut gone = 0;
    for piece in pieces {
        if written < piece.len() {
            piece.advance(written);
            break;
        }
        written -= piece.len();
        gone += 1;
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use env::{Connection, Disk, Open};

    #[tokio::test]
    async fn memory_and_file_regions_arrive_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = super::super::disk::RealDisk.open(&dir.path().join("f"), Open::Create).unwrap();
        let contents: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        file.write_at(&[io::IoSlice::new(&contents)], 0).unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (socket, client) = tokio::join!(accept(&listener), client);
        let (mut socket, mut client) = (socket.unwrap(), client.unwrap());
        let mut parts = Parts::from(Bytes::from(vec![7; 1_000_000]));
        parts.push(Part::File(Region { file: file.as_any(), position: 5, len: 2_000_000 }));
        parts.push(Part::Memory(Bytes::from_static(b"end")));
        let reader = async {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            all
        };
        let writer = async {
            socket.write(parts).await.unwrap();
            drop(socket);
        };
        let (all, ()) = tokio::join!(reader, writer);
        assert_eq!(all.len(), 3_000_003);
        assert!(all[..1_000_000].iter().all(|byte| *byte == 7));
        assert_eq!(all[1_000_000..3_000_000], contents[5..2_000_005]);
        assert_eq!(&all[3_000_000..], b"end");
    }

    #[tokio::test]
    async fn a_read_takes_no_more_than_the_spare_capacity() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (socket, client) = tokio::join!(accept(&listener), client);
        let (mut socket, client) = (socket.unwrap(), client.unwrap());
        client.try_write(&[1; 100]).unwrap();
        let mut buffer = BytesMut::with_capacity(64);
        let spare = buffer.capacity();
        assert_eq!(socket.read(&mut buffer).await.unwrap(), spare.min(100));
        drop(client);
    }
}
