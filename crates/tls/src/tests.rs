//! Two ends of a connection in memory.

use crate::{Identity, Refused, Server, testing::SelfSigned};
use rustls::{ClientConnection, HandshakeKind, ServerConnection};
use std::sync::Arc;

/// Lets both talk until neither has anything to say.
fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), rustls::Error> {
    while client.wants_write() || server.wants_write() {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        let mut rest = &sent[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut sent = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut sent).unwrap();
        }
        let mut rest = &sent[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

fn connect(
    client: &Arc<rustls::ClientConfig>,
    server: &Server,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let mut client = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(server.config()).unwrap();
    shake(&mut client, &mut server)?;
    Ok((client, server))
}

#[test]
fn the_next_connection_meets_whom_the_server_has_become() {
    let (old, new) = (SelfSigned::new(&["localhost"]), SelfSigned::new(&["localhost"]));
    let server = Server::new(old.identity(), &[b"h2", b"http/1.1"]).unwrap();
    let (of_old, of_new) = (old.client(&[b"http/1.1"]), new.client(&[b"http/1.1", b"h2"]));
    let (client, _) = connect(&of_old, &server).unwrap();
    assert_eq!(client.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(connect(&of_new, &server).is_err(), "it trusts the other alone");
    server.replace(new.identity());
    let (client, _) = connect(&of_new, &server).unwrap();
    assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]), "the server's first wins");
    assert!(connect(&old.client(&[]), &server).is_err());
}

#[test]
fn a_client_that_comes_again_resumes_its_session() {
    let own = SelfSigned::new(&["localhost"]);
    let server = Server::new(own.identity(), &[]).unwrap();
    let config = own.client(&[]);
    let (first, _) = connect(&config, &server).unwrap();
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let (again, _) = connect(&config, &server).unwrap();
    assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn who_speaks_another_protocol_is_refused() {
    let own = SelfSigned::new(&["localhost"]);
    let server = Server::new(own.identity(), &[b"h2", b"http/1.1"]).unwrap();
    assert!(connect(&own.client(&[b"mqtt"]), &server).is_err());
    assert!(connect(&own.client(&[]), &server).is_ok());
}

#[test]
fn what_is_wrong_with_the_files_is_told() {
    let (one, other) = (SelfSigned::new(&["localhost"]), SelfSigned::new(&["localhost"]));
    let read = |chain: &str, key: &str| Identity::from_pem(chain.as_bytes(), key.as_bytes()).map(drop);
    assert_eq!(read("", &one.key), Err(Refused::NoCertificate));
    assert_eq!(read(&one.key, &one.key), Err(Refused::NoCertificate));
    assert_eq!(read(&one.certificate, ""), Err(Refused::NoKey));
    assert_eq!(read(&one.certificate, &one.certificate), Err(Refused::NoKey));
    assert_eq!(read(&one.certificate, &other.key), Err(Refused::OtherKey));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(read(garbage, &one.key), Err(Refused::BadCertificate(_))));
    let cut = &one.certificate[..one.certificate.len() / 2];
    assert!(matches!(read(cut, &one.key), Err(Refused::BadCertificate(_))));
    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(matches!(read(&one.certificate, garbage), Err(Refused::BadKey(_))));
    let chain = format!("{}{}", one.certificate, other.certificate);
    assert_eq!(read(&chain, &one.key), Ok(()));
}
